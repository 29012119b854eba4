"""Bins and batch sizes together, when prefill and decode take their time apart: laws of measured GPUs.

Beside `joint_bins`, whose laws know a batch's size and its largest total only. A padded batch of b requests with
longest prompt M_P and longest output M_O takes T(b, M_P, M_O), and these two are of different members: with F the joint
distribution of a bin's prompts and outputs, P(M_P <= p, M_O <= o) = F(p, o)^b, from which every mean and quantile of T
follows. Requests are binned by their predicted output, and batches last as long as the truth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from book.kit.bins.sized_bins import JointBins, Terms, check_bins
from simlib import named
from simlib.checks import MAX_GPUS, InputError, check_integer, check_type
from simlib.engine.batches import MAX_OUTPUT, MAX_PROMPT, MAX_TOTAL, SIZE, SUM_OUTPUT, SUM_PROMPT
from simlib.engine.shapes import BATCH_COLUMNS
from simlib.latency.models import GivenBatchTimes, GivenTimes, OfLongestTotal, times_of
from simlib.policies import bins
from simlib.policies.optimal_bins import BATCHES_A_BIN, partition, starts_of
from simlib.requests.table import RequestTable

SIZES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024])
# Where bins may be cut, as shares of the predictions: finer in the tail, which decides what a batch lasts.
CUTS = np.unique(np.concatenate([np.arange(1, 20) / 20, 1 - np.geomspace(0.002, 0.05, 12)]))
COARSE, FINE = 48, 320  # lengths told apart on either axis: to choose, to judge


class Lattice(NamedTuple):
    """Requests by what their batch's law asks of them: two lengths, each one of few.

    Of a law of totals, the second axis has one place. `x`, `y` are tokens; `x_of`, `y_of` are each request's places.
    """

    x: np.ndarray
    y: np.ndarray
    x_of: np.ndarray
    y_of: np.ndarray
    of_totals: bool


def capacity(
    requests: RequestTable,
    edges: Any,
    batch_sizes: int | Sequence[int],
    latency: Any,
    *,
    allowance_s: float = math.inf,
    gpus: int = 1,
) -> JointBins:
    """What given bins with given batch sizes carry: capacity = G / sum_i p_i E[T(b_i, M_P, M_O) | bin i] / b_i.

    Parameters
    ----------
    requests : RequestTable
        Prompts, outputs and predicted outputs that are drawn from, independently, a request's three together.
    edges, batch_sizes, allowance_s, gpus
        As for `joint_bins.capacity`; edges are on predicted outputs.
    latency : object, str, Path or callable
        As for `simulate`: a law of a batch's size and of its longest prompt and longest output, or of its largest
        total. Padded batches are of such a law, packed ones are not; what asks more of a batch is refused.

    Notes
    -----
    Exact for up to 320 distinct lengths on either axis. Where there are more, neighbours within a constant ratio stand
    together at their mean: within 2 % of a length that runs from 1 to 1,000 tokens.

    Examples
    --------
    >>> from simlib.latency.phases import Phases
    >>> table = RequestTable([0, 0], [100, 300], [51, 11], [51, 11])
    >>> both = capacity(table, [], 2, Phases(0.0, 1e-3, 0.01, 0.0))  # the longest prompt with the longest output
    >>> round(float(both.costs_s[0]), 3)  # prefill 2 (1/4 0.1 + 3/4 0.3) s, decode 1/4 0.1 + 3/4 0.5 s, by two
    0.45
    """
    inner, sizes = check_bins(edges, batch_sizes, _predictions(requests))
    return _worth(requests, inner, sizes, latency, allowance_s, check_integer("gpus", gpus, 1, MAX_GPUS))


def joint_optimum(
    requests: RequestTable,
    k_bins: int,
    latency: Any,
    deadline_s: float,
    *,
    waiting_budget_s: float = 0.0,
    quantile: float = 0.9,
    max_batch: int = 128,
    bounds: str | Sequence[float] = "optimal",
    gpus: int = 1,
) -> JointBins:
    """The bins and batch sizes that carry most requests while batches keep to a deadline, under a law of phases.

    Parameters
    ----------
    requests, latency
        As for `capacity`.
    k_bins, deadline_s, waiting_budget_s, quantile, max_batch, bounds, gpus
        As for `joint_bins.joint_optimum`.

    Raises
    ------
    InputError
        If an argument is bad, or more than a share of 1 - `quantile` of the requests miss the deadline even alone.

    Notes
    -----
    The programme of `joint_bins.joint_optimum`: a bin's best batch does not depend on the other bins. Edges
    are chosen among `CUTS` (all distinct predictions, where there are no more), sizes among `SIZES`, from lengths told
    apart in 48 steps of a constant ratio; what is returned is judged as by `capacity`. A batch of more than one must
    be met by three batches of the bin's rows.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.workload.original(2000, seed=1)
    >>> law = simlib.named.latency_of("h100x8-splitwise-llama2-70b")
    >>> found = joint_optimum(table, 2, law, deadline_s=60.0, max_batch=32)
    >>> one = joint_optimum(table, 1, law, deadline_s=60.0, max_batch=32)
    >>> bool(found.capacity_rps > one.capacity_rps)
    True
    """
    predicted, k_bins = _predictions(requests), check_integer("k_bins", k_bins, 1, bins.MAX_BINS)
    max_batch, gpus, share, _, allowance_s = terms = Terms.of(max_batch, gpus, quantile, deadline_s, waiting_budget_s)
    alone = _worth(requests, np.zeros(0), np.ones(1, int), latency, allowance_s, gpus)
    if alone.late_share > 1 - share:
        make_it = f"in batches of one; {1 - alone.late_share:.4g} of them make it"
        raise terms.missed(f"time for a share of {share:g} of the requests {make_it}")
    optimal = isinstance(bounds, str) and bounds == "optimal"
    inner = _cuts(predicted) if optimal else np.unique(bins.edges(bounds, predicted, k_bins))
    cost = _intervals(requests, predicted, inner, latency, allowance_s, share, SIZES[max_batch >= SIZES])
    starts = np.arange(len(inner) + 2)
    if optimal:
        best, origin = partition(k_bins, lambda first: cost(first)[0], len(inner) + 1)
        starts = starts_of(origin, 1 + int(np.argmin(best[1:, -1])))
    sizes = np.array([int(cost(first)[1][last]) for first, last in pairwise(starts)])
    return _worth(requests, inner[starts[1:-1] - 1], sizes, latency, allowance_s, gpus)


def _predictions(requests: Any) -> np.ndarray:
    check_type("requests", requests, RequestTable, "a request table")
    if requests.predicted_output_tokens is None:
        raise InputError("predicted_output_tokens: missing column (requests are binned by it)")
    return requests.predicted_output_tokens


def _cuts(predicted: np.ndarray) -> np.ndarray:
    values = np.unique(predicted)[1:]
    return values if len(values) <= len(CUTS) else np.unique(np.quantile(predicted, CUTS))


def _worth(
    requests: RequestTable, inner: np.ndarray, sizes: np.ndarray, given: Any, allowance_s: float, gpus: int
) -> JointBins:
    model = named.latency_of(given)
    lattice = _lattice(requests, model, FINE)
    bin_of = bins.assign(requests.predicted_output_tokens, inner)
    shares, costs_s, late_shares = worth = np.zeros((3, len(sizes)))
    for i in np.unique(bin_of):
        mine = bin_of == i
        at_most = _at_most(_counts(lattice, np.zeros(int(mine.sum()), int), 1, mine))
        times_s = _times(model, lattice, np.array([sizes[i]]), given)[0]
        shares[i] = mine.mean()
        means = _power(at_most, int(sizes[i])) @ _weights(times_s, times_s > allowance_s)
        costs_s[i], late_shares[i] = means[0, 0] / sizes[i], min(max(means[0, 1], 0.0), 1.0)
    return JointBins.of(inner, sizes, worth, gpus)


def _intervals(
    requests: RequestTable,
    predicted: np.ndarray,
    cuts: np.ndarray,
    given: Any,
    allowance_s: float,
    quantile: float,
    sizes: np.ndarray,
) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """From a first cell between cuts, by the cell after the last: share times least cost a request, and its size."""
    model = named.latency_of(given)
    lattice, cells = _lattice(requests, model, COARSE), len(cuts) + 1
    table = _counts(lattice, bins.assign(predicted, cuts), cells)
    weights = [_weights(times_s, times_s <= allowance_s) for times_s in _times(model, lattice, sizes, given)]

    @functools.cache
    def cost(first: int) -> tuple[np.ndarray, np.ndarray]:
        up_to = table[first:].cumsum(axis=0)
        mass, at_most = up_to.sum(axis=(1, 2)), _at_most(up_to)
        each = np.full((len(sizes), len(mass)), np.inf)
        for row, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
            seconds, in_time = (_power(at_most, int(size)) @ weight).T
            allowed = (mass > 0) & ((size == 1) | ((mass >= BATCHES_A_BIN * size) & (in_time >= quantile)))
            each[row, allowed] = seconds[allowed] / size
        costs, chosen = np.full(cells + 1, np.inf), np.ones(cells + 1, int)
        costs[first + 1 :] = np.where(mass > 0, mass, 1.0) / len(predicted) * each.min(axis=0)
        chosen[first + 1 :] = sizes[each.argmin(axis=0)]
        return costs, chosen

    return cost


def _lattice(requests: RequestTable, model: Any, steps: int) -> Lattice:
    of_totals = _is_of_totals(model)
    prompts, outputs = requests.prompt_tokens, requests.output_tokens
    x, x_of = _places(prompts + outputs if of_totals else prompts, steps)
    y, y_of = (np.zeros(1), np.zeros(len(requests), int)) if of_totals else _places(outputs, steps)
    return Lattice(x, y, x_of, y_of, of_totals)


def _places(tokens: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """At most so many lengths that stand for all, and which one stands for each."""
    values, place = np.unique(tokens, return_inverse=True)
    if len(values) <= steps:
        return values.astype(float), place
    ends = np.geomspace(max(values[0], 1), values[-1], steps)
    _, place = np.unique(np.searchsorted(ends, tokens), return_inverse=True)
    return np.bincount(place, tokens) / np.bincount(place), place


def _counts(lattice: Lattice, cell_of: np.ndarray, cells: int, rows: Any = slice(None)) -> np.ndarray:
    """How many of these rows lie in each cell, at each place of the lattice."""
    counts = np.zeros((cells, len(lattice.x), len(lattice.y)))
    np.add.at(counts, (cell_of, lattice.x_of[rows], lattice.y_of[rows]), 1)
    return counts


def _at_most(counts: np.ndarray) -> np.ndarray:
    """Share of requests that are at most as long on both axes, one row a bin."""
    up_to = counts.cumsum(axis=1).cumsum(axis=2).reshape(len(counts), -1)
    return up_to / np.maximum(up_to[:, -1:], 1)


def _power(base: np.ndarray, exponent: int) -> np.ndarray:
    """Whole powers by squaring: a quarter of what ``**`` takes."""
    found = base if exponent & 1 else 1.0
    while exponent := exponent >> 1:
        base = base * base
        if exponent & 1:
            found = found * base
    return found


def _weights(times_s: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """What the distribution of a batch's longest lengths is multiplied by for the means of both; shape (places, 2).

    E g = sum_ij g_ij (F_ij - F_(i-1)j - F_i(j-1) + F_(i-1)(j-1)), taken by parts: the differences are of g.
    """
    both = [np.pad(values.astype(float), ((0, 1), (0, 1))) for values in (times_s, flags)]
    return np.column_stack([np.diff(np.diff(values, axis=0), axis=1).ravel() for values in both])


def _times(model: Any, lattice: Lattice, sizes: np.ndarray, given: Any) -> np.ndarray:
    """T in seconds, shape (sizes, x, y); refused if it asks more of a batch than the lattice knows."""
    shape = (len(sizes), len(lattice.x), len(lattice.y))
    size, x, y = (v.ravel() for v in np.broadcast_arrays(*np.ix_(sizes.astype(float), lattice.x, lattice.y)))
    # What is not known of a batch, once as little and once as much as it can be; of a batch of one, all is known.
    least, most = (np.full((len(size), len(BATCH_COLUMNS)), filler) for filler in (1.0, 2.0))
    company = size > 1
    for rows, members in ((least, 1.0), (most, size)):
        if lattice.of_totals:
            prompt, output = (0.0 * x, x) if rows is least else (x, x * company)
            total = x
        else:
            prompt, output, total = x, y, np.where(company & (rows is least), np.maximum(x, y), x + y)
        rows[:, SIZE], rows[:, MAX_PROMPT], rows[:, MAX_OUTPUT], rows[:, MAX_TOTAL] = size, prompt, output, total
        rows[:, SUM_PROMPT], rows[:, SUM_OUTPUT] = members * prompt, members * output
    times_s = times_of(model.law, most, model.params)
    alike = np.array_equal(times_s, times_of(model.law, least, model.params))
    if not alike or not (np.isfinite(times_s) & (times_s >= 0)).all():
        raise InputError(
            f"latency: {given!r:.80} (expected seconds >= 0 from a batch's size and its longest prompt and output, or "
            "its largest total, alone)"
        )
    return times_s.reshape(shape)


def _is_of_totals(model: Any) -> bool:
    """Whether a law asks for a batch's largest total; what asks for more is refused by `_times`."""
    if isinstance(model, GivenTimes | GivenBatchTimes):
        raise InputError(f"latency: {type(model).__name__} (expected a law of a batch's shape, not times given)")
    model = getattr(model, "model", model)
    if isinstance(model, OfLongestTotal):
        return True
    rows = np.full((3, len(BATCH_COLUMNS)), 2.0)  # batches of two, all with the same largest total
    rows[:, MAX_PROMPT], rows[:, MAX_OUTPUT], rows[:, MAX_TOTAL] = (1.0, 40.0, 40.0), (40.0, 1.0, 40.0), 41.0
    rows[:, SUM_PROMPT], rows[:, SUM_OUTPUT] = 1.5 * rows[:, MAX_PROMPT], 1.5 * rows[:, MAX_OUTPUT]
    return len(np.unique(times_of(model.law, rows, model.params))) == 1
