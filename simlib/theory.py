"""Closed forms to check the engine against: queues in their steady state, and the multi-bin batching paper's theorems.

Stands beside the flow and imports nothing of the engine, so that a mean that both agree on was computed in two ways.
Arrivals are Poisson with rate lambda, service times are independent, order is first come first served. mu is one over
the mean service time. An argument out of range, or a load at which the queue would grow for ever, is an `InputError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number

__all__ = [
    "bins_needed",
    "exponential_max_s",
    "formation_delay_s",
    "full_batch_latency_s",
    "full_batch_waiting_share",
    "greedy_batch_idle_share",
    "greedy_batch_latency_s",
    "mg1_latency_s",
    "mm1_latency_s",
    "mmc_latency_s",
    "mmc_waiting_share",
    "multi_bin_batch_s",
    "multi_bin_latency_s",
    "multi_bin_throughput_limit_rps",
    "multi_bin_throughput_rps",
    "sample_max_s",
    "uniform_max_s",
]

# Beyond these (for a load: nearer to one than the gap) the answer would be rounding errors, or long in coming.
SMALLEST, LARGEST, LOAD_GAP, MAX_COUNT, MAX_SERVERS = 1e-9, 1e9, 1e-9, 10**9, 10**6


def mm1_latency_s(rate_rps: float, service_mean_s: float) -> float:
    """Mean latency of M/M/1 (one server, exponential service times), in seconds: T = 1 / (mu - lambda).

    Parameters
    ----------
    rate_rps, service_mean_s : float
        Arrival rate lambda; mean service time 1/mu, in seconds.

    Raises
    ------
    InputError
        If an argument is out of range or the load lambda/mu is not below one.

    Examples
    --------
    >>> mm1_latency_s(rate_rps=0.5, service_mean_s=1.0)
    2.0
    """
    rate, mean, _ = _queue(rate_rps, "service_mean_s", service_mean_s)
    return mean / (1 - rate * mean)


def mg1_latency_s(rate_rps: float, service_mean_s: float, service_std_s: float) -> float:
    """Mean latency of M/G/1, in seconds (Pollaczek-Khinchine): T = E[S] + lambda E[S^2] / (2 (1 - rho)).

    Any distribution of the service time S, one server, rho = lambda E[S]. Errors as in `mm1_latency_s`.

    Parameters
    ----------
    rate_rps, service_mean_s, service_std_s : float
        Arrival rate lambda; mean and standard deviation of S, in seconds (a deviation of 0 is M/D/1).

    Examples
    --------
    >>> round(mg1_latency_s(rate_rps=0.03, service_mean_s=10.5, service_std_s=19 / 12**0.5), 3)  # uniform, 1 to 20 s
    13.573
    """
    std = check_number("service_std_s", service_std_s, 0.0, LARGEST)
    rate, mean, _ = _queue(rate_rps, "service_mean_s", service_mean_s)
    return mean + rate * (mean**2 + std**2) / (2 * (1 - rate * mean))


def mmc_waiting_share(rate_rps: float, service_mean_s: float, servers: int) -> float:
    """Share of requests that find all servers of M/M/c busy: the Erlang C formula.

    C = B_c / (1 - rho (1 - B_c)) with a = lambda/mu, rho = a/c and Erlang's B by its recursion, which cannot overflow:
    B_0 = 1, B_j = a B_(j-1) / (j + a B_(j-1)). Exponential service times, c servers on one queue.

    Parameters
    ----------
    rate_rps, service_mean_s : float
        Arrival rate lambda; mean service time 1/mu, in seconds.
    servers : int
        Servers c, up to a million.

    Raises
    ------
    InputError
        If an argument is out of range or the load rho is not below one.

    Examples
    --------
    >>> round(mmc_waiting_share(rate_rps=6.0, service_mean_s=1.0, servers=8), 5)
    0.35698
    """
    rate, mean, servers = _queue(rate_rps, "service_mean_s", service_mean_s, "servers", servers, MAX_SERVERS)
    offered, blocked = rate * mean, 1.0
    for server in range(1, servers + 1):
        blocked = offered * blocked / (server + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def mmc_latency_s(rate_rps: float, service_mean_s: float, servers: int) -> float:
    """Mean latency of M/M/c, in seconds: T = C / (c mu - lambda) + 1/mu.

    C, the assumptions, arguments and errors are those of `mmc_waiting_share`.

    Examples
    --------
    >>> round(mmc_latency_s(rate_rps=6.0, service_mean_s=1.0, servers=8), 5)
    1.17849
    """
    rate, mean, servers = _queue(rate_rps, "service_mean_s", service_mean_s, "servers", servers, MAX_SERVERS)
    return mean * (1 + mmc_waiting_share(rate, mean, servers) / (servers - rate * mean))


def full_batch_waiting_share(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Share of full batches that find the one server busy: sigma = (lambda / (lambda + mu (1 - sigma)))^B.

    The root in (0, 1). A batch waits until it has B requests (one queue, no time-out) and takes an exponential time:
    E_B/M/1 for batches.

    Parameters
    ----------
    rate_rps, batch_mean_s : float
        Arrival rate lambda of requests; mean time 1/mu of a batch, in seconds.
    batch_size : int
        Requests B in every batch.

    Raises
    ------
    InputError
        If an argument is out of range or the load lambda / (B mu) is not below one.

    Examples
    --------
    >>> round(full_batch_waiting_share(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 5)
    0.30193
    """
    return math.exp(-_full_batch_exponent(rate_rps, batch_mean_s, batch_size))


