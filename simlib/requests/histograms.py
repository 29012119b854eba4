"""Workloads from length histograms, for whoever has no log of single requests.

First in the flow, on top of `workload`: a histogram becomes a mixture of uniform lengths, arrivals are Poisson. What
such a workload leaves out: bursts, and any relation between a request's prompt and its output.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from simlib import reading
from simlib.checks import InputError, check_integer, check_number, number_in
from simlib.requests.arrivals import Poisson
from simlib.requests.lengths import Mixture, Uniform
from simlib.requests.predictors import MOST_TOKENS
from simlib.requests.table import RequestTable
from simlib.requests.workload import generate

MOST_CELLS = 10_000


def from_histograms(
    n: int,
    prompt_edges: Sequence[float],
    prompt_counts: Sequence[float],
    output_edges: Sequence[float],
    output_counts: Sequence[float],
    rate_rps: float,
    seed: int = 0,
) -> RequestTable:
    """Draw requests whose prompt and output lengths follow two histograms, with Poisson arrivals.

    Parameters
    ----------
    n : int
        Number of requests, at least 1.
    prompt_edges, output_edges : sequence of float, shape (cells + 1,)
        Ascending edges of the cells, in tokens, >= 0. A cell has its lower edge and not its upper one; the last cell
        has both, as in `numpy.histogram`.
    prompt_counts, output_counts : sequence of float, shape (cells,)
        How many requests fell into each cell, >= 0, not all 0; shares do as well.
    rate_rps : float
        Mean arrival rate, in requests per second.
    seed : int
        Replication of the streams, see `simlib.requests.streams.stream`.

    Returns
    -------
    RequestTable
        `n` requests without predictions. Within a cell every whole number of tokens is equally likely; prompt and
        output are independent.

    Examples
    --------
    >>> table = from_histograms(1000, [1, 101, 501], [90, 10], [1, 65], [1], rate_rps=20.0)
    >>> bool(table.prompt_tokens.max() <= 501), int((table.prompt_tokens < 101).sum())
    (True, 901)
    """
    seed = check_integer("seed", seed, 0, 2**32 - 1)
    prompt = _mixture("prompt", prompt_edges, prompt_counts)
    output = _mixture("output", output_edges, output_counts)
    return generate(n, Poisson(rate_rps), prompt, output, family="histograms", replication=seed)


def read_histogram(path: str | os.PathLike[str]) -> tuple[list[float], list[float]]:
    """Read a histogram's edges and counts, ready to be unpacked into `from_histograms`.

    Parameters
    ----------
    path : str or path-like
        A JSON object with the arrays ``edges`` and ``counts``, or a CSV with these two columns, where the last edge
        has no count.
    """
    source, text = reading.text(path, "a histogram as JSON or CSV, with edges and counts")
    try:
        given = reading.json_of(text, source) if text.lstrip().startswith(("{", "[")) else _csv(source, text)
        edges, counts = (list(given[name]) for name in ("edges", "counts"))
    except (KeyError, TypeError):
        raise InputError(f"{source}: no histogram (expected JSON or CSV with edges and counts)") from None
    return _numbers(f"{source}, edges", edges), _numbers(f"{source}, counts", counts)


def _csv(source: str, text: str) -> dict[str, list[float]]:
    """The two columns as numbers; the empty cell beside the last edge is no count."""
    frame = reading.delimited(source, text.encode())
    last = len(frame) - (frame["counts"].iloc[-1] == "")
    return {"edges": [*map(number_in, frame["edges"])], "counts": [*map(number_in, frame["counts"][:last])]}


def _mixture(name: str, edges: Sequence[float], counts: Sequence[float]) -> Mixture:
    """One uniform part a cell, weighted with its count; cells without a count are left out."""
    edges, counts = _numbers(f"{name}_edges", edges), _numbers(f"{name}_counts", counts)
    check_integer(f"{name}_counts, cells", len(counts), 1, MOST_CELLS)
    if len(edges) != len(counts) + 1:
        raise InputError(f"{name}_edges: {len(edges)} of them (expected {len(counts) + 1}, one more than counts)")
    for i in range(1, len(edges)):
        if edges[i] <= edges[i - 1]:
            raise InputError(
                f"{name}_edges, edge {i}: {edges[i]:g} (expected more than the edge before, {edges[i - 1]:g})"
            )
    if not any(counts):
        raise InputError(f"{name}_counts: all 0 (expected a count that is positive)")
    lowest = np.ceil(edges[:-1]).astype(int)
    highest = np.append(np.ceil(edges[1:-1]) - 1, np.floor(edges[-1])).astype(int)
    for i in np.flatnonzero(np.array(counts, dtype=bool) & (highest < lowest)):
        raise InputError(
            f"{name}_edges, cell {i}: no whole number from {edges[i]:g} to {edges[i + 1]:g} (expected one)"
        )
    cells = [(Uniform(int(a), int(b)), c) for a, b, c in zip(lowest, highest, counts, strict=True) if c]
    return Mixture(parts=[part for part, _ in cells], weights=[count for _, count in cells])


def _numbers(name: str, given: Sequence[float]) -> list[float]:
    if isinstance(given, (str, bytes)) or not np.iterable(given):
        raise InputError(f"{name}: {given!r} (expected a list of numbers)")
    high = MOST_TOKENS if name.endswith("edges") else 1e12
    return [check_number(f"{name}, number {i}", value, 0.0, high) for i, value in enumerate(given)]
