"""Queues known in closed form: one server, several, and one that serves batches of exponential time.

Arrivals are Poisson with rate lambda, service times are independent, order is first come first served. mu is one over
the mean service time. An argument out of range, or a load at which the queue would grow for ever, is an `InputError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number

# Beyond these (for a load: nearer to one than the gap) the answer would be rounding errors, or long in coming.
SMALLEST, LARGEST, LOAD_GAP, MAX_COUNT, MAX_SERVERS = 1e-9, 1e9, 1e-9, 10**9, 10**6
LONGEST_WAIT = 10_000  # service times


def mm1_latency_s(rate_rps: float, service_mean_s: float) -> float:
    """Mean latency of M/M/1 (one server, exponential service times), in seconds: T = 1 / (mu - lambda).

    Parameters
    ----------
    rate_rps, service_mean_s : float
        Arrival rate lambda; mean service time 1/mu, in seconds.

    Examples
    --------
    >>> mm1_latency_s(rate_rps=0.5, service_mean_s=1.0)
    2.0
    """
    rate, mean, _ = _queue(rate_rps, "service_mean_s", service_mean_s)
    return mean / (1 - rate * mean)


def mg1_latency_s(rate_rps: float, service_mean_s: float, service_std_s: float) -> float:
    """Mean latency of M/G/1, in seconds (Pollaczek-Khinchine): T = E[S] + lambda E[S^2] / (2 (1 - rho)).

    Any distribution of the service time S, one server, rho = lambda E[S].

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


def md1_late_share(rate_rps: float, service_s: float, deadline_s: float) -> float:
    """Share of requests of M/D/1 (one server, all service times alike) whose latency is longer than a deadline.

    P(W <= w D) = sum over j < k of e^-u u^j / j! P(N <= k - j), with k = floor(w) + 1, u = lambda D (k - w) and N the
    number in system (Franx, 2001). N rises beyond n as often as it falls to n, which gives its probabilities one by
    one. No term is negative: no digit is lost, however near to 1 the load is, and the share is right to 1e-12.

    Parameters
    ----------
    rate_rps, service_s : float
        Arrival rate lambda; service time D, in seconds.
    deadline_s : float
        Longest latency that is in time, in seconds; at most 10,000 service times.

    Examples
    --------
    >>> round(md1_late_share(rate_rps=0.5, service_s=1.0, deadline_s=1.0), 9)  # who waits at all
    0.5
    >>> round(md1_late_share(rate_rps=0.9624, service_s=1.0, deadline_s=40.0), 3)
    0.05
    """
    from scipy.special import pdtr, pdtrc

    rate, service, _ = _queue(rate_rps, "service_s", service_s)
    waits = check_number("deadline_s", positive("deadline_s", deadline_s), 0.0, LONGEST_WAIT * service) / service - 1
    if waits < 0:
        return 1.0
    k = math.floor(waits) + 1
    places, load = np.arange(k + 1), rate * service
    beyond, shares = pdtrc(places, load), np.zeros(k + 1)  # more arrivals than so many during a service; so many there
    shares[0] = 1 - load
    for n in range(k):  # as often as the number falls to n, it rises beyond it
        shares[n + 1] = (shares[0] * beyond[n] + shares[1 : n + 1] @ beyond[n:0:-1]) / math.exp(-load)
    at_most = pdtr(places, load * (k - waits))
    return float(1 - np.diff(at_most, prepend=0.0)[:k] @ np.cumsum(shares)[k:0:-1])


