"""Steady state from long runs: where to cut the warm-up, and intervals from dependent observations.

Reads per-request values in order of arrival; knows no policy. Neighbours in a run depend on each other, so an interval
rests on pieces that hardly do: long batches, or sections for quantiles. How long the run is against what it remembers
(`memory`) decides whether there is one. Where the run is too short, or the pieces depend or are too few, the reason is
given in its place; what is no finite number is an `InputError` that names its place.
"""

from __future__ import annotations

import functools
import itertools
import math
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from simlib.checks import InputError, check_choice, check_number
from simlib.stats.intervals import LARGEST, Estimate, check_numbers, t_quantile

BATCHES, SECTIONS = 20, 10  # of a run, for its mean and for its quantiles; of fewer their dependence could not be seen
FEWEST_REQUESTS, FEWEST_BEYOND = 100, 10
FEWEST_MEMORIES = 100  # of a run; what is estimated for one of 200 is less once in a hundred runs near saturation
CONFIDENCE = 0.95
FINEST, COARSEST = 16_000, 400  # means of pieces of a run, at most and at least, whose steps are looked at
WHITE = 0.6  # spread over step, both squared, of white noise
LITTLE, MUCH = 0.25, 0.6  # noise in a step: less does no harm, with more nothing else is seen
DEPENDENT = 0.001  # error of the test that finds batches dependent: so rarely a good run is left without an interval


def truncation(*systems: Any) -> int:
    """How many requests to cut as warm-up, one number for all systems compared (MSER-5; the latest of them).

    Parameters
    ----------
    *systems : array_like of float, shape (n_requests,) or (replications, n_requests)
        Per-request values in order of arrival, one array a system; replications are averaged first. At least 100
        requests.

    Returns
    -------
    int
        A multiple of 5, less than half of the requests.

    Raises
    ------
    InputError
        If the systems differ in length, or a minimum lies in the middle of the run: too short a run.

    Notes
    -----
    MSER-5 (White, Cobb and Spratt, 2000) cuts the first d means of 5 values each, with d where the squared standard
    error of the rest, sum of (z_j - mean)^2 over (n - d)^2, is least; d is sought in the first half.

    Examples
    --------
    >>> truncation(np.r_[np.linspace(0, 5, 100), np.tile([4.0, 6.0], 450)])
    95
    """
    if not systems:
        raise InputError("systems: none (expected the values of at least one)")
    means = [_replications(f"system {place}", values).mean(axis=0) for place, values in enumerate(systems)]
    for place, values in enumerate(means):
        if len(values) != len(means[0]):
            raise InputError(f"system {place}: {len(values)} requests (expected {len(means[0])}, as in system 0)")
    return max(_mser5(f"system {place}", values) for place, values in enumerate(means))


def memory(values: Any) -> float:
    """Over how many requests values depend on each other: a run must be many times as long for an interval.

    Parameters
    ----------
    values : array_like of float, shape (n_requests,) or (replications, n_requests)
        Per-request values in order of arrival, warm-up cut; at least 100 requests.

    Returns
    -------
    float
        In requests, at least 1.

    Notes
    -----
    8 g^2 / d, less what white noise would have, with Gini's mean difference g and the mean squared step d from one
    value to the next: the relaxation time of a reflected Brownian motion with such values and steps, to which queues
    near saturation converge (2 (1 + c^2) / (1 - rho)^2 requests in M/G/1). In an autoregressive process it is two to
    three times the sum of all autocorrelations. That sum itself, estimated from one run, is mostly chance, as few large
    excursions decide it; how far values spread and how fast they move is known from all of the run. Steps are between
    means of pieces of the run, the shortest that what each request has by itself does not hide what they share: two
    steps differ by twice as much as one, and more, if they are not noise.

    Examples
    --------
    >>> gaps_s, served_s = np.random.default_rng(1).exponential([[1 / 0.9], [1.0]], (2, 100_000))  # M/M/1, load 0.9
    >>> work_s = np.cumsum(served_s - gaps_s)
    >>> 250 < memory(work_s - np.minimum.accumulate(work_s)) < 500  # its relaxation time is 380 requests
    True
    """
    return _memory(_replications("values", values))


