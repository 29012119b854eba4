"""The Multi-Bin paper's theorems (arXiv 2412.04504): what bins gain for uniform and for exponential service times.

Batches hold B requests of one bin and take the largest of their times. `theory.maxima` has any times, any edges, and
errors of prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simlib.checks import MAX_BINS, InputError, check_integer, check_number
from simlib.theory.queues import LARGEST, MAX_COUNT, SMALLEST, count, formation_delay_s, positive, times_of


def uniform_max_s(low_s: float, high_s: float, batch_size: int) -> float:
    """Mean of the largest of B uniform times, in seconds: low + (high - low) B / (B + 1).

    Parameters
    ----------
    low_s, high_s : float
        Shortest and longest time, in seconds.
    batch_size : int
        Number of times B.

    Examples
    --------
    >>> round(uniform_max_s(1.0, 20.0, batch_size=128), 4)
    19.8527
    """
    low, high = _range(low_s, high_s)
    size = count("batch_size", batch_size)
    return low + (high - low) * (size / (size + 1))


def exponential_max_s(mean_s: float, batch_size: int) -> float:
    """Mean of the largest of B exponential times, in seconds: the harmonic number H_B times their mean.

    B is that of `uniform_max_s`; `mean_s` is the mean of one time, in seconds.

    Examples
    --------
    >>> round(exponential_max_s(mean_s=10.0, batch_size=200), 4)
    58.7803
    """
    from scipy.special import digamma

    mean, size = positive("mean_s", mean_s), count("batch_size", batch_size)
    return mean * float(digamma(size + 1) + np.euler_gamma)


def multi_bin_batch_s(low_s: float, high_s: float, batch_size: int, k_bins: int) -> float:
    """Mean time of a batch, in seconds: E[t_k] = m + (B high / (B + 1) + low / (B + 1) - m) / k, m = (low + high) / 2.

    Theorem 4.2, equation (4), multi-bin batching paper (arXiv 2412.04504): service times uniform from
    `low_s` to `high_s`, k bins of equal width (the best, Lemma 4.1), batches of B from one bin that take their longest
    member's time, and no error of prediction. The other arguments as in `uniform_max_s`.

    Parameters
    ----------
    k_bins : int
        Number of bins k.

    Examples
    --------
    >>> round(multi_bin_batch_s(1.0, 20.0, batch_size=128, k_bins=2), 4)
    15.1764
    """
    low, high = _range(low_s, high_s)
    middle = (low + high) / 2
    return middle + (uniform_max_s(low, high, batch_size) - middle) / count("k_bins", k_bins)


def multi_bin_throughput_rps(low_s: float, high_s: float, batch_size: int, k_bins: int) -> float:
    """Throughput of one server that never lacks a full batch, in requests per second: c_k = B / E[t_k].

    Theorem 4.2 with Proposition 4.1; E[t_k], the assumptions and arguments are those of `multi_bin_batch_s`. A
    finite run stays a little below: its first batch must fill, its last ones are not full.

    Examples
    --------
    >>> round(multi_bin_throughput_rps(1.0, 20.0, batch_size=128, k_bins=2), 4)
    8.4342
    """
    return count("batch_size", batch_size) / multi_bin_batch_s(low_s, high_s, batch_size, k_bins)


def multi_bin_throughput_limit_rps(low_s: float, high_s: float, batch_size: int) -> float:
    """Throughput that c_k approaches as bins are added, in requests per second: c_max = 2 B / (low + high).

    Remark 4.3, equation (5); arguments as in `multi_bin_batch_s`. The paper's text prints 12.3 for B = 128
    and times from 1 to 20 s, where its equation gives 12.19.

    Examples
    --------
    >>> round(multi_bin_throughput_limit_rps(1.0, 20.0, batch_size=128), 2)
    12.19
    """
    low, high = _range(low_s, high_s)
    return 2 * count("batch_size", batch_size) / (low + high)


def bins_needed(low_s: float, high_s: float, batch_size: int, shortfall_rps: float) -> int:
    """Fewest bins with c_k >= c_max - epsilon: k = ceil((c_max - epsilon) (E[t_1] - m) / (epsilon m)).

    Theorem 4.3, equation (6), with the assumptions and other arguments of `multi_bin_batch_s`.

    Parameters
    ----------
    shortfall_rps : float
        The epsilon, in requests per second (not a share), below c_max and at least a billionth of it.

    Examples
    --------
    >>> bins_needed(1.0, 20.0, batch_size=128, shortfall_rps=0.5)
    21
    """
    limit = multi_bin_throughput_limit_rps(low_s, high_s, batch_size)
    shortfall = check_number("shortfall_rps", shortfall_rps, SMALLEST * limit, limit, open_high=True)
    low, high = _range(low_s, high_s)
    excess = (high - low) / (high + low) * (batch_size - 1) / (batch_size + 1)  # (E[t_1] - m) / m
    # A whole number missed by a rounding error must not ask for one bin more.
    return max(1, math.ceil((limit / shortfall - 1) * excess * (1 - 1e-12)))


def multi_bin_latency_s(rate_rps: float, low_s: float, high_s: float, batch_size: int, k_bins: int) -> float:
    """Mean latency when a server is free for every batch, in seconds: E[t_k] + k (B - 1) / (2 lambda).

    Lemma 5.1, equation (7), under Assumption 5.1 (infinitely many servers): a lower bound with fewer. `rate_rps` is as
    in `formation_delay_s` and may be anything; the rest is as in `multi_bin_batch_s`.

    Examples
    --------
    >>> round(multi_bin_latency_s(4.0, 1.0, 20.0, batch_size=128, k_bins=1), 3)
    35.728
    """
    return multi_bin_batch_s(low_s, high_s, batch_size, k_bins) + formation_delay_s(batch_size, k_bins, rate_rps)


def exponential_edges_s(mean_s: float, k_bins: int, batch_size: int) -> np.ndarray:
    """Inner edges that minimise `exponential_bound_s`, in seconds: l_i = (1/mu) sum_(j<=i) ln L_(k-j).

    L_1 = H_B, the harmonic number, and L_m = 1 + ln L_(m-1): Corollary A.1.1, equations (28) and (29), of the paper,
    which prints the index k - 1 - j and would need an L_0. The bins are not of equal mass.

    Parameters
    ----------
    mean_s : float
        Mean 1/mu of the exponential service times, in seconds.
    k_bins, batch_size : int
        Bins k, up to 4096, which have k - 1 edges; requests B in every batch, more than one if k is.

    Examples
    --------
    >>> exponential_edges_s(10.0, k_bins=3, batch_size=200).round(4)
    array([10.1929, 27.9051])
    """
    mean, bins = positive("mean_s", mean_s), check_integer("k_bins", k_bins, 1, MAX_BINS)
    levels = [exponential_max_s(1.0, check_integer("batch_size", batch_size, min(bins, 2), MAX_COUNT))]
    for _ in range(bins - 2):
        levels.append(1 + math.log(levels[-1]))
    return mean * np.cumsum(np.log(levels[bins - 2 :: -1])) if bins > 1 else np.zeros(0)


def exponential_bound_s(mean_s: float, edges_s: Sequence[float] | np.ndarray, batch_size: int) -> float:
    """Most that a batch takes on average, in seconds: sum_(i<k) p_i l_i + p_k (l_(k-1) + H_B / mu).

    Lemma A.1, equation (27): exponential service times, bins cut at any edges l_1 < ... < l_(k-1), p_i the share of
    bin i. A batch of a lower bin takes its upper edge at most; the last bin is exact. B over it is the least
    throughput; `maxima.binned_batch_s` of ``scipy.stats.expon(scale=mean_s)`` is what they bound.

    Parameters
    ----------
    mean_s, batch_size
        As in `exponential_edges_s`.
    edges_s : sequence of float, shape (k_bins - 1,)
        Inner edges in ascending order, in seconds.

    Examples
    --------
    >>> round(exponential_bound_s(10.0, exponential_edges_s(10.0, 3, 200), batch_size=200), 4)
    20.1929
    """
    mean, edges = positive("mean_s", mean_s), np.append(0.0, ascending(edges_s))
    reached = np.append(np.exp(-edges / mean), 0.0)
    most = np.append(edges[1:], edges[-1] + exponential_max_s(mean, batch_size))
    return float(-np.diff(reached) @ most)


def ascending(edges_s: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return inner edges as floats if they are times in ascending order, else raise `InputError`."""
    edges = times_of("edges_s", edges_s, 0)
    if (np.diff(edges) <= 0).any():
        raise InputError(f"edges_s: {edges_s!r:.80} (expected ascending times)")
    return edges


def _range(low_s: float, high_s: float) -> tuple[float, float]:
    low, high = check_number("low_s", low_s, 0.0, LARGEST), positive("high_s", high_s)
    if high < low:
        raise InputError(f"high_s: {high_s} (expected at least low_s, which is {low_s})")
    return low, high
