"""What happened in a run of continuous batching: times between tokens, how full the cache was, who was preempted."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError, check_number, check_probability
from simlib.continuous import columns as at
from simlib.continuous.control import DECIDED, KEPT, StepControl
from simlib.continuous.serve import Served, served
from simlib.continuous.settings import needed_tokens
from simlib.continuous.state import GAP_BINS, GAP_LOW, LOGGED, StepRules, blocks_of
from simlib.latency.kernel_profile import ProfileLaw
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Beyond, Trust, seen
from simlib.policies import bins, orders
from simlib.policies.plan import Order
from simlib.requests.table import MAX_TOKENS
from simlib.runs import collapse
from simlib.runs.metrics import Times
from simlib.runs.parquet import LARGEST, checked
from simlib.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


LAWS = {kind.__name__: kind for kind in (StepLaw, ProfileLaw)}  # that can be written to a file
SAMPLED = ("start_s", "running", "waiting", "kv_tokens")
COLUMNS = ("start_s", "first_token_s", "completion_s", "gpu")
ARRAYS = ("numbers", "totals_s", "gaps", "series", "control", "decisions")
KINDS = ("decode", "prefill", "mixed")  # of steps
MOST_STEPS = 10_000_000  # of a GPU, that are logged
WINDOWS = 100  # of a run's time, in which its hits are counted


def not_kept(*sees: Any) -> tuple[int, int]:
    """Stands for the rule of a user's own policy in a run that was read from a file."""
    raise InputError("run: a user's own policy is not in its file")


