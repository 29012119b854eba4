"""Closed loops that last so long, and how many clients a fleet bears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from simlib.checks import InputError, check_number
from simlib.planning.carried.capacity import SCORED, Search
from simlib.planning.demand import FEWEST
from simlib.requests.loops.closed import dealt
from simlib.requests.loops.think import think_of
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.runs.clients import Window
from simlib.runs.run import Run
from simlib.simulation import simulate

FIRST, MOST = 16, 2**24  # requests of each client that are tried


def lasting(serve: Callable[[int], Run], duration_s: float) -> tuple[Run, Window]:
    """A run in which all clients are at work for so long, and the time that counts, which ends then.

    Parameters
    ----------
    serve : callable
        Given how many requests each client sends, the run. What a client asks first must not depend on how many follow:
        then no answer before the end does.
    duration_s : float
        From the start, > 0: the last client must have begun.
    """
    duration_s = check_number("duration", duration_s, 0.0, open_low=True)
    requests = FIRST
    while True:
        run = serve(requests)
        window = run.at_work
        if window.start_s >= duration_s:
            raise InputError(f"duration: {duration_s:g} s (expected more: the last begins at {window.start_s:g} s)")
        if window.end_s >= duration_s:
            return run, window._replace(end_s=duration_s)
        if requests >= MOST:
            raise InputError(
                f"duration: {duration_s:g} s (expected less: {requests:,} requests each do not last so long)"
            )
        requests *= 2


def scored(run: Run) -> np.ndarray:
    """Which requests of a closed loop count, shape (n_requests,): answered while all are at work, behind a warm-up.

    That is the first tenth, and each client's first request: all of these come at once.
    """
    counts = run.at_work.checked().scored(run.table, run.times.completion_s) & (run.table.previous >= 0)
    counts[: round(SCORED[0] * len(counts))] = False
    if not counts.any():
        raise InputError(f"requests: {len(counts)} (expected more: none is answered while all clients are at work)")
    return counts


class Drawn(NamedTuple):
    """One replication's requests, and its seed, which the times to think are of."""

    requests: RequestTable
    seed: int


@dataclass(frozen=True)
class ClientSearch(Search):
    """A search for the most clients at which few enough requests are late, instead of the largest rate.

    The requests of a draw are dealt to the clients (`workload.dealt`): the same ones, however many there are. Those
    count that are answered while all clients are at work, behind a warm-up (`scored`). A number is a capacity if the
    next one that is tried, a hundredth more or one client, is too many.

    Attributes
    ----------
    think : float, str, ArrivalProcess or Think
        Seconds from an answer to the next request, as `loops.think.think_of` takes it.

    Examples
    --------
    >>> import simlib
    >>> search = ClientSearch({"static": simlib.StaticFIFO(8)}, simlib.workload.original, requests=2000, think=2.0)
    >>> 40 < search(seed=42)["static"] < 80
    True
    """

    think: Any = 0.0
    whole: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "think", think_of(self.think))

    def table(self, seed: int) -> Drawn:
        """One replication's requests; when they arrive is for the clients to say."""
        table = self.draw(self.requests, seed)
        if len(table) != self.requests:
            raise InputError(f"draw: {len(table)} requests (expected {self.requests})")
        return Drawn(table, seed)

    def pace(self, seed: int) -> float:
        """All alike: it is for the clients to say when requests arrive."""
        return 1.0

    def share(self, name: str, table: Drawn, clients: float) -> float:
        """Share of late requests among those that count, under one policy with so many clients."""
        run = self.run(name, table, clients)
        return float(np.mean(metrics.violations(run)[scored(run)]))

    def run(self, name: str, table: Drawn, clients: float) -> Run:
        """Serve one replication's requests under one policy, dealt to so many clients."""
        asked = dealt(table.requests, max(1, round(clients)), self.think, replication=table.seed)
        return simulate(asked, self.policies[name], self.latency, self.gpus, self.execution[name], self.sla)

    def root(self, name: str, table: Drawn) -> float:
        """The most clients at which a policy meets the deadline often enough.

        Raises
        ------
        InputError
            If even one client's requests are late too often, or so many clients are borne that each has few requests.
        """
        most, low, high = self.requests // FEWEST, 0, 1
        while self.share(name, table, high) <= self.late_share:
            if high == most:
                raise InputError(
                    f"requests: {self.requests} (expected more: {name} bears {most} clients, of {FEWEST} requests each)"
                )
            low, high = high, min(2 * high, most)
        if low == 0:
            late = f"{self.share(name, table, 1):.3g} of the requests are late even with one client"
            raise InputError(f"late_share: {self.late_share} (expected more, or a later deadline: {name}, {late})")
        while high - low > max(1, low // 100):
            middle = (low + high) // 2
            low, high = (middle, high) if self.share(name, table, middle) <= self.late_share else (low, middle)
        return float(low)
