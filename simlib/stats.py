"""From replications to statements: intervals, paired comparisons, percentiles, and a label for one run's stability.

Reads the numbers that metrics gives for each independent run; knows neither policies nor requests. Studies here are
*terminating*: a replication is a whole run from empty, nothing is cut off, and an interval is about the mean of such
runs. Two policies are compared on the same requests (common random numbers), by their differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_probability, check_type

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Interval",
    "PairedDifference",
    "Stability",
    "holm",
    "inside",
    "mean_interval",
    "paired_difference",
    "percentile_of",
    "replicate",
    "stability",
]

Stability = Literal["stable", "near_critical", "unstable", "unknown"]
LARGEST = 1e100  # squares of larger numbers could overflow
SHORTEST_RUN, WINDOWS, ONE_SIDED = 5000, 20, 0.05  # of `stability`: requests, batches of them, error of its two tests


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
    """

    share_less: float
    share_equal: float
    share_greater: float
    correlation: float | None
    p_value: float | None


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

    Raises
    ------
    InputError
        If there is no value, one is not a finite number (the replication is named), or the confidence is out of range.

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
    values = _numbers("values", values, "replication")
    confidence = check_number("confidence", confidence, 0.0, 1.0, open_low=True, open_high=True)
    # Deviations from the first value: equal values then have exactly that mean, and no spread from rounding.
    deviations = values - values[0]
    mean, count = float(values[0] + deviations.mean()), len(values)
    if count == 1:
        return Interval(mean, None, None, count, None)
    from scipy.special import stdtrit

    std = float(deviations.std(ddof=1))
    half_width = float(-stdtrit(count - 1, (1 - confidence) / 2)) * std / math.sqrt(count)
    return Interval(mean, mean - half_width, mean + half_width, count, std)


def paired_difference(a: Any, b: Any, confidence: float = 0.95) -> PairedDifference:
    """How a differs from b in the same replications: the mean of a - b, with Student's t interval.

    Parameters
    ----------
    a, b : array_like of float, shape (replications,)
        One metric of two systems; row r of both comes from the same requests.
    confidence : float
        As in `mean_interval`.

    Raises
    ------
    InputError
        As in `mean_interval`, or if a and b differ in length.

    Examples
    --------
    >>> pair = paired_difference([1.0, 2.0, 4.0], [2.0, 3.0, 4.0])
    >>> round(pair.mean, 3), round(pair.share_less, 3), round(pair.correlation, 3)
    (-0.667, 0.667, 0.982)
    """
    a, b = (_numbers(*given, "replication", -LARGEST / 2, LARGEST / 2) for given in (("a", a), ("b", b)))
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
        p_value=_p_value(interval),
    )


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

    Raises
    ------
    InputError
        If there is no p-value or one is out of range (its row is named).

    Notes
    -----
    With p_(1) <= ... <= p_(m), the adjusted p_(i) is the largest of min(1, (m + 1 - j) p_(j)) over j <= i.

    Examples
    --------
    >>> holm([0.04, 0.01, 0.03]).tolist()
    [0.06, 0.03, 0.06]
    """
    p = _numbers("p_values", p_values, "row", 0.0, 1.0)
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

    Raises
    ------
    InputError
        If a number is not finite (the replication is named) or the sample is empty.

    Examples
    --------
    >>> percentile_of(3.0, [1.0, 2.0, 3.0, 4.0])
    62.5
    """
    value, sample = check_number("value", value, -LARGEST, LARGEST), _numbers("sample", sample, "replication")
    return float(50 * (np.mean(sample < value) + np.mean(sample <= value)))


