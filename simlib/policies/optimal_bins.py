"""The best bins for given lengths: an exact dynamic programme over their distinct values.

Beside `bins`, which offers it as the rule ``optimal``. A batch works as long as its longest request, so bins are to
minimise the work a request, sum_i p_i E[max of B_i | bin i] / B_i; for one batch size B this is the expected batch time
over B (equation (2) of the Multi-Bin paper, arXiv 2412.04504). Lengths stand for times: a server works a token at a
time. Bins fitted to a sample look better on it than they are, so that `optimal` also judges them on rows unseen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.engine.compiled import compiled, is_worthwhile
from simlib.policies.batch_size import MAX_BATCH

BATCHES_A_BIN = 3  # batches of rows that each bin needs: from fewer, the plug-in maximum is too short
STEPS_A_REQUEST = 50  # plain steps of the programme that take as long as a request does in the interpreted engine
TAIL_SHARE, TAIL_POINTS, TAIL_END = 0.1, 1000, 1e-6  # what a fitted tail replaces, and how finely, down to which share
RESAMPLES = 200


def interval_costs(first: int, values: np.ndarray, up_to: np.ndarray, size: float, least: float, costs: np.ndarray):
    """Kernel: share of the requests in ``values[first:last]`` times E[max of B] over B, into ``costs[last]``.

    ``up_to[j]`` requests are shorter than ``values[j]``. With m of them in the interval, E[max] is the longest value
    less R = sum_j (x_{j+1} - x_j) (m_j / m)^B, m_j of them at most x_j long; and R follows from the interval that ends
    one value earlier: R' = (R + x_last - x_before) (m_before / m)^B. Fewer than `least` requests are no bin.
    """
    shortfall = before = 0.0
    for last in range(first + 1, len(values) + 1):
        mass = up_to[last] - up_to[first]
        if last > first + 1:
            shortfall = (shortfall + values[last - 1] - values[last - 2]) * math.pow(before / mass, size)
        before = mass
        if mass < least:
            costs[last] = math.inf
        else:
            costs[last] = mass / up_to[len(values)] * (values[last - 1] - shortfall) / size


def relax(first: int, before: float, costs: np.ndarray, best: np.ndarray, origin: np.ndarray):
    """Kernel: where a bin that starts at `first`, with cost `before` below it, improves what ends at each value."""
    # Counted from 0, so that no index is checked for counting from the end.
    costs, best, origin = costs[first + 1 :], best[first + 1 :], origin[first + 1 :]
    for i in range(len(costs)):
        total = before + costs[i]
        if total < best[i]:
            best[i] = total
            origin[i] = first


def partition(k_bins: int, costs_from: Any, values: int) -> tuple[np.ndarray, np.ndarray]:
    """Least total cost of the first values in so many bins, and where the last of these bins starts.

    Parameters
    ----------
    k_bins : int
    costs_from : callable
        Given a first value's index, the cost of each interval from there, by its last value's index + 1: one array for
        every bin, or one array each.
    values : int
        Number n of distinct values. Every bin holds at least one.

    Returns
    -------
    best : ndarray of float, shape (k_bins + 1, values + 1)
    origin : ndarray of int, shape (k_bins + 1, values + 1)

    Notes
    -----
    best[k, last] = min over first of best[k - 1, first] + cost(first, last), pushed forward from each first value, so
    that an interval's cost is worked out once and no table of intervals is kept: O(K n^2) steps, O(K n) memory.
    """
    best, origin = np.full((k_bins + 1, values + 1), np.inf), np.zeros((k_bins + 1, values + 1), np.int64)
    best[0, 0] = 0.0
    pushed = compiled(relax) if is_worthwhile(values * values * k_bins // STEPS_A_REQUEST) else relax
    for first in range(values):
        costs = costs_from(first)
        for k in range(k_bins):
            if best[k, first] < np.inf:
                pushed(first, best[k, first], costs if costs.ndim == 1 else costs[k], best[k + 1], origin[k + 1])
    return best, origin


def starts_of(origin: np.ndarray, k_bins: int) -> np.ndarray:
    """Index of each bin's first value, and behind them the number of values."""
    starts = [origin.shape[1] - 1]
    for k in range(k_bins, 0, -1):
        starts.append(int(origin[k, starts[-1]]))
    return np.array(starts[::-1])


