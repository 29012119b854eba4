"""What has to be served: requests that can be drawn again and again, from a trace or from a description."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_type
from simlib.requests import lengths, traces, workload
from simlib.requests.arrivals import GammaArrivals
from simlib.requests.loops.chains import in_order, roots
from simlib.requests.loops.closed import MOST_CLIENTS, dealt
from simlib.requests.loops.think import Think, think_of
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.text import many

FEWEST = 20  # requests of each client
BLOCK_ROWS = 50  # rows that a redrawn trace keeps together, so that its bursts and runs of like requests stay


@dataclass(frozen=True, slots=True)
class Demand:
    """Requests to be served.

    Attributes
    ----------
    name : str
        What they are, in a sentence.
    draw : callable
        Given a seed, one replication's request table; the same for the same seed.
    requests : int
        In a replication.
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


def of_table(table: RequestTable, name: str = "the given requests", requests: int = 10_000) -> Demand:
    """Requests like given ones: blocks of consecutive rows, gaps and lengths together, drawn with replacement.

    Parameters
    ----------
    table : RequestTable
        At least two blocks of `BLOCK_ROWS` rows, over some time. Conversations, whose turns wait for each other, are
        drawn as a whole, one by one, with the gap before each.
    name : str
    requests : int
        In a replication, or a few more; the mean rate is that of the table.

    Raises
    ------
    InputError
        If the table is shorter than that, or all of it arrives at one instant.
    """
    check_type("table", table, RequestTable, "a request table")
    requests = check_integer("requests", requests, 1)
    if len(table) < 2 * BLOCK_ROWS:
        raise InputError(f"{name}: {len(table)} requests (expected at least {2 * BLOCK_ROWS}: too few to warm up on)")
    gaps_s = np.diff(table.arrival_s if not table.closed else table.arrival_s[table.previous < 0])
    if not gaps_s.sum() > 0:
        raise InputError(f"{name}: all requests arrive at one instant (expected some time between them)")
    if table.closed:
        return Demand(name, functools.partial(_conversations, table, gaps_s, requests), requests)

    def draw(seed: int) -> RequestTable:
        picked = _blocks(len(table), requests, seed)
        times_s = np.cumsum(gaps_s[picked - 1])
        return _picked(table, picked, times_s - times_s[0])

    return Demand(name, draw, requests)


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
        return _picked(table, _blocks(len(table), requests, seed, first=0, block=block), np.zeros(requests))

    return Demand("the given requests", draw, requests)


def _blocks(rows: int, requests: int, seed: int, first: int = 1, block: int = BLOCK_ROWS) -> np.ndarray:
    """Rows in blocks that begin anywhere from the first."""
    starts = stream("demand", seed, "arrivals").integers(first, rows - block, size=-(-requests // block), endpoint=True)
    return (starts[:, None] + np.arange(block)).ravel()[:requests]


def _conversations(table: RequestTable, gaps_s: np.ndarray, requests: int, seed: int) -> RequestTable:
    """Conversations of a table, drawn with replacement until there are so many requests."""
    rows = np.argsort(roots(table.previous), kind="stable")  # each conversation's one after the other
    turns = np.unique(roots(table.previous), return_counts=True)[1]
    first = np.cumsum(turns) - turns
    drawn = stream("demand", seed, "arrivals").integers(1, len(turns), size=requests)
    drawn = drawn[: int(np.searchsorted(np.cumsum(turns[drawn]), requests)) + 1]
    counts = turns[drawn]
    begins = np.cumsum(counts) - counts
    picked = rows[np.repeat(first[drawn] - begins, counts) + np.arange(counts.sum())]
    place = np.empty(len(table), np.int64)
    place[rows] = np.arange(len(table)) - np.repeat(first, turns)  # of a row in its conversation
    previous = table.previous[picked]
    previous = np.where(previous < 0, -1, np.repeat(begins, counts) + place[previous])
    start_s = np.repeat(np.cumsum(gaps_s[drawn - 1]), counts)
    order, arrival_s, previous = in_order(start_s, previous, table.think_s[picked])
    found = _picked(table, picked[order], arrival_s - arrival_s[0])
    return replace(found, previous=previous, think_s=table.think_s[picked[order]])


def _picked(table: RequestTable, rows: np.ndarray, arrival_s: np.ndarray) -> RequestTable:
    names = ("prompt_tokens", "output_tokens", "predicted_output_tokens", "cached_prompt_tokens")
    columns = {name: getattr(table, name) for name in names}
    return RequestTable(arrival_s, **{name: column[rows] for name, column in columns.items() if column is not None})


def of_trace(path: str | Path, rate_factor: float = 1.0, requests: int = 10_000) -> Demand:
    """Requests like those of a trace or of a serving benchmark's log (`traces.read`), at a multiple of its rate.

    Raises
    ------
    InputError
        As `traces.read`; or if the trace is too short.
    """
    trace = traces.read(path, rate_factor=rate_factor)
    return of_table(trace.requests, str(trace), requests)
