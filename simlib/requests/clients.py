"""Clients and other classes: who sent which request, how urgent it is, or whatever else a column says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simlib.checks import MAX_BINS, InputError, check_each, check_integer, check_number, check_type
from simlib.lazy import pd
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable


def clients_of(table: RequestTable) -> np.ndarray:
    """The client of each request as a number from 0, in order of first appearance, shape (n_requests,).

    Raises
    ------
    InputError
        If the table has no label ``client``, or a request none; or there are more clients than lines.
    """
    return classes_of(table, "client")[0]


def classes_of(table: RequestTable, by: str) -> tuple[np.ndarray, list[Any]]:
    """The class of each request as a number from 0, shape (n_requests,), and the value that each class has.

    Parameters
    ----------
    by : str
        The column whose value is the class: ``priority``, whose classes ascend, or a label, whose classes are in order
        of first appearance.

    Raises
    ------
    InputError
        If the table has no such column, a request no value in it, or there are more classes than lines.

    Examples
    --------
    >>> codes, values = classes_of(RequestTable([0.0, 1.0], [1, 1], [1, 1], priority=[7, -1]), "priority")
    >>> codes.tolist(), values
    ([1, 0], [-1, 7])
    """
    if not check_type("by", by, str, "the name of a column"):
        raise InputError(f"by: {by!r} (expected the name of a column)")
    codes, values = table.kept(("classes", by), lambda: _classes(table, by))
    check_integer(f"number of classes by {by}", len(values), 1, MAX_BINS)
    return codes, values.tolist()


def _classes(table: RequestTable, by: str) -> tuple[np.ndarray, np.ndarray]:
    if by == "priority" and table.priority is not None:
        return levels(table.priority)
    if by not in table.labels:
        there = [*(["priority"] if table.priority is not None else []), *table.labels]
        raise InputError(f"{by}: missing column (expected a value a request; found {', '.join(there) or 'none'})")
    try:
        codes, values = pd.factorize(table.labels[by])
    except TypeError:  # lists and mappings
        raise InputError(f"{by}: values that are no names (expected a text or a number a request)") from None
    if (codes < 0).any():
        raise InputError(f"{by}, row {int(np.argmax(codes < 0))}: missing (expected a value a request)")
    return codes.astype(np.int64), values


def levels(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers as places among those that occur, ascending, and these: `numpy.unique`, in linear time if they are near.

    Examples
    --------
    >>> levels(np.array([7, -1, 7]))
    (array([1, 0, 1]), array([-1,  7]))
    """
    low = values.min()
    if values.max() - low > len(values):
        distinct, places = np.unique(values, return_inverse=True)
        return places, distinct
    there = np.bincount(values - low) > 0
    return (np.cumsum(there) - 1)[values - low], np.flatnonzero(there) + low


def with_clients(table: RequestTable, shares: Sequence[float], family: str = "clients", replication: int = 0) -> Any:
    """The same requests, each from a client that is drawn with these shares: labels ``client`` from 0.

    Parameters
    ----------
    shares : sequence of float
        Relative rates, > 0, one a client.
    family, replication : str, int
        Key of the stream; its own, whatever the table was drawn with.

    Examples
    --------
    >>> table = RequestTable([0.0, 1.0, 2.0, 3.0], [1] * 4, [1] * 4)
    >>> with_clients(table, [0.9, 0.1]).labels["client"].tolist()
    [0, 0, 0, 0]
    """
    client = _drawn(table, shares, f"{family}, client", replication)
    return table._but("labels", {**table.labels, "client": client})


def with_priorities(
    table: RequestTable, shares: Sequence[float], family: str = "priorities", replication: int = 0
) -> RequestTable:
    """The same requests, each with a priority that is drawn with these shares: from 0, the most urgent, on.

    Parameters are those of `with_clients`, one share a class.

    Examples
    --------
    >>> table = RequestTable([0.0, 1.0, 2.0, 3.0], [1] * 4, [1] * 4)
    >>> with_priorities(table, [0.2, 0.8]).priority.tolist()
    [1, 0, 1, 1]
    """
    return table._but("priority", _drawn(table, shares, f"{family}, priority", replication))


def _drawn(table: RequestTable, shares: Sequence[float], key: str, replication: int) -> np.ndarray:
    """Numbers from 0, one a request, drawn with these shares."""
    rates = check_each("shares", shares, lambda share: check_number("shares", share, 0.0, 1e12, open_low=True))
    total = np.cumsum(rates)
    drawn = stream(key, replication, "arrivals").random(len(table))
    return np.searchsorted(total[:-1] / total[-1], drawn, side="right")
