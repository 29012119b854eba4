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
    for none; both are empty where nobody waits. `opening` are the requests that wait for no answer, in order. `due` is
    a heap, by time and then by row, of followers whose arrival is known; `known` counts the opening ones that have
    arrived, the heap's, and the requests that are served at all: those of `refused` are answered when they arrive.
    """

    arrival_s: np.ndarray
    follower: np.ndarray
    sibling: np.ndarray
    think_s: np.ndarray
    opening: np.ndarray
    due: np.ndarray
    known: np.ndarray
    refused: np.ndarray


OPENED, DUE, SERVED = range(3)


def chains(
    arrival_s: np.ndarray, previous: np.ndarray | None, think_s: np.ndarray | None, served: np.ndarray | None = None
) -> Chains:
    """The chains of a table's columns, nobody having arrived; with `previous`, times are a copy that is written to.

    Parameters
    ----------
    served : ndarray of bool, shape (n_requests,), optional
        Which requests are; by default all.

    Examples
    --------
    >>> chains(np.zeros(3), np.array([-1, 0, -1]), np.zeros(3)).follower
    array([ 1, -1, -1], dtype=int32)
    """
    rows, none = len(arrival_s), np.zeros(0, np.int32)
    known = np.array([0, 0, rows], np.int64)
    if previous is None or not (previous >= 0).any():
        return Chains(arrival_s, none, none, np.zeros(0), none, none, known, np.zeros(0, np.bool_))
    waits = np.flatnonzero(previous >= 0).astype(np.int32)
    follower, sibling = (np.full(rows, -1, np.int32) for _ in range(2))
    follower[previous[waits[::-1]]] = waits[::-1]  # of several the first one stays
    if np.count_nonzero(follower >= 0) < len(waits):
        grouped = waits[np.argsort(previous[waits], kind="stable")]
        same = np.diff(previous[grouped]) == 0
        sibling[grouped[:-1][same]] = grouped[1:][same]
    refused = np.zeros(0, np.bool_) if served is None else ~served
    known[SERVED] -= np.count_nonzero(refused)
    opening = np.flatnonzero(previous < 0).astype(np.int32)
    return Chains(
        arrival_s.copy(), follower, sibling, think_s, opening, np.empty(len(waits), np.int32), known, refused
    )


def sooner(row: int, other: int, seen: Any) -> bool:
    """Whether a request arrives before another one: of equal times the one that is higher in the table."""
    if seen.arrival_s[row] == seen.arrival_s[other]:
        return row < other
    return seen.arrival_s[row] < seen.arrival_s[other]


def answered(request: int, now_s: float, seen: Any) -> None:
    """A request is answered at a time, which may be still to come: whoever waits for it thinks, and arrives."""
    row = seen.follower[request]
    while row >= 0:
        seen.arrival_s[row] = now_s + seen.think_s[row]
        due, place = seen.due, seen.known[DUE]
        while place > 0 and sooner(row, due[(place - 1) >> 1], seen):
            due[place] = due[(place - 1) >> 1]
            place = (place - 1) >> 1
        due[place] = row
        seen.known[DUE] += 1
        row = seen.sibling[row]


def next_known(seen: Any) -> int:
    """The request that arrives next of those whose arrival is known; -1: none."""
    opened, due = seen.known[OPENED], seen.known[DUE]
    if opened == len(seen.opening):
        return seen.due[0] if due > 0 else -1
    row = seen.opening[opened]
    return seen.due[0] if due > 0 and sooner(seen.due[0], row, seen) else row


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
    if seen.known[DUE] == 0 or seen.due[0] != row:
        seen.known[OPENED] += 1
        return
    seen.known[DUE] -= 1
    due, size = seen.due, seen.known[DUE]
    last, place, child = due[size], 0, 1
    while child < size:
        if child + 1 < size and sooner(due[child + 1], due[child], seen):
            child += 1
        if not sooner(due[child], last, seen):
            break
        due[place] = due[child]
        place, child = child, 2 * child + 1
    due[place] = last


for _long in (answered, come):
    _long.inlined = False
