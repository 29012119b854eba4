"""What happened in a run of continuous batching: a run like any other, and what only such an engine has.

The times between tokens, how full the cache was, who was preempted, and both sides of the identity between the time
that the GPUs were busy and the totals of their steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simlib.checks import InputError
from simlib.run import Run, Times
from simlib.step_state import GAP_BINS, GAP_LOW, NUMBERS, TIMES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["EngineRun", "Served"]


class Served(NamedTuple):
    """Times and GPU of each request (NaN and -1: not served), each GPU's totals, gaps, series, steps."""

    start_s: np.ndarray
    first_token_s: np.ndarray
    completion_s: np.ndarray
    gpu: np.ndarray
    numbers: np.ndarray
    totals_s: np.ndarray
    gaps: np.ndarray
    series: np.ndarray
    steps: np.ndarray


@dataclass(frozen=True)
class EngineRun(Run):
    """A finished run of continuous batching.

    Attributes
    ----------
    law : step_laws.StepLaw or step_laws.ProfileLaw
        How long the steps took.
    blocks, block_tokens : int
        Size of a GPU's cache, and tokens of a block.
    bin_of : ndarray of int
        The bin of each request; empty without bins.
    rejected_requests : int
        Requests that alone exceed the cache.
    """

    law: Any = None
    blocks: int = 0
    block_tokens: int = 1
    bin_of: np.ndarray | None = None
    rejected_requests: int = 0

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
        return self.rejected_requests

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
        steps = int(self.served.numbers[:, NUMBERS.index("step")].sum())
        return self._total("sum_decodes") / steps if steps else 0.0

    @property
    def kv_peak_tokens(self) -> int:
        """Most tokens' worth of blocks that a GPU had given out at once."""
        return int(self.served.numbers[:, NUMBERS.index("peak")].max()) * self.block_tokens

    def itl_s(self, share: float) -> float:
        """A quantile of the times between two tokens of a request, over all requests, seconds.

        Counted in bins, 512 an octave: within 0.2 % of the true quantile; NaN if there is no such time.
        """
        gaps = self.served.gaps
        total = int(gaps.sum())
        if total == 0:
            return float("nan")
        wanted = share * total
        place = int(np.searchsorted(np.cumsum(gaps), wanted))
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
        return frame.assign(gpu=self.served.gpu, batch=-1, bin=self.bin_of if self.binned else -1)

    @cached_property
    def kv(self) -> pd.DataFrame:
        """How full each GPU was, now and then: ``start_s, gpu, running, waiting, kv_tokens, kv_share``."""
        import pandas as pd

        frames = []
        for gpu, (rows, numbers) in enumerate(zip(self.served.series, self.served.numbers, strict=True)):
            rows = rows[: numbers[NUMBERS.index("sampled")]]
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

    @property
    def controller(self) -> pd.DataFrame:
        """An engine has no controller: `kv`."""
        return self.kv

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

    def save(self, path: str | Path) -> Path:
        """A run of continuous batching is not saved: `requests` and `kv` are data frames that can be.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(f"{path}: a run of continuous batching cannot be saved (save its requests and kv instead)")

    def _total(self, name: str) -> int:
        return int(self.served.numbers[:, NUMBERS.index(name)].sum())

    def _times(self, name: str) -> np.ndarray:
        return self.served.totals_s[:, TIMES.index(name)]
