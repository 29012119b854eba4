"""Whether a system keeps up with its arrivals: a label for one run, and the verdict of two starts.

Reads arrivals and completions; what serves them is the caller's. One run cannot see a second regime that it does not
visit, so `two_starts` asks again from a large backlog, and asks for the load as well.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from simlib.checks import InputError
from simlib.stats import check_numbers, mean_interval, p_value, refuse_rows

__all__ = ["Stability", "stability"]

Stability = Literal["stable", "near_critical", "unstable", "unknown"]
SHORTEST_RUN, WINDOWS, ONE_SIDED = 5000, 20, 0.05  # of `stability`: requests, batches of them, error of its two tests


def stability(arrival_s: Any, completion_s: Any) -> Stability:
    """Label one run from empty: did the system keep up with its arrivals?

    Parameters
    ----------
    arrival_s, completion_s : array_like of float, shape (n_requests,)
        Arrivals (ascending) and completions (each not before its arrival), in seconds; at least one.

    Returns
    -------
    {"stable", "near_critical", "unstable", "unknown"}
        ``unknown`` below 5,000 requests, or if all arrive at one instant.

    Raises
    ------
    InputError
        If a column is empty or has a bad value (the first bad row is named), or the two differ in length.

    Notes
    -----
    The requests are cut, in order of arrival, into 20 batches of equal size. ``unstable``: the number in system grows
    from batch to batch (t test of its 20 changes, one-sided, 5 %). ``stable``: it does not, and the batches' mean
    delays, without the first batch's, look independent (von Neumann's ratio, one-sided, 5 %), so that the run is long
    against the system's memory. ``near_critical`` is the rest: the run is too short to say.

    Shares of stable / near_critical / unstable in 2,000 runs of M/M/1 from empty:

    ====  =====================  =====================
    load  5,000 requests         20,000 requests
    ====  =====================  =====================
    0.5   0.948 / 0.052 / 0      0.954 / 0.046 / 0
    0.8   0.894 / 0.106 / 0      0.934 / 0.066 / 0
    0.95  0.312 / 0.686 / 0.002  0.652 / 0.348 / 0
    1.05  0.001 / 0.161 / 0.838  0 / 0.0005 / 0.9995
    1.2   0 / 0 / 1              0 / 0 / 1
    ====  =====================  =====================

    A batch server has fewer, larger events: at load 1.05 and 5,000 requests, batches of up to 8 were called unstable in
    44 % and batches of 128 in 3 to 4 % of 150 runs, else near critical; at most 1 % were on the wrong side.
    A second regime that the run does not visit escapes it.

    Examples
    --------
    >>> arrival_s = np.arange(6000.0)
    >>> stability(arrival_s, arrival_s + 0.5), stability(arrival_s, 1.1 * arrival_s + 0.5)
    ('stable', 'unstable')
    """
    arrival_s = check_numbers("arrival_s", arrival_s, "row")
    completion_s = check_numbers("completion_s", completion_s, "row")
    if len(completion_s) != len(arrival_s):
        raise InputError(f"completion_s: {len(completion_s)} rows (expected {len(arrival_s)}, as in arrival_s)")
    refuse_rows("arrival_s", arrival_s, 1 + np.flatnonzero(np.diff(arrival_s) < 0), "no earlier than the row before")
    refuse_rows("completion_s", completion_s, np.flatnonzero(completion_s < arrival_s), "no earlier than arrival_s")
    if len(arrival_s) < SHORTEST_RUN or arrival_s[0] == arrival_s[-1]:
        return "unknown"
    size = len(arrival_s) // WINDOWS
    ends = size * np.arange(1, WINDOWS + 1)
    in_system = [end - np.count_nonzero(completion_s[:end] <= arrival_s[end - 1]) for end in ends]
    growth = mean_interval(np.diff([0, *in_system]))
    if growth.mean > 0 and p_value(growth) / 2 < ONE_SIDED:
        return "unstable"
    delays_s = (completion_s - arrival_s)[size : ends[-1]].reshape(-1, size).mean(axis=1)
    return "stable" if looks_independent(delays_s) else "near_critical"


def looks_independent(means: np.ndarray) -> bool:
    """Whether neighbours differ as much as others do: von Neumann's ratio, which is 2 for independent values."""
    from scipy.special import ndtri

    count, spread = len(means), float(np.sum((means - means.mean()) ** 2))
    # Equal up to rounding: nothing varies, so that nothing depends.
    if spread <= count * (1e-9 * float(np.max(np.abs(means)))) ** 2:
        return True
    ratio = float(np.sum(np.diff(means) ** 2)) / spread
    return (1 - ratio / 2) * math.sqrt((count**2 - 1) / (count - 2)) < -ndtri(ONE_SIDED)
