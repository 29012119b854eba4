"""What happened: the run that `simulate` returns.

Columns of the input, times of every request, the batches, the controller's trajectory. Data frames are built when
they are first asked for; the metrics module turns a run into numbers.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import InputError
from simlib.engine.batches import Batches
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.runs.metrics import Times
from simlib.runs.sla import SLA

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes
    ----------
    table : RequestTable
        What was asked, in order of arrival.
    served : engine.Batches
        Batches in order of start, and the batch of each request (-1: rejected, or turned away).
    first_token_after_s : ndarray, shape (n_batches,)
        From a batch's start to its first token, seconds.
    gpus : int
    sla : metrics.SLA or float or str
        The deadline that `summary` uses unless told otherwise.
    policy : str
        The policy's name.
    notes : tuple of str
        Names of the columns that the policy noted with each batch.
    binned : bool
        Whether the policy has bins.
    edges : ndarray or None
        Inner edges of the bins, tokens.
    backend : str
        ``compiled``, ``stepped`` (the policy in plain Python) or ``interpreted``.
    """

    table: RequestTable
    served: Batches
    first_token_after_s: np.ndarray
    gpus: int
    sla: Any
    policy: str
    notes: tuple[str, ...] = ()
    binned: bool = False
    edges: np.ndarray | None = None
    backend: str = "compiled"
    settings: dict[str, Any] = field(default_factory=dict)

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
    def rejected(self) -> int:
        """Requests that were not served: they alone exceed the memory, or the policy turned them away."""
        return int(np.sum(self.served.batch_of < 0))

    @property
    def busy_s(self) -> float:
        """Time that the GPUs were busy, all together, seconds."""
        return float(np.sum(self.served.service_s))

    @property
    def batch_size_mean(self) -> float:
        """Requests of a batch, on average; 0 without batches."""
        return int(self.served.size.sum()) / max(len(self.served.size), 1)  # numpy's mean of integers is slow

    def gap_p99_s(self, tpot_s: np.ndarray, gaps: np.ndarray) -> float:
        """99th percentile over all times between tokens, seconds; here a request's are all equal to its TPOT."""
        return metrics.token_p99(tpot_s, gaps)

    @cached_property
    def requests(self) -> pd.DataFrame:
        """The input's columns and ``start_s, first_token_s, completion_s, gpu, batch, bin``, one row a request."""
        batch = self.served.batch_of
        frame = self.table.frame()
        for name, values in self.times._asdict().items():
            frame[name] = values
        gpu, queue = (np.append(column, -1)[batch] for column in (self.served.gpu, self._bins))
        return frame.assign(gpu=gpu, batch=batch, bin=queue)

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

    def summary(self, sla: Any = None) -> dict[str, float | int | str]:
        """The run in numbers (`metrics.SUMMARY_KEYS`), under its own or another deadline."""
        return metrics.summary(self, sla)

    def save(self, path: str | Path) -> Path:
        """Write the run to one Parquet file (aside, then renamed).

        Raises
        ------
        InputError
            If the folder does not exist or cannot be written, or a step law is a user's own, which no file can hold.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = _checked(path)
        columns, about = self._stored()
        about |= {
            "gpus": self.gpus,
            "sla": dict(SLA.of(self.sla).limits_s),
            "policy": self.policy,
            "binned": self.binned,
            "edges": None if self.edges is None else self.edges.tolist(),
            "backend": self.backend,
            "settings": self.settings,
            "index_freq": _freq(self.table.index),
        }
        aside = path.with_name(path.name + ".part")
        try:
            stored = pa.Table.from_pandas(self.table.frame(), preserve_index=True)
            for name, values in columns.items():
                rows = np.arange(len(self.table)) >= len(values)
                padded = np.append(values, np.zeros(len(rows) - len(values), values.dtype))
                stored = stored.append_column(f"run:{name}", pa.array(padded, mask=rows))
            metadata = {**(stored.schema.metadata or {}), b"simlib.runs.run": json.dumps(about).encode()}
            pq.write_table(stored.replace_schema_metadata(metadata), aside)
            os.replace(aside, path)
        except (OSError, ValueError, TypeError, pa.ArrowException) as problem:
            with contextlib.suppress(OSError):
                aside.unlink(missing_ok=True)
            raise InputError(f"{path}: the run cannot be saved ({problem})") from None
        return path

    @staticmethod
    def load(path: str | Path) -> Run:
        """Read a run that `save` wrote, of either execution model.

        Raises
        ------
        InputError
            If the file is missing or not a run.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = _checked(path)
        try:
            stored = pq.read_table(path)
            about = json.loads(stored.schema.metadata[b"simlib.runs.run"])
            own = [name for name in stored.column_names if name.startswith("run:")]
            columns = {name.removeprefix("run:"): stored[name] for name in own}
            kind = _engine_run() if "rules" in about else Run
            frame = stored.drop_columns(own).to_pandas()
            if about.get("index_freq"):
                with contextlib.suppress(ValueError):  # a calendar of holidays is not in a frequency's name
                    frame.index.freq = about["index_freq"]
            return kind(
                table=RequestTable.of(frame),
                gpus=about["gpus"],
                sla=SLA(about["sla"]),
                policy=about["policy"],
                binned=about["binned"],
                edges=None if about["edges"] is None else np.array(about["edges"]),
                backend=about["backend"],
                settings=about["settings"],
                **kind._restored(columns, about),
            )
        except InputError:
            raise
        except (OSError, KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as problem:
            raise InputError(f"{path}: not a saved run ({problem})") from None

    def trace(self, path: str | Path) -> Path:
        """Write the run as a trace for Perfetto or ``chrome://tracing`` (`timeline.write`)."""
        from simlib.runs import timeline

        return timeline.write(self, path)

    def _stored(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """What the file has of this kind of run: columns, and what is said of the whole."""
        # A run has at most as many batches as requests: theirs are columns too, empty below the last batch.
        columns = {name: getattr(self.served, name) for name in Batches._fields if name != "notes"}
        columns |= {f"note {name}": self.served.notes[:, place] for place, name in enumerate(self.notes)}
        columns |= {"first_token_after_s": self.first_token_after_s}
        return columns, {"batches": len(self.served.size), "notes": list(self.notes)}

    @staticmethod
    def _restored(columns: dict[str, pa.ChunkedArray], about: dict[str, Any]) -> dict[str, Any]:
        """This kind's own parts, from what `_stored` gave."""
        batch_of = columns.pop("batch_of").to_numpy()
        parts = {name: column.slice(0, about["batches"]).to_numpy() for name, column in columns.items()}
        first_token_after_s = parts.pop("first_token_after_s")
        notes = np.array([parts.pop(f"note {name}") for name in about["notes"]])
        notes = notes.T.reshape(about["batches"], len(about["notes"]))
        return {
            "served": Batches(**parts, notes=notes, batch_of=batch_of),
            "first_token_after_s": first_token_after_s,
            "notes": tuple(about["notes"]),
        }

    @property
    def _bins(self) -> np.ndarray:
        return self.served.queue if self.binned else np.full(len(self.served.queue), -1)


def _engine_run() -> type[Run]:
    from simlib.runs.engine_run import EngineRun  # which imports this module

    return EngineRun


def _freq(index: Any) -> str | None:
    """The step of an index of dates or durations, by pandas' name: Parquet keeps its values alone."""
    import pandas as pd

    return index.freqstr if isinstance(index, (pd.DatetimeIndex, pd.TimedeltaIndex)) else None


def _checked(path: str | Path) -> Path:
    if not isinstance(path, (str, Path)) or not str(path) or not Path(path).name or "\0" in str(path):
        raise InputError(f"path: {path!r} (expected the path of a file)")
    return Path(path)
