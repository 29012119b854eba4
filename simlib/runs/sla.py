"""A deadline, or several that must all be met; for all requests, or for each class of them its own."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_type, shown
from simlib.durations import limit_s
from simlib.requests.clients import classes_of
from simlib.requests.table import RequestTable

METRICS = ("latency", "ttft", "tpot")
BY_CLASS = "COLUMN=CLASS: LIMITS; …, such as priority=0: ttft<=200ms; priority=1: ttft<=2"


@dataclass(frozen=True, slots=True)
class SLA:
    """A deadline, or several that must all be met: upper limits in seconds by metric.

    Parameters
    ----------
    limits_s : mapping of str to float
        By metric (latency, ttft, tpot). With `classes`, those of the requests that are of none of them; optional then.
    assumed : bool
        Whether nobody gave it: neither who called `simulate` nor the policy.
    by : str
        The column whose value is a request's class: ``priority``, or a label such as ``client``.
    classes : mapping of str or int to SLA, float or str
        What each class has to meet, by the column's value. A class that the table has and nobody set limits for is an
        error; one that the table does not have is told in a warning (`simulate`).

    Examples
    --------
    >>> SLA.of("ttft<=1,tpot<=50ms").limits_s
    {'ttft': 1.0, 'tpot': 0.05}
    >>> SLA.of(0.5).limits_s
    {'latency': 0.5}
    >>> SLA(by="priority", classes={0: "ttft<=200ms", 1: 5.0}) == SLA.of("priority=0: ttft<=200ms; priority=1: 5s")
    True
    """

    limits_s: Mapping[str, float] = field(default_factory=dict)
    assumed: bool = False
    by: str = ""
    classes: Mapping[str, SLA] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("sla", self.limits_s, Mapping, "limits in seconds by metric")
        check_type("sla, classes", self.classes, Mapping, "limits by class")
        check_type("sla, by", self.by, str, "the name of a column")
        if not self.limits_s and not self.classes:
            raise InputError(f"sla: no limit (expected some of {', '.join(METRICS)})")
        if bool(self.by) != bool(self.classes):
            raise InputError(f"sla, {'classes' if self.by else 'by'}: missing (expected a column and limits by class)")
        limits = {
            check_choice("sla", metric, METRICS): limit_s(f"sla: {metric}", limit, metric)
            for metric, limit in self.limits_s.items()
        }
        object.__setattr__(self, "limits_s", limits)
        object.__setattr__(self, "classes", {_name(value): _flat(value, sla) for value, sla in self.classes.items()})

    def __str__(self) -> str:
        """As text that `of` takes."""
        limits = ",".join(f"{metric}<={float(limit)!r}s" for metric, limit in self.limits_s.items())
        return "; ".join([*(f"{self.by}={name}: {sla}" for name, sla in self.classes.items()), *filter(None, [limits])])

    @classmethod
    def of(cls, sla: SLA | float | str) -> SLA:
        """Take a deadline for end-to-end latency, or text such as ``"ttft<=500ms,tpot<=0.05"``; bare: seconds.

        By class: ``"priority=0: ttft<=200ms; priority=1: ttft<=2"``; behind them, limits without a class are those of
        all other requests.

        Raises
        ------
        InputError
            If a metric is not one of latency, ttft, tpot or comes twice, or a limit is no time > 0 or, without a unit,
            more seconds than can be meant (`durations.limit_s`); if a class comes twice, or classes are of two columns.
        """
        if isinstance(sla, SLA):
            return sla
        if isinstance(sla, str) and re.search("[:;]", sla):
            return cls._of_classes(sla)
        if not isinstance(sla, str) or not re.search("[<=>,]", sla):
            return _deadline(limit_s("sla", sla))
        limits: dict[str, str] = {}
        for term in sla.split(","):
            match = re.fullmatch(r"\s*(\w+?)(?:_s)?\s*<=?\s*([^\s<=][^<=]*)", term)
            if not match or match[1] not in METRICS or match[1] in limits:
                raise InputError(f"sla: {shown(term)} in {shown(sla)} (expected {'|'.join(METRICS)}<=TIME, each once)")
            limits[match[1]] = match[2]
        return cls(limits)

    @classmethod
    def _of_classes(cls, text: str) -> SLA:
        by, limits = by_class(text)
        found = {name: cls.of(given) for name, given in limits.items()}
        others = found.pop("", None)
        return cls(others.limits_s if others else {}, by=by, classes=found)

    def limits_of(self, table: RequestTable) -> dict[str, Any]:
        """The limits of a table's requests in seconds, by metric: a number, or by class one a request, maybe infinite.

        Raises
        ------
        InputError
            If the table does not have the column of the classes, or has one without limits.
        """
        if not self.classes:
            return dict(self.limits_s)
        codes, values = classes_of(table, self.by)
        slas = [self.classes.get(str(value), self) for value in values]
        for value, sla in zip(values, slas, strict=True):
            if not sla.limits_s:
                known = ", ".join(self.classes)
                raise InputError(
                    f"sla: no limits for {self.by}={shown(value, str)} (expected some, as for {known}, or for others)"
                )
        limits = {metric: [sla.limits_s.get(metric, np.inf) for sla in slas] for metric in METRICS}
        return {metric: np.array(most)[codes] for metric, most in limits.items() if min(most) < np.inf}

    def never(self, table: RequestTable) -> list[str]:
        """Its classes that no request of a table is of."""
        there = set(map(str, classes_of(table, self.by)[1])) if self.classes else set()
        return [name for name in self.classes if name not in there]


def by_class(text: str, expected: str = BY_CLASS) -> tuple[str, dict[str, str]]:
    """The column of text such as ``"priority=0: …; priority=1: …"``, and by its values what stands behind them.

    Parameters
    ----------
    text : str
    expected : str
        How it is spelled, for who has spelled it otherwise.

    Returns
    -------
    column : str
    found : dict of str to str
        By class; of ``""``, where there is one, what is said of all others.

    Raises
    ------
    InputError
        If a part is not of that form, a class comes twice, or classes are of two columns, or of none.

    Examples
    --------
    >>> by_class("priority=0: ttft<=1; ttft<=5")
    ('priority', {'0': 'ttft<=1', '': 'ttft<=5'})
    """
    columns: set[str] = set()
    found: dict[str, str] = {}
    for term in text.split(";"):
        match = re.fullmatch(r"\s*(?:(\w+)\s*=\s*([^:=<]*[^:=<\s])\s*:)?([^:]+)", term)
        name = match and (match[2] or "")
        if not match or name in found:
            raise InputError(f"sla: {shown(term.strip())} in {shown(text)} (expected {expected}, each class once)")
        found[name] = match[3].strip()
        columns |= {match[1]} - {None}
    if len(columns) != 1:
        of = " and ".join(sorted(columns)) or "none"
        raise InputError(f"sla: classes by {of} in {shown(text)} (expected one column: {expected})")
    return columns.pop(), found


def _name(value: Any) -> str:
    """A class as text, by which it is found: a label may be written as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | np.integer):
        raise InputError(f"sla, classes: {shown(value)} (expected the column's values, texts or integers, as keys)")
    return str(value)


def _flat(value: Any, given: Any) -> SLA:
    sla = SLA.of(given)
    if sla.classes:
        raise InputError(f"sla, classes: {shown(value)} has classes of its own (expected limits)")
    return sla


@functools.lru_cache(maxsize=64)
def _deadline(latency_s: float) -> SLA:
    return SLA({"latency": latency_s})


ASSUMED = SLA({"latency": 1.0}, assumed=True)