def mg1_priority_latencies_s(rates_rps: Any, service_means_s: Any, service_stds_s: Any) -> list[float]:
    """Mean latency of each class of M/G/1 with priorities, in seconds (Cobham): T_k = E[S_k] + R / (F_(k-1) F_k).

    R = sum lambda_i E[S_i^2] / 2 over all classes, F_k = 1 - rho_1 - ... - rho_k. Whoever is served is not interrupted;
    the next is of the most urgent class that waits, and in it who came first.

    Parameters
    ----------
    rates_rps, service_means_s, service_stds_s : sequence of float
        Arrival rate, mean and standard deviation of the service time in seconds of each class, the most urgent first.

    Examples
    --------
    >>> mg1_priority_latencies_s([0.25, 0.25], [1.0, 1.0], [1.0, 1.0])
    [1.6666666666666665, 2.333333333333333]
    """
    rates = times_of("rates_rps", rates_rps)
    means, stds = times_of("service_means_s", service_means_s), times_of("service_stds_s", service_stds_s)
    for name, values in (("service_means_s", means), ("service_stds_s", stds)):
        if len(values) != len(rates):
            raise InputError(f"{name}: {len(values)} classes (expected {len(rates)}, as in rates_rps)")
    loads = np.cumsum(rates * means)
    stable("sum of rates_rps * service_means_s", float(loads[-1]))
    residual_s = float(rates @ (means**2 + stds**2)) / 2
    return (means + residual_s / ((1 - np.append(0.0, loads[:-1])) * (1 - loads))).tolist()


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

    C, the assumptions and arguments are those of `mmc_waiting_share`.

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

    Examples
    --------
    >>> round(full_batch_waiting_share(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 5)
    0.30193
    """
    return math.exp(-_full_batch_exponent(rate_rps, batch_mean_s, batch_size))


def full_batch_latency_s(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Mean latency with full batches, in seconds: T = (B - 1) / (2 lambda) + sigma / (mu (1 - sigma)) + 1/mu.

    A request waits for its batch to fill, then with it, then is served. sigma, the assumptions and arguments
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
    a service waits for the next. r is the root in (0, 1) of mu r^(b+1) - (lambda + mu) r + lambda = 0. Arguments
    as in `full_batch_waiting_share`, where `batch_size` is now the largest batch b.

    Examples
    --------
    >>> round(greedy_batch_idle_share(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 6)
    0.114546
    """
    exponent = _greedy_batch_exponent(rate_rps, batch_mean_s, batch_size)
    return 1 / (1 + float(rate_rps) * float(batch_mean_s) / -math.expm1(-exponent))


def greedy_batch_latency_s(rate_rps: float, batch_mean_s: float, batch_size: int) -> float:
    """Mean latency of a greedy batch server, in seconds: T = P r / (mu (1 - r)^2) + 1/mu.

    P is `greedy_batch_idle_share`; r, the assumptions and arguments are its own too. M/M/1 if b = 1.

    Examples
    --------
    >>> round(greedy_batch_latency_s(rate_rps=2.0, batch_mean_s=1.0, batch_size=4), 6)
    2.268433
    """
    exponent = _greedy_batch_exponent(rate_rps, batch_mean_s, batch_size)
    queued = math.exp(-exponent) / math.expm1(-exponent) ** 2
    return float(batch_mean_s) * (1 + greedy_batch_idle_share(rate_rps, batch_mean_s, batch_size) * queued)


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

    Examples
    --------
    >>> formation_delay_s(batch_size=8, k_bins=4, rate_rps=14.0)
    1.0
    """
    rate, size = positive("rate_rps", rate_rps), count("batch_size", batch_size)
    return count("k_bins", k_bins) * (size - 1) / (2 * rate)


def processor_sharing_latency_s(
    rate_rps: float, mean_tokens: float, fixed_s: float, per_request_s: float, most: int | None = None
) -> float:
    """Mean latency of continuous batching, in seconds: T = N (a + beta) / (1 - lambda N beta), with a cap by its chain.

    n requests that decode together share phi(n) = n / (a + beta n) tokens per second, as a step of n tokens takes
    a + beta n seconds. Such a processor-sharing queue forgets the law of the lengths and keeps their mean N (Cohen,
    1979): P(n) ~ (lambda N)^n prod_(i<=n) (a + beta i) / i, which is negative binomial, and T = E[n] / lambda. A
    request that arrives joins the next step; no prefill, no limit of memory, and N well above one token.

    Parameters
    ----------
    rate_rps, mean_tokens : float
        Arrival rate lambda; mean length N of an output, in tokens.
    fixed_s, per_request_s : float
        Time a of a step; time beta that each request adds to it, >= 0, in seconds.
    most : int, optional
        Largest number B of requests that decode together, up to a million, the others wait: the birth-death chain with
        the rate phi(min(n, B)) / N, which is exact for geometric lengths only.

    Examples
    --------
    >>> round(processor_sharing_latency_s(1.0, mean_tokens=447.5, fixed_s=0.030, per_request_s=0.00022), 2)
    15.0
    """
    rate, tokens = positive("rate_rps", rate_rps), positive("mean_tokens", mean_tokens)
    fixed, each = positive("fixed_s", fixed_s), check_number("per_request_s", per_request_s, 0.0, LARGEST)
    if most is None:
        load = stable("rate_rps * mean_tokens * per_request_s", rate * tokens * each)
        return tokens * (fixed + each) / (1 - load)
    served = np.arange(1, check_integer("most", most, 1, MAX_SERVERS) + 1)
    ratio = rate * tokens * (fixed / served + each)  # P(n) / P(n - 1), the last one for ever
    load = stable("rate_rps * mean_tokens * (fixed_s / most + per_request_s)", float(ratio[-1]))
    logarithm = np.append(0.0, np.cumsum(np.log(ratio)))
    share = np.exp(logarithm - logarithm.max())
    beyond = share[-1] * load / (1 - load)  # a geometric tail, `most` + 1 / (1 - load) requests on average
    present = share[1:] @ served + beyond * (len(served) + 1 / (1 - load))
    return float(present / (share.sum() + beyond) / rate)


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


def positive(name: str, value: float) -> float:
    """Return `value` if closed forms can use it as a rate, a time or a length, else raise `InputError`."""
    return check_number(name, value, SMALLEST, LARGEST)


def count(name: str, value: int) -> int:
    """Return `value` if closed forms can use it as a number of requests or bins, else raise `InputError`."""
    return check_integer(name, value, 1, MAX_COUNT)


def stable(formula: str, load: float) -> float:
    """Return the load if the queue has a steady state, else raise `InputError` that names its formula."""
    if not load <= 1 - LOAD_GAP:
        raise InputError(f"load {formula}: {load:.12g} (expected below 1, else the queue grows for ever)")
    return load


def times_of(name: str, values: Any, fewest: int = 1) -> np.ndarray:
    """Return a list of times (or lengths) as floats if closed forms can use it, else raise `InputError`."""
    try:
        times = np.asarray(values)
    except ValueError:  # a ragged list
        times = np.empty(0)
    if times.ndim != 1 or len(times) < fewest or times.dtype.kind not in "iuf":
        raise InputError(f"{name}: {values!r:.80} (expected a list of numbers, at least {fewest})")
    bad = np.flatnonzero(~((times >= 0) & (times <= LARGEST)))
    if len(bad):
        raise InputError(f"{name}, row {bad[0]}: {times[bad[0]]} (expected a number in [0, {LARGEST:g}])")
    return times.astype(float)


def _queue(
    rate_rps: float, time_name: str, time_s: float, count_name: str = "", served: int = 1, most: int = MAX_COUNT
) -> tuple[float, float, int]:
    """Check the arrival rate, the mean time and how many are served at a time, then the load that they make."""
    rate, time = positive("rate_rps", rate_rps), positive(time_name, time_s)
    served = check_integer(count_name, served, 1, most)
    stable(f"rate_rps * {time_name}" + (f" / {count_name}" if count_name else ""), rate * time / served)
    return rate, time, served
