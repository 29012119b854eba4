"""What has to be served: requests that can be drawn again and again, from a trace or from a description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simlib.checks import InputError, check_integer, check_type
from simlib.requests import lengths, traces, workload
from simlib.requests.arrivals import GammaArrivals
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable

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
    """

    name: str
    draw: Callable[[int], RequestTable]
    requests: int


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
        At least two blocks of `BLOCK_ROWS` rows, over some time.
    name : str
    requests : int
        In a replication; the mean rate is that of the table.

    Raises
    ------
    InputError
        If the table is shorter than that, or all of it arrives at one instant.
    """
    check_type("table", table, RequestTable, "a request table")
    requests = check_integer("requests", requests, 1)
    gaps_s = np.diff(table.arrival_s)
    if len(table) < 2 * BLOCK_ROWS:
        raise InputError(f"{name}: {len(table)} requests (expected at least {2 * BLOCK_ROWS}: too few to warm up on)")
    if not gaps_s.sum() > 0:
        raise InputError(f"{name}: all requests arrive at one instant (expected some time between them)")

    def draw(seed: int) -> RequestTable:
        blocks = -(-requests // BLOCK_ROWS)
        last = len(table) - BLOCK_ROWS
        starts = stream("demand", seed, "arrivals").integers(1, last, size=blocks, endpoint=True)
        picked = (starts[:, None] + np.arange(BLOCK_ROWS)).ravel()[:requests]
        times_s = np.cumsum(gaps_s[picked - 1])
        columns = {"prompt_tokens": table.prompt_tokens[picked], "output_tokens": table.output_tokens[picked]}
        for column in ("predicted_output_tokens", "cached_prompt_tokens"):
            if getattr(table, column) is not None:
                columns[column] = getattr(table, column)[picked]
        return RequestTable(arrival_s=times_s - times_s[0], **columns)

    return Demand(name, draw, requests)


def of_trace(path: str | Path, rate_factor: float = 1.0, requests: int = 10_000) -> Demand:
    """Requests like those of a trace or of a serving benchmark's log (`traces.read`), at a multiple of its rate.

    Raises
    ------
    InputError
        As `traces.read`; or if the trace is too short.
    """
    trace = traces.read(path, rate_factor=rate_factor)
    return of_table(trace.requests, str(trace), requests)
