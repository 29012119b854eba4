"""The best bins for a law of lengths when batches are large: a first-order condition, solved numerically.

Beside `optimal_bins`, which needs a sample and no law. As B grows, the longest of B requests of a bin nears the bin's
upper edge, and the expected batch time nears sum_i p_i l_i, the l_i being upper edges.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer

MAX_BINS, MAX_BATCH, SMALLEST_SHARE, STEP = 1024, 10**9, 1e-12, 0.1


def large_batch_edges(distribution: Any, k_bins: int, batch_size: int | None = None) -> np.ndarray:
    """Inner edges, shape (k_bins - 1,), that minimise sum_i p_i l_i, the large-batch limit of the expected batch time.

    Parameters
    ----------
    distribution : scipy.stats frozen distribution
        Law F of the lengths, continuous with density f, from l_0 >= 0 on.
    k_bins : int
        Number of bins K.
    batch_size : int, optional
        With it the last bin, which has the tail, costs M(l) = E[max of B | longer than l], exactly, in place of its
        upper edge. Needed where the lengths have no upper end.

    Raises
    ------
    InputError
        If an argument is bad, or no edges meet the condition.

    Notes
    -----
    Setting the derivative by l_i to zero gives p_i = f(l_i) (l_{i+1} - l_i): what moves down a bin gains as much as the
    bin below loses. So each edge follows from the two below it, and one unknown is left, l_1, for which l_K must be the
    upper end, a root. With a batch size the last condition is p_{K-1} + (1 - F) M' = f (M - l) at l_{K-1}.
    For uniform lengths these are bins of equal width (Lemma 4.1 of the Multi-Bin paper), for exponential ones, where
    M = l + H_B/mu, those of its Lemma A.1. The condition is necessary; for a density with several peaks compare with
    `optimal_bins.optimal` of a sample.

    Examples
    --------
    >>> from scipy import stats
    >>> large_batch_edges(stats.uniform(1, 19), 4)
    array([ 5.75, 10.5 , 15.25])
    >>> large_batch_edges(stats.expon(scale=10), 3, batch_size=200).round(4)
    array([10.1929, 27.9051])
    """
    from scipy.optimize import brentq

    if not all(hasattr(distribution, part) for part in ("cdf", "pdf", "ppf", "isf", "support")):
        raise InputError(f"distribution: {distribution!r} (expected a frozen continuous distribution of scipy.stats)")
    k_bins = check_integer("k_bins", k_bins, 1, MAX_BINS)
    low, high = (float(end) for end in distribution.support())
    if not low >= 0:
        raise InputError(f"distribution: its support starts at {low:g} (expected lengths >= 0)")
    if batch_size is not None:
        check_integer("batch_size", batch_size, 2, MAX_BATCH)
    elif math.isinf(high):
        raise InputError("batch_size: None (expected B, as the lengths have no upper end)")
    if k_bins == 1:
        return np.zeros(0)

    def excess(share: float) -> float:
        """How far, as a share, the first bin is too large for the last condition."""
        chain = _chain(distribution, low, share, k_bins if batch_size is None else k_bins - 1)
        if chain is None:
            return 1.0
        if batch_size is None:
            return (chain[-1] - high) / (high - low)
        return _last_condition(distribution, chain[-2], chain[-1], batch_size)

    try:
        share = brentq(excess, SMALLEST_SHARE, 1 - 1e-9, xtol=1e-15)
    except (ValueError, RuntimeError) as problem:
        raise InputError(f"distribution: no edges meet the condition ({problem})") from None
    return np.array(_chain(distribution, low, share, k_bins - 1)[1:])


def _chain(distribution: Any, low: float, share: float, edges: int) -> list[float] | None:
    """l_0 .. l_edges if the first bin holds this share; None where they run out of the support."""
    chain = [low, float(distribution.ppf(share))]
    while len(chain) <= edges:
        mass = float(distribution.cdf(chain[-1]) - distribution.cdf(chain[-2]))
        density = float(distribution.pdf(chain[-1]))
        if not density > 0:
            return None
        chain.append(chain[-1] + mass / density)
    return chain


def _last_condition(distribution: Any, before: float, edge: float, batch_size: int) -> float:
    """1 - f (M - l) / (p + S M') at the last edge l.

    The largest of B leaves a share 1 - exp(-e/B) of the bin's requests above it, e exponential. With e = exp(y) what is
    integrated falls off double-exponentially on both sides, and the trapezoidal rule is as good as exact.
    """
    survival, density = float(distribution.sf(edge)), float(distribution.pdf(edge))
    if not (survival > 0 and density > 0):
        return 1.0
    y = np.arange(-40.0, 4.0, STEP)
    weights = STEP * np.exp(y - np.exp(y))
    beyond = -np.expm1(-np.exp(y) / batch_size)
    longest = distribution.isf(survival * beyond)
    excess = float(weights @ (longest - edge))
    rise = float(weights @ (beyond * density / distribution.pdf(longest)))
    mass = float(distribution.cdf(edge) - distribution.cdf(before))
    return 1.0 - density * excess / (mass + survival * rise)
