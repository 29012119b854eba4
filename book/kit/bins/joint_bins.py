"""Bins and batch sizes together, when a batch takes longer the more requests it has and there is a deadline to meet.

A server spends c_i = E[T(b_i, L)] / b_i on a request of bin i, L the largest length of a batch of b_i. A bin's best
batch does not depend on the other bins, so that the dynamic programme of `optimal_bins` is exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from book.kit.bins.sized_bins import JointBins, Terms, check_bins
from simlib import named
from simlib.checks import MAX_GPUS, InputError, check_integer, check_number
from simlib.engine.batches import MAX_TOTAL, SIZE
from simlib.engine.compiled import compiled, is_worthwhile
from simlib.engine.shapes import BATCH_COLUMNS
from simlib.latency.models import Affine
from simlib.policies import bins
from simlib.policies.optimal_bins import (
    BATCHES_A_BIN,
    STEPS_A_REQUEST,
    check_distinct,
    distinct,
    edges_between,
    partition,
    starts_of,
)
from simlib.requests.arrivals import check_rate


def cheapest_costs(
    first: int,
    times_s: np.ndarray,
    up_to: np.ndarray,
    fits: np.ndarray,
    shares: np.ndarray,
    rows: np.ndarray,
    costs: np.ndarray,
    sizes: np.ndarray,
    left: np.ndarray,
):
    """Kernel: share of the requests of each interval from `first` times its least c, and the batch size that has it.

    ``times_s[j, b - 1]`` is T(b, value j), ``up_to[j]`` requests are shorter than value j. T's expected maximum follows
    from interval to interval as in `optimal_bins.interval_costs`, for all batch sizes at once. A batch of more than
    one must be met by ``rows[b - 1]`` requests of the bin, and the share ``shares[b - 1]`` of them must be among the
    first ``fits[b - 1]`` values, which are in time.
    """
    total, before = up_to[len(up_to) - 1], 0.0
    for b in range(len(left)):
        left[b] = 0.0
    for last in range(first + 1, len(up_to)):
        mass = up_to[last] - up_to[first]
        ratio, power = before / mass, 1.0
        before = mass
        least, chosen = math.inf, 0
        for b in range(len(left)):
            if last > first + 1:
                power *= ratio
                left[b] = (left[b] + times_s[last - 1, b] - times_s[last - 2, b]) * power
            if b > 0:
                in_time = up_to[min(fits[b], last)] - up_to[first]
                if mass < rows[b] or in_time < shares[b] * mass:
                    continue
            cost = (times_s[last - 1, b] - left[b]) / (b + 1)
            if cost < least:
                least, chosen = cost, b + 1
        costs[last] = mass / total * least
        sizes[last] = chosen


def capacity(
    lengths_tokens: Any,
    edges: Any,
    batch_sizes: int | Sequence[int],
    latency: Any,
    *,
    prompt_tokens: float = 0.0,
    allowance_s: float = math.inf,
    gpus: int = 1,
) -> JointBins:
    """What given bins with given batch sizes carry: capacity = G / sum_i p_i E[T(b_i, L) | bin i] / b_i.

    Parameters
    ----------
    lengths_tokens : array_like, shape (n_requests,)
        Lengths that requests are drawn from, independently: those that were cut, or others, unseen.
    edges : sequence of float
        Inner edges, ascending, tokens.
    batch_sizes : int or sequence of int
        Batch size of every bin, or of each.
    latency, prompt_tokens
        As in `joint_optimum`.
    allowance_s : float
        Time that a batch may take, seconds; beyond it, it is late.
    gpus : int
        Servers G.

    Examples
    --------
    >>> import simlib
    >>> lengths = [100] * 8 + [1000] * 2
    >>> found = capacity(lengths, [500], [4, 1], simlib.Affine(0.0, 0.001, 0.0), allowance_s=0.5)
    >>> found.costs_s, round(found.capacity_rps, 3), found.late_share  # 1 / (0.8 * 0.025 + 0.2 * 1)
    (array([0.025, 1.   ]), 4.545, 0.2)
    """
    values, counts = distinct(lengths_tokens)
    inner, sizes = check_bins(edges, batch_sizes, values)
    gpus = check_integer("gpus", gpus, 1, MAX_GPUS)
    times_s, kinds = times_of(latency, values, np.unique(sizes), prompt_tokens)
    return _worth(values, counts, inner, sizes, times_s[:, np.searchsorted(kinds, sizes)], allowance_s, gpus)


def _worth(
    values: np.ndarray,
    counts: np.ndarray,
    inner: np.ndarray,
    sizes: np.ndarray,
    times_s: np.ndarray,
    allowance_s: float,
    gpus: int,
) -> JointBins:
    """`times_s` has a column a bin."""
    starts = np.append(np.searchsorted(values, np.append(-np.inf, inner)), len(values))
    shares, costs_s, late_shares = worth = np.zeros((3, len(sizes)))
    for i, (first, last, size) in enumerate(zip(starts[:-1], starts[1:], sizes, strict=True)):
        if first < last:
            up_to = np.cumsum(counts[first:last])
            longest = np.diff((up_to / up_to[-1]) ** size, prepend=0.0)  # probability of each value to be the longest
            shares[i] = up_to[-1] / counts.sum()
            costs_s[i] = longest @ times_s[first:last, i] / size
            late_shares[i] = longest @ (times_s[first:last, i] > allowance_s)
    return JointBins.of(inner, sizes, worth, gpus)


def joint_optimum(
    lengths_tokens: Any,
    k_bins: int,
    latency: Any,
    deadline_s: float,
    *,
    waiting_budget_s: float = 0.0,
    quantile: float = 0.9,
    max_batch: int = 128,
    prompt_tokens: float = 0.0,
    rate_rps: float | None = None,
    bounds: str | Sequence[float] = "optimal",
    gpus: int = 1,
) -> JointBins:
    """The bins and batch sizes that carry most requests while batches keep to a deadline; judged as by `capacity`.

    Parameters
    ----------
    lengths_tokens : array_like, shape (n_requests,)
        The lengths by which requests are binned, tokens.
    k_bins : int
        Most bins, at most the number of distinct lengths; fewer are cut where more would not carry more.
    latency : object, str, Path or callable
        As for `simulate`: a law of a batch's size and of its largest prompt + output, which is what it may depend on.
    deadline_s, waiting_budget_s : float
        Deadline, > 0, and the part of it that is kept for waiting, >= 0; seconds.
    quantile : float
        Share of a bin's batches, in (0, 1), that are to take no longer than the deadline less the waiting budget.
    max_batch : int
        Largest batch, at most 1024.
    prompt_tokens : float
        Added to each length, for the law: 0 where lengths are prompt + output, one prompt's length where requests
        are binned by output and have prompts of about that length.
    rate_rps : float, optional
        Arrival rate of all bins. With it batches are only as large as form within the waiting budget, in the mean over
        their requests; without it, requests never run out.
    bounds : str or sequence of float
        With a rule of `bins.RULES` other than ``optimal``, or with edges, only the batch sizes are chosen.
    gpus : int

    Raises
    ------
    InputError
        If an argument is bad, the law's time falls with the length, or more than a share of 1 - `quantile` of the
        requests miss the deadline even alone.

    Notes
    -----
    c_i = min over b of E[T(b, L) | bin i] / b over the batches that keep the quantile and, so that bins are not fitted
    to single rows, of which the bin's rows make at least three. Where a rate is given, a batch's mean time to form is
    also to keep to the budget w: (b - 1) / (2 p_i rate) <= w (second term of Lemma 5.1 of the Multi-Bin paper, which
    has p_i = 1/k). A batch of one is always allowed: where even it is
    late, company would make it later. For given edges the inner minimum is taken bin by bin, so that one programme
    over distinct values is exact; intervals cost O(n^2 max_batch) steps. L is drawn with replacement.

    Examples
    --------
    >>> from simlib.requests.lengths import LogNormal
    >>> lengths = LogNormal(median_tokens=150, sigma=1.0).sample(4000, np.random.default_rng(1))
    >>> found = joint_optimum(lengths, 2, "original-synthetic", deadline_s=0.3, max_batch=32)
    >>> found.batch_sizes.tolist(), bool(0.97 < found.shares[0] < 0.99)
    ([32, 1], True)
    """
    values, counts = distinct(lengths_tokens)
    k_bins = check_distinct(k_bins, values)
    terms = Terms.of(max_batch, gpus, quantile, deadline_s, waiting_budget_s)
    sizes, share = np.arange(1, terms.max_batch + 1), terms.share
    times_s, _ = times_of(latency, values, sizes, prompt_tokens)
    up_to = np.append(0.0, np.cumsum(counts))
    fits = np.array([np.searchsorted(column, terms.allowance_s, side="right") for column in times_s.T])
    if up_to[fits[0]] < share * up_to[-1]:
        alone_s = times_s[np.searchsorted(up_to[1:], share * up_to[-1]), 0]
        needs = f"a share of {share:g} of the requests needs that even in batches of one"
        raise terms.missed(f"{alone_s:.4g} s or more for service: {needs}")
    rows = BATCHES_A_BIN * sizes.astype(float)
    if rate_rps is not None:
        budget_s = max(waiting_budget_s, 1e-12)
        rows = np.maximum(rows, up_to[-1] * (sizes - 1) / (2 * budget_s * check_rate("rate_rps", rate_rps)))
    law = (times_s, up_to, fits, share ** (1.0 / sizes), rows)
    optimal = isinstance(bounds, str) and bounds == "optimal"
    inner, sizes = _programme(values, k_bins, law) if optimal else _batches(values, k_bins, bounds, law)
    return _worth(values, counts, inner, sizes, times_s[:, sizes - 1], terms.allowance_s, terms.gpus)


def _kernel(steps: int) -> Any:
    return compiled(cheapest_costs) if is_worthwhile(steps // STEPS_A_REQUEST) else cheapest_costs


def _programme(values: np.ndarray, k_bins: int, law: tuple) -> tuple[np.ndarray, np.ndarray]:
    kernel = _kernel(len(values) * law[0].size)
    costs, sizes, left = np.zeros(len(values) + 1), np.zeros(len(values) + 1, np.int64), np.zeros(law[0].shape[1])

    def costs_from(first: int) -> np.ndarray:
        kernel(first, *law, costs, sizes, left)
        return costs

    best, origin = partition(k_bins, costs_from, len(values))
    fewest = 1 + int(np.argmin(best[1:, -1]))
    starts, batch_sizes = starts_of(origin[: fewest + 1], fewest), []
    for first, last in pairwise(starts):
        costs_from(first)
        batch_sizes.append(int(sizes[last]))
    return edges_between(values, starts), np.array(batch_sizes)


def _batches(values: np.ndarray, k_bins: int, bounds: Any, law: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The best batch size of each of given bins; 1 where a bin is empty."""
    counts = np.diff(law[1]).astype(int)
    inner = bins.edges(bounds, np.repeat(values, counts), k_bins, law[0].shape[1])
    starts = np.append(np.searchsorted(values, np.append(-np.inf, inner)), len(values))
    costs, sizes = np.zeros(len(values) + 1), np.ones(len(values) + 1, np.int64)
    batch_sizes, kernel = np.ones(k_bins, np.int64), _kernel(k_bins * law[0].size)
    for i, (first, last) in enumerate(pairwise(starts)):
        if first < last:
            upper = (law[0][:last], law[1][: last + 1])
            kernel(first, *upper, *law[2:], costs, sizes, np.zeros(law[0].shape[1]))
            batch_sizes[i] = sizes[last]
    return inner, batch_sizes


