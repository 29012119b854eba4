"""Steady state from long runs: where to cut the warm-up, and intervals from dependent observations.

Reads per-request values in order of arrival; knows no policy. Neighbours in a run depend on each other, so an interval
rests on pieces that hardly do: long batches, cycles between two moments at which the system is empty, or sections for
quantiles. Where the pieces still depend, or are too few, the reason is given in place of an interval; what is no finite
number is an `InputError` that names its place.
"""

from __future__ import annotations

import functools
import itertools
import math
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number
from simlib.stats.intervals import LARGEST, Estimate, check_numbers, mean_interval, t_quantile

BATCHES, FEWEST_CYCLES, FEWEST_BEYOND = 20, 100, 10  # with fewer batches their dependence could not be seen
CONFIDENCE = 0.95
DEPENDENT = 0.01  # error of the test that finds batches dependent: so rarely a good run is left without an interval


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
    means = [_mean_run(f"system {place}", values) for place, values in enumerate(systems)]
    for place, values in enumerate(means):
        if len(values) != len(means[0]):
            raise InputError(f"system {place}: {len(values)} requests (expected {len(means[0])}, as in system 0)")
    return max(_mser5(f"system {place}", values) for place, values in enumerate(means))


def welch(values: Any, half_window: int) -> np.ndarray:
    """Welch's moving average over replications, to look at: the warm-up ends where the curve becomes level.

    Parameters
    ----------
    values : array_like of float, shape (n_requests,) or (replications, n_requests)
        Per-request values in order of arrival.
    half_window : int
        Requests on either side of each one, w, at most half of them; fewer at the start.

    Notes
    -----
    Welch (1983); shape (n_requests - half_window,), in the unit of the values.

    Examples
    --------
    >>> welch([[0.0, 2.0, 4.0, 4.0], [0.0, 4.0, 2.0, 4.0]], half_window=1).tolist()
    [0.0, 2.0, 3.3333333333333335]
    """
    mean = _mean_run("values", values, 1)
    half_window = check_integer("half_window", half_window, 0, len(mean) // 2)
    centre = np.arange(len(mean) - half_window)
    reach = np.minimum(centre, half_window)
    sums = np.r_[0.0, np.cumsum(mean)]
    return (sums[centre + reach + 1] - sums[centre - reach]) / (2 * reach + 1)


def batch_means(values: Any) -> Estimate:
    """Mean of one long run after its warm-up, with Student's t interval (95 %) over 20 consecutive batches' means.

    Parameters
    ----------
    values : array_like of float, shape (n_requests,)
        Per-request values in order of arrival, warm-up cut; at least two a batch. What does not fill a batch is left
        out at the start.

    Returns
    -------
    Estimate
        Without limits where the batches' means depend on each other (von Neumann's ratio, one-sided, 1 %): the run is
        too short.

    Notes
    -----
    Coverage is measured in ``data/results/coverage.csv``: it is as stated once a batch is some tens of times as long
    as the system's memory. The test tells a much shorter run; it cannot tell one that is a little short.

    Examples
    --------
    >>> found = batch_means(np.random.default_rng(0).normal(3.0, 1.0, 20_000))
    >>> found.groups, round(found.value, 2), round(found.half_width, 2)
    (20, 3.0, 0.02)
    """
    means = _batched(values).mean(axis=1)
    interval = mean_interval(means)
    if reason := _dependent(means):
        return Estimate(interval.mean, None, None, "none", len(means), reason)
    return Estimate(interval.mean, interval.ci_low, interval.ci_high, "batch_means", len(means))


def cycle_starts(arrival_s: Any, completion_s: Any) -> np.ndarray:
    """Which requests find the system empty: with Poisson arrivals, the system starts afresh with each.

    Parameters
    ----------
    arrival_s, completion_s : array_like of float, shape (n_requests,)
        Arrivals (ascending) and completions, in seconds.

    Notes
    -----
    Ascending positions, the first is 0. A completion at the instant of an arrival is before it. A policy that learns (a
    controller's window, smoothed means) does not start afresh; use batches for it.

    Examples
    --------
    >>> cycle_starts([0.0, 1.0, 4.0, 9.0], [2.0, 3.0, 9.0, 10.0]).tolist()
    [0, 2, 3]
    """
    arrival_s = check_numbers("arrival_s", arrival_s, "row")
    completion_s = check_numbers("completion_s", completion_s, "row")
    if len(completion_s) != len(arrival_s):
        raise InputError(f"completion_s: {len(completion_s)} rows (expected {len(arrival_s)}, as in arrival_s)")
    latest = np.maximum.accumulate(completion_s)
    return np.r_[0, 1 + np.flatnonzero(arrival_s[1:] >= latest[:-1])]


def cycle_sums(values: Any, starts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the values and number of requests in each whole cycle (as `shares.share_interval` takes them).

    Parameters
    ----------
    values : array_like of float, shape (n_requests,)
        As in `batch_means`, the whole run.
    starts : array_like of int, shape (cycles + 1,)
        From `cycle_starts`. What is before the first and after the last start is left out.

    Examples
    --------
    >>> cycle_sums([1.0, 2.0, 3.0, 4.0], [0, 2, 3])
    (array([3., 3.]), array([2, 1]))
    """
    values = check_numbers("values", values, "request")
    starts = check_numbers("starts", starts, "cycle", 0, len(values) - 1)
    if len(starts) < 2 or (np.diff(starts) <= 0).any() or (starts != np.floor(starts)).any():
        raise InputError(f"starts: {starts!r:.80} (expected at least two ascending positions)")
    starts = starts.astype(int)
    return np.add.reduceat(values[: starts[-1]], starts[:-1]), np.diff(starts)


def regenerative(values: Any, starts: Any) -> Estimate:
    """Mean of one run as a ratio over its independent cycles: nothing is cut, as every cycle starts in the same state.

    Parameters
    ----------
    values, starts
        As in `cycle_sums`, of the whole run from empty.

    Returns
    -------
    Estimate
        Without limits where the cycles count as fewer than 100 equal ones, (sum n)^2 / sum n^2.

    Notes
    -----
    r = sum Y / sum n over cycles with sums Y and n requests; the variance is that of Y - r n (Crane and Iglehart,
    1975). Near saturation few long cycles decide, and it covers too little.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(3.0, 1.0, 1000)
    >>> found = regenerative(values, np.arange(0, 1000, 2))
    >>> found.groups, round(found.value, 2)
    (499, 2.95)
    """
    sums, counts = cycle_sums(values, starts)
    cycles, ratio = len(sums), float(sums.sum() / counts.sum())
    effective = counts.sum() ** 2 / float(np.sum(counts.astype(float) ** 2))
    if effective < FEWEST_CYCLES:
        reason = f"{cycles} cycles count as {effective:.3g} equal ones (an interval needs {FEWEST_CYCLES})"
        return Estimate(ratio, None, None, "none", cycles, reason)
    error = math.sqrt(cycles / (cycles - 1) * float(np.sum((sums - ratio * counts) ** 2))) / float(counts.sum())
    half_width = t_quantile(cycles - 1, CONFIDENCE) * error
    return Estimate(ratio, ratio - half_width, ratio + half_width, "regenerative", cycles)


def quantile(values: Any, q: float, method: Literal["sectioning", "batch_quantiles"] = "sectioning") -> Estimate:
    """Quantile of one long run after its warm-up, with an interval (95 %) over 20 consecutive sections.

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
        Without limits where a section holds fewer than 10 values on one side of the quantile, or the sections'
        quantiles depend on each other as in `batch_means`.

    Notes
    -----
    Sectioning (Asmussen and Glynn, 2007, III.5): Q +- t sqrt(sum (Q_j - Q)^2 / (m (m - 1))) with the quantiles Q_j of
    m sections and Q of the whole. The mean over replications of a paired difference of such quantiles is a *difference
    of P99s*, not the P99 of a difference.

    Examples
    --------
    >>> found = quantile(np.random.default_rng(0).exponential(size=100_000), 0.5)
    >>> round(found.value, 2), bool(found.ci_low < np.log(2) < found.ci_high)
    (0.69, True)
    """
    q = check_number("q", q, 0.0, 1.0, open_low=True, open_high=True)
    check_choice("method", method, ("sectioning", "batch_quantiles"))
    parts = _batched(values)
    whole, each, count = float(np.quantile(parts, q)), np.quantile(parts, q, axis=1), len(parts)
    beyond = parts.shape[1] * min(q, 1 - q)
    if beyond < FEWEST_BEYOND * (1 - 1e-9):
        reason = f"a section holds {beyond:.3g} values beyond the quantile (an interval needs {FEWEST_BEYOND})"
        return Estimate(whole, None, None, "none", count, reason)
    if reason := _dependent(each):
        return Estimate(whole, None, None, "none", count, reason)
    centre = whole if method == "sectioning" else float(each.mean())
    half_width = t_quantile(count - 1, CONFIDENCE) * math.sqrt(
        float(np.sum((each - centre) ** 2)) / count / (count - 1)
    )
    return Estimate(centre, centre - half_width, centre + half_width, method, count)


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


def _mean_run(name: str, values: Any, fewest: int = 100) -> np.ndarray:
    """The mean over replications of each request's value."""
    try:
        array = np.atleast_2d(np.asarray(values, float))
    except (TypeError, ValueError, OverflowError):
        array = np.empty((0, 0, 0))
    if array.ndim != 2 or not array.size:
        raise InputError(f"{name}: {values!r:.80} (expected one row of numbers a replication)")
    mean = check_numbers(name, array.mean(axis=0), "request", -LARGEST, LARGEST)
    if len(mean) < fewest:
        raise InputError(f"{name}: {len(mean)} requests (expected at least {fewest})")
    return mean


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


def _batched(values: Any) -> np.ndarray:
    """Consecutive batches of equal size, shape (BATCHES, size)."""
    values = check_numbers("values", values, "request")
    size = len(values) // BATCHES
    if size < 2:
        raise InputError(f"values: {len(values)} requests (expected at least {2 * BATCHES}, two for each batch)")
    return values[len(values) - BATCHES * size :].reshape(BATCHES, size)


def _dependent(means: np.ndarray) -> str:
    """Why neighbouring batches cannot be taken for independent; empty if they can."""
    if looks_independent(means, DEPENDENT):
        return ""
    return f"the {len(means)} batches depend on their neighbours (expected a longer run)"
