"""Closed loops: so many clients, each of whom sends the next request when the last is answered.

What benchmarks do at a fixed concurrency, and k6 and Locust with virtual users. The number in the system is given and
the rate is what comes out; in an open workload it is the other way round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.lazy import pd
from simlib.requests.lengths import LengthDistribution, check_lengths
from simlib.requests.loops.chains import in_order, roots
from simlib.requests.loops.think import Think, think_of, thinks_s
from simlib.requests.predictors import Predictor, predict
from simlib.requests.streams import MOST_REQUESTS, stream
from simlib.requests.table import COLUMNS, RequestTable

MOST_CLIENTS = 1_000_000


def closed(
    clients: int,
    requests: int,
    prompt: LengthDistribution,
    output: LengthDistribution,
    think: Any = 0.0,
    predictor: Predictor | None = None,
    *,
    ramp_s: float = 0.0,
    stages: Sequence[tuple[int, float]] = (),
    family: str = "closed",
    replication: int = 0,
) -> RequestTable:
    """Requests of a fixed number of clients, each of whom waits for an answer, thinks, and sends the next.

    Each client draws from streams of its own: what client 3 asks is the same whatever the policy, and however many
    clients there are or requests each of them sends.

    Parameters
    ----------
    clients : int
        How many there are at last, at least 1.
    requests : int
        How many each of them sends, at least 1.
    prompt, output : LengthDistribution
        Records of `lengths`, or objects with the same members.
    think : float, str, ArrivalProcess or Think
        Seconds from an answer to the next request, as `loops.think.think_of` takes it.
    predictor : Predictor, optional
        A record of `predictors`; without it the table has no predictions.
    ramp_s : float
        The clients begin one after the other over so long; with stages each stage's new ones do.
    stages : sequence of (int, float)
        Fewer clients first: so many for so many seconds, then more, at last `clients`.
    family, replication : str, int
        The key of the streams, see `simlib.requests.streams.stream`.

    Returns
    -------
    RequestTable
        With `previous`, `think_s`, and the label ``client``: 0, 1, … in the order in which they begin.

    Raises
    ------
    InputError
        If there are no clients or requests, a time is below zero, or stages do not rise.

    Examples
    --------
    >>> from simlib.requests.lengths import Fixed
    >>> table = closed(2, 2, Fixed(100), Fixed(10), think=2.0)
    >>> table.arrival_s.tolist(), table.previous.tolist(), table.labels["client"].tolist()
    ([0.0, 0.0, 2.0, 2.0], [-1, -1, 0, 1], [0, 1, 0, 1])
    """
    requests = check_integer("requests of each client", requests, 1, MOST_REQUESTS)
    start_s, think = starts_s(clients, ramp_s, stages), think_of(think)
    check_integer("clients times requests", len(start_s) * requests, 1, MOST_REQUESTS)
    check_lengths("prompt", prompt)
    check_lengths("output", output)
    at_once, parts = np.zeros(requests), []
    for client in range(len(start_s)):
        own = f"{family}, client {client}"
        prompt_rng, output_rng = stream(own, replication, "lengths").spawn(2)
        part = RequestTable(at_once, prompt.sample(requests, prompt_rng), output.sample(requests, output_rng))
        parts.append(part if predictor is None else predict(part, predictor, family=own, replication=replication))
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("prompt_tokens", "output_tokens", "predicted_output_tokens")
        if getattr(parts[0], name) is not None
    }
    rows = np.arange(len(start_s) * requests)
    first, client = rows % requests == 0, rows // requests
    previous = np.where(first, -1, rows - 1)
    waits_s = np.concatenate([_waits_s(think, requests, family, each, replication) for each in range(len(start_s))])
    order, arrival_s, previous = in_order(start_s[client], previous, waits_s)
    columns = {name: values[order] for name, values in columns.items()}
    return RequestTable(
        arrival_s, previous=previous, think_s=waits_s[order], labels={"client": client[order]}, **columns
    )


def dealt(
    table: RequestTable | pd.DataFrame,
    clients: int,
    think: Any = 0.0,
    *,
    ramp_s: float = 0.0,
    stages: Sequence[tuple[int, float]] = (),
    family: str = "dealt",
    replication: int = 0,
) -> RequestTable:
    """Given requests, dealt in turn to a fixed number of clients, each of whom sends the next after an answer.

    When the requests arrived does not matter any more. A conversation, whose turns wait for each other, is dealt as a
    whole: a client has one after the other.

    Parameters
    ----------
    table : RequestTable or pandas.DataFrame
        At least as many requests, or conversations, as there are clients.
    clients, think, ramp_s, stages
        As for `closed`.
    family, replication : str, int
        The key of the streams of the times to think, one a client.

    Examples
    --------
    >>> table = dealt(RequestTable([0.0, 1.0, 5.0], [10, 20, 30], [1, 2, 3]), clients=2, think=2.0)
    >>> table.arrival_s.tolist(), table.prompt_tokens.tolist(), table.previous.tolist()
    ([0.0, 0.0, 2.0], [10, 20, 30], [-1, -1, 0])
    """
    table = RequestTable.of(table)
    start_s, think = starts_s(clients, ramp_s, stages), think_of(think)
    rows, clients = np.arange(len(table)), len(start_s)
    root = rows if table.previous is None else roots(table.previous)
    number = np.cumsum(root == rows) - 1  # of the conversation that begins here
    units = int(number[-1]) + 1
    if units < clients:
        what = "requests" if table.previous is None else "conversations"
        raise InputError(f"clients: {clients} (expected at most {units}: there are {units} {what})")
    unit = number[root]
    previous = np.full(len(table), -1) if table.previous is None else table.previous.copy()
    waits_s = np.zeros(len(table)) if table.previous is None else table.think_s.copy()
    firsts, lasts = np.flatnonzero(root == rows), np.zeros(units, np.int64)
    lasts[unit] = rows  # of several rows the last one stays
    later = np.arange(clients, units)
    previous[firsts[later]] = lasts[later - clients]
    for client in range(clients):
        turns = np.arange(clients + client, units, clients)
        waits_s[firsts[turns]] = _waits_s(think, len(turns) + 1, family, client, replication)[1:]
    # A row may now wait for one below it, as conversations overlap: each chain is put together before the whole.
    together = np.lexsort((rows, unit // clients, unit % clients))
    place = np.full(len(table) + 1, -1)
    place[together] = rows
    previous, starts = place[previous[together]], start_s[unit % clients]
    order, arrival_s, previous = in_order(starts[together], previous, waits_s[together])
    order = together[order]
    columns = {name: getattr(table, name) for name in COLUMNS[1:] if name not in ("previous", "think_s")}
    return RequestTable(
        arrival_s,
        previous=previous,
        think_s=waits_s[order],
        labels={**{name: values[order] for name, values in table.labels.items()}, "client": (unit % clients)[order]},
        **{name: values[order] for name, values in columns.items() if values is not None},
    )


def starts_s(clients: int, ramp_s: float = 0.0, stages: Sequence[tuple[int, float]] = ()) -> np.ndarray:
    """When each client begins, shape (clients,), seconds from the start of the first.

    Examples
    --------
    >>> starts_s(4, ramp_s=2.0).tolist(), starts_s(4, stages=[(1, 10.0), (2, 5.0)]).tolist()
    ([0.0, 0.5, 1.0, 1.5], [0.0, 10.0, 15.0, 15.0])
    """
    clients = check_integer("clients", clients, 1, MOST_CLIENTS)
    ramp_s = check_number("ramp_s", ramp_s, 0.0)
    check_type("stages", stages, Sequence, "a sequence of clients and seconds, such as [(8, 60.0), (16, 60.0)]")
    found, at_s, there = np.zeros(clients), 0.0, 0
    for number, stage in enumerate([*stages, (clients, None)]):
        try:
            more, for_s = stage
        except (TypeError, ValueError):
            raise InputError(f"stages, stage {number}: {stage!r} (expected clients and seconds)") from None
        if for_s is not None:
            more = check_integer(f"stages, stage {number}: clients", more, there + 1, clients - 1)
            for_s = check_number(f"stages, stage {number}: seconds", for_s, ramp_s, open_low=ramp_s == 0)
        found[there:more] = at_s + ramp_s * np.arange(more - there) / (more - there)
        at_s, there = at_s + (for_s or 0.0), more
    return found


def _waits_s(think: Think, requests: int, family: str, client: int, replication: int) -> np.ndarray:
    """A client's times to think, one before each request; before the first there is none."""
    rng = stream(f"{family}, client {client}", replication, "arrivals")
    return np.append(0.0, thinks_s(think, requests - 1, rng)) if requests > 1 else np.zeros(1)
