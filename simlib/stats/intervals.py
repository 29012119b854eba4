"""From replications to statements: intervals, comparisons of two systems, percentiles.

Reads the numbers that metrics gives for each independent run; knows neither policies nor requests. Studies here are
*terminating*: a replication is a whole run from empty, nothing is cut off, and an interval is about the mean of such
runs. Two policies are compared on the same requests (common random numbers), by their differences. Shares near 0 or 1
have a module of their own, `shares`; so has one long run, `steady`. What is no finite number, or out of its range, is
an `InputError` that names its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np

from simlib.checks import InputError, check_number, check_probability

LARGEST = 1e100  # squares of larger numbers could overflow
SMALLEST = 1e-100


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over replications with its confidence interval.

    Attributes
    ----------
    mean : float
        In the unit of the values, as are the limits and `std`.
    replications : int
        How many values.
    ci_low, ci_high, std : float or None
        Limits of the interval, standard deviation between replications; None for one replication, which gives neither.
    """

    mean: float
    ci_low: float | None
    ci_high: float | None
    replications: int
    std: float | None


@dataclass(frozen=True, slots=True)
class Estimate:
    """One number with its confidence interval, or with the reason why there is none.

    Attributes
    ----------
    value : float
        The estimate, in the unit of the data, as are the limits.
    ci_low, ci_high : float or None
        Limits of the interval; None where the data cannot carry one.
    method : str
        How the interval was made.
    groups : int
        The independent pieces that it rests on: replications, batches, cycles.
    reason : str
        Why there are no limits; empty where there are.
    """

    value: float
    ci_low: float | None
    ci_high: float | None
    method: str
    groups: int
    reason: str = ""

    @property
    def half_width(self) -> float | None:
        """Half the distance of the limits; None without them."""
        return None if self.ci_low is None else (self.ci_high - self.ci_low) / 2


@dataclass(frozen=True, slots=True)
class PairedDifference(Interval):
    """The mean of a - b over replications, with how the two compare in each; adds to `Interval`:

    Attributes
    ----------
    share_less, share_equal, share_greater : float
        Shares of the replications in which a < b, a = b and a > b.
    correlation : float or None
        Between a and b over replications: what common random numbers achieved, as a positive one narrows the interval.
        None where a or b is constant.
    p_value : float or None
        Two-sided, of the hypothesis that the mean difference is zero (for `holm`); None for one replication.
    method : {"paired", "independent"}
        Whether the interval is of the differences, or Welch's of two independent samples (see `difference`).
    """

    share_less: float
    share_equal: float
    share_greater: float
    correlation: float | None
    p_value: float | None
    method: Literal["paired", "independent"] = "paired"


