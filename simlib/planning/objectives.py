"""Service-level objectives over a run: metric, quantile and limit, several at once; of all requests or of a class."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np

from simlib import durations
from simlib.checks import InputError, check_choice, check_number, check_type, nearest, shown
from simlib.requests.clients import classes_of
from simlib.requests.table import RequestTable
from simlib.runs import metrics
from simlib.runs.run import Run
from simlib.runs.sla import by_class

WHAT = ("ttft", "tpot", "latency")
MOST_NAMED = 8  # classes that a refusal names
BY_CLASS = "COLUMN=CLASS: OBJECTIVES; …, such as priority=0: ttft_p99<=200ms; priority=1: ttft_p99<=2"


class Group(NamedTuple):
    """Requests by the value of a column, ``priority`` or a label: those of one class, or else all but those of some."""

    by: str
    of: str = ""
    but: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.by}={self.of}" if self.of else f"{self.by} not {' or '.join(self.but)}"

    def rows(self, table: RequestTable) -> np.ndarray:
        """Which requests of a table it has, shape (n_requests,)."""
        codes, values = classes_of(table, self.by)
        wanted = [name == self.of if self.of else name not in self.but for name in map(str, values)]
        return np.array(wanted)[codes]


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
    group : Group, optional
        Of whose requests; None: of all.

    Examples
    --------
    >>> str(Objective("ttft", 0.99, 1.0))
    'ttft_p99<=1'
    """

    metric: str
    quantile: float | None
    limit_s: float
    group: Group | None = None

    def __post_init__(self) -> None:
        check_choice("sla", self.metric, WHAT)
        if self.quantile is not None:
            check_number("sla quantile", self.quantile, 0.0, 1.0, open_low=True, open_high=True)
        object.__setattr__(self, "limit_s", durations.limit_s(f"sla: {self.name}", self.limit_s, self.metric))

    def __str__(self) -> str:
        return f"{self.name}<={self.limit_s:g}"

    @property
    def name(self) -> str:
        """Such as ``ttft_p99`` or ``latency_mean``; of a class ``priority=0: ttft_p99``."""
        return self.plain if self.group is None else f"{self.group}: {self.plain}"

    @property
    def plain(self) -> str:
        """Its name without the class."""
        return f"{self.metric}_mean" if self.quantile is None else f"{self.metric}_p{100 * self.quantile:g}"


def _meant(part: str) -> str:
    """What ``p99_ttft`` may mean."""
    name = re.match(r"\s*(\w*)", part)[1].lower()
    near = nearest(name, [f"{metric}_{word}" for metric in WHAT for word in name.split("_") if word != metric])
    return f"; did you mean {near[0]}?" if near and "_" in name else ""


def parse(text: str) -> tuple[Objective, ...]:
    """Objectives from text such as ``"ttft_p99<=1,tpot_p95<=50ms,latency_mean<=4"``, all of which must be met.

    By class: ``"priority=0: ttft_p99<=200ms; priority=1: ttft_p99<=2,latency_p95<=60"``; behind them, objectives
    without a class are those of all other requests (`sla.SLA.of` spells limits so).

    Raises
    ------
    InputError
        If a part is not of that form, or two limit the same; if a class comes twice, or classes are of two columns.

    Examples
    --------
    >>> [one.name for one in parse("client=a: ttft_p99<=1; ttft_p99<=5")]
    ['client=a: ttft_p99', 'client not a: ttft_p99']
    """
    check_type("sla", text, str, 'objectives such as "ttft_p99<=1,tpot_p99<=0.05"')
    if not re.search("[:;]", text):
        return _parse(text)
    by, found = by_class(text, BY_CLASS)
    named = tuple(name for name in found if name)
    groups = {name: Group(by, name, () if name else named) for name in (*named, *([""] if "" in found else []))}
    return tuple(one for name, group in groups.items() for one in _parse(found[name], group))


def _parse(text: str, group: Group | None = None) -> tuple[Objective, ...]:
    """Objectives of one group, or of all requests."""
    found: list[Objective] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\w+?)_(?:p([0-9]+(?:\.[0-9]+)?)|mean)\s*<=?\s*([^\s<=][^<=]*)", part)
        if not match:
            raise InputError(
                f"sla: {shown(part.strip())} (expected METRIC_pQUANTILE<=TIME, such as ttft_p99<=500ms{_meant(part)})"
            )
        one = Objective(match[1], None if match[2] is None else float(match[2]) / 100, match[3], group)
        if one.name in [other.name for other in found]:
            raise InputError(f"sla: {one.name} twice in {text!r} (expected each once)")
        found.append(one)
    return tuple(found)


