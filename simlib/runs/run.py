"""What every run has, whichever way its requests were served.

The input, each request's times, the deadline that they are held against, a summary, a file, a trace. `batch_run` and
`engine_run` add what they know; the metrics module turns a run into numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.durations import Seconds
from simlib.requests.table import RequestTable
from simlib.runs import clients, collapse, metrics, parquet, timeline
from simlib.runs.sla import SLA

if TYPE_CHECKING:
    import pandas as pd

SAID = ("gpus", "policy", "backend", "settings")  # in a file as they are


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run: a `batch_run.BatchRun` or an `engine_run.EngineRun`.

    A kind has what `metrics.Finished` names, `places`, and for its file `stored` and `parts`.

    Attributes
    ----------
    table : RequestTable
        What was asked, in order of arrival: where requests wait for answers, with the arrivals as they were.
    served : engine.batches.Batches or continuous.serve.Served
        What the engine left.
    gpus : int
    sla : SLA
        The deadline that `summary` uses unless told otherwise; ``sla.assumed`` where nobody gave one.
    policy : str
        The policy's name.
    edges : ndarray or None
        Inner edges of the policy's bins, tokens; None without bins.
    backend : str
        ``compiled``, ``stepped`` (the policy in plain Python) or ``interpreted``.
    settings : dict
        Policy, latency and execution, as Python writes them.
    given_row : ndarray of int, shape (n_requests,), optional
        Where requests wait for answers, the row of each one in the table that was given; None: its own.
    """

    table: RequestTable
    served: Any
    gpus: int
    sla: SLA
    policy: str
    edges: np.ndarray | None
    backend: str
    settings: dict[str, Any]
    given_row: np.ndarray | None = None

    @cached_property
    def requests(self) -> pd.DataFrame:
        """The input's columns and ``start_s, first_token_s, completion_s, gpu, batch, bin``, one row a request."""
        frame = self.table.frame().assign(**self.times._asdict(), **self.places)
        if self.given_row is None:
            return frame
        frame["previous"] = np.append(self.given_row, -1)[self.table.previous]
        return frame.iloc[np.argsort(self.given_row)]

    @property
    def collapsed(self) -> bool:
        """Whether its controller has, for most of the run (`collapse`)."""
        return self.collapsed_share > collapse.MOST

    @property
    def at_work(self) -> clients.Window:
        """When all clients of a closed loop are at work (`clients.at_work`), which `summary` may be confined to."""
        return clients.at_work(self.table, self.times.completion_s)

    def summary(self, sla: Any = None, within: clients.Window | None = None) -> dict[str, float | int | str]:
        """The run in numbers (`metrics.SUMMARY_KEYS`), under its own or another deadline; of a part of its time."""
        return metrics.summary(self, sla, within)

    def trace(self, path: str | Path) -> Path:
        """Write the run as a trace for Perfetto or ``chrome://tracing`` (`timeline.write`)."""
        return timeline.write(self, path)

    def save(self, path: str | Path) -> Path:
        """Write the run to one Parquet file (aside, then renamed); `files.load` reads it.

        Raises
        ------
        InputError
            If the folder does not exist or cannot be written, or a step law is a user's own, which no file can hold.
        """
        columns, about = self.stored()
        columns |= {} if self.given_row is None else {"given_row": self.given_row}
        about |= {name: getattr(self, name) for name in SAID} | {
            "kind": type(self).__name__,
            "sla": (dict(self.sla.limits_s), self.sla.assumed),
            "edges": None if self.edges is None else self.edges.tolist(),
        }
        return parquet.write(path, self.table, columns, about)

    @classmethod
    def restored(cls, table: RequestTable, columns: dict[str, Any], about: dict[str, Any]) -> Run:
        """The run again, from what `save` wrote."""
        limits_s, assumed = about["sla"]
        given_row = columns.pop("given_row", None)
        if given_row is not None:
            given_row = parquet.checked("given_row", given_row.to_numpy(), "i", 0, len(table) - 1)
        return cls(
            table=table,
            given_row=given_row,
            sla=SLA({metric: Seconds(limit_s) for metric, limit_s in limits_s.items()}, assumed),
            edges=None if about["edges"] is None else np.array(about["edges"]),
            **{name: about[name] for name in SAID},
            **cls.parts(columns, about),
        )
