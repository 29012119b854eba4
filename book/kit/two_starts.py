"""Whether a system is stable, asked twice: from empty, and from a large backlog; and what its load is.

One run cannot see a second regime that it does not visit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simlib.checks import InputError, check_integer, check_type
from simlib.requests.table import TOKEN_COLUMNS, RequestTable
from simlib.runs.stability import SHORTEST_RUN, WINDOWS, Stability, columns_of, grows, stability
from simlib.runs.tally import windows
from simlib.stats.intervals import Estimate, mean_interval, t_quantile

SATURATED, GONE = 0.9, 0.05  # share of a saturated run that is scored; share of a backlog that counts as none


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `two_starts` found, and on what grounds.

    Attributes
    ----------
    label : {"stable", "near_critical", "unstable", "bistable"}
        ``near_critical``: the evidence does not agree, as near saturation or in too short a run.
    load : intervals.Estimate
        Offered rate over saturated throughput, with its 95 % interval.
    from_empty : {"stable", "near_critical", "unstable", "unknown"}
        The run from empty, as `stability` labels it.
    from_backlog : {"drains", "grows", "unclear"}
        What became of the backlog.
    """

    label: Literal["stable", "near_critical", "unstable", "bistable"]
    load: Estimate
    from_empty: Stability
    from_backlog: Literal["drains", "grows", "unclear"]


