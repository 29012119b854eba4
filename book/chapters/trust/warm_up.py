"""Welch's moving average, to look at: the warm-up ends where the curve becomes level."""

from __future__ import annotations

from typing import Any

import numpy as np

from simlib.checks import check_integer
from simlib.stats.intervals import check_numbers


def welch(values: Any, half_window: int) -> np.ndarray:
    """Welch's moving average over replications (Welch, 1983).

    Parameters
    ----------
    values : array_like of float, shape (n_requests,) or (replications, n_requests)
        Per-request values in order of arrival.
    half_window : int
        Requests on either side of each one, w, at most half of them; fewer at the start.

    Returns
    -------
    ndarray of float, shape (n_requests - half_window,)
        In the unit of the values.

    Examples
    --------
    >>> welch([[0.0, 2.0, 4.0, 4.0], [0.0, 4.0, 2.0, 4.0]], half_window=1).tolist()
    [0.0, 2.0, 3.3333333333333335]
    """
    mean = check_numbers("values", np.atleast_2d(np.asarray(values, float)).mean(axis=0), "request")
    half_window = check_integer("half_window", half_window, 0, len(mean) // 2)
    centre = np.arange(len(mean) - half_window)
    reach = np.minimum(centre, half_window)
    sums = np.r_[0.0, np.cumsum(mean)]
    return (sums[centre + reach + 1] - sums[centre - reach]) / (2 * reach + 1)
