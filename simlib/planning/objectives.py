"""Service-level objectives over a run: metric, quantile and limit, several at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from simlib import durations
from simlib.checks import InputError, check_choice, check_number, check_type, nearest, shown
from simlib.runs import metrics
from simlib.runs.run import Run

WHAT = ("ttft", "tpot", "latency")


@dataclass(frozen=True, slots=True)
class Objective:
    """A limit on a quantile, or on the mean, of a time of the requests.

    Attributes
    ----------
    metric : {"ttft", "tpot", "latency"}
    quantile : float or None
        In (0, 1); None is the mean.
    limit_s : float
        Seconds, > 0; given as `durations.limit_s` takes it.

    Examples
    --------
    >>> str(Objective("ttft", 0.99, 1.0))
    'ttft_p99<=1'
    """

    metric: str
    quantile: float | None
    limit_s: float

    def __post_init__(self) -> None:
        check_choice("sla", self.metric, WHAT)
        if self.quantile is not None:
            check_number("sla quantile", self.quantile, 0.0, 1.0, open_low=True, open_high=True)
        object.__setattr__(self, "limit_s", durations.limit_s(f"sla: {self.name}", self.limit_s, self.metric))

    def __str__(self) -> str:
        return f"{self.name}<={self.limit_s:g}"

    @property
    def name(self) -> str:
        """Such as ``ttft_p99`` or ``latency_mean``."""
        return f"{self.metric}_mean" if self.quantile is None else f"{self.metric}_p{100 * self.quantile:g}"


def _meant(part: str) -> str:
    """What ``p99_ttft`` may mean."""
    name = re.match(r"\s*(\w*)", part)[1].lower()
    near = nearest(name, [f"{metric}_{word}" for metric in WHAT for word in name.split("_") if word != metric])
    return f"; did you mean {near[0]}?" if near and "_" in name else ""


def parse(text: str) -> tuple[Objective, ...]:
    """Objectives from text such as ``"ttft_p99<=1,tpot_p95<=50ms,latency_mean<=4"``, all of which must be met.

    Raises
    ------
    InputError
        If a part is not of that form, or two limit the same.
    """
    check_type("sla", text, str, 'objectives such as "ttft_p99<=1,tpot_p99<=0.05"')
    found: list[Objective] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+?)_(?:p([0-9]+(?:\.[0-9]+)?)|mean)\s*<=?\s*([^\s<=][^<=]*)", part)
        if not match:
            raise InputError(
                f"sla: {shown(part.strip())} (expected METRIC_pQUANTILE<=TIME, such as ttft_p99<=500ms{_meant(part)})"
            )
        one = Objective(match[1], None if match[2] is None else float(match[2]) / 100, match[3])
        if one.name in [other.name for other in found]:
            raise InputError(f"sla: {one.name} twice in {text!r} (expected each once)")
        found.append(one)
    return tuple(found)


def values_s(run: Run, objectives: Sequence[Objective], scored: slice = slice(None)) -> dict[str, float]:
    """What a run has for each objective, seconds, over the scored requests; infinite if one was not served."""
    times = metrics.request_times(run)
    return {one.name: _value_s(times, one, scored) for one in objectives}


def by_window(run: Run, objectives: Sequence[Objective], number: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """What a run has for each objective, seconds, over the requests of each window, shape (n_windows,).

    Parameters
    ----------
    run : Run
    objectives : sequence of Objective
    number : ndarray of int, shape (n_requests,)
        Of each request's window, from 0; -1 for none.
    count : int
        Windows, each of which has a request.
    """
    times = metrics.request_times(run)
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(count + 1))
    rows = [order[first:last] for first, last in pairwise(ends)]
    return {one.name: np.array([_value_s(times, one, each) for each in rows]) for one in objectives}


def _value_s(times: Mapping[str, np.ndarray], one: Objective, scored: slice | np.ndarray) -> float:
    if np.isnan(times["latency"][scored]).any():
        return np.inf
    values = times[one.metric][scored]
    values = values[~np.isnan(values)]
    if not len(values):  # no request has two tokens
        return 0.0
    return float(values.mean() if one.quantile is None else np.quantile(values, one.quantile))


def strain(values: Mapping[str, Any], objectives: Sequence[Objective]) -> Any:
    """The largest of all values, each as a multiple of its limit: all are met up to 1. Of windows, one each."""
    return np.maximum.reduce([values[one.name] / one.limit_s for one in objectives])