def two_starts(serve: Callable[[RequestTable], Any], requests: Any, backlog: int | None = None) -> Verdict:
    """Whether a system is stable: its load, and whether it recovers from a backlog as it keeps up from empty.

    Parameters
    ----------
    serve : callable
        Given a request table, runs the system from empty and returns each request's completion in seconds, such as
        ``lambda table: simlib.simulate(table, policy).times.completion_s``. Called three times.
    requests : RequestTable or pandas.DataFrame
        At least 5,000 requests, all of which the system serves.
    backlog : int, optional
        Requests that wait when the second run begins, copies of the first ones; by default a fiftieth of the requests.
        Choose it beyond any queue that the system forms by itself, and small against the requests.

    Returns
    -------
    Verdict

    Raises
    ------
    InputError
        If there are too few requests or they arrive at one instant, or a completion is missing or bad.

    Notes
    -----
    Three runs. *Saturated*: all requests at once; completions a second until 90 % are done. *Empty*: `stability`.
    *Backlog*: drains if at the end the number in system is within 5 % of the backlog of that from empty; grows if it
    rises over 20 windows (t test, one-sided, 5 %) beyond the backlog. ``stable``: load below 1, not unstable from
    empty, drains. ``unstable``: load above 1, unstable from empty, does not drain. ``bistable``: stable from empty,
    yet the backlog grows, at a load above 1 as the backlogged system has it. ``near_critical``: anything else. A load
    is above or below 1 if its 95 % interval is.

    Shares of stable / near_critical / unstable / bistable in 1,000 runs of M/M/1; the last two rows are of a server
    that needs 1.6 times as long while more than 60 or 90 wait, so that a backlog has a load of 1.12 or 1.28:

    ============  =========================  =========================
    load          5,000 requests             20,000 requests
    ============  =========================  =========================
    0.5           1 / 0 / 0 / 0              1 / 0 / 0 / 0
    0.8           1 / 0 / 0 / 0              1 / 0 / 0 / 0
    0.95          0.631 / 0.369 / 0 / 0      0.999 / 0.001 / 0 / 0
    1             0.024 / 0.949 / 0.027 / 0  0.011 / 0.966 / 0.023 / 0
    1.05          0 / 0.394 / 0.606 / 0      0 / 0.005 / 0.995 / 0
    1.2           0 / 0 / 1 / 0              0 / 0 / 1 / 0
    0.7, or 1.12  0 / 0.08 / 0 / 0.92        0 / 0.055 / 0 / 0.945
    0.8, or 1.28  0 / 0.14 / 0 / 0.86        0 / 0.062 / 0 / 0.938
    ============  =========================  =========================

    Examples
    --------
    >>> table = RequestTable(np.arange(6000.0), np.ones(6000, int), np.ones(6000, int))
    >>> def single_server(table, service_s=0.9):
    ...     waits = np.maximum.accumulate(table.arrival_s - service_s * np.arange(len(table)))
    ...     return waits + service_s * (1 + np.arange(len(table)))
    >>> verdict = two_starts(single_server, table)
    >>> verdict.label, round(verdict.load.value, 2), verdict.from_backlog
    ('stable', 0.9, 'drains')
    """
    check_type("serve", serve, Callable, "a function of a request table")
    table = RequestTable.of(requests)
    count = len(table)
    if count < SHORTEST_RUN or table.arrival_s[0] == table.arrival_s[-1]:
        raise InputError(f"requests: {count} (expected at least {SHORTEST_RUN}, at different times)")
    backlog = max(1, count // 50) if backlog is None else check_integer("backlog", backlog, 1, count)
    load = _load(table, _served(serve, _after(table, 0, at_once=True)))
    arrival_s, loaded = table.arrival_s, _after(table, backlog)
    completion_s, loaded_completion_s = _served(serve, table), _served(serve, loaded)
    from_empty = stability(arrival_s, completion_s)
    in_system, _ = windows(arrival_s, completion_s, WINDOWS)
    copies_s, originals_s = loaded_completion_s[:backlog], loaded_completion_s[backlog:]
    copies = (int(np.count_nonzero(copies_s > end_s)) for end_s in _window_ends_s(arrival_s))
    left = [sum(both) for both in zip(copies, windows(arrival_s, originals_s, WINDOWS)[0], strict=True)]
    if left[-1] - in_system[-1] <= GONE * backlog:
        from_backlog = "drains"
    else:
        from_backlog = "grows" if left[-1] > backlog and grows(backlog, left) else "unclear"
    below, above = load.ci_high < 1, load.ci_low > 1
    label = "near_critical"
    if below and from_empty != "unstable" and from_backlog == "drains":
        label = "stable"
    elif above and from_empty == "unstable" and from_backlog != "drains":
        label = "unstable"
    elif above and from_empty == "stable" and from_backlog == "grows":
        label = "bistable"
    return Verdict(label, load, from_empty, from_backlog)


def _after(table: RequestTable, backlog: int, at_once: bool = False) -> RequestTable:
    """The requests behind copies of the first of them, which are there at the start; or all of them at the start."""
    rows = np.r_[:backlog, : len(table)]
    first_s = table.arrival_s[0]
    arrival_s = np.full(len(rows), first_s) if at_once else np.r_[np.full(backlog, first_s), table.arrival_s]
    columns = {name: getattr(table, name) for name in TOKEN_COLUMNS}
    return RequestTable(arrival_s, **{name: None if c is None else c[rows] for name, c in columns.items()})


def _served(serve: Callable[[RequestTable], Any], table: RequestTable) -> np.ndarray:
    return columns_of(table.arrival_s, serve(table))[1]


def _window_ends_s(arrival_s: np.ndarray) -> np.ndarray:
    """The last arrival of each of the windows of equally many requests."""
    return arrival_s[len(arrival_s) // WINDOWS * np.arange(1, WINDOWS + 1) - 1]


def _load(table: RequestTable, completion_s: np.ndarray) -> Estimate:
    """Offered rate over saturated throughput, from their counts in windows of equal time."""
    start_s = table.arrival_s[0]
    done_s = float(np.quantile(completion_s, SATURATED))  # not the end, where some GPUs have nothing left to do
    if done_s <= start_s:  # everything at no time
        return Estimate(0.0, 0.0, 0.0, "windows", WINDOWS)
    spans = ((table.arrival_s, table.arrival_s[-1]), (completion_s, done_s))
    counts = [np.histogram(times_s, WINDOWS, (start_s, end_s))[0] for times_s, end_s in spans]
    rates = [
        mean_interval(count / ((end_s - start_s) / WINDOWS)) for count, (_, end_s) in zip(counts, spans, strict=True)
    ]
    load = rates[0].mean / rates[1].mean
    error = math.hypot(*(rate.std / rate.mean for rate in rates)) / math.sqrt(WINDOWS)
    factor = math.exp(t_quantile(WINDOWS - 1, 0.95) * error)
    return Estimate(load, load / factor, load * factor, "windows", WINDOWS)
