"""What happened in a run of continuous batching: a run like any other, and what only such an engine has.

The times between tokens, how full the cache was, who was preempted, and both sides of the identity between the time
that the GPUs were busy and the totals of their steps.
"""

from __future__ import annotations

import base64
import io
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError, check_probability
from simlib.continuous import columns as at
from simlib.continuous.control import DECIDED, KEPT, StepControl
from simlib.continuous.serve import FIRST_COME, Served
from simlib.continuous.serve import served as engine_served
from simlib.continuous.state import GAP_BINS, GAP_LOW, LOGGED, StepRules
from simlib.latency.kernel_profile import ProfileLaw
from simlib.latency.steps import StepLaw
from simlib.policies import bins, orders
from simlib.policies.plan import Order
from simlib.runs.metrics import Times
from simlib.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


LAWS = {kind.__name__: kind for kind in (StepLaw, ProfileLaw)}  # that can be written to a file
COLUMNS = ("start_s", "first_token_s", "completion_s", "gpu")
ARRAYS = ("numbers", "totals_s", "gaps", "series", "control", "decisions")
MOST_STEPS = 10_000_000  # of a GPU, that are logged


def not_kept(*sees: Any) -> tuple[int, int]:
    """Stands for the rule of a user's own policy in a run that was read from a file."""
    raise InputError("run: a user's own policy is not in its file")


