"""Batches that last as long as their longest member, for any service times, any bins and any errors of prediction.

The Multi-Bin paper's model (arXiv 2412.04504) by exact integrals. Service times are a frozen continuous distribution of
`scipy.stats`; or ``(cdf, low_s, high_s)``, a function of seconds and the interval on which it grows from 0 to 1; or a
sample, whose members are drawn with replacement. A time equal to an edge belongs to the bin above it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_number
from simlib.requests.predictors import confusion_shares
from simlib.theory.bins import ascending
from simlib.theory.queues import LARGEST, count, times_of

# Where an integrand is cut, by its value: between two of these it bends little, however large the batch.
LEVELS = np.array([1 - 1e-9, 1 - 1e-6, 1 - 1e-3, 0.9, 0.5, 0.1, 1e-3, 1e-6, 1e-9])


def bin_shares(times: Any, edges_s: Sequence[float] | np.ndarray, confusion: Any = None) -> np.ndarray:
    """Share of the requests in each bin: P_j = sum_i p_i P(bin j | true bin i).

    Parameters
    ----------
    times : frozen distribution, (callable, float, float), or array_like of float
        Service times as in the head of this module, in seconds, none below 0; only a sample may be discrete.
    edges_s : sequence of float, shape (k_bins - 1,)
        Inner edges in ascending order, in seconds; of true times, also if their bins are predicted.
    confusion : array_like, shape (k_bins, k_bins), optional
        Rows true, columns predicted bins: probabilities whose rows sum to one, or whole numbers, which are counts and
        made shares of their row (`predictors.confusion_shares`). Without it no bin is mistaken.

    Returns
    -------
    ndarray of float, shape (k_bins,)
        0 for a bin that nothing falls into: it never fills, and no batch is of it.

    Examples
    --------
    >>> bin_shares([1.0, 2.0, 5.0, 6.0], [3.0], confusion=[[0.5, 0.5], [0.0, 1.0]])
    array([0.25, 0.75])
    """
    edges = ascending(edges_s)
    return _masses(times, edges) @ _confusion(confusion, len(edges) + 1)


def bin_max_s(times: Any, edges_s: Sequence[float] | np.ndarray, batch_size: int, confusion: Any = None) -> np.ndarray:
    """Mean time of a batch from each bin, in seconds: the integral of 1 - F_j(x)^B from 0 on.

    The times in bin j are a mixture of the true bins' truncated distributions, F_j = sum_i w_ij F_i with weights
    w_ij = p_i P(bin j | true bin i) / P_j: the exact integral behind figure 8 of the paper. Arguments as in
    `bin_shares`, with B requests in every batch. Known to about 1e-8 of it, and less well for tails near those of an
    infinite mean. Of a sample x_(1) <= ... <= x_(m) it is sum_j x_(j) [(j/m)^B - ((j-1)/m)^B], too low for the law that
    the sample came from where there are few rows for each draw.

    Returns
    -------
    ndarray of float, shape (k_bins,), seconds
        NaN for a bin that nothing falls into.

    Examples
    --------
    >>> bin_max_s([1.0, 2.0, 5.0, 6.0], [3.0], batch_size=2)
    array([1.75, 5.75])
    >>> bin_max_s((lambda x: (x - 1) / 19, 1.0, 20.0), [], batch_size=128).round(4)  # one bin: the longest of a batch
    array([19.8527])
    """
    edges, size = ascending(edges_s), count("batch_size", batch_size)
    matrix = _confusion(confusion, len(edges) + 1)
    if _is_sample(times):
        ordered = np.sort(times_of("times", times))
        weights = matrix[np.searchsorted(edges, ordered, side="right")].T
        return np.array([_weighted_max_s(ordered, weight, size) for weight in weights])
    masses, law = _masses(times, edges), _law(times)
    return np.array([_mixture_max_s(law, _cuts(edges, law), masses, chances, size) for chances in matrix.T])


def binned_batch_s(times: Any, edges_s: Sequence[float] | np.ndarray, batch_size: int, confusion: Any = None) -> float:
    """Mean time of a batch, in seconds: E[t] = sum_j P_j E[largest of B times in bin j].

    Equation (2) for any service times, any edges and any errors of prediction; arguments as in `bin_max_s`.

    Examples
    --------
    >>> from scipy import stats
    >>> round(binned_batch_s(stats.uniform(1, 19), [10.5], batch_size=128), 4)  # Theorem 4.2
    15.1764
    """
    shares, batch_s = bin_shares(times, edges_s, confusion), bin_max_s(times, edges_s, batch_size, confusion)
    return float(shares[shares > 0] @ batch_s[shares > 0])


def binned_throughput_rps(
    times: Any, edges_s: Sequence[float] | np.ndarray, batch_size: int, confusion: Any = None
) -> float:
    """Throughput of one server that never lacks a full batch, in requests per second: c = B / E[t].

    Proposition 4.1; E[t] and the arguments are those of `binned_batch_s`.

    Examples
    --------
    >>> from scipy import stats
    >>> from simlib.requests.predictors import symmetric_confusion
    >>> confusion = symmetric_confusion(2, 0.05)  # figure 8
    >>> round(binned_throughput_rps(stats.uniform(1, 19), [10.5], batch_size=128, confusion=confusion), 3)
    6.658
    """
    return count("batch_size", batch_size) / binned_batch_s(times, edges_s, batch_size, confusion)


class _Law(NamedTuple):
    """A law of times: the share beyond a time, the time beyond which a share is, where it begins and ends, its size."""

    beyond: Callable[[np.ndarray], np.ndarray]
    at: Callable[[np.ndarray], Any]
    low: float
    high: float
    scale: float


def _masses(times: Any, edges: np.ndarray) -> np.ndarray:
    """Share of the requests in each true bin."""
    if _is_sample(times):
        sample = times_of("times", times)
        bins = np.searchsorted(edges, sample, side="right")
        return np.bincount(bins, minlength=len(edges) + 1) / len(sample)
    law = _law(times)
    return -np.diff(law.beyond(_cuts(edges, law)))


def _cuts(edges: np.ndarray, law: _Law) -> np.ndarray:
    return np.clip(np.concatenate([[law.low], edges, [law.high]]), law.low, law.high)


def _confusion(confusion: Any, k_bins: int) -> np.ndarray:
    if confusion is None:
        return np.eye(k_bins)
    shares = confusion_shares(confusion, "confusion")
    if len(shares) != k_bins:
        raise InputError(f"confusion: shape {shares.shape} (expected {(k_bins, k_bins)}, one row and column a bin)")
    return shares


def _weighted_max_s(ordered: np.ndarray, weights: np.ndarray, size: int) -> float:
    """Mean of the largest of `size` draws from times in ascending order, each as likely as its weight says."""
    below = np.append(0.0, np.cumsum(weights))
    if below[-1] == 0:
        return math.nan
    # Above the smallest time, so that equal times give exactly that time.
    return float(ordered[0] + (ordered - ordered[0]) @ np.diff((below / below[-1]) ** size))


def _mixture_max_s(law: _Law, cuts: np.ndarray, masses: np.ndarray, chances: np.ndarray, size: int) -> float:
    """Integrate 1 - F_j^B from cut to cut; `chances` are those of bin j from each true bin."""
    from scipy.integrate import cubature

    weights = chances * masses
    if weights.sum() <= 0:
        return math.nan
    scale = chances / weights.sum()
    outside = np.append(np.cumsum((scale * masses)[::-1])[::-1], 0.0)  # 1 - F_j at the cuts
    levels = -np.expm1(np.log1p(-LEVELS) / size)  # of 1 - F_j, where 1 - F_j^B has those of the list

    total = float(cuts[0])
    for low, high, rate, rest, most in zip(cuts, cuts[1:], scale, outside[1:], outside, strict=False):
        far = float(law.beyond(high))

        def longer(x: np.ndarray, far: float = far, rate: float = rate, rest: float = rest) -> np.ndarray:
            share = rest + rate * np.maximum(0.0, law.beyond(x[:, 0]) - far)
            return -np.expm1(size * np.log1p(-np.minimum(share, 1 - 2**-53)))

        if rate * (most - rest) > 0:
            inside = levels[(levels > rest) & (levels < most)]
            points = [[x] for x in law.at(far + (inside - rest) / rate) if low < x < high]
            result = cubature(longer, [low], [high], rtol=1e-10, atol=1e-12 * law.scale, points=points)
            if result.error > 1e-6 * (total + result.estimate):
                raise InputError(f"times: an integral of them is known to {float(result.error):.3g} s only")
            total += float(result.estimate)
        elif rest > 0:  # nobody in bin j has such a time, and the integrand is level
            total += float(longer(np.array([[high]]))[0]) * (high - low)
    return total


def _is_sample(times: Any) -> bool:
    return not (hasattr(times, "sf") or (isinstance(times, tuple) and len(times) == 3 and callable(times[0])))


def _law(times: Any) -> _Law:
    if isinstance(times, tuple):
        cdf, low, high = times
        low = check_number("low of times", low, 0.0, LARGEST)
        high = check_number("high of times", high, low, LARGEST, open_low=True)
        ends = [check_number(f"cdf of times at {x:g} s", cdf(x), -1e-9, 1 + 1e-9) for x in (low, high)]
        if max(abs(ends[0]), abs(1 - ends[1])) > 1e-9:
            raise InputError(f"cdf of times: from {ends[0]:g} to {ends[1]:g} (expected from 0 to 1 on its interval)")
        return _of_function(cdf, low, high)
    if not hasattr(times, "pdf"):
        raise InputError(f"times: {times!r:.80} (expected a continuous distribution, frozen; else a sample of it)")
    low, high = (float(end) for end in times.support())
    check_number("least of times", low, 0.0, LARGEST)
    mean = check_number("mean of times", float(times.mean()), 0.0, LARGEST)
    return _Law(times.sf, times.isf, low, high, mean)


def _of_function(cdf: Callable[[float], float], low: float, high: float) -> _Law:
    from scipy.optimize import brentq

    beyond = np.vectorize(lambda x: min(1.0, max(0.0, 1 - float(cdf(x)))), otypes=[float])

    def at(shares: np.ndarray) -> list[float]:
        return [
            brentq(lambda x, share: beyond(x) - share, low, high, (share,))
            for share in shares
            if 1e-9 < share < 1 - 1e-9
        ]

    return _Law(beyond, at, low, high, high)
