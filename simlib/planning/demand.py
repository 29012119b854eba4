"""What has to be served: a record of requests, cut into windows; or a description, from which they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_type
from simlib.continuous.settings import Continuous
from simlib.planning import windows
from simlib.planning.windows import WINDOW_S, Windows
from simlib.requests import lengths, traces, workload
from simlib.requests.arrivals import GammaArrivals
from simlib.requests.loops.closed import MOST_CLIENTS, dealt
from simlib.requests.loops.think import Think, think_of
from simlib.requests.table import RequestTable
from simlib.requests.workload import BLOCK_ROWS, blocks, of_rows
from simlib.text import many

FEWEST = 20  # requests of each client
LEAST_ROWS = 20  # of a record


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests to be served.

    Attributes
    ----------
    name : str
        What they are, in a sentence.
    draw : callable
        Given a seed, one replication's request table, the same for the same seed; of a record always the record.
    requests : int
        In a replication.
    windows : Windows, optional
        Of a record: its windows.
    clients : int, optional
        How many wait for their answers, where the rate is not given; then arrivals of what is drawn do not matter.
    think : Think, optional
        How long these think after an answer.
    """

    name: str
    draw: Callable[[int], RequestTable]
    requests: int
    clients: int | None = None
    think: Think | None = None
    windows: Windows | None = None

    @property
    def recorded(self) -> bool:
        """Whether all there is was recorded: nothing of it is drawn."""
        return self.windows is not None

    @property
    def promises(self) -> bool:
        """Whether there are windows enough, two, for a word on those to come."""
        return self.recorded and len(self.windows) > 1

    def at(self, seed: int, table: RequestTable, load: float) -> RequestTable:
        """What was drawn with this seed, at a multiple of the load: of the rate, or of the number of clients."""
        if self.clients is None:
            return table if load == 1.0 else table.at_rate(load)
        clients = max(1, min(round(self.clients * load), len(table)))
        return table.kept(("dealt", clients), lambda: dealt(table, clients, self.think, replication=seed))


def described(
    rate_rps: float,
    prompt: lengths.LengthDistribution,
    output: lengths.LengthDistribution,
    gap_cv: float = 1.0,
    requests: int = 10_000,
) -> Demand:
    """Requests by their rate and lengths.

    Parameters
    ----------
    rate_rps : float
        Mean arrival rate, requests per second, > 0.
    prompt, output : LengthDistribution
        Tokens of prompts and outputs.
    gap_cv : float
        Coefficient of variation of the gaps between arrivals, > 0: 1 is a Poisson process, more is burstier.
    requests : int
        In a replication.

    Examples
    --------
    >>> demand = described(5.0, lengths.LogNormal(500, 0.8), lengths.LogNormal(150, 0.7), requests=1000)
    >>> len(demand.draw(42)), demand.name
    (1000, '5 requests/s, gaps with coefficient of variation 1')
    """
    requests = check_integer("requests", requests, 1)
    arrivals = GammaArrivals(rate_rps, gap_cv)

    def draw(seed: int) -> RequestTable:
        return workload.generate(requests, arrivals, prompt, output, family="demand", replication=seed)

    return Demand(f"{rate_rps:g} requests/s, gaps with coefficient of variation {gap_cv:g}", draw, requests)


def of_table(
    table: RequestTable, name: str = "the given requests", window_s: float = WINDOW_S, bridge: bool = False
) -> Demand:
    """What was recorded, as it was: its windows are what a plan promises to be ready for.

    Parameters
    ----------
    table : RequestTable
        At least `LEAST_ROWS` rows, over some time.
    name : str
    window_s, bridge
        As `windows.cut` takes them.

    Raises
    ------
    InputError
        If the table is shorter than that, or all of it arrives at one instant.
    """
    check_type("table", table, RequestTable, "a request table")
    if len(table) < LEAST_ROWS:
        raise InputError(f"{name}: {len(table)} requests (expected at least {LEAST_ROWS})")
    if not table.arrival_s[-1] > table.arrival_s[0]:
        raise InputError(f"{name}: all requests arrive at one instant (expected some time between them)")
    found = windows.cut(table, window_s, bridge)
    return Demand(name, lambda _: found.table, len(table), windows=found)


def of_clients(demand: Demand, clients: int, think: Any = 0.0) -> Demand:
    """The same requests from so many clients, each of whom sends the next after an answer and a time to think.

    Parameters
    ----------
    demand : Demand
        What they ask; when does not matter any more. There are at least `FEWEST` requests a client.
    clients : int
    think : float, str, ArrivalProcess or Think
        Seconds, as `loops.think.think_of` takes it.

    Examples
    --------
    >>> some = described(1.0, lengths.Fixed(500), lengths.Fixed(150), requests=1000)
    >>> demand = of_clients(some, 20, think=2.0)
    >>> demand.name, int((demand.at(42, demand.draw(42), 2.0).previous < 0).sum())
    ('20 clients, 2 s from an answer to the next request', 40)
    """
    clients, think = check_integer("clients", clients, 1, MOST_CLIENTS), think_of(think)
    if demand.requests < FEWEST * clients:
        least = FEWEST * clients
        raise InputError(f"requests: {demand.requests} (expected at least {least}, {FEWEST} from each of the clients)")
    about = f"{many(clients, 'client')}, {think.mean_s:g} s from an answer to the next request"
    return replace(demand, name=about, clients=clients, think=think)


def of_lengths(table: RequestTable, requests: int = 10_000) -> Demand:
    """Requests like given ones, whose arrivals do not matter: blocks of consecutive rows, for `of_clients`."""
    check_type("table", table, RequestTable, "a request table")
    requests, block = check_integer("requests", requests, 1), min(BLOCK_ROWS, -(-len(table) // 2))
    if table.closed:
        raise InputError("previous: turns wait for each other (expected requests that do not, to be drawn in blocks)")

    def draw(seed: int) -> RequestTable:
        return of_rows(table, blocks(len(table), requests, seed, first=0, block=block), np.zeros(requests))

    return Demand("the given requests", draw, requests)


def of_trace(path: str | Path, rate_factor: float = 1.0, window_s: float = WINDOW_S, bridge: bool = False) -> Demand:
    """What a trace or a serving benchmark's log recorded (`traces.read`), at a multiple of its rate.

    Where it names its prompts' blocks, the engine's cache finds them.

    Raises
    ------
    InputError
        As `traces.read` and `of_table`.
    """
    trace = traces.read(path, rate_factor=rate_factor, engine_block_tokens=Continuous().block_tokens)
    return of_table(trace.requests, str(trace), window_s, bridge)