def mean_interval(values: Any, confidence: float = 0.95) -> Interval:
    """Mean over independent replications, with Student's t interval.

    Parameters
    ----------
    values : array_like of float, shape (replications,)
        One number a replication, at least one.
    confidence : float
        Probability, in (0, 1), with which such intervals contain the true mean.

    Returns
    -------
    Interval
        Without limits for one replication; of zero width where all values are equal.

    Notes
    -----
    mean +- t s / sqrt(R), t the (1 + confidence) / 2 quantile with R - 1 degrees of freedom. Exact for normal values.
    For skewed ones it covers less: 90 % in place of 95 % for 10 exponential values.

    Examples
    --------
    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> interval.mean, round(interval.ci_low, 3), round(interval.ci_high, 3)
    (2.0, -0.484, 4.484)
    """
    values = check_numbers("values", values, "replication")
    confidence = check_number("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    # Deviations from the first value: equal values then have exactly that mean, and no spread from rounding.
    deviations = values - values[0]
    mean, count = float(values[0] + deviations.mean()), len(values)
    if count == 1:
        return Interval(mean, None, None, count, None)
    std = float(deviations.std(ddof=1))
    half_width = t_quantile(count - 1, confidence) * std / math.sqrt(count)
    return Interval(mean, mean - half_width, mean + half_width, count, std)


def next_interval(values: Any, confidence: float = 0.95) -> tuple[float, float]:
    """Where one more replication lies, of numbers above 0: between which ends, with that confidence.

    Parameters
    ----------
    values : array_like of float, shape (replications,)
        At least two, > 0, or all of them 0.
    confidence : float

    Notes
    -----
    mean +- t s sqrt(1 + 1 / R) of their logarithms: exact where these are normal.

    Examples
    --------
    >>> tuple(round(end, 3) for end in next_interval([0.9, 1.0, 1.1, 1.0]))
    (0.745, 1.335)
    """
    logs = np.log(np.maximum(check_numbers("values", values, "replication"), SMALLEST))
    inner = mean_interval(logs, confidence)
    if inner.ci_low is None:
        raise InputError("values: 1 replication (expected at least 2)")
    reach = (inner.ci_high - inner.mean) * math.sqrt(len(logs) + 1)
    return float(np.exp(inner.mean - reach)), float(np.exp(inner.mean + reach))


def paired_difference(a: Any, b: Any, confidence: float = 0.95) -> PairedDifference:
    """How a differs from b in the same replications: the mean of a - b, with Student's t interval.

    Parameters
    ----------
    a, b : array_like of float, shape (replications,)
        One metric of two systems; row r of both comes from the same requests.
    confidence : float
        As in `mean_interval`.

    Examples
    --------
    >>> pair = paired_difference([1.0, 2.0, 4.0], [2.0, 3.0, 4.0])
    >>> round(pair.mean, 3), round(pair.share_less, 3), round(pair.correlation, 3)
    (-0.667, 0.667, 0.982)
    """
    a, b = (check_numbers(*given, "replication", -LARGEST / 2, LARGEST / 2) for given in (("a", a), ("b", b)))
    if len(a) != len(b):
        raise InputError(f"b: {len(b)} replications (expected {len(a)}, as in a)")
    interval = mean_interval(a - b, confidence)
    varies = min(np.ptp(a), np.ptp(b)) > 1 / LARGEST
    return PairedDifference(
        *astuple(interval),
        share_less=float(np.mean(a < b)),
        share_equal=float(np.mean(a == b)),
        share_greater=float(np.mean(a > b)),
        correlation=float(np.corrcoef(a, b)[0, 1]) if varies else None,
        p_value=p_value(interval),
    )


def difference(
    a: Any, b: Any, apart: Any | Callable[[], Any] | None = None, confidence: float = 0.95
) -> PairedDifference:
    """How a differs from b: by pairs where common random numbers worked, else from independent samples.

    Parameters
    ----------
    a, b, confidence
        As in `paired_difference`: row r of both comes from the same requests.
    apart : array_like of float or callable, optional
        The metric of b in at least two replications of its own, from other seeds; a function without arguments that
        gives them is called only where they are needed.

    Returns
    -------
    PairedDifference
        Its `method` says which. ``paired``: the correlation is positive (or missing, as a or b is constant), or there
        is no `apart`. ``independent``: the correlation is not positive, and mean, interval and p-value are Welch's for
        a against `apart`; correlation and shares are still those of the pairs.

    Notes
    -----
    Under a negative correlation the paired interval is right but wider than one from independent runs. Welch's
    interval of the *same* runs would be narrower and wrong, since they are not independent: at a correlation of -0.5 it
    covers 89 % in place of 95 %. Hence the runs of their own.

    Examples
    --------
    >>> difference([1.0, 2.0, 4.0], [4.0, 3.0, 2.0], apart=lambda: [3.0, 2.0, 3.0]).method
    'independent'
    """
    pair = paired_difference(a, b, confidence)
    if apart is None or pair.correlation is None or pair.correlation > 0:
        return pair
    apart = check_numbers("apart", apart() if callable(apart) else apart, "replication", -LARGEST / 2, LARGEST / 2)
    if len(apart) < 2:
        raise InputError("apart: 1 replication (expected at least 2)")
    mean, half_width, p = _welch(np.asarray(a, float), apart, confidence)
    return replace(
        pair, mean=mean, ci_low=mean - half_width, ci_high=mean + half_width, p_value=p, method="independent"
    )


def _welch(a: np.ndarray, b: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """Difference of the means, half-width and two-sided p-value, of independent samples that need not vary alike."""
    from scipy.special import stdtr

    parts = [float(np.var(sample, ddof=1)) / len(sample) for sample in (a, b)]
    mean, variance = float(a.mean() - b.mean()), sum(parts)
    if variance == 0:
        return mean, 0.0, float(mean == 0)
    shares = [part / variance for part in parts]  # of the variance: their squares cannot underflow
    degrees = 1 / (shares[0] ** 2 / (len(a) - 1) + shares[1] ** 2 / (len(b) - 1))
    p = float(2 * stdtr(degrees, -abs(mean) / math.sqrt(variance)))
    return mean, t_quantile(degrees, confidence) * math.sqrt(variance), p


def holm(p_values: Any) -> np.ndarray:
    """Adjust p-values for having tested all of them (Holm's step-down procedure).

    Parameters
    ----------
    p_values : array_like of float, shape (tests,)
        In [0, 1], at least one.

    Returns
    -------
    ndarray of float, shape (tests,)
        In the same order. Calling those at most alpha significant errs at all, in any of the tests, with at most
        probability alpha, however the tests depend on each other.

    Notes
    -----
    With p_(1) <= ... <= p_(m), the adjusted p_(i) is the largest of min(1, (m + 1 - j) p_(j)) over j <= i.

    Examples
    --------
    >>> holm([0.04, 0.01, 0.03]).tolist()
    [0.06, 0.03, 0.06]
    """
    p = check_numbers("p_values", p_values, "row", 0.0, 1.0)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def percentile_of(value: float, sample: Any) -> float:
    """Percentile of one figure among replications, in [0, 100]; equal replications count half (mid-rank).

    Parameters
    ----------
    value : float
        The figure to judge, such as a claim made from one run.
    sample : array_like of float, shape (replications,)
        The same metric in independent replications, at least one.

    Examples
    --------
    >>> percentile_of(3.0, [1.0, 2.0, 3.0, 4.0])
    62.5
    """
    value, sample = check_number("value", value, -LARGEST, LARGEST), check_numbers("sample", sample, "replication")
    return float(50 * (np.mean(sample < value) + np.mean(sample <= value)))


def inside(value: float, sample: Any, low: float = 0.025, high: float = 0.975) -> bool:
    """Whether one figure lies between two quantiles of the replications, the quantiles included.

    Parameters
    ----------
    value, sample
        As in `percentile_of`. With fewer than 1 / `low` replications the quantile is little more than the extreme.
    low, high : float
        The quantiles' shares, 0 <= low < high <= 1; interpolated linearly between replications.

    Examples
    --------
    >>> inside(3.0, [1.0, 2.0, 3.0, 4.0]), inside(4.0, [1.0, 2.0, 3.0, 4.0])
    (True, False)
    """
    value, sample = check_number("value", value, -LARGEST, LARGEST), check_numbers("sample", sample, "replication")
    low, high = check_probability("low", low), check_probability("high", high)
    if low >= high:
        raise InputError(f"high: {high} (expected more than low, which is {low})")
    bottom, top = np.quantile(sample, [low, high])
    return bool(bottom <= value <= top)


def t_quantile(degrees: float, confidence: float) -> float:
    """Two-sided quantile of Student's t: what the standard error is multiplied by."""
    from scipy.special import stdtrit

    return float(-stdtrit(degrees, (1 - confidence) / 2))


def p_value(interval: Interval) -> float | None:
    """Two-sided p-value of the t test that the mean is zero."""
    from scipy.special import stdtr

    if interval.std is None:
        return None
    if interval.std == 0:
        return 1.0 if interval.mean == 0 else 0.0
    t = interval.mean / interval.std * math.sqrt(interval.replications)
    return float(2 * stdtr(interval.replications - 1, -abs(t)))


def check_numbers(name: str, values: Any, row: str, low: float = -LARGEST, high: float = LARGEST) -> np.ndarray:
    """Finite numbers in one dimension, at least one; the first bad one is named."""
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged list
        array = np.empty((0, 0))
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name}: {values!r:.80} (expected a list of at least one number)")
    if array.dtype.kind not in "iuf":
        array = np.array([check_number(f"{name}, {row} {i}", value, low, high) for i, value in enumerate(array)])
    refuse_rows(name, array, np.flatnonzero(~((array >= low) & (array <= high))), f"in [{low:g}, {high:g}]", row)
    return array.astype(float, copy=False)


def refuse_rows(name: str, values: np.ndarray, bad: np.ndarray, expected: str, row: str = "row") -> None:
    """Raise `InputError` on the first of the bad rows, if there is one: name, row, its value and what was expected."""
    if len(bad):
        raise InputError(f"{name}, {row} {bad[0]}: {values[bad[0]]} (expected a number {expected})")
