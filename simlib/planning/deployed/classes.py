"""The classes of a plan's objectives after deployment: in a result's rows, and where nothing tells them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from simlib.checks import InputError
from simlib.lazy import pd
from simlib.planning.deployed.promise import Assumed, Promise, Promised, classes_in, share_of
from simlib.planning.objectives import Objective, columns_of, spelled
from simlib.requests.formats.aggregates.summary import Summary
from simlib.requests.formats.clocks import Clock
from simlib.requests.formats.layout import Log
from simlib.requests.table import RequestTable
from simlib.requests.workload import of_rows
from simlib.text import many, span

SAY = "as a column of a request table with times, or by vLLM's --metadata"


def in_rows(frame: pd.DataFrame, by: str) -> np.ndarray:
    """The class of each row, as text."""
    values = frame[by]
    return (values.astype(np.int64) if by == "priority" else values).astype(str).to_numpy(str)


def complete(logs: Sequence[Log | Summary], objectives: Sequence[Objective]) -> list[Log | Summary]:
    """Results whose rows have all classes of the objectives: each one, or all of one time put together.

    Raises
    ------
    InputError
        If a result does not say its rows' classes, results of a class each are of different times, or a class is in
        none.
    """
    if not (columns := columns_of(objectives)):
        return list(logs)
    by, named = columns[0], {one.group.of for one in objectives if one.group.of}
    for log in logs:
        if isinstance(log, Summary):
            raise InputError(log.refusal)
        if by not in log.frame:
            raise InputError(f"{log.source}: nothing says which requests are of {by}={min(named)} (expected it {SAY})")
    found = logs if all(named <= set(in_rows(log.frame, by)) for log in logs) else [_together(logs)]
    if missing := named - set(in_rows(found[0].frame, by)):
        expected = f"expected all of {', '.join(sorted(named))}, in each result, or in all that are of one time"
        raise InputError(f"{found[0].source}: no request of {by}={min(missing)} ({expected})")
    return list(found)


def _together(logs: Sequence[Log]) -> Log:
    """Results of one time, as clients write them that each send one class."""
    if len(logs) == 1:
        return logs[0]
    clocks_s = []
    for log in logs:
        if log.several or "clock" not in log.frame or log.clock is None:
            what = "expected the start of each request, as the result is of some classes only"
            raise InputError(log.several or f"{log.source}, {log.starts} ({what})")
        clocks_s.append(log.frame["clock"] / log.clock.ticks_per_s)
    ends = [(clock_s.min(), clock_s.max()) for clock_s in clocks_s]
    latest, earliest = max(ends), min(ends, key=lambda one: one[1])
    if latest[0] >= earliest[1]:
        first, last = (logs[ends.index(one)].source for one in (earliest, latest))
        apart = f"{last} begins {span(latest[0] - earliest[1])} after {first} has ended"
        raise InputError(f"{apart}, and each has some classes only (expected results of one time, of all classes)")
    frames = [log.frame.assign(clock=clock_s) for log, clock_s in zip(logs, clocks_s, strict=True)]
    both = pd.concat(frames, ignore_index=True).sort_values("clock", kind="stable", ignore_index=True)
    return replace(logs[0], source=" and ".join(log.source for log in logs), frame=both, clock=Clock("s", "both's"))


def shares(frame: pd.DataFrame, objectives: Sequence[Objective]) -> dict[str, float]:
    """Of each class its share of the rows, by `promise.share_of`; 0 of a class with objectives that is not there."""
    if not (columns := columns_of(objectives)):
        return {}
    rows = in_rows(frame, columns[0])
    names = {*rows.tolist(), *(one.group.of for one in objectives if one.group.of)}
    return {share_of(columns[0], name): float(np.mean(rows == name)) for name in sorted(names)}


def mixed(typical: RequestTable, measured: RequestTable, by: str) -> RequestTable:
    """The plan's window with as many requests of each class as were measured, each class' own, some over and over."""
    ours, theirs, picked = classes_in(typical, by), classes_in(measured, by), []
    for name in np.unique(ours):
        rows, count = np.flatnonzero(ours == name), round(float(np.mean(theirs == name)) * len(typical))
        picked.append(rows[np.arange(count) * len(rows) // max(count, 1)])
    rows = np.sort(np.concatenate(picked))
    if not len(rows):
        return typical
    at = np.rint(np.linspace(0, len(typical) - 1, len(rows))).astype(int)
    return of_rows(typical, rows, typical.arrival_s[at])


def whole(promise: Promise) -> Promise:
    """What the objectives by class ask of all requests together, where nothing tells classes apart.

    Where each class has at most a hundredth of its requests above a limit, so have all above the widest of the limits.
    That can be missed, and then some class misses; it may hold though one does.

    Raises
    ------
    InputError
        If classes have no metric in common.
    """
    groups = [list(some) for _, some in groupby(promise.objectives, lambda one: one.group)]
    found = []
    for metric in dict.fromkeys(one.metric for one in promise.objectives):
        own = [[one for one in some if one.metric == metric] for some in groups]
        means = [[one.limit_s for one in some if one.quantile is None] for some in own]
        if all(means):
            found.append(Objective(metric, None, max(map(min, means))))
        highest = [max((one.quantile for one in some if one.quantile is not None), default=None) for some in own]
        if None not in highest:
            least = min(highest)
            limits = [min(one.limit_s for one in some if (one.quantile or 0) >= least) for some in own]
            found.append(Objective(metric, least, max(limits)))
    if not found:
        raise InputError(
            f"{promise.source}: classes have no metric in common ({spelled(promise.objectives)}; expected a "
            "benchmark's result, as a scrape does not tell classes apart)"
        )
    unknown = Assumed(math.nan)
    return replace(promise, promised=tuple(Promised(one, unknown) for one in found), necessary=True)


def said_of_whole(promise: Promise, source: str) -> str:
    """What is judged in place of the classes, in a sentence."""
    return (
        f"{source}: a scrape does not tell classes apart; judged is the whole, by {spelled(promise.objectives)}, which "
        "holds where each class meets its own"
    )


def said_of_others(log: Log, objectives: Sequence[Objective]) -> str:
    """A sentence for requests of classes that no objective is of; else nothing."""
    groups = [one.group for one in objectives if one.group is not None]
    if not groups or not all(group.of for group in groups):
        return ""
    names, counts = np.unique(in_rows(log.frame, groups[0].by), return_counts=True)
    others = {
        name: int(count) for name, count in zip(names, counts, strict=True) if name not in {one.of for one in groups}
    }
    told = ", ".join(f"{many(count, 'request')} of {groups[0].by}={name}" for name, count in others.items())
    return f"{log.source}: {told}, of which the plan promises nothing" if told else ""
