"""Several figures that one run is said to have, against those of many runs: each may be usual, and all of them not."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Together(NamedTuple):
    """How far several figures of one run lie from those of many, in standard deviations, and how probable that is."""

    distance: float
    p_value: float


def together(claimed: Any, slack: Any, runs: Any) -> Together:
    """Several figures that one run is said to have, against the same figures of many runs.

    Mahalanobis's distance to the mean of the runs, by their covariance, of the point nearest to the claimed one that
    rounds to it; its rank among the distances of the runs, each from all others, is the p-value. So nothing is assumed
    of the figures' distribution. Both are NaN where the runs are too few, or one figure of them says another.

    Parameters
    ----------
    claimed, slack : array_like of float, shape (figures,)
    runs : array_like of float, shape (replications, figures)

    Examples
    --------
    >>> x = np.linspace(-1.0, 1.0, 21)
    >>> runs = np.column_stack([x, x + 0.1 * np.cos(40 * x)])  # either is between -1 and 1; both rise together
    >>> [together(pair, [0.0, 0.0], runs).p_value < 0.05 for pair in ([0.5, 0.5], [0.5, -0.5])]
    [False, True]
    """
    from scipy.optimize import lsq_linear

    claimed, slack, runs = (np.asarray(values, float) for values in (claimed, slack, runs))

    def away(others: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
        root = np.linalg.inv(np.linalg.cholesky(np.cov(others.T)))  # what it maps the runs to has no covariance
        nearest = lsq_linear(root, root @ others.mean(axis=0), (low, high)).x
        return float(np.linalg.norm(root @ (nearest - others.mean(axis=0))))

    least = 1e-9 * runs.std(axis=0)
    if len(runs) < runs.shape[1] + 3:
        return Together(math.nan, math.nan)
    try:
        distance = away(runs, claimed - slack - least, claimed + slack + least)
        own = [away(np.delete(runs, n, axis=0), run - least, run + least) for n, run in enumerate(runs)]
    except np.linalg.LinAlgError:
        return Together(math.nan, math.nan)
    return Together(distance, (1 + sum(one >= distance for one in own)) / (1 + len(runs)))
