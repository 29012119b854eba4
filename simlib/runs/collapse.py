"""Whether a controller has collapsed: its batch is at its least, its target is missed all the same, and requests wait.

Nothing is left that it could give up, and what it gave up does not help: small batches serve fewer, so that more wait.
A run with little load has small batches, too, but leaves nobody waiting.
"""

from __future__ import annotations

import numpy as np

MOST = 0.5  # of a run that is called collapsed


def share(
    b_sla: np.ndarray, mean_s: np.ndarray, least: int, target_s: float, waiting: np.ndarray, weight: np.ndarray
) -> float:
    """The share of a run in which its controller has collapsed.

    Parameters
    ----------
    b_sla, mean_s : ndarray, shape (n_decisions,)
        What each decision asked for, and the recent mean that it was held against the target, seconds.
    least, target_s : int, float
        The smallest that the rule asks for, and the target in seconds.
    waiting : ndarray, shape (n_decisions,)
        How many requests it left waiting.
    weight : ndarray of float, shape (n_decisions,)
        What each counts; 0 is the share of no weight.

    Examples
    --------
    >>> share(np.array([4, 1, 1, 1]), np.array([2.0, 2.0, 2.0, 0.5]), 1, 1.0, np.array([9, 9, 0, 9]), np.ones(4))
    0.25
    """
    total = float(weight.sum())
    collapsed = (b_sla <= least) & (mean_s > target_s) & (waiting > 0)
    return min(float(weight[collapsed].sum()) / total, 1.0) if total > 0 else 0.0