@dataclass(frozen=True)
class EngineRun(Run):
    """A finished run of continuous batching.

    Attributes
    ----------
    law : step_laws.StepLaw or step_laws.ProfileLaw
        How long the steps took.
    rules : step_state.StepRules
        The engine's settings as the step loop reads them.
    order : policies.plan.Order
        Who was admitted next.
    control : step_control.StepControl, optional
        Each GPU's controller.
    """

    law: Any = None
    rules: StepRules | None = None
    order: Order = FIRST_COME
    control: StepControl | None = None

    @property
    def blocks(self) -> int:
        """Blocks of a GPU's cache."""
        return self.rules.blocks

    @property
    def block_tokens(self) -> int:
        """Tokens of a block."""
        return 1 << self.rules.bits

    @cached_property
    def times(self) -> Times:
        """When each request was admitted, had its first token and was complete, in input order."""
        return Times(self.served.start_s, self.served.first_token_s, self.served.completion_s)

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Each request's row in what follows, its own; admission, first token and completion by row."""
        return np.arange(len(self.table)), *self.times

    @property
    def rejected(self) -> int:
        """Requests that alone exceed the cache and were rejected."""
        return len(self.table) - self.abandoned - int(np.count_nonzero(~np.isnan(self.served.completion_s)))

    @property
    def abandoned(self) -> int:
        """Requests whose clients had gone before they were admitted."""
        return self._total("abandoned")

    @property
    def preemptions(self) -> int:
        """How often a sequence lost its memory and was computed again."""
        return self._total("preemptions")

    @property
    def busy_s(self) -> float:
        """Time that the GPUs' steps took, all together, seconds."""
        return float(self._times("busy_s").sum())

    @property
    def batch_size_mean(self) -> float:
        """Sequences that decode in a step that decodes, on average."""
        steps = int(self.served.numbers[:, at.STEP].sum())
        return self._total("sum_decodes") / steps if steps else 0.0

    @property
    def kv_peak_tokens(self) -> int:
        """Most tokens' worth of blocks that a GPU had given out at once."""
        return int(self.served.numbers[:, at.PEAK].max()) * self.block_tokens

    def itl_s(self, share: float) -> float:
        """A quantile of the times between two tokens of a request, over all requests, seconds; `share` in [0, 1].

        Counted in bins, 512 an octave: within 0.2 % of the true quantile; NaN if there is no such time.
        """
        gaps = self.served.gaps
        total, share = int(gaps.sum()), check_probability("share", share)
        if total == 0:
            return float("nan")
        wanted = share * total
        place = max(int(np.searchsorted(np.cumsum(gaps), wanted)), int(np.argmax(gaps > 0)))
        part = (wanted - gaps[:place].sum()) / gaps[place]
        octave, inside = divmod(place, GAP_BINS)
        return float(np.ldexp(0.5 + 0.5 * (inside + part) / GAP_BINS, octave + GAP_LOW))

    def gap_p99_s(self, tpot_s: np.ndarray, gaps: np.ndarray) -> float:
        """99th percentile over all times between tokens, seconds, as counted."""
        return self.itl_s(0.99)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """The input's columns and ``start_s, first_token_s, completion_s, gpu, batch, bin``; no batches: -1."""
        frame = self.table.frame()
        for name, values in self.times._asdict().items():
            frame[name] = values
        return frame.assign(
            gpu=self.served.gpu, batch=-1, bin=self.order.queues.of if self.binned and self.order.queues else -1
        )

    @cached_property
    def kv(self) -> pd.DataFrame:
        """How full each GPU was, now and then: ``start_s, gpu, running, waiting, kv_tokens, kv_share``."""
        import pandas as pd

        frames = []
        for gpu, (rows, numbers) in enumerate(zip(self.served.series, self.served.numbers, strict=True)):
            rows = rows[: numbers[at.SAMPLED]]
            frame = pd.DataFrame(rows, columns=["start_s", "running", "waiting", "kv_tokens"])
            frame.insert(1, "gpu", gpu)
            frames.append(frame)
        frame = pd.concat(frames, ignore_index=True).astype({"running": int, "waiting": int})
        frame["kv_share"] = frame["kv_tokens"] / self.blocks
        frame["kv_tokens"] *= self.block_tokens
        return frame

    @property
    def batches(self) -> pd.DataFrame:
        """An engine forms no batches: `kv`."""
        return self.kv

    @cached_property
    def controller(self) -> pd.DataFrame:
        """What each GPU's controller decided, and why: ``gpu`` and `control.DECIDED`; without one, `kv`.

        Of a long run every so many of its decisions.
        """
        import pandas as pd

        if self.control is None:
            return self.kv
        rows = []
        for gpu, (row, decisions) in enumerate(zip(self.served.control, self.served.decisions, strict=True)):
            frame = pd.DataFrame(decisions[: int(row[KEPT])], columns=list(DECIDED))
            frame.insert(1, "gpu", gpu)
            rows.append(frame)
        whole = dict.fromkeys(("cap", "b_mem", "b_sla", "branch", "running"), int)
        return pd.concat(rows, ignore_index=True).astype(whole)

    @property
    def identity(self) -> dict[str, float]:
        """Both sides of ``busy = a steps + b decodes + c prefill + d context + h spread``, and the totals.

        The right side is NaN for a law that is not linear.
        """
        names = ("steps", "sum_decodes", "sum_prefill", "sum_context", "recomputed")
        totals = {name: self._total(name) for name in names}
        spread = float(self._times("spread_tokens").sum())
        right = float("nan")
        if self.law.linear:
            numbers = (totals["steps"], totals["sum_decodes"], totals["sum_prefill"], totals["sum_context"], spread)
            right = float(np.dot(self.law.params, numbers))
        return {"busy_s": self.busy_s, "from_totals_s": right, **totals}

    def summary(self, sla: Any = None) -> dict[str, float | int | str]:
        """The run in numbers; means of delays that grow with the run, in an unstable one, are missing."""
        numbers = super().summary(sla)
        if numbers["stability"] == "unstable":
            numbers |= dict.fromkeys(("latency_mean_s", "queueing_mean_s", "ttft_mean_s"), float("nan"))
        return numbers

    @cached_property
    def steps(self) -> pd.DataFrame:
        """The steps of each GPU, one row a step: ``gpu, start_s, time_s, steps, kv_tokens, seats`` and their shape.

        Where nothing changes in between, a row stands for that many ``steps``, and the shape (``decodes,
        context_tokens, longest_tokens, prefill_tokens, chunks, squares, prefill_context``) is that of the first one. A
        run keeps no such log: the requests are served once more.

        Raises
        ------
        InputError
            If a GPU made more than 10,000,000 steps, or the run was read from a file and its policy is a user's own.
        """
        import pandas as pd

        most = int(self.served.numbers[:, at.STEPS].max())
        if most > MOST_STEPS:
            raise InputError(f"run: {most} steps of a GPU (expected at most {MOST_STEPS} to be logged: a shorter run)")
        if self.order.decide is not_kept:
            raise InputError(
                f"run: policy {self.policy} is not in its file (expected the run itself, to log its steps)"
            )
        arguments = self.table, self.law, self.gpus, self.rules, self.order, self.backend, self.control, most
        _, served, _ = engine_served(*arguments)
        frames = []
        for gpu, (rows, numbers) in enumerate(zip(served.steps, served.numbers, strict=True)):
            frame = pd.DataFrame(rows[: numbers[at.STORED]], columns=LOGGED)
            frame.insert(0, "gpu", gpu)
            frames.append(frame)
        frame = pd.concat(frames, ignore_index=True).rename(columns={"blocks": "kv_tokens"})
        whole = [name for name in frame if not name.endswith("_s") and name not in ("squares", "prefill_context")]
        frame = frame.astype(dict.fromkeys(whole, int))
        frame["kv_tokens"] *= self.block_tokens
        return frame

    def _stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Columns of requests; what does not grow with them, packed into text."""
        if type(self.law) not in LAWS.values():
            raise InputError(f"latency: {self.law!r:.80} (expected {' or '.join(LAWS)} for a run that is saved)")
        arrays = {name: getattr(self.served, name) for name in ARRAYS}
        arrays |= {f"law {part.name}": getattr(self.law, part.name) for part in fields(self.law)}
        order, decide = self.order, self.order.decide
        line_of = np.zeros(0, np.int64) if order.queues is None else order.queues.of
        arrays |= {"order params": order.params, "order memory": order.memory}
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        about = {
            "rules": self.rules._asdict(),
            "control": None if self.control is None else asdict(self.control),
            "law": type(self.law).__name__,
            "order": decide and (decide.__name__ if getattr(orders, decide.__name__, None) is decide else ""),
            "lines": self.rules.lines,
            "arrays": base64.b64encode(packed.getvalue()).decode("ascii"),
        }
        return {name: getattr(self.served, name) for name in COLUMNS} | {"line_of": line_of}, about

    @staticmethod
    def _restored(columns: dict[str, pa.ChunkedArray], about: dict[str, Any]) -> dict[str, Any]:
        packed = io.BytesIO(base64.b64decode(about["arrays"]))
        with np.load(packed, allow_pickle=False) as arrays:
            kind = LAWS[about["law"]]
            parts = {part.name: arrays[f"law {part.name}"] for part in fields(kind)}
            law = kind(**{name: value if value.ndim else value.item() for name, value in parts.items()})
            kept = {name: arrays[name] for name in ARRAYS}
            numbers = arrays["order params"], arrays["order memory"]
        times = {name: columns[name].to_numpy() for name in COLUMNS}
        line_of = columns["line_of"].drop_null().to_numpy().astype(np.int64)
        queues = bins.queues(line_of, about["lines"]) if len(line_of) else None
        decide = about["order"] and getattr(orders, about["order"])
        order = Order(queues, not_kept if decide == "" else decide, *numbers)
        no_log = np.zeros((about["gpus"], 0, len(LOGGED)))
        return {
            "served": Served(**times, **kept, steps=no_log),
            "first_token_after_s": np.zeros(0),
            "law": law,
            "rules": StepRules(**about["rules"]),
            "order": order,
            "control": None if about["control"] is None else StepControl(**about["control"]),
        }

    def _total(self, name: str) -> int:
        return int(self.served.numbers[:, at.NUMBERS.index(name)].sum())

    def _times(self, name: str) -> np.ndarray:
        return self.served.totals_s[:, at.TIMES.index(name)]
