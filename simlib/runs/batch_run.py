"""What happened where batches ran to completion: the run that `simulate` returns by default.

The batches, the controller's trajectory, what each GPU did when. Data frames are built when they are first asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import MAX_BINS
from simlib.engine.batches import Batches
from simlib.runs import collapse, metrics
from simlib.runs.metrics import Times
from simlib.runs.parquet import LARGEST, checked
from simlib.runs.run import Run

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class BatchRun(Run):
    """A finished run of batches, each run to completion.

    Attributes
    ----------
    served : engine.batches.Batches
        Batches in order of start, and the batch of each request (-1: rejected, or turned away).
    first_token_after_s : ndarray, shape (n_batches,)
        From a batch's start to its first token, seconds.
    notes : tuple of str
        Names of the columns that the policy noted with each batch.
    least, target_s : int, float
        The smallest batch that its rule for the deadline asks for, and what it steers to, seconds; 0: it has none.
    """

    first_token_after_s: np.ndarray
    notes: tuple[str, ...]
    least: int = 0
    target_s: float = 0.0

    @property
    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Each request's row in what follows, -1 if it was rejected; start, first token and completion by row."""
        served = self.served
        end_s = served.start_s + served.service_s
        return served.batch_of, served.start_s, np.minimum(end_s, served.start_s + self.first_token_after_s), end_s

    @cached_property
    def times(self) -> Times:
        """When each request started, had its first token and was complete, in input order."""
        batch, *by_batch = self.rows
        if len(by_batch[0]) == 0:
            return Times(*(np.full(len(batch), np.nan) for _ in by_batch))
        columns = (times[batch] for times in by_batch)
        if np.min(batch) < 0:
            columns = (np.where(batch < 0, np.nan, column) for column in columns)
        return Times(*columns)

    @property
    def places(self) -> dict[str, np.ndarray]:
        """Each request's ``gpu, batch, bin``, -1 where it has none."""
        batch = self.served.batch_of
        gpu, queue = (np.append(column, -1)[batch] for column in (self.served.gpu, self._bins))
        return {"gpu": gpu, "batch": batch, "bin": queue}

    @property
    def rejected(self) -> int:
        """Requests that were not served: they alone exceed the memory, or the policy turned them away."""
        return int(np.sum(self.served.batch_of < 0))

    @property
    def busy_s(self) -> float:
        """Time that the GPUs were busy, all together, seconds."""
        return float(np.sum(self.served.service_s))

    @property
    def idle_s(self) -> float:
        """Time that the GPUs waited from the first arrival to the last completion, all together, seconds."""
        start_s = self.served.start_s
        if not len(start_s):
            return 0.0
        end_s = start_s + self.served.service_s
        # What was busy as the clock has it, which rounds: so the two are parts of one time.
        return max(float(self.gpus * (end_s.max() - self.table.arrival_s[0]) - (end_s - start_s).sum()), 0.0)

    @cached_property
    def collapsed_share(self) -> float:
        """Share of the busy time in batches of a controller that has collapsed (`collapse`)."""
        if not self.least:
            return 0.0
        served = self.served
        b_sla, mean_s = (served.notes[:, self.notes.index(name)] for name in ("b_sla", "service_mean_s"))
        if (b_sla > self.least).all():
            return 0.0
        came_s = self.table.arrival_s[served.batch_of >= 0]
        waiting = np.searchsorted(came_s, served.start_s, side="right") - np.cumsum(served.size)
        return collapse.share(b_sla, mean_s, self.least, self.target_s, waiting, served.service_s)

    @property
    def batch_size_mean(self) -> float:
        """Requests of a batch, on average; 0 without batches."""
        return int(self.served.size.sum()) / max(len(self.served.size), 1)  # numpy's mean of integers is slow

    def gap_p99_s(self, tpot_s: np.ndarray, gaps: np.ndarray) -> float:
        """99th percentile over all times between tokens, seconds; here a request's are all equal to its TPOT."""
        return metrics.token_p99(tpot_s, gaps)

    @cached_property
    def batches(self) -> pd.DataFrame:
        """One row a batch in order of start: ``start_s, service_s, size, gpu, bin, b_mem, b_sla``."""
        import pandas as pd

        served = self.served
        frame = pd.DataFrame(
            {"start_s": served.start_s, "service_s": served.service_s, "size": served.size, "gpu": served.gpu}
        )
        frame["bin"] = self._bins
        for name in ("b_mem", "b_sla"):  # a policy without the rule has no bound of its own: missing
            frame[name] = served.notes[:, self.notes.index(name)] if name in self.notes else np.nan
        return frame

    @cached_property
    def controller(self) -> pd.DataFrame:
        """What the policy noted when it formed each batch: ``start_s, gpu, bin`` and the notes' columns."""
        import pandas as pd

        notes = pd.DataFrame(self.served.notes, columns=list(self.notes))
        return pd.concat([self.batches[["start_s", "gpu", "bin"]], notes], axis=1)

    def slices(self) -> pd.DataFrame:
        """What the GPUs did: ``gpu, start_s, time_s, size, name, batch, bin``, one row a batch.

        In order of start on each GPU, where they do not overlap; `size` is the number of requests.
        """
        batches = self.batches.reset_index(names="batch").rename(columns={"service_s": "time_s"})
        batches = batches.sort_values(["gpu", "batch"], ignore_index=True)  # as they started
        sizes = batches[["size", "bin"]].to_numpy()
        names = [f"batch of {size}" + (f", bin {bin}" if bin >= 0 else "") for size, bin in sizes]
        return batches[["gpu", "start_s", "time_s", "size"]].assign(name=names, **batches[["batch", "bin"]])

    def passed(self, done: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """In which of `slices` each request had its first and its last token; -1 where it was not served."""
        place = np.append(np.argsort(done["batch"].to_numpy()), -1)[self.served.batch_of]
        return place, place

    def occupancy(self) -> pd.DataFrame:
        """How many places of each GPU are taken, and how many of them by requests whose last token is there already.

        Returns
        -------
        pandas.DataFrame
            ``gpu, start_s, time_s, size, finished``, one row a stretch in which nothing changes. A batch's tokens are
            taken to come at equal distances from its first token to its end.

        Examples
        --------
        >>> import simlib
        >>> table = simlib.RequestTable([0.0, 0.0], [10, 10], [2, 3])
        >>> run = simlib.simulate(table, simlib.StaticFIFO(2), simlib.Phases(0.0, 0.0, 1.0, 0.0), backend="interpreted")
        >>> run.occupancy()[["start_s", "time_s", "size", "finished"]].to_numpy().tolist()
        [[0.0, 1.0, 2.0, 0.0], [1.0, 1.0, 2.0, 1.0]]
        """
        import pandas as pd

        members = pd.DataFrame({"batch": self.served.batch_of, "output_tokens": self.table.output_tokens})
        members = members[members["batch"] >= 0]
        most = members.groupby("batch")["output_tokens"].transform("max")
        shares = (members["output_tokens"] - 1).clip(lower=0) / (most - 1).clip(lower=1)
        rows = []
        for batch in self.slices().itertuples():
            own = np.sort(shares[members["batch"] == batch.batch].to_numpy())
            first_s = min(self.first_token_after_s[batch.batch], batch.time_s)
            ends_s = np.append(0.0, first_s + own * (batch.time_s - first_s))
            for finished, (start_s, end_s) in enumerate(pairwise(ends_s)):
                if end_s > start_s:
                    rows.append((batch.gpu, batch.start_s + start_s, end_s - start_s, batch.size, finished))
        return pd.DataFrame(rows, columns=["gpu", "start_s", "time_s", "size", "finished"])

    def stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What the file has of this kind of run: columns, and what is said of the whole."""
        # A run has at most as many batches as requests: theirs are columns too, empty below the last batch.
        columns = {name: getattr(self.served, name) for name in Batches._fields if name != "notes"}
        columns |= {f"note {name}": self.served.notes[:, place] for place, name in enumerate(self.notes)}
        columns |= {"first_token_after_s": self.first_token_after_s}
        about = {"batches": len(self.served.size), "notes": list(self.notes)}
        return columns, about | {"least": self.least, "target_s": self.target_s}

    @staticmethod
    def parts(columns: dict[str, pa.ChunkedArray], about: dict[str, Any]) -> dict[str, Any]:
        """This kind's own parts, from what `stored` gave."""
        batches = about["batches"]
        batch_of = checked("batch_of", columns.pop("batch_of").to_numpy(), "i", -1, batches - 1)
        parts = {name: column.slice(0, batches).to_numpy() for name, column in columns.items()}
        most = {"size": len(batch_of), "gpu": about["gpus"] - 1, "queue": MAX_BINS - 1}
        for name, high in most.items():
            checked(name, parts[name], "i", name == "size", high)
        checked("start_s", parts["start_s"], "f", -LARGEST, LARGEST)
        for name in ("service_s", "max_prompt_tokens", "sum_prompt_tokens"):
            checked(name, parts[name], "f", 0, LARGEST)
        checked("first_token_after_s", parts["first_token_after_s"], "f", 0, LARGEST, missing=True)
        if not np.array_equal(np.bincount(batch_of[batch_of >= 0], minlength=batches), parts["size"]):
            raise ValueError("size: not as many requests as belong to each batch")
        notes = np.array([parts.pop(f"note {name}") for name in about["notes"]])
        notes = notes.T.reshape(about["batches"], len(about["notes"]))
        return {
            "first_token_after_s": parts.pop("first_token_after_s"),
            "served": Batches(**parts, notes=notes, batch_of=batch_of),
            "notes": tuple(about["notes"]),
            "least": about["least"],
            "target_s": about["target_s"],
        }

    @property
    def _bins(self) -> np.ndarray:
        return np.full(len(self.served.queue), -1) if self.edges is None else self.served.queue
