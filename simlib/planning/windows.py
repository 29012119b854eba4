"""A record of requests cut into windows of equal length, the last of which ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from simlib.checks import check_number
from simlib.requests.loops.chains import roots
from simlib.requests.table import RequestTable
from simlib.text import many, span

WINDOW_S = 600.0
LABEL = "window"  # of the table: the number of each request's window, -1 for none
LONG = 20.0  # mean gaps between arrivals: from there on, and as long as a window, nothing was recorded


class Gap(NamedTuple):
    """A time of the record without any arrival, seconds."""

    start_s: float
    length_s: float

    def __str__(self) -> str:
        return f"{span(self.length_s)} from {self.start_s:,.0f} s on"


@dataclass(frozen=True)
class Windows:
    """What was recorded, by windows.

    Attributes
    ----------
    table : RequestTable
        All of it; its label `LABEL` has the number of each request's window, ascending from 0. -1: before the first
        whole one, where a run warms up, or beside a gap.
    window_s : float
    steps : ndarray of int, shape (n_windows,)
        How many windows later the next one with requests is; 1 behind the last.
    empty : int
        Windows without a request, outside the gaps; they count for nothing.
    gaps : sequence of Gap
    bridged : bool
        Whether the gaps were taken out of time; else windows that touch one are left out.
    """

    table: RequestTable
    window_s: float
    steps: np.ndarray
    empty: int
    gaps: Sequence[Gap]
    bridged: bool

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, which: np.ndarray) -> np.ndarray:
        """`steps` of some of them, which a mask of shape (n_windows,) selects."""
        starts = np.append(0, np.cumsum(self.steps))
        return np.diff(starts[np.append(np.flatnonzero(which), len(self))])

    def __str__(self) -> str:
        told = [f"{many(len(self), 'window')} of {span(self.window_s)}"]
        if self.gaps:
            what = "bridged" if self.bridged else "left out with the windows that they touch"
            told.append(f"{many(len(self.gaps), 'gap')} ({'; '.join(map(str, self.gaps[:3]))}) {what}")
        if self.empty:
            told.append(f"{many(self.empty, 'window')} without a request left out")
        return ", ".join(told)


def cut(table: RequestTable, window_s: float = WINDOW_S, bridge: bool = False) -> Windows:
    """Cut a record into windows, from its last arrival backwards.

    Parameters
    ----------
    table : RequestTable
        Of conversations each turn belongs to the window in which the first one arrives.
    window_s : float
        Length of a window, seconds, > 0.
    bridge : bool
        Whether to take gaps out of time: what follows one comes a mean gap after what was before it. A gap is as long
        as a window, and as `LONG` mean gaps between arrivals.

    Examples
    --------
    >>> table = RequestTable(np.arange(25) * 60.0, np.ones(25, int), np.ones(25, int))
    >>> str(cut(table)), cut(table).table.labels["window"].tolist()[:6]
    ('2 windows of 10 min', [-1, -1, -1, -1, -1, 0])
    """
    window_s = check_number("window", window_s, 0.0, open_low=True)
    first = table.arrival_s if not table.closed else table.arrival_s[roots(table.previous)]
    times_s = np.unique(first)
    between_s = np.diff(times_s)
    mean_s = between_s.sum() / max(len(first if not table.closed else np.unique(roots(table.previous))) - 1, 1)
    long = np.flatnonzero(between_s >= max(window_s, LONG * mean_s))
    gaps = [Gap(float(times_s[place]), float(between_s[place])) for place in long]
    if bridge and gaps:
        taken_s = np.zeros(len(times_s))
        taken_s[long + 1] = between_s[long] - mean_s
        shift_s = np.cumsum(taken_s)[np.searchsorted(times_s, first)]
        table, first = _moved(table, shift_s), first - shift_s
    back = np.floor((first.max() - first) / window_s).astype(int)
    whole = int((first.max() - first.min()) / window_s)
    place = whole - 1 - back
    touched = set() if bridge else _touched(gaps, float(first.max()), window_s, whole)
    has = np.array(sorted(set(place[place >= 0]) - touched), int)
    number = np.full(whole + 1, -1)  # the last one stands for what is before the first whole one
    number[has] = np.arange(len(has))
    labelled = replace(table, labels=dict(table.labels) | {LABEL: number[np.maximum(place, -1)]})
    empty = max(int(has[-1] - has[0]) + 1 - len(has) - len(touched), 0) if len(has) else 0
    return Windows(labelled, window_s, np.append(np.diff(has), 1)[: len(has)], empty, gaps, bridge)


def _touched(gaps: Sequence[Gap], end_s: float, window_s: float, whole: int) -> set[int]:
    """Which windows have a part in a gap."""
    found: set[int] = set()
    for gap in gaps:
        ends = (end_s - gap.start_s - gap.length_s, end_s - gap.start_s)
        latest, earliest = (whole - 1 - int(np.floor(each / window_s)) for each in ends)
        found |= set(range(max(earliest, 0), latest + 1))
    return found


def _moved(table: RequestTable, earlier_s: np.ndarray) -> RequestTable:
    """The same requests, each so much earlier."""
    cancel_s = None if table.cancel_s is None else table.cancel_s - earlier_s
    return replace(table, arrival_s=table.arrival_s - earlier_s, cancel_s=cancel_s)
