"""What no way of forming batches can beat: how many requests can be in time, and how many a second can be served.

A member's share of a batch's time is no less than its own time in a full batch over that batch's size
(`floors.batch_work_s`). Give this work to one server as fast as all GPUs, which may stop and go on at no cost and
knows all that will come: what it cannot have in time nobody can.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from book.chapters.policies import floors
from simlib.checks import InputError, check_integer, check_number
from simlib.requests.table import RequestTable
from simlib.stats.intervals import check_numbers

MOST = 64  # sequences of a batch, as measured


def most_in_time(arrival_s: Any, work_s: Any, due_s: Any) -> int:
    """How many of these one server can complete in time, if it may choose whom to serve at all.

    Parameters
    ----------
    arrival_s, work_s, due_s : array of float, shape (n_requests,)
        Seconds; who comes later is due no earlier.

    Notes
    -----
    As arrivals and dues have one order, those who are served are served in it, and preemption is of no use. Requests
    are added in that order; where one would be late, the one is left out without whom the rest ends soonest (Kise,
    Ibaraki and Mine 1978).

    Examples
    --------
    >>> most_in_time([0.0, 0.0, 1.0], [5.0, 2.0, 2.0], [6.0, 6.0, 7.0])  # all but the first
    2
    """
    named = (("arrival_s", arrival_s), ("work_s", work_s), ("due_s", due_s))
    arrivals, works, dues = (check_numbers(name, given, "request", 0.0) for name, given in named)
    if not len(arrivals) == len(works) == len(dues):
        raise InputError(f"work_s: {len(works)} of them (expected {len(arrivals)}, as arrival_s and due_s)")
    if (np.diff(arrivals) < 0).any() or (np.diff(dues) < 0).any():
        raise InputError("due_s: not in the order of arrival (expected both ascending)")
    kept: list[tuple[float, float]] = []
    starts: list[float] = []
    end_s = 0.0
    for arrival, work, due in zip(arrivals.tolist(), works.tolist(), dues.tolist(), strict=True):
        before_s, start_s = end_s, max(arrival, end_s)
        kept.append((arrival, work))
        starts.append(start_s)
        end_s = start_s + work
        if end_s > due:
            end_s = _leave_one_out(kept, starts, end_s - before_s)
    return len(kept)


def _leave_one_out(kept: list[tuple[float, float]], starts: list[float], saved_s: float) -> float:
    """Leave the one out without whom the rest ends soonest; its end. Without the last it would be so much sooner."""
    which = last = len(kept) - 1
    slack_s = np.inf  # by which those behind could start earlier
    for place in range(last - 1, -1, -1):
        slack_s = min(slack_s, starts[place + 1] - kept[place + 1][0])
        if slack_s <= 0.0:
            break
        if min(slack_s, kept[place][1]) > saved_s:
            which, saved_s = place, min(slack_s, kept[place][1])
    del kept[which], starts[which]
    end_s = starts[which - 1] + kept[which - 1][1] if which else 0.0
    for place in range(which, len(kept)):
        starts[place] = max(kept[place][0], end_s)
        end_s = starts[place] + kept[place][1]
    return end_s


def work_of(table: RequestTable, model: Any, most: int = MOST) -> tuple[np.ndarray, np.ndarray]:
    """Least seconds of a GPU that each request takes, and its seconds in a batch of its own."""
    times_s = model.batch_time_s(np.arange(1, most + 1), table.prompt_tokens[:, None], table.output_tokens[:, None])
    return floors.batch_work_s(times_s), times_s[:, 0]


def late_floor(table: RequestTable, model: Any, gpus: int, d_sla: float) -> float:
    """The share of late requests that no policy that forms batches is below."""
    d_sla, gpus = check_number("d_sla", d_sla, 0.0, open_low=True), check_integer("gpus", gpus, 1)
    work_s, alone_s = work_of(table, model)
    can = alone_s <= d_sla
    if not can.any():
        return 1.0
    arrival_s = table.arrival_s[can]
    return 1.0 - most_in_time(arrival_s, work_s[can] / gpus, arrival_s + d_sla) / len(table)


def most_rps(table: RequestTable, model: Any, gpus: int = 1) -> float:
    """The most requests a second that any batches can serve, of these lengths."""
    return gpus / float(work_of(table, model)[0].mean())