def times_of(given: Any, values: np.ndarray, sizes: np.ndarray, prompt_tokens: float) -> tuple[np.ndarray, np.ndarray]:
    """T(b, L) in seconds, one row a value, one column a size; never falling with the value."""
    model = named.latency_of(given)
    totals = values + check_number("prompt_tokens", prompt_tokens, 0.0)
    if isinstance(model, Affine):
        times_s = model.batch_time_s(sizes[None, :], totals[:, None])
    else:
        batch, law, params = np.full(len(BATCH_COLUMNS), np.nan), model.law, model.params
        times_s = np.empty((len(values), len(sizes)))
        for place in np.ndindex(times_s.shape):
            batch[MAX_TOTAL], batch[SIZE] = totals[place[0]], sizes[place[1]]
            times_s[place] = _time(law, batch, params)
    if not (times_s >= 0).all() or not (times_s < np.inf).all():
        raise InputError(
            f"latency: {given!r:.80} (expected seconds >= 0 from a batch's size and its largest total of tokens alone; "
            "`phase_bins` takes laws of prompts and outputs apart)"
        )
    if (np.diff(times_s, axis=0) < 0).any():
        raise InputError(f"latency: {given!r:.80} (expected a time that does not fall as the length grows)")
    return np.ascontiguousarray(times_s), sizes


def _time(law: Any, batch: np.ndarray, params: np.ndarray) -> float:
    try:
        return float(law(batch, params))
    except (ValueError, OverflowError, IndexError, TypeError):  # it reads what is not known of such a batch
        return math.nan
