"""What a closed loop is judged by: the time in which all of its clients are at work.

One rule for ramps, stages and the end of a run, where clients leave one by one: from the last client's first request to
the first client's last answer. What is answered in it is scored, and rates are of its length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from simlib.checks import InputError
from simlib.requests.loops.chains import roots
from simlib.requests.table import RequestTable


class Window(NamedTuple):
    """When all clients are at work, seconds, and how many they are; empty where `end_s` is not after `start_s`."""

    clients: int
    start_s: float
    end_s: float

    @property
    def span_s(self) -> float:
        """Its length."""
        return self.end_s - self.start_s

    @property
    def is_empty(self) -> bool:
        """Whether there is no time at which all are at work."""
        return not self.end_s > self.start_s

    def scored(self, table: RequestTable, completion_s: np.ndarray) -> np.ndarray:
        """Which requests are answered in it, shape (n_requests,); those never answered count by when they came."""
        when_s = np.where(np.isnan(completion_s), table.arrival_s, completion_s)
        return (when_s > self.start_s) & (when_s <= self.end_s)

    def checked(self) -> Window:
        """The window, or `InputError` if it is empty."""
        if self.is_empty:
            raise InputError(
                f"clients: never are all {self.clients} at work, the last one begins at {self.start_s:.4g} s and the "
                f"first one is done at {self.end_s:.4g} s (expected more requests a client, or all to begin sooner)"
            )
        return self


def at_work(table: RequestTable, completion_s: np.ndarray) -> Window:
    """When all clients are at work: whoever waits for somebody's answers is the same client.

    Parameters
    ----------
    table : RequestTable
        With `previous`, and arrivals as they were.
    completion_s : ndarray of float, shape (n_requests,)
        NaN where a request was not served.

    Examples
    --------
    >>> table = RequestTable([0.0, 1.0, 3.0, 4.0], [1] * 4, [1] * 4, previous=[-1, -1, 0, 1])
    >>> at_work(table, np.array([2.0, 3.0, 5.0, 9.0]))
    Window(clients=2, start_s=1.0, end_s=5.0)
    """
    if table.previous is None:
        raise InputError("previous: missing column (expected requests that wait for answers, as workload.closed makes)")
    root = table.kept("roots", lambda: roots(table.previous))
    first = table.previous < 0
    ends_s = np.full(len(table), -np.inf)
    np.maximum.at(ends_s, root, np.where(np.isnan(completion_s), table.arrival_s, completion_s))
    return Window(int(first.sum()), float(table.arrival_s[first].max()), float(ends_s[first].min()))


def interactive_clients(table: RequestTable, completion_s: np.ndarray, window: Window) -> float:
    """How many clients the interactive law counts, X (R + Z); what it has more or less than there are is chance.

    X is the rate of answers in the window, R their mean time, Z the mean time to think after them.
    """
    scored = window.scored(table, completion_s) & ~np.isnan(completion_s)
    after = table.previous >= 0
    after[after] = scored[table.previous[after]]
    if not scored.any():
        return 0.0
    times_s = completion_s[scored] - table.arrival_s[scored]
    think_s = float(table.think_s[after].mean()) if after.any() else 0.0
    return float(scored.sum() / window.span_s * (times_s.mean() + think_s))
