"""Arrivals that wait for answers: who follows whom, and who arrives next.

Both engines tell when a request is answered (`answered`), and ask who comes next (`coming`, `come`); a follower's
arrival is written then. A kernel takes any record that has the columns of `Chains`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Chains(NamedTuple):
    """When requests arrive, and what is known of it.

    `follower` is the first request that waits for each one's answer, `sibling` the next one that waits for the same, -1
    for none; they are empty where nobody waits, or no two for the same. `opening` are the requests that wait for no
    answer, in order. `due` and `due_s` are a heap, by time and then by row, of followers whose arrival is known; `came`
    are all that have arrived, in order. `known` counts the opening ones that have arrived, the heap's, the requests
    that are served at all (those of `refused` are answered when they arrive), and all that have arrived.
    """

    arrival_s: np.ndarray
    follower: np.ndarray
    sibling: np.ndarray
    think_s: np.ndarray
    opening: np.ndarray
    due: np.ndarray
    due_s: np.ndarray
    came: np.ndarray
    known: np.ndarray
    refused: np.ndarray


OPENED, DUE, SERVED, CAME = range(4)


def kinds() -> list[Any]:
    """Numba's types of these columns."""
    from numba import types

    links, floats = types.int32[::1], types.float64[::1]
    return [floats, links, links, floats, links, links, floats, links, types.int64[::1], types.boolean[::1]]


NONE = np.zeros(0, np.int32)


def links(previous: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each request the first one that waits for its answer, and the next that waits for the same; who opens.

    Examples
    --------
    >>> links(np.array([-1, 0, -1, 0]))
    (array([ 1, -1, -1, -1], dtype=int32), array([-1,  3, -1, -1], dtype=int32), array([0, 2], dtype=int32))
    """
    waits = np.flatnonzero(previous >= 0).astype(np.int32)
    follower, sibling = np.full(len(previous), -1, np.int32), NONE
    follower[previous[waits[::-1]]] = waits[::-1]  # of several the first one stays
    if np.count_nonzero(follower >= 0) < len(waits):
        grouped = waits[np.argsort(previous[waits], kind="stable")]
        sibling, same = np.full(len(previous), -1, np.int32), np.diff(previous[grouped]) == 0
        sibling[grouped[:-1][same]] = grouped[1:][same]
    return follower, sibling, np.flatnonzero(previous < 0).astype(np.int32)


def chains(table: Any, served: np.ndarray | None = None) -> Chains:
    """The chains of a request table, nobody having arrived; where requests wait, times are a copy that is written to.

    Parameters
    ----------
    table : requests.table.RequestTable
    served : ndarray of bool, shape (n_requests,), optional
        Which requests are; by default all.
    """
    rows, refused = len(table), np.zeros(0, np.bool_)
    if not table.closed:
        nobody = np.zeros(0)
        known = np.array([0, 0, rows, 0], np.int64)
        return Chains(table.arrival_s, NONE, NONE, nobody, NONE, NONE, nobody, NONE, known, refused)
    follower, sibling, opening = table.kept("links", lambda: links(table.previous))
    if served is not None:
        refused = ~served
    known = np.array([0, 0, rows - np.count_nonzero(refused), 0], np.int64)
    due, due_s, came = np.empty(rows, np.int32), np.empty(rows), np.empty(rows, np.int32)
    return Chains(table.arrival_s.copy(), follower, sibling, table.think_s, opening, due, due_s, came, known, refused)


def sooner(time_s: float, row: int, other_s: float, other: int) -> bool:
    """Whether one arrives before another: of equal times the one that is higher in the table."""
    return (time_s < other_s) | ((time_s == other_s) & (row < other))  # no jump: nobody could guess it


def answered(request: int, now_s: float, seen: Any) -> None:
    """A request is answered at a time, which may be still to come: whoever waits for it thinks, and arrives."""
    row = seen.follower[request]
    while row >= 0:
        time_s, due, due_s, place = now_s + seen.think_s[row], seen.due, seen.due_s, seen.known[DUE]
        seen.arrival_s[row] = time_s
        while place > 0:
            above = (place - 1) >> 1
            if not sooner(time_s, row, due_s[above], due[above]):
                break
            due_s[place], due[place] = due_s[above], due[above]
            place = above
        due_s[place], due[place] = time_s, row
        seen.known[DUE] += 1
        row = seen.sibling[row] if len(seen.sibling) > 0 else -1


def next_known(seen: Any) -> int:
    """The request that arrives next of those whose arrival is known; -1: none."""
    opened, due = seen.known[OPENED], seen.known[DUE]
    if opened == len(seen.opening):
        return seen.due[0] if due > 0 else -1
    row = seen.opening[opened]
    return seen.due[0] if due > 0 and sooner(seen.due_s[0], seen.due[0], seen.arrival_s[row], row) else row


def coming(seen: Any) -> int:
    """The request that arrives next, as far as is known; -1: none. Those that are refused are answered on the way."""
    row = next_known(seen)
    if len(seen.refused) > 0:
        while row >= 0 and seen.refused[row]:
            come(row, seen)
            answered(row, seen.arrival_s[row], seen)
            row = next_known(seen)
    return row


def come(row: int, seen: Any) -> None:
    """The request that `coming` named has arrived."""
    known, due, due_s = seen.known, seen.due, seen.due_s
    seen.came[known[CAME]] = row
    known[CAME] += 1
    if known[DUE] == 0 or due[0] != row:
        known[OPENED] += 1
        return
    known[DUE] -= 1
    size = known[DUE]
    last_s, last, place, child = due_s[size], due[size], 0, 1
    while child < size:
        after = child + int(child + 1 < size)
        child += int(sooner(due_s[after], due[after], due_s[child], due[child]))
        if not sooner(due_s[child], due[child], last_s, last):
            break
        due_s[place], due[place] = due_s[child], due[child]
        place, child = child, 2 * child + 1
    due_s[place], due[place] = last_s, last


for _long in (answered, come):
    _long.inlined = False
