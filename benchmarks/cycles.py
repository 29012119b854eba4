"""Cycles between two moments at which a system is empty: independent pieces of one run, the rival of long batches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simlib.checks import InputError
from simlib.stats.intervals import Estimate, check_numbers, t_quantile
from simlib.stats.steady import CONFIDENCE

FEWEST_CYCLES = 100


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