def inside(value: float, sample: Any, low: float = 0.025, high: float = 0.975) -> bool:
    """Whether one figure lies between two quantiles of the replications, the quantiles included.

    Parameters
    ----------
    value, sample
        As in `percentile_of`. With fewer than 1 / `low` replications the quantile is little more than the extreme.
    low, high : float
        The quantiles' shares, 0 <= low < high <= 1; interpolated linearly between replications.

    Raises
    ------
    InputError
        As in `percentile_of`, or if the shares are out of range or order.

    Examples
    --------
    >>> inside(3.0, [1.0, 2.0, 3.0, 4.0]), inside(4.0, [1.0, 2.0, 3.0, 4.0])
    (True, False)
    """
    value, sample = check_number("value", value, -LARGEST, LARGEST), _numbers("sample", sample, "replication")
    low, high = check_probability("low", low), check_probability("high", high)
    if low >= high:
        raise InputError(f"high: {high} (expected more than low, which is {low})")
    bottom, top = np.quantile(sample, [low, high])
    return bool(bottom <= value <= top)


def replicate(
    function: Callable[[int], Mapping[str, float]],
    replications: int,
    *,
    seed: int,
    workers: int = 1,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Call a function once for each replication and gather the numbers that it returns.

    Parameters
    ----------
    function : callable
        Given ``seed + r`` in replication r, returns finite numbers by name, the same names each time. What it returns
        may depend on that seed only. Policies that one call compares share its requests: common random numbers.
    replications, seed : int
        How many, R >= 1; seed of replication 0, >= 0. The last has seed + R - 1 < 2**32.
    workers : int
        Threads. Threads, as the engine's kernels release the interpreter's lock, start at once, share what is compiled
        and take functions from notebook cells; a function that is plain Python gains nothing from them.
    progress : bool, optional
        Whether to show a bar on standard error; by default where that is a terminal, after the first second.

    Returns
    -------
    pandas.DataFrame
        One row a replication (index ``replication``, from 0), one column of floats a name; whatever `workers` is, the
        same to the last bit.

    Raises
    ------
    InputError
        If an argument is bad, or a replication returns something else; the replication is named.
    RuntimeError
        If the function fails; names the first replication that did, its cause is the function's own error. An
        `InputError` of the function stays one.

    Examples
    --------
    >>> replicate(lambda seed: {"twice": 2 * seed}, 3, seed=42)["twice"].tolist()
    [84.0, 86.0, 88.0]
    """
    check_type("function", function, Callable, "a function of a seed")
    replications = check_integer("replications", replications, 1, 2**32)
    seed = check_integer("seed", seed, 0, 2**32 - replications)
    workers = check_integer("workers", workers, 1, 1024)
    check_type("progress", progress, bool | None, "True, False or None")
    import pandas as pd
    from tqdm import tqdm

    delay_s, hidden = (1.0, None) if progress is None else (0.0, not progress)
    outcomes = _outcomes(lambda replication: function(seed + replication), replications, workers)
    bar = tqdm(outcomes, "replications", replications, leave=False, unit="run", disable=hidden, delay=delay_s)
    rows: list[dict[str, float]] = []
    for replication, outcome in enumerate(bar):
        place = f"replication {replication} (seed {seed + replication})"
        if isinstance(outcome, Exception):
            kind = InputError if isinstance(outcome, InputError) else RuntimeError
            bar.close()
            raise kind(f"{place}: {type(outcome).__name__}: {outcome}") from outcome
        rows.append(_row(place, outcome, rows))
    return pd.DataFrame(rows, index=pd.RangeIndex(replications, name="replication"))


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
    arrival_s = _numbers("arrival_s", arrival_s, "row")
    completion_s = _numbers("completion_s", completion_s, "row")
    if len(completion_s) != len(arrival_s):
        raise InputError(f"completion_s: {len(completion_s)} rows (expected {len(arrival_s)}, as in arrival_s)")
    _refuse_first("arrival_s", arrival_s, 1 + np.flatnonzero(np.diff(arrival_s) < 0), "no earlier than the row before")
    _refuse_first("completion_s", completion_s, np.flatnonzero(completion_s < arrival_s), "no earlier than arrival_s")
    if len(arrival_s) < SHORTEST_RUN or arrival_s[0] == arrival_s[-1]:
        return "unknown"
    size = len(arrival_s) // WINDOWS
    ends = size * np.arange(1, WINDOWS + 1)
    in_system = [end - np.count_nonzero(completion_s[:end] <= arrival_s[end - 1]) for end in ends]
    growth = mean_interval(np.diff([0, *in_system]))
    if growth.mean > 0 and _p_value(growth) / 2 < ONE_SIDED:
        return "unstable"
    delays_s = (completion_s - arrival_s)[size : ends[-1]].reshape(-1, size).mean(axis=1)
    return "stable" if _looks_independent(delays_s) else "near_critical"


def _looks_independent(means: np.ndarray) -> bool:
    """Whether neighbours differ as much as others do: von Neumann's ratio, which is 2 for independent values."""
    from scipy.special import ndtri

    count, spread = len(means), float(np.sum((means - means.mean()) ** 2))
    # Equal up to rounding: nothing varies, so that nothing depends.
    if spread <= count * (1e-9 * float(np.max(np.abs(means)))) ** 2:
        return True
    ratio = float(np.sum(np.diff(means) ** 2)) / spread
    return (1 - ratio / 2) * math.sqrt((count**2 - 1) / (count - 2)) < -ndtri(ONE_SIDED)


def _p_value(interval: Interval) -> float | None:
    """Two-sided p-value of the t test that the mean is zero."""
    from scipy.special import stdtr

    if interval.std is None:
        return None
    if interval.std == 0:
        return 1.0 if interval.mean == 0 else 0.0
    t = interval.mean / interval.std * math.sqrt(interval.replications)
    return float(2 * stdtr(interval.replications - 1, -abs(t)))


def _outcomes(function: Callable[[int], Any], replications: int, workers: int) -> Iterator[Any]:
    """What the function returned or raised, in order of replication."""

    def outcome(replication: int) -> Any:
        # Returned, not raised, so that the first replication to fail is named, not the fastest.
        try:
            return function(replication)
        except Exception as error:
            return error

    yield outcome(0)  # alone, so that what compiles on first use compiles once
    if workers == 1:
        yield from map(outcome, range(1, replications))
    else:
        from joblib import Parallel, delayed

        parallel = Parallel(n_jobs=workers, backend="threading", return_as="generator")
        yield from parallel(delayed(outcome)(replication) for replication in range(1, replications))


def _row(place: str, outcome: Any, rows: list[dict[str, float]]) -> dict[str, float]:
    """Check what one replication returned, against the names of the first."""
    if not isinstance(outcome, Mapping) or not outcome:
        raise InputError(f"{place}: returned {outcome!r:.80} (expected numbers by name)")
    if rows and set(outcome) != set(rows[0]):
        raise InputError(f"{place}: returned {', '.join(map(str, outcome))} (expected {', '.join(map(str, rows[0]))})")
    return {name: check_number(f"{place}, {name}", value) for name, value in outcome.items()}


def _numbers(name: str, values: Any, row: str, low: float = -LARGEST, high: float = LARGEST) -> np.ndarray:
    """Finite numbers in one dimension, at least one; the first bad one is named."""
    try:
        array = np.asarray(values)
    except ValueError:  # a ragged list
        array = np.empty((0, 0))
    if array.ndim != 1 or not len(array):
        raise InputError(f"{name}: {values!r:.80} (expected a list of at least one number)")
    if array.dtype.kind not in "iuf":
        array = np.array([check_number(f"{name}, {row} {i}", value, low, high) for i, value in enumerate(array)])
    _refuse_first(name, array, np.flatnonzero(~((array >= low) & (array <= high))), f"in [{low:g}, {high:g}]", row)
    return array.astype(float, copy=False)


def _refuse_first(name: str, values: np.ndarray, bad: np.ndarray, expected: str, row: str = "row") -> None:
    if len(bad):
        raise InputError(f"{name}, {row} {bad[0]}: {values[bad[0]]} (expected a number {expected})")