def spelled(objectives: Sequence[Objective]) -> str:
    """Objectives as one reads them, each class once; `parse` takes that.

    Examples
    --------
    >>> spelled(parse("priority=0:ttft_p99<=200ms,tpot_p99<=50ms;ttft_p99<=5"))
    'priority=0: ttft_p99<=0.2, tpot_p99<=0.05; ttft_p99<=5'
    """
    told = []
    for group, some in groupby(objectives, lambda one: one.group):
        limits = ", ".join(f"{one.plain}<={one.limit_s:g}" for one in some)
        told.append(f"{group}: {limits}" if group is not None and group.of else limits)
    return "; ".join(told)


def columns_of(objectives: Sequence[Objective]) -> list[str]:
    """The columns that their classes are of, each once."""
    return list(dict.fromkeys(one.group.by for one in objectives if one.group is not None))


def check_classes(objectives: Sequence[Objective], table: RequestTable) -> None:
    """Refuse objectives of a class that a table does not have, and a table with a class that has none.

    Raises
    ------
    InputError
        Naming the column and the class.
    """
    for by in columns_of(objectives):
        there = list(map(str, classes_of(table, by)[1]))
        groups = [one.group for one in objectives if one.group is not None and one.group.by == by]
        named = dict.fromkeys(group.of for group in groups if group.of)
        for name in named:
            if name not in there:
                raise InputError(f"sla: no request has {by}={shown(name, str)} (expected some of {_some(there)})")
        if any(not group.of for group in groups) or any(one.group is None for one in objectives):
            continue
        for name in there:
            if name not in named:
                expected = f"expected some, as for {', '.join(named)}, or for others"
                raise InputError(f"sla: no objective for {by}={shown(name, str)} ({expected})")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")


def values_s(run: Run, objectives: Sequence[Objective], scored: slice = slice(None)) -> dict[str, float]:
    """What a run has for each objective, seconds, over the scored requests; infinite if one was not served.

    0 where none of them has that time, or is of the class.
    """
    rows = np.arange(len(run.table))[scored]
    return {
        name: 0.0 if np.isnan(found[0]) else float(found[0]) for name, found in _of(run, objectives, [rows]).items()
    }


def by_window(run: Run, objectives: Sequence[Objective], number: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """What a run has for each objective, seconds, over the requests of each window, shape (n_windows,).

    Parameters
    ----------
    run : Run
    objectives : sequence of Objective
    number : ndarray of int, shape (n_requests,)
        Of each request's window, from 0; -1 for none.
    count : int
        Windows, each of which has a request. NaN where none of the objective's class is among them, or has that time.
    """
    order = np.argsort(number, kind="stable")
    ends = np.searchsorted(number[order], np.arange(count + 1))
    return _of(run, objectives, [order[first:last] for first, last in pairwise(ends)])


def _of(run: Run, objectives: Sequence[Objective], rows: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Each objective's value over each of some sets of rows."""
    times, found = metrics.request_times(run), {}
    for one in objectives:
        member = None if one.group is None else one.group.rows(run.table)
        own = rows if member is None else [each[member[each]] for each in rows]
        found[one.name] = np.array([_value_s(times, one, each) for each in own])
    return found


def _value_s(times: Mapping[str, np.ndarray], one: Objective, rows: np.ndarray) -> float:
    if np.isnan(times["latency"][rows]).any():
        return np.inf
    values = times[one.metric][rows]
    values = values[~np.isnan(values)]
    if not len(values):  # no request of the class, or with two tokens
        return np.nan
    return float(values.mean() if one.quantile is None else np.quantile(values, one.quantile))


def strain(values: Mapping[str, Any], objectives: Sequence[Objective]) -> Any:
    """The largest of all values, each as a multiple of its limit: all are met up to 1. Of windows, one each.

    What nobody has (NaN) is met.
    """
    largest = np.fmax.reduce([values[one.name] / one.limit_s for one in objectives])
    return np.where(np.isnan(largest), 0.0, largest)[()]
