"""What the next value of a series may be: a level that drifts, with what scatters around it.

Of the values y of a series (here logarithms, one a window of traffic): y_t = m_t + e_t and m_{t+1} = m_t + u_t, e and u
normal and independent, Var u = q Var e. The *local level* (Harvey, 1989): q = 0 are values that scatter around one
mean, a large q a random walk. q is not known: each of `DRIFTS` counts by how well it has forecast. Nor is Var e: it has
an inverse gamma prior, so that the next value is a mixture of Student's t.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import InputError, check_number
from simlib.stats.intervals import check_numbers

DRIFTS = np.array([0.0, 0.02, 0.1, 0.5, 2.0, 10.0])  # variances of the level's step, in those of the scatter
PRIOR = np.array([0.4, 0.12, 0.12, 0.12, 0.12, 0.12])
SCALE, DEGREES = 0.15, 2.0  # of the scatter before anything is known: 15 %, worth two values
POINTS = 2000  # equally likely values that stand for a forecast


@dataclass(frozen=True)
class Forecast:
    """Where the next value may lie.

    Attributes
    ----------
    values : ndarray, shape (n_points,)
        Equally likely, ascending.
    seen : int
        Values of the series that it is made from.
    """

    values: np.ndarray
    seen: int

    def quantile(self, share: float) -> float:
        """The value below which the next one lies with this probability, in (0, 1)."""
        check_number("share", share, 0.0, 1.0, open_low=True, open_high=True)
        return float(np.quantile(self.values, share, method="hazen"))

    def share_below(self, value: float) -> float:
        """The probability that the next one is less."""
        return float(np.searchsorted(self.values, value) / len(self.values))


def ahead(values: Any, gaps: Iterable[float] | None = None) -> Forecast:
    """Forecast the value after those of a series.

    Parameters
    ----------
    values : array_like, shape (n,)
        In order, at least two: logarithms, so that `SCALE` is a share.
    gaps : iterable of float, shape (n,), optional
        How many steps each value after the first is behind the one before, and the next one behind the last; default
        one each.

    Raises
    ------
    InputError
        If there are fewer than two, or one is not finite.

    Examples
    --------
    >>> found = ahead([0.0, 0.1, -0.1, 0.05, -0.05, 0.0, 0.02, -0.08])
    >>> round(found.quantile(0.5), 2), round(found.quantile(0.05), 1)
    (-0.01, -0.2)
    """
    values = check_numbers("values", values, "value")
    if len(values) < 2:
        raise InputError(f"values: {len(values)} (expected at least 2, of which the next is forecast)")
    steps = np.ones(len(values)) if gaps is None else np.asarray(list(gaps), float)
    if steps.shape != values.shape:
        raise InputError(f"gaps: {len(steps)} (expected {len(values)}, one behind each value)")
    even = (np.arange(POINTS) + 0.5) / POINTS
    return Forecast(_after(values, steps).at(even), len(values))


class State:
    """The next value by the model: a mixture of Student's t of equal degrees, one a drift.

    Attributes
    ----------
    centres, scales, weights : ndarray, shape (n_drifts,)
    degrees : float
    """

    def __init__(self, centres: np.ndarray, scales: np.ndarray, weights: np.ndarray, degrees: float) -> None:
        self.centres, self.scales, self.weights, self.degrees = centres, scales, weights, degrees

    def share_below(self, values: Any) -> Any:
        """The probability that the next one is less than each of some values."""
        from scipy.special import stdtr

        standard = (np.asarray(values)[..., None] - self.centres) / self.scales
        return stdtr(self.degrees, standard) @ self.weights

    def at(self, shares: np.ndarray) -> np.ndarray:
        """The values below which the next one lies with these probabilities."""
        from scipy.special import stdtrit

        far = stdtrit(self.degrees, np.clip(shares[[0, -1]], 1e-6, 1 - 1e-6)) * self.scales.max()
        ends = self.centres.min() + min(far[0], 0), self.centres.max() + max(far[1], 0)
        middle = float(self.weights @ self.centres)
        half = np.geomspace(1e-4, 1.0, 400)
        grid = np.concatenate([middle + (ends[0] - middle) * half[::-1], [middle], middle + (ends[1] - middle) * half])
        return np.interp(shares, self.share_below(grid), grid)


def _after(values: np.ndarray, steps: np.ndarray) -> State:
    """What is forecast after the last value: a Kalman filter a drift, variances in those of the scatter."""
    centre, variance = np.full(len(DRIFTS), values[0]), np.ones(len(DRIFTS))
    logs, squares, degrees, spread = np.log(PRIOR), np.full(len(DRIFTS), DEGREES * SCALE**2), DEGREES, variance
    for place, step in enumerate(steps):
        if place:
            error, part = values[place] - centre, variance / spread
            surprise = error**2 / spread / squares
            logs = logs - 0.5 * (np.log(spread * squares) + (degrees + 1) * np.log1p(surprise))
            centre, variance = centre + part * error, part
            squares, degrees = squares * (1 + surprise), degrees + 1
        variance = variance + step * DRIFTS
        spread = variance + 1.0
    weights = np.exp(logs - logs.max())
    return State(centre, np.sqrt(spread * squares / degrees), weights / weights.sum(), degrees)