def _memory(runs: np.ndarray) -> float:
    looked, size = [], max(1, runs.shape[1] // FINEST)
    while not looked or runs.shape[1] // size >= COARSEST:
        means = runs[:, runs.shape[1] % size :].reshape(len(runs), -1, size).mean(axis=2)
        spread, peak = _mean_difference(means.ravel()), float(np.abs(means).max())
        one, two = (float(np.mean((means[:, lag:] - means[:, :-lag]) ** 2)) for lag in (1, 2))
        if spread <= 1e-9 * peak:
            return 1.0  # equal up to rounding: nothing varies, so that nothing depends
        if one <= (1e-9 * peak) ** 2:
            return math.inf
        # Means of so many steps of square 1 differ by (2 size^2 + 1) / 3 size, and by `size` more one further on.
        alike = (2 * size**2 + 1) / (3 * size)
        noise = 1 - (two / one - 1) * alike / size
        looked.append((noise, 8 * alike * (spread**2 / one - WHITE)))
        size *= 2
    return max(1.0, min(looked, key=lambda each: min(max(each[0], LITTLE), MUCH))[1])


def batch_means(values: Any) -> Estimate:
    """Mean of one long run after its warm-up, with an interval (95 %) over 20 consecutive batches' means.

    Parameters
    ----------
    values : array_like of float, shape (n_requests,)
        Per-request values in order of arrival, warm-up cut; at least two a batch. What does not fill a batch is left
        out at the start.

    Returns
    -------
    Estimate
        Without limits where the run is fewer than 100 times as long as its `memory`, or the batches' means depend on
        each other (von Neumann's ratio, one-sided, 0.1 %).

    Notes
    -----
    Student's t. A queue is seldom very long, and a run that was not so tells neither of the mean nor of its error: to
    the batches' variance that of n / M independent values is added, with M the memory, 100 M / n times, which is little
    in a long run. Coverage is measured in ``data/results/coverage.csv``, near saturation in ``coverage_edge.csv``.

    Examples
    --------
    >>> found = batch_means(np.random.default_rng(0).normal(3.0, 1.0, 20_000))
    >>> found.groups, round(found.value, 2), round(found.half_width, 2)
    (20, 3.0, 0.02)
    """
    parts = _batched(values, BATCHES)
    means = parts.mean(axis=1)
    memories, reason = _memories(parts, means)
    return _estimate("batch_means", float(means.mean()), means, float(parts.std()), memories, reason)


def hidden(deviation: float, memories: float) -> float:
    """By how much the standard error of a short run may be larger than its pieces show, as squares add.

    Parameters
    ----------
    deviation : float
        Of one independent value, in the unit of the error.
    memories : float
        How many times the run is as long as its `memory`, > 0.

    Notes
    -----
    The error of so many independent values, times the root of 100 over their number.

    Examples
    --------
    >>> hidden(1.0, 100), hidden(1.0, 10_000)
    (0.1, 0.001)
    """
    return math.sqrt(FEWEST_MEMORIES) * deviation / memories if memories > 0 else math.inf


def quantile(values: Any, q: float, method: Literal["sectioning", "batch_quantiles"] = "sectioning") -> Estimate:
    """Quantile of one long run after its warm-up, with an interval (95 %) over 10 consecutive sections.

    Order statistics of the whole run, which suit independent values, cover far less than they say here.

    Parameters
    ----------
    values : array_like of float, shape (n_requests,)
        As in `batch_means`.
    q : float
        Which quantile, in (0, 1): 0.99 for P99. Interpolated linearly between values.
    method : {"sectioning", "batch_quantiles"}
        Whether the interval is around the quantile of the whole run, or around the mean of the sections' quantiles,
        which is biased more.

    Returns
    -------
    Estimate
        Without limits where a section holds fewer than 10 values on one side of the quantile, and for the reasons of
        `batch_means`.

    Notes
    -----
    Sectioning (Asmussen and Glynn, 2007, III.5): the quantile Q of the whole, and the variance
    sum (Q_j - Q)^2 / (m (m - 1)) of the quantiles Q_j of m sections, with what a short run may hide as in
    `batch_means`. The mean over replications of a paired difference of such quantiles is a *difference of P99s*, not
    the P99 of a difference.

    Examples
    --------
    >>> found = quantile(np.random.default_rng(0).exponential(size=100_000), 0.5)
    >>> round(found.value, 2), bool(found.ci_low < np.log(2) < found.ci_high)
    (0.69, True)
    """
    q = check_number("q", q, 0.0, 1.0, open_low=True, open_high=True)
    check_choice("method", method, ("sectioning", "batch_quantiles"))
    parts = _batched(values, SECTIONS)
    # The slope of the quantile, from one further in by a unit of the logit, where there is more to see.
    further_in = 1 / (1 + math.exp(math.copysign(1.0, q - 0.5)) * (1 - q) / q)
    whole, inner = (float(each) for each in np.quantile(parts, [q, further_in]))
    each = np.quantile(parts, q, axis=1)
    beyond = parts.shape[1] * min(q, 1 - q)
    memories, reason = _memories(parts, each)
    if beyond < FEWEST_BEYOND * (1 - 1e-9):
        reason = f"a section holds {beyond:.3g} values beyond the quantile (an interval needs {FEWEST_BEYOND})"
    centre = whole if method == "sectioning" else float(each.mean())
    deviation = abs(whole - inner) / math.sqrt(q * (1 - q) / 2)  # and twice the variance, as further out there is less
    return _estimate(method, whole if reason else centre, each, deviation, memories, reason)


def _estimate(method: str, centre: float, each: np.ndarray, deviation: float, memories: float, reason: str) -> Estimate:
    """An interval from what each piece says, and from the deviation that one independent value would have."""
    count = len(each)
    if reason:
        return Estimate(centre, None, None, "none", count, reason)
    variance = float(np.sum((each - centre) ** 2)) / count / (count - 1)
    half_width = t_quantile(count - 1, CONFIDENCE) * math.hypot(math.sqrt(variance), hidden(deviation, memories))
    return Estimate(centre, centre - half_width, centre + half_width, method, count)


def _mean_difference(values: np.ndarray) -> float:
    """How far two values are apart, on average (Gini): like the standard deviation, but the largest count for less."""
    values = values[:: max(1, len(values) // FINEST)]
    count = len(values)
    return float((2 * np.arange(1 - count, count, 2)) @ np.sort(values)) / (count * (count - 1)) if count > 1 else 0.0


def _memories(parts: np.ndarray, each: np.ndarray) -> tuple[float, str]:
    """How many times as long as its memory a run is, and why there is no interval, if so."""
    memories = parts.size / _memory(parts.reshape(1, -1))
    if memories < FEWEST_MEMORIES:
        return memories, f"the run is {memories:.3g} times as long as its memory (an interval needs {FEWEST_MEMORIES})"
    if not looks_independent(each, DEPENDENT):
        return memories, f"the {len(each)} batches depend on their neighbours (expected a longer run)"
    return memories, ""


def looks_independent(means: Any, error: float = 0.05) -> bool:
    """Whether neighbours differ as much as others do: von Neumann's ratio, which is 2 for independent values.

    Parameters
    ----------
    means : array_like of float, shape (batches,)
        At least three, in order of time.
    error : float
        Probability, in (0, 1), that independent values do not look so.

    Examples
    --------
    >>> looks_independent([1.0, 3.0, 2.0, 4.0, 1.0]), looks_independent(range(9))
    (True, False)
    """
    means = check_numbers("means", means, "batch")
    if len(means) < 3:
        raise InputError(f"means: {len(means)} (expected at least 3)")
    return is_random(means.tolist(), check_number("error", error, 0.0, 1.0, open_low=True, open_high=True))


def is_random(means: list[float], error: float) -> bool:
    """`looks_independent` of means that were checked."""
    count = len(means)
    centre = sum(means) / count
    spread = sum((mean - centre) ** 2 for mean in means)
    # Equal up to rounding: nothing varies, so that nothing depends.
    if spread <= count * (1e-9 * max(map(abs, means))) ** 2:
        return True
    ratio = sum((after - before) ** 2 for before, after in itertools.pairwise(means)) / spread
    return (1 - ratio / 2) * math.sqrt((count**2 - 1) / (count - 2)) < _critical_z(error)


@functools.cache
def _critical_z(error: float) -> float:
    return -NormalDist().inv_cdf(error)


def _replications(name: str, values: Any) -> np.ndarray:
    """Finite numbers, shape (replications, n_requests)."""
    try:
        array = np.atleast_2d(np.asarray(values, float))
    except (TypeError, ValueError, OverflowError):
        array = np.empty((0, 0, 0))
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name}: {values!r:.80} (expected one row of numbers a replication)")
    check_numbers(name, array.mean(axis=0), "request", -LARGEST, LARGEST)
    if array.shape[1] < FEWEST_REQUESTS:
        raise InputError(f"{name}: {array.shape[1]} requests (expected at least {FEWEST_REQUESTS})")
    return array


def _mser5(name: str, values: np.ndarray) -> int:
    batches = values[: len(values) // 5 * 5].reshape(-1, 5).mean(axis=1)
    batches = batches - batches.mean()  # so that squares lose no digits to a large mean
    left = len(batches) - np.arange(len(batches) // 2 + 1)
    sums = np.cumsum(batches[::-1])[::-1][: len(left)]
    squares = np.cumsum(batches[::-1] ** 2)[::-1][: len(left)]
    cut = int(np.argmin((squares - sums**2 / left) / left.astype(float) ** 2))
    if cut == len(left) - 1:
        raise InputError(
            f"{name}: the warm-up takes half of the {len(values)} requests or more (expected a longer run)"
        )
    return 5 * cut


def _batched(values: Any, batches: int) -> np.ndarray:
    """Consecutive batches of equal size, shape (batches, size)."""
    values = check_numbers("values", values, "request")
    size = len(values) // batches
    if size < 2:
        raise InputError(f"values: {len(values)} requests (expected at least {2 * batches}, two for each batch)")
    return values[len(values) - batches * size :].reshape(batches, size)