@dataclass(frozen=True, kw_only=True)
class EngineRun(Run):
    """A finished run of continuous batching.

    Attributes
    ----------
    served : continuous.serve.Served
        Each request's times and GPU, each GPU's totals.
    law : latency.steps.StepLaw or latency.kernel_profile.ProfileLaw
        How long the steps took.
    rules : continuous.state.StepRules
        The engine's settings as the step loop reads them.
    order : policies.plan.Order
        Who was admitted next.
    control : continuous.control.StepControl, optional
        Each GPU's controller.
    """

    law: Any
    rules: StepRules
    order: Order
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
        """When each request was admitted, had its first token and was complete, in input order, as its client sees it.

        The engine's own times, `served`, are those of a clock that is late by the law's ``way_in_s``.
        """
        own = (self.served.start_s, self.served.first_token_s, self.served.completion_s)
        return Times(*(times_s + self.way_in_s for times_s in own) if self.way_in_s else own)

    @property
    def way_in_s(self) -> float:
        """By how much the engine's own clock is late, seconds."""
        return getattr(self.law, "way_in_s", 0.0)

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Each request's row in what follows, its own; admission, first token and completion by row."""
        return np.arange(len(self.table)), *self.times

    @property
    def places(self) -> dict[str, Any]:
        """Each request's ``gpu, batch, bin``, -1 where it has none; an engine has no batches."""
        binned = self.edges is not None and self.order.queues is not None
        row = slice(None) if self.given_row is None else self.given_row
        return {"gpu": self.served.gpu, "batch": -1, "bin": self.order.queues.of[row] if binned else -1}

    @property
    def rejected(self) -> int:
        """Requests that alone exceed the cache and were rejected."""
        gone = self.abandoned + self.cancelled
        return len(self.table) - gone - int(np.count_nonzero(~np.isnan(self.served.completion_s)))

    @property
    def abandoned(self) -> int:
        """Requests whose clients had gone before they were admitted."""
        return self._total("abandoned")

    @property
    def cancelled(self) -> int:
        """Requests whose clients had gone before they were complete (`cancel_s`): they miss every deadline."""
        return self._total("cancelled")

    @property
    def preemptions(self) -> int:
        """How often a sequence lost its memory and was computed again."""
        return self._total("preemptions")

    @property
    def prefix_hits(self) -> np.ndarray:
        """Prompt tokens of each request that the engine's prefix cache held at its admission; 0 where there is none."""
        hits = self.served.hits
        return np.maximum(hits, 0) if len(hits) else np.zeros(len(self.table), np.int32)

    @property
    def prefix_hit_share(self) -> float:
        """Share of the prompt tokens of all who were admitted that the prefix cache held; NaN if nobody was."""
        asked = self.table.prompt_tokens[~np.isnan(self.served.start_s)].sum()
        return float(self.prefix_hits.sum() / asked) if asked else float("nan")

    def prefix_hits_over_time(self, window_s: float | None = None) -> pd.DataFrame:
        """What the prefix cache held, by the time of admission: one row a window, by default a hundred of them.

        Returns
        -------
        pandas.DataFrame
            ``start_s, requests, prompt_tokens, prefix_hits, prefix_hit_share``; the share of a window without an
            admission is NaN.

        Raises
        ------
        InputError
            If `window_s` is no time above 0, or there were more than a million windows.
        """
        import pandas as pd

        start_s = self.served.start_s
        admitted = np.flatnonzero(~np.isnan(start_s))
        first_s, last_s = (start_s[admitted].min(), start_s[admitted].max()) if len(admitted) else (0.0, 0.0)
        least_s = (last_s - first_s) / 1e6
        if window_s is None:
            window_s = (last_s - first_s) / (WINDOWS - 1e-6) or 1.0
        window_s = check_number("window_s", window_s, least_s, open_low=True)
        window = ((start_s[admitted] - first_s) // window_s).astype(np.int64)
        columns = {"requests": None, "prompt_tokens": self.table.prompt_tokens, "prefix_hits": self.prefix_hits}
        windows = window.max(initial=-1) + 1
        sums = {
            name: np.bincount(window, None if values is None else values[admitted], windows).astype(np.int64)
            for name, values in columns.items()
        }
        frame = pd.DataFrame({"start_s": first_s + window_s * np.arange(windows), **sums})
        share = frame["prefix_hits"] / frame["prompt_tokens"].where(frame["prompt_tokens"] > 0)
        return frame.assign(prefix_hit_share=share)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """As of every run, and with a prefix cache ``prefix_hits``."""
        if not self.rules.cache:
            return super().requests
        return super().requests.assign(prefix_hits=self.prefix_hits[self.given_order])

    def summary(self, sla: Any = None, **of: Any) -> dict[str, float | int | str]:
        """As of every run, and with a prefix cache its `prefix_hit_share`."""
        numbers = super().summary(sla, **of)
        return numbers | {"prefix_hit_share": self.prefix_hit_share} if self.rules.cache else numbers

    @property
    def busy_s(self) -> float:
        """Time that the GPUs' steps took, all together, seconds."""
        return float(self._times("busy_s").sum())

    @property
    def idle_s(self) -> float:
        """Time that the GPUs waited from the first arrival to the last completion, all together, seconds."""
        completion_s, served = self.served.completion_s, ~np.isnan(self.served.completion_s)
        if not served.any():
            return 0.0
        came_s = self.table.arrival_s
        fits = blocks_of(needed_tokens(self.table, self.rules.bits, self.rules.share), self.rules.bits) <= self.blocks
        # What was rejected is not seen by the loop, unless somebody waits for its answer.
        before_s = 0.0 if self.table.closed else self.gpus * (came_s[np.argmax(fits)] - came_s[0])
        after_s = completion_s[served].max() - self._times("now_s")
        return max(float(before_s + self._times("idle_s").sum() + after_s.sum()), 0.0)

    @property
    def least(self) -> int:
        """The smallest b_sla that its controllers' rule asks for; 0: there is none."""
        return 0 if self.control is None or self.control.sla is None else self.control.least(self.rules)

    @property
    def target_s(self) -> float:
        """What they steer to, seconds; 0: there is none."""
        return 0.0 if self.control is None else self.control.target_s

    @cached_property
    def collapsed_share(self) -> float:
        """Share of the controllers' decisions in which they have collapsed (`collapse`)."""
        if not self.least:
            return 0.0
        decided, kept = self.served.decisions, self.served.control[:, KEPT].astype(int)
        sampled = self._numbers("sampled")
        rows = np.concatenate([own[:count] for own, count in zip(decided, kept, strict=True)])
        waiting = []
        for gpu in range(self.gpus):
            seen = self.served.series[gpu, : max(sampled[gpu], 1)]
            start_s = decided[gpu, : kept[gpu], DECIDED.index("start_s")]
            last = np.searchsorted(seen[:, 0], start_s, side="right") - 1  # now and then is often enough
            waiting.append(seen[np.maximum(last, 0), SAMPLED.index("waiting")])
        b_sla, mean_s = (rows[:, DECIDED.index(name)] for name in ("b_sla", "tau_mean_s"))
        waiting, weight = np.concatenate(waiting), np.ones(len(rows))
        return collapse.share(b_sla, mean_s, self.least, self.target_s, waiting, weight)

    @cached_property
    def beyond(self) -> list[Beyond]:
        """Where the run uses its law outside what it was measured at."""
        trust = getattr(self.law, "trust", None)
        if trust is None or np.isnan(self.served.completion_s).all():
            return []
        uses = seen(self.table, self.served.first_token_s, self.served.completion_s, self.served.gpu, self.rules.budget)
        return trust.beyond(uses)

    @property
    def doubts(self) -> list[str]:
        """Why its law may not hold in this run: a bad fit, own times that it does not give back, and `beyond`."""
        trust = getattr(self.law, "trust", None)
        return [*filter(None, [trust.misfit, *trust.unlike] if trust else []), *map(str, self.beyond)]

    @property
    def batch_size_mean(self) -> float:
        """Sequences that decode in a step that decodes, on average."""
        steps = self._total("step")
        return self._total("sum_decodes") / steps if steps else 0.0

    @property
    def kv_peak_tokens(self) -> int:
        """Most tokens' worth of blocks that a GPU had given out at once."""
        return int(self._numbers("peak").max()) * self.block_tokens

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
    def kv(self) -> pd.DataFrame:
        """How full each GPU was, now and then: ``start_s, gpu, running, waiting, kv_tokens, kv_share``."""
        frame = _under_each_other(self.served.series, self._numbers("sampled"), SAMPLED, ("running", "waiting"))
        frame["kv_share"] = frame["kv_tokens"] / self.blocks
        frame["kv_tokens"] *= self.block_tokens
        frame["start_s"] += self.way_in_s
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
        if self.control is None:
            return self.kv
        whole = ("cap", "b_mem", "b_sla", "branch", "running")
        frame = _under_each_other(self.served.decisions, self.served.control[:, KEPT].astype(int), DECIDED, whole)
        return frame.assign(start_s=frame["start_s"] + self.way_in_s)

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
        most = int(self._numbers("steps").max())
        if most > MOST_STEPS:
            raise InputError(f"run: {most} steps of a GPU (expected at most {MOST_STEPS} to be logged: a shorter run)")
        if self.order.decide is not_kept:
            raise InputError(
                f"run: policy {self.policy} is not in its file (expected the run itself, to log its steps)"
            )
        table = self.table if self.given_row is None else self.table.as_given(self.given_row)
        table = table.sent_later(self.way_in_s)
        arguments = table, self.law, self.gpus, self.rules, self.order, self.backend, self.control, most
        _, again, _ = served(*arguments)
        stored = again.numbers[:, at.STORED]
        whole = [name for name in LOGGED if not name.endswith("_s") and name not in ("squares", "prefill_context")]
        frame = _under_each_other(again.steps, stored, LOGGED, whole)[["gpu", *LOGGED]]
        frame["blocks"] *= self.block_tokens
        frame["start_s"] += self.way_in_s
        return frame.rename(columns={"blocks": "kv_tokens"})

    def slices(self) -> pd.DataFrame:
        """What the GPUs did: ``gpu, start_s, time_s, size, name`` and of `steps` what a row tells, one row a row of it.

        In order of start on each GPU, where they do not overlap; `size` is the number of requests.
        """
        steps = self.steps.rename(columns={"seats": "size"})
        kind = np.where(steps["chunks"] == 0, 0, np.where(steps["decodes"] == 0, 1, 2))
        names = [
            f"{KINDS[number]} of {size}" + (f", {count} steps" if count > 1 else "")
            for number, size, count in zip(kind, steps["size"], steps["steps"], strict=True)
        ]
        columns = ["steps", "decodes", "prefill_tokens", "context_tokens", "kv_tokens"]
        return steps[["gpu", "start_s", "time_s", "size"]].assign(name=names, **steps[columns])

    def passed(self, done: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """In which of `slices` each request had its first and its last token; -1 where it was not served."""
        first, last = (np.full(len(self.table), -1) for _ in range(2))
        gpus, ends_s = done["gpu"].to_numpy(), (done["start_s"] + done["time_s"]).to_numpy()
        for gpu in range(self.gpus):
            own, rows = np.flatnonzero(gpus == gpu), np.flatnonzero(self.served.gpu == gpu)
            for found, times_s in ((first, self.times.first_token_s), (last, self.times.completion_s)):
                had = rows[~np.isnan(times_s[rows])]  # a client may have gone before
                place = np.searchsorted(ends_s[own], times_s[had] * (1 - 1e-12))
                found[had] = own[np.minimum(place, len(own) - 1)]
        return first, last

    def occupancy(self) -> pd.DataFrame:
        """How many places of each GPU are taken: `slices`; nobody is ``finished``, who leaves with the last token."""
        return self.slices()[["gpu", "start_s", "time_s", "size"]].assign(finished=0)

    def stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Columns of requests; what does not grow with them, packed into text."""
        if type(self.law) not in LAWS.values():
            raise InputError(f"latency: {self.law!r:.80} (expected {' or '.join(LAWS)} for a run that is saved)")
        arrays = {name: getattr(self.served, name) for name in ARRAYS}
        arrays |= {f"law {part.name}": getattr(self.law, part.name) for part in fields(self.law) if part.compare}
        order, decide = self.order, self.order.decide
        arrays |= {"order params": order.params, "order memory": order.memory}
        line_of = np.zeros(0, np.int64) if order.queues is None else order.queues.of
        packed = io.BytesIO()
        np.savez_compressed(packed, **arrays)
        about = {
            "rules": self.rules._asdict(),
            "control": None if self.control is None else asdict(self.control),
            "law": type(self.law).__name__,
            "trust": asdict(trust) if (trust := getattr(self.law, "trust", None)) else None,
            "order": decide and (decide.__name__ if getattr(orders, decide.__name__, None) is decide else ""),
            "arrays": base64.b64encode(packed.getvalue()).decode("ascii"),
        }
        columns = {name: getattr(self.served, name) for name in COLUMNS}
        return columns | {"hits": self.served.hits, "line_of": line_of}, about

    @staticmethod
    def parts(columns: dict[str, pa.ChunkedArray], about: dict[str, Any]) -> dict[str, Any]:
        """This kind's own parts, from what `stored` gave."""
        packed = io.BytesIO(base64.b64decode(about["arrays"]))
        with np.load(packed, allow_pickle=False) as arrays:
            kind = LAWS[about["law"]]
            parts = {part.name: arrays[f"law {part.name}"] for part in fields(kind) if part.compare}
            law = kind(**{name: value if value.ndim else value.item() for name, value in parts.items()})
            if about.get("trust"):
                law = replace(law, trust=Trust.of(about["trust"]))
            kept = {name: arrays[name] for name in ARRAYS}
            numbers = arrays["order params"], arrays["order memory"]
        times = {name: columns[name].to_numpy() for name in COLUMNS}
        for name in COLUMNS[:3]:
            checked(name, times[name], "f", -LARGEST, LARGEST, missing=True)
        checked("gpu", times["gpu"], "i", -1, about["gpus"] - 1)
        hits = columns["hits"].drop_null().to_numpy()
        checked("hits", hits, "i", -1, MAX_TOKENS)
        checked("numbers", kept["numbers"], "i", -LARGEST, LARGEST)
        checked("gaps", kept["gaps"], "i", 0, LARGEST)
        for name, width in (("numbers", len(at.NUMBERS)), ("totals_s", len(at.TIMES))):
            if kept[name].shape != (about["gpus"], width):
                raise ValueError(f"{name}: of shape {kept[name].shape} (expected {about['gpus']} rows of {width})")
        rules, line_of = StepRules(**about["rules"]), columns["line_of"].drop_null().to_numpy().astype(np.int64)
        queues = bins.queues(line_of, rules.lines) if len(line_of) else None
        decide = about["order"] and getattr(orders, about["order"])
        no_log = np.zeros((about["gpus"], 0, len(LOGGED)))
        return {
            "served": Served(**times, **kept, steps=no_log, hits=hits),
            "law": law,
            "rules": rules,
            "order": Order(queues, not_kept if decide == "" else decide, *numbers, priority=bool(rules.priority)),
            "control": None if about["control"] is None else StepControl(**about["control"]),
        }

    def _numbers(self, name: str) -> np.ndarray:
        return self.served.numbers[:, at.NUMBERS.index(name)]

    def _total(self, name: str) -> int:
        return int(self._numbers(name).sum())

    def _times(self, name: str) -> np.ndarray:
        return self.served.totals_s[:, at.TIMES.index(name)]


def _under_each_other(
    rows: np.ndarray, counts: np.ndarray, columns: Sequence[str], whole: Sequence[str]
) -> pd.DataFrame:
    """The first rows of each GPU, so many of them, one GPU under the other; `whole` columns as integers."""
    import pandas as pd

    frame = pd.DataFrame(
        np.concatenate([own[:count] for own, count in zip(rows, counts, strict=True)]), columns=columns
    )
    frame.insert(1, "gpu", np.repeat(np.arange(len(counts)), counts))
    return frame.astype(dict.fromkeys(whole, int))
