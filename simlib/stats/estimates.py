"""Estimates as rows of a tidy table: a mean, a paired difference or a ratio, with the limits of its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from simlib.checks import InputError
from simlib.stats.intervals import Interval, mean_interval

if TYPE_CHECKING:
    import pandas as pd


def as_row(found: Interval, name: str, before: str = "") -> dict[str, float | None]:
    """A mean and its limits as a part of a row: ``NAME, ci_low, ci_high``, the limits' names with `before` before them.

    Examples
    --------
    >>> as_row(mean_interval([2.0, 2.0]), "gain", "gain_")
    {'gain': 2.0, 'gain_ci_low': 2.0, 'gain_ci_high': 2.0}
    """
    return {name: found.mean, f"{before}ci_low": found.ci_low, f"{before}ci_high": found.ci_high}


def ratio(found: Interval) -> Interval:
    """From a mean of logarithms to the geometric mean with its limits; the standard deviation stays that of the logs.

    Examples
    --------
    >>> ratio(mean_interval([0.0, 0.0])).mean
    1.0
    """
    limits = (None if limit is None else math.exp(limit) for limit in (found.ci_low, found.ci_high))
    return replace(found, mean=math.exp(found.mean), **dict(zip(("ci_low", "ci_high"), limits, strict=True)))


def estimates(runs: pd.DataFrame | Mapping[Any, Any], by: Sequence[str], metric: str) -> pd.DataFrame:
    """Means over replications with their intervals, one row a cell.

    Parameters
    ----------
    runs : pandas.DataFrame or mapping
        The replications of each cell, by its key: a column or an entry each.
    by : sequence of str
        What the parts of a key are.
    metric : str
        What the numbers are.

    Returns
    -------
    pandas.DataFrame
        The columns of `by`, then ``METRIC, ci_low, ci_high``.

    Raises
    ------
    InputError
        If a key has not as many parts, or as `intervals.mean_interval`.

    Examples
    --------
    >>> estimates({("fcfs", 1): [2.0, 2.0]}, ["policy", "gpus"], "rate_rps").to_dict("records")
    [{'policy': 'fcfs', 'gpus': 1, 'rate_rps': 2.0, 'ci_low': 2.0, 'ci_high': 2.0}]
    """
    import pandas as pd

    rows = []
    for key, values in runs.items():
        key = key if isinstance(key, tuple) else (key,)
        if len(key) != len(by):
            raise InputError(f"runs: key {key!r:.80} (expected {', '.join(by)})")
        rows.append(dict(zip(by, key, strict=True)) | as_row(mean_interval(values), metric))
    return pd.DataFrame(rows)
