"""Who waits for whose answer: chains of requests in the order of a table."""

from __future__ import annotations

import numpy as np


def in_order(
    start_s: np.ndarray, previous: np.ndarray, think_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows in any order as a table has them: by the earliest that each could arrive, if answers took no time.

    Parameters
    ----------
    start_s : ndarray of float, shape (n_requests,)
        When a request arrives that waits for none, seconds; of the others it is not looked at.
    previous : ndarray of int, shape (n_requests,)
        The row whose answer each waits for, one above its own; -1: none.
    think_s : ndarray of float, shape (n_requests,)
        How long after that answer it is sent, seconds, >= 0.

    Returns
    -------
    order : ndarray of int
        The rows as they follow one another; of one instant those before that wait for fewer answers.
    arrival_s, previous : ndarray
        In that order: the earliest arrivals, and the rows waited for, counted anew.

    Examples
    --------
    >>> order, arrival_s, previous = in_order(np.array([0.0, 0.0, 1.0]), np.array([-1, 0, -1]), np.array([0, 3.0, 0]))
    >>> order.tolist(), arrival_s.tolist(), previous.tolist()
    ([0, 2, 1], [0.0, 1.0, 3.0], [-1, -1, 0])
    """
    arrival_s, depth = start_s.tolist(), [0] * len(start_s)
    before, thinks_s = previous.tolist(), think_s.tolist()
    for row in np.flatnonzero(previous >= 0).tolist():
        arrival_s[row] = arrival_s[before[row]] + thinks_s[row]
        depth[row] = depth[before[row]] + 1
    earliest_s = np.array(arrival_s, dtype=np.float64)
    order = np.lexsort((depth, earliest_s))
    place = np.full(len(order) + 1, -1)  # the last one stands for no row
    place[order] = np.arange(len(order))
    return order, earliest_s[order], place[previous[order]]


def kept(which: np.ndarray, previous: np.ndarray, think_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whom some of the rows wait for, once the others are gone, as if these had been answered at once.

    Parameters
    ----------
    which : ndarray of bool, shape (n_requests,)
        Who stays.
    previous, think_s : ndarray, shape (n_requests,)
        As of `in_order`.

    Returns
    -------
    previous, think_s : ndarray, shape (n_kept,)
        A row whose answer was waited for, and is gone, has the one before it in its place, and its time to think is
        added; where there is none, a row waits no longer.

    Examples
    --------
    >>> kept(np.array([True, False, True]), np.array([-1, 0, 1]), np.array([0.0, 2.0, 3.0]))
    (array([-1,  0]), array([0., 5.]))
    """
    before, thinks_s, stays = previous.tolist(), think_s.tolist(), which.tolist()
    for row in np.flatnonzero(previous >= 0).tolist():
        gone = before[row]
        if not stays[gone]:
            before[row] = before[gone]
            thinks_s[row] = thinks_s[row] + thinks_s[gone] if before[gone] >= 0 else 0.0
    place = np.full(len(before) + 1, -1)
    place[:-1][which] = np.arange(np.count_nonzero(which))
    return place[np.array(before)[which]], np.array(thinks_s)[which]


def roots(previous: np.ndarray) -> np.ndarray:
    """The first row of each row's chain, shape (n_requests,): who waits for the same client's answers has the same.

    Examples
    --------
    >>> roots(np.array([-1, -1, 0, 2, 1])).tolist()
    [0, 1, 0, 0, 1]
    """
    found, before = list(range(len(previous))), previous.tolist()
    for row in np.flatnonzero(previous >= 0).tolist():
        found[row] = found[before[row]]
    return np.array(found)
