"""Many runs of one position: how many requests of each are late, piece by piece.

`views` makes intervals of them, `against` compares those of two positions.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from book.explorer.state import Position
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.runs.run import Run


@dataclass(frozen=True)
class Replications:
    """Runs of one position, each on requests of its own seed.

    Attributes
    ----------
    position : Position
    tables : list of RequestTable
        The requests of each replication.
    late : dict of str to list of int
        Late requests of each, by scheduler.
    """

    position: Position
    tables: list[RequestTable]
    late: dict[str, list[int]]

    @property
    def trials(self) -> list[int]:
        """Requests of each replication."""
        return [len(table) for table in self.tables]

    def shares(self, scheduler: str) -> np.ndarray:
        """Late requests of each replication, of its own."""
        return np.array(self.late[scheduler]) / self.trials


def replicated(position: Position, count: int, first: int = 0) -> Generator[None, None, Replications]:
    """Serve replications `first` and the following; one where nothing is random.

    Yields
    ------
    None
        After each piece of work, some milliseconds long, so that it can be left off.
    """
    found = Replications(position, [], {name: [] for name in position.schedulers})
    for replication in range(first, first + (count if position.is_random else 1)):
        found.tables.append(position.drawn(replication))
        yield
        for name in position.schedulers:
            found.late[name].append(late(position, found.tables[-1], name, position.d_sla))
        yield
    return found


def served(position: Position, table: RequestTable, scheduler: str, d_sla: float) -> Run:
    """One run, in silence: what it warns of, the view has noted."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return position.served(table, scheduler, d_sla)


def late(position: Position, table: RequestTable, scheduler: str, d_sla: float, run: Run | None = None) -> int:
    """How many requests are later than the deadline, in a run that there is or in one that steers to it."""
    run = served(position, table, scheduler, d_sla) if run is None else run
    return int(np.sum(metrics.violations(run, d_sla)))