def edges_between(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Inner edges half-way between the values on both sides; between whole numbers, whole ones."""
    middle = (values[starts[1:-1] - 1] + values[starts[1:-1]]) / 2
    return np.ceil(middle) if not (values % 1).any() else middle


def distinct(lengths_tokens: Any, name: str = "lengths_tokens") -> tuple[np.ndarray, np.ndarray]:
    """The distinct lengths, ascending, and how often each occurs."""
    try:
        lengths = np.asarray(lengths_tokens, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        lengths = np.full(1, np.nan)
    if lengths.ndim != 1 or not len(lengths) or not np.isfinite(lengths).all() or (lengths < 0).any():
        raise InputError(f"{name}: {lengths_tokens!r:.80} (expected finite numbers of tokens >= 0 in one dimension)")
    values, counts = np.unique(lengths, return_counts=True)
    return values, counts.astype(float)


def sizes_of(given: Any, k_bins: int, name: str = "batch_size") -> tuple[int, ...]:
    """The batch size of each bin, from one for all or one each; an error calls them by `name`."""
    given = given.tolist() if isinstance(given, np.ndarray) else given
    if not isinstance(given, (list, tuple)):
        return (check_integer(name, given, 1, MAX_BATCH),) * k_bins
    if len(given) != k_bins:
        raise InputError(f"{name}: {given!r} (expected an integer >= 1, or {k_bins} of them for k_bins = {k_bins})")
    return tuple(check_integer(f"{name}, bin {i}", size, 1, MAX_BATCH) for i, size in enumerate(given))


def check_distinct(k_bins: Any, values: np.ndarray) -> int:
    """Return the number of bins if there are as many distinct lengths, else raise `InputError`."""
    if check_integer("k_bins", k_bins, 1) > len(values):
        raise InputError(f"k_bins: {k_bins} (expected at most {len(values)}, the number of distinct lengths)")
    return int(k_bins)


def cut(lengths_tokens: Any, k_bins: int, batch_size: int | Sequence[int], tail: Any = None) -> np.ndarray:
    """The edges of `optimal`, and nothing else; arguments and errors are its own.

    Examples
    --------
    >>> cut(np.arange(1, 1001), 4, batch_size=8)
    array([251., 501., 751.])
    """
    values, counts = distinct(lengths_tokens)
    k_bins = check_distinct(k_bins, values)
    sizes = np.array(sizes_of(batch_size, k_bins), float)
    _check_rows(counts, sizes, tail)
    return _cut(*_population(values, counts, tail), sizes, 0.0 if tail is not None else BATCHES_A_BIN)[0]


def _check_rows(counts: np.ndarray, sizes: np.ndarray, tail: Any) -> None:
    rows, wanted = int(counts.sum()), int(BATCHES_A_BIN * sizes.sum())
    if tail is None and rows < wanted:
        size = f"B = {sizes[0]:.0f}" if len(set(sizes)) == 1 else f"B = {', '.join(f'{size:.0f}' for size in sizes)}"
        raise InputError(
            f"lengths_tokens: {rows} rows do not support {size} in {len(sizes)} bins (expected at least {wanted}, "
            "three batches of rows a bin; or a fitted tail, such as 'log_normal')"
        )


def _cut(values: np.ndarray, weights: np.ndarray, sizes: np.ndarray, batches: float) -> tuple[np.ndarray, float]:
    """Edges and work a request of the best bins, each of at least so many batches of rows."""
    up_to = np.append(0.0, np.cumsum(weights))
    kinds, kind_of = np.unique(sizes, return_inverse=True)
    costs = np.zeros((len(kinds), len(values) + 1))
    kernel = compiled(interval_costs) if is_worthwhile(len(values) ** 2 // STEPS_A_REQUEST) else interval_costs

    def costs_from(first: int) -> np.ndarray:
        for kind, size in enumerate(kinds):
            kernel(first, values, up_to, size, batches * size, costs[kind])
        return costs[0] if len(kinds) == 1 else costs[kind_of]

    best, origin = partition(len(sizes), costs_from, len(values))
    if not best[-1, -1] < np.inf:
        raise InputError(
            f"lengths_tokens: {len(values)} distinct lengths in {up_to[-1]:g} rows cannot be cut in {len(sizes)} bins "
            f"of {batches:g} batches of rows each (expected fewer bins, smaller batches, more lengths or fewer ties)"
        )
    return edges_between(values, starts_of(origin, len(sizes))), float(best[-1, -1])


@dataclass(frozen=True, slots=True)
class OptimalBins:
    """What `optimal` finds.

    Attributes
    ----------
    edges : ndarray of float, shape (k_bins - 1,)
        Inner edges, tokens.
    shares : ndarray of float, shape (k_bins,)
        Share p_i of the lengths in each bin.
    batch_sizes : ndarray of int, shape (k_bins,)
    batch_tokens : float
        Expected length of a batch, tokens, as the lengths that were cut have it: too low, as the edges were chosen on
        them. For one batch size it is sum_i p_i E[max | bin i].
    held_out_tokens, ci_low, ci_high : float
        The same of lengths unseen, cut on one half and judged on the other, both ways, and its bootstrap band at the
        confidence asked for: how far another sample to judge on would move it.
    rows : int
        Lengths in all.
    """

    edges: np.ndarray
    shares: np.ndarray
    batch_sizes: np.ndarray
    batch_tokens: float
    held_out_tokens: float
    ci_low: float
    ci_high: float
    rows: int


def optimal(
    lengths_tokens: Any,
    k_bins: int,
    batch_size: int | Sequence[int],
    *,
    tail: Any = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> OptimalBins:
    """The bins with the least expected batch time, and what they are worth on lengths unseen.

    Parameters
    ----------
    lengths_tokens : array_like, shape (n_requests,)
        Lengths, or service times in any unit, >= 0.
    k_bins : int
        Number of bins K, at most the number of distinct lengths; none of them is empty.
    batch_size : int or sequence of int
        Batch size B of all bins, or of each.
    tail : scipy.stats frozen distribution or "log_normal", optional
        The law of the longest tenth of the lengths, beyond their 90th percentile; ``log_normal`` is fitted to the
        logarithms of all lengths. Without one, each bin gets three batches of rows or more.
    confidence : float
        Of the band around the held-out value, in (0, 1).
    seed : int
        Of the split and of the band's resamples.

    Returns
    -------
    OptimalBins

    Raises
    ------
    InputError
        If an argument is out of range, K is more than there are distinct lengths, or the rows are too few: 3 B a bin.

    Notes
    -----
    Within the sample members of a batch are drawn with replacement: E[max] = sum_j x_(j) [(j/m)^B - ((j-1)/m)^B] with m
    rows in a bin, and the programme is exact. Held out they are drawn without, which is the estimate without bias.
    With a tail, held-out rows have a tail of their own, fitted to them alone. Where few long rows decide (heavy tails,
    bins of a few batches of rows), the band covers less often than it says, as every bootstrap of maxima does.

    Examples
    --------
    >>> found = optimal(np.random.default_rng(1).integers(1, 1001, 4000), k_bins=2, batch_size=8)
    >>> bool(450 < found.edges[0] < 550), bool(found.ci_low < 694.8 < found.ci_high)  # 1000 (1/2 + (8/9 - 1/2) / 2)
    (True, True)
    """
    values, counts = distinct(lengths_tokens)
    k_bins = check_distinct(k_bins, values)
    sizes = np.array(sizes_of(batch_size, k_bins), float)
    confidence = check_number("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    rng = np.random.default_rng(check_integer("seed", seed, 0))
    _check_rows(counts, sizes, tail)
    population = _population(values, counts, tail)
    batches = 0.0 if tail is not None else float(BATCHES_A_BIN)
    edges, work = _cut(*population, sizes, batches)
    shares = np.add.reduceat(population[1], np.searchsorted(population[0], np.append(-np.inf, edges)))
    shares = shares / shares.sum()
    half = rng.multivariate_hypergeometric(counts.astype(np.int64), int(counts.sum()) // 2, method="marginals")
    held_out, deviations = 0.0, np.zeros(RESAMPLES)
    for fitted, unseen in ((half, counts - half), (counts - half, half)):
        learnt = _population(*_occurring(values, fitted), tail)
        fold_edges = _cut(*learnt, sizes, batches / 2)[0]
        judged = _judged(values, unseen, tail, fold_edges, sizes, rng)
        held_out += float(next(judged)) / 2
        deviations += np.fromiter(judged, float) / 2
    low, high = np.quantile(deviations - deviations.mean(), [(1 - confidence) / 2, (1 + confidence) / 2])
    return OptimalBins(
        edges=edges,
        shares=shares,
        batch_sizes=sizes.astype(int),
        batch_tokens=work / float(np.sum(shares / sizes)),
        held_out_tokens=held_out,
        ci_low=held_out + float(low),
        ci_high=held_out + float(high),
        rows=int(counts.sum()),
    )


def _judged(
    values: np.ndarray, counts: np.ndarray, tail: Any, edges: np.ndarray, sizes: np.ndarray, rng: np.random.Generator
) -> Iterator[float]:
    """Expected length of a batch under given edges: of these rows, then of resamples of them."""
    rows = int(counts.sum())
    for resample in range(RESAMPLES + 1):
        drawn = rng.multinomial(rows, counts / rows) if resample else counts
        population = _population(*_occurring(values, drawn), tail)
        yield batch_tokens(*population, edges, sizes, replace=tail is not None)


def batch_tokens(
    values: np.ndarray, weights: np.ndarray, edges: np.ndarray, sizes: np.ndarray, *, replace: bool
) -> float:
    """Expected length of a batch, (sum_i p_i E[max | bin i] / B_i) / (sum_i p_i / B_i), of weighted ascending values.

    Members are drawn with replacement or, where a bin has a batch of rows, without.
    """
    starts = np.append(np.searchsorted(values, np.append(-np.inf, edges)), len(values))
    work = batches = 0.0
    for first, last, size in zip(starts[:-1], starts[1:], sizes, strict=True):
        if first < last:
            up_to = np.cumsum(weights[first:last])
            share = up_to[-1] / size
            work += share * _expected_max(values[first:last], up_to, size, replace)
            batches += share
    return work / batches


def _expected_max(values: np.ndarray, up_to: np.ndarray, size: float, replace: bool) -> float:
    from scipy.special import gammaln

    if replace or up_to[-1] < size:
        at_most = (up_to / up_to[-1]) ** size
    else:  # C(j, B) / C(m, B)
        chosen = np.maximum(up_to, size)
        log_ways = gammaln(chosen + 1) - gammaln(chosen - size + 1)
        at_most = np.where(up_to < size, 0.0, np.exp(log_ways - log_ways[-1]))
    return float(values @ np.diff(at_most, prepend=0.0))


def _occurring(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[counts > 0], counts[counts > 0].astype(float)


def _population(values: np.ndarray, counts: np.ndarray, tail: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values with weights: the rows themselves, the longest tenth of them replaced by a law where one is given."""
    if tail is None:
        return values, counts
    if isinstance(tail, str) and tail == "log_normal":
        tail = _log_normal(values, counts)
    elif not (hasattr(tail, "isf") and hasattr(tail, "sf")):
        raise InputError(f"tail: {tail!r} (expected a frozen distribution of scipy.stats, or 'log_normal')")
    threshold = values[np.searchsorted(np.cumsum(counts), (1 - TAIL_SHARE) * counts.sum())]
    body = values <= threshold
    beyond = float(tail.sf(threshold))
    if not beyond > 0:
        raise InputError(f"tail: {tail!r} (expected a law that exceeds {threshold:g}, the lengths' 90th percentile)")
    survival = np.geomspace(1.0, TAIL_END, TAIL_POINTS + 1)
    points = tail.isf(beyond * np.sqrt(survival[1:] * survival[:-1]))
    weights = -np.diff(survival) / (1 - TAIL_END) * counts[~body].sum()
    keep = (points > threshold) & np.append(True, np.diff(points) > 0)
    return np.append(values[body], points[keep]), np.append(counts[body], weights[keep])


def _log_normal(values: np.ndarray, counts: np.ndarray) -> Any:
    from scipy.stats import lognorm

    logs, weights = np.log(values[values > 0]), counts[values > 0]
    centre = np.average(logs, weights=weights)
    spread = math.sqrt(np.average((logs - centre) ** 2, weights=weights))
    if not spread > 0:
        raise InputError("tail: 'log_normal' (expected lengths that differ, to fit it to)")
    return lognorm(spread, scale=math.exp(centre))
