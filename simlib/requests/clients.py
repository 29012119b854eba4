"""Clients: who sent which request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simlib.checks import MAX_BINS, InputError, check_each, check_integer, check_number
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
    if "client" not in table.labels:
        raise InputError("client: missing column (expected a label a request, of whoever sent it)")
    codes, known = pd.factorize(table.labels["client"])
    if (codes < 0).any():
        raise InputError(f"client, row {int(np.argmax(codes < 0))}: missing (expected a label a request)")
    check_integer("client: number of clients", len(known), 1, MAX_BINS)
    return codes.astype(np.int64)


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
    rates = check_each("shares", shares, lambda share: check_number("shares", share, 0.0, 1e12, open_low=True))
    total = np.cumsum(rates)
    drawn = stream(f"{family}, client", replication, "arrivals").random(len(table))
    client = np.searchsorted(total[:-1] / total[-1], drawn, side="right")
    return table._but("labels", {**table.labels, "client": client})