def full_batch_latency_s(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Mean latency with full batches, in seconds: T = (B - 1) / (2 lambda) + sigma / (mu (1 - sigma)) + 1/mu.

    A request waits for its batch to fill, then with it, then is served. sigma, the assumptions, arguments and errors
    are those of `full_batch_waiting_share`.

    Examples
    --------
    >>> round(full_batch_latency_s(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 5)
    2.18252
    """
    idle = -math.expm1(-_full_batch_exponent(rate_rps, batch_mean_s, batch_size))  # 1 - sigma, exact near saturation
    return formation_delay_s(batch_size, 1, rate_rps) + float(batch_mean_s) / idle


def greedy_batch_idle_share(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Share of time that a greedy batch server idles: 1 / (1 + (lambda/mu) / (1 - r)).

    M/M^(1,b)/1: a free server takes all that waits, at most b, and the batch's time is exponential; who arrives during
    a service waits for the next. r is the root in (0, 1) of mu r^(b+1) - (lambda + mu) r + lambda = 0. Arguments and
    errors as in `full_batch_waiting_share`, where `batch_size` is now the largest batch b.

    Examples
    --------
    >>> round(greedy_batch_idle_share(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 6)
    0.114546
    """
    exponent = _greedy_batch_exponent(rate_rps, batch_mean_s, batch_size)
    return 1 / (1 + float(rate_rps) * float(batch_mean_s) / -math.expm1(-exponent))


def greedy_batch_latency_s(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Mean latency of a greedy batch server, in seconds: T = P r / (mu (1 - r)^2) + 1/mu.

    P is `greedy_batch_idle_share`; r, the assumptions, arguments and errors are its own too. M/M/1 if b = 1.

    Examples
    --------
    >>> round(greedy_batch_latency_s(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 6)
    2.268433
    """
    exponent = _greedy_batch_exponent(rate_rps, batch_mean_s, batch_size)
    queued = math.exp(-exponent) / math.expm1(-exponent) ** 2
    return float(batch_mean_s) * (1 + greedy_batch_idle_share(rate_rps, batch_mean_s, batch_size) * queued)


def uniform_max_s(low_s: float, high_s: float, batch_size: int) -> float:
    """Mean of the largest of B uniform times, in seconds: low + (high - low) B / (B + 1).

    Parameters
    ----------
    low_s, high_s : float
        Shortest and longest time, in seconds.
    batch_size : int
        Number of times B.

    Raises
    ------
    InputError
        If an argument is out of range or `high_s` below `low_s`.

    Examples
    --------
    >>> round(uniform_max_s(1.0, 20.0, batch_size=128), 4)
    19.8527
    """
    low, high = _range(low_s, high_s)
    size = _count("batch_size", batch_size)
    return low + (high - low) * (size / (size + 1))


def exponential_max_s(mean_s: float, batch_size: int) -> float:
    """Mean of the largest of B exponential times, in seconds: the harmonic number H_B times their mean.

    B and the errors are those of `uniform_max_s`; `mean_s` is the mean of one time, in seconds.

    Examples
    --------
    >>> round(exponential_max_s(mean_s=10.0, batch_size=200), 4)
    58.7803
    """
    from scipy.special import digamma

    mean, size = _positive("mean_s", mean_s), _count("batch_size", batch_size)
    return mean * float(digamma(size + 1) + np.euler_gamma)


def sample_max_s(sample_s: Any, batch_size: int) -> float:
    """Mean of the largest of B draws from a sample, in seconds: sum_j x_(j) [(j/m)^B - ((j-1)/m)^B].

    x_(1) <= ... <= x_(m) is the sample in order; draws are with replacement. As an estimate for the distribution that
    the sample came from, it is too low where there are few rows for each draw.

    Parameters
    ----------
    sample_s : array_like of float, shape (m,)
        Times >= 0, in seconds, in any order; at least one.
    batch_size : int
        Number of draws B.

    Raises
    ------
    InputError
        If the sample is empty or has a bad value (the first bad row is named), or B is out of range.

    Examples
    --------
    >>> sample_max_s([3.0, 1.0], batch_size=2)
    2.5
    """
    times, size = np.sort(_times("sample_s", sample_s)), _count("batch_size", batch_size)
    share_below = (np.arange(len(times) + 1) / len(times)) ** size
    # Above the smallest time, so that equal times give exactly that time.
    return float(times[0] + (times - times[0]) @ np.diff(share_below))


def multi_bin_batch_s(low_s: float, high_s: float, batch_size: int, k_bins: int) -> float:
    """Mean time of a batch, in seconds: E[t_k] = m + (B high / (B + 1) + low / (B + 1) - m) / k, m = (low + high) / 2.

    Theorem 4.2, equation (4), multi-bin batching paper (arXiv 2412.04504): service times uniform from
    `low_s` to `high_s`, k bins of equal width (the best, Lemma 4.1), batches of B from one bin that take their longest
    member's time, and no error of prediction. Errors and the other arguments as in `uniform_max_s`.

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
    return middle + (uniform_max_s(low, high, batch_size) - middle) / _count("k_bins", k_bins)


def multi_bin_throughput_rps(low_s: float, high_s: float, batch_size: int, k_bins: int) -> float:
    """Throughput of one server that never lacks a full batch, in requests per second: c_k = B / E[t_k].

    Theorem 4.2 with Proposition 4.1; E[t_k], the assumptions, arguments and errors are those of `multi_bin_batch_s`. A
    finite run stays a little below: its first batch must fill, its last ones are not full.

    Examples
    --------
    >>> round(multi_bin_throughput_rps(1.0, 20.0, batch_size=128, k_bins=2), 4)
    8.4342
    """
    return _count("batch_size", batch_size) / multi_bin_batch_s(low_s, high_s, batch_size, k_bins)


def multi_bin_throughput_limit_rps(low_s: float, high_s: float, batch_size: int) -> float:
    """Throughput that c_k approaches as bins are added, in requests per second: c_max = 2 B / (low + high).

    Remark 4.3, equation (5); arguments and errors as in `multi_bin_batch_s`. The paper's text prints 12.3 for B = 128
    and times from 1 to 20 s, where its equation gives 12.19.

    Examples
    --------
    >>> round(multi_bin_throughput_limit_rps(1.0, 20.0, batch_size=128), 2)
    12.19
    """
    low, high = _range(low_s, high_s)
    return 2 * _count("batch_size", batch_size) / (low + high)


def bins_needed(low_s: float, high_s: float, batch_size: int, shortfall_rps: float) -> int:
    """Fewest bins with c_k >= c_max - epsilon: k = ceil((c_max - epsilon) (E[t_1] - m) / (epsilon m)).

    Theorem 4.3, equation (6), with the assumptions, errors and other arguments of `multi_bin_batch_s`.

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


def formation_delay_s(batch_size: int, k_bins: int, rate_rps: float) -> float:
    """Mean time that a request waits for its batch to fill, in seconds: k (B - 1) / (2 lambda).

    Second term of Lemma 5.1, equation (7). Full batches without time-out, any service times, and bins of any mass: a
    bin with a smaller share of the requests fills more slowly, but has fewer that wait.

    Parameters
    ----------
    batch_size, k_bins : int
        Requests B in every batch; bins k.
    rate_rps : float
        Arrival rate lambda over all bins.

    Raises
    ------
    InputError
        If an argument is out of range.

    Examples
    --------
    >>> formation_delay_s(batch_size=8, k_bins=4, rate_rps=14.0)
    1.0
    """
    rate, size = _positive("rate_rps", rate_rps), _count("batch_size", batch_size)
    return _count("k_bins", k_bins) * (size - 1) / (2 * rate)


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


def _full_batch_exponent(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Solve for s = -ln(sigma)."""
    rate, mean, size = _queue(rate_rps, "batch_mean_s", batch_mean_s, "batch_size", batch_size)
    offered = rate * mean
    # The equation's logarithm is concave in s and zero at s = 0 too, so that its peak parts the two roots.
    peak = math.log((size + 1) / (offered + 1))
    return _root(lambda s: size * math.log1p(-math.expm1(-s) / offered) - s, peak, size * math.log1p(1 / offered))


def _greedy_batch_exponent(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Solve for s = -ln(r)."""
    rate, mean, size = _queue(rate_rps, "batch_mean_s", batch_mean_s, "batch_size", batch_size)
    offered = rate * mean
    # Divided by its root r = 1, the polynomial says r + r^2 + ... + r^b = lambda/mu, and the sum falls in s.
    low = (size - offered) / (size * (size + 1))
    return _root(lambda s: -math.expm1(-size * s) / math.expm1(s) - offered, low, math.log1p(2 / offered))


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    from scipy.optimize import brentq

    # A relative tolerance, as the reciprocal of a root that is small near saturation is the answer.
    return float(brentq(function, low, high, xtol=1e-300, rtol=1e-15, maxiter=1000))


def _positive(name: str, value: float) -> float:
    return check_number(name, value, SMALLEST, LARGEST)


def _count(name: str, value: int) -> int:
    return check_integer(name, value, 1, MAX_COUNT)


def _range(low_s: float, high_s: float) -> tuple[float, float]:
    low, high = check_number("low_s", low_s, 0.0, LARGEST), _positive("high_s", high_s)
    if high < low:
        raise InputError(f"high_s: {high_s} (expected at least low_s, which is {low_s})")
    return low, high


def _queue(
    rate_rps: float, time_name: str, time_s: float, count_name: str = "", count: int = 1, most: int = MAX_COUNT
) -> tuple[float, float, int]:
    """Check the arrival rate, the mean time and how many are served at a time, then the load that they make."""
    rate, time = _positive("rate_rps", rate_rps), _positive(time_name, time_s)
    count = check_integer(count_name, count, 1, most)
    load = rate * time / count
    if load > 1 - LOAD_GAP:
        formula = f"rate_rps * {time_name}" + (f" / {count_name}" if count_name else "")
        raise InputError(f"load {formula}: {load:.12g} (expected below 1, else the queue grows for ever)")
    return rate, time, count


def _times(name: str, values: Any) -> np.ndarray:
    try:
        times = np.asarray(values)
    except ValueError:  # a ragged list
        times = np.empty(0)
    if times.ndim != 1 or not len(times) or times.dtype.kind not in "iuf":
        raise InputError(f"{name}: {values!r:.80} (expected a list of at least one time, in seconds)")
    bad = np.flatnonzero(~((times >= 0) & (times <= LARGEST)))
    if len(bad):
        raise InputError(f"{name}, row {bad[0]}: {times[bad[0]]} (expected a time in [0, {LARGEST:g}] s)")
    return times.astype(float)
