"""Fair shares between clients: virtual token counters, in both executions.

Beside `dynamic`. Sheng et al., Fairness in Serving Large Language Models (OSDI 2024): a counter a client counts the
service that it was given, in weighted tokens; of those that wait, whoever has the least is served next. A client that
comes back after nobody of it waited is lifted to the least of those that wait: idleness earns no credit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import check_integer, check_number
from simlib.engine.shapes import Waiting
from simlib.policies import bins, orders
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.plan import Plan, learn_nothing
from simlib.requests.clients import clients_of
from simlib.requests.table import RequestTable

COUNTER, SEEN = 0, 1  # columns of a client's row; the row behind the last one has in COUNTER whom a GPU served last
SIZE, OUTPUT_WEIGHT = 0, 1


def decide_fair(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `FairShare`: lift who is back, serve the least counter of those that wait, and charge it."""
    clients = len(waiting.head)
    level = least_counter(waiting, memory)
    chosen = -1
    for client in range(clients):
        row, waits = memory[client], waiting.tail[client] > waiting.head[client]
        if waits and row[SEEN] == 0.0:
            row[COUNTER] = max(row[COUNTER], level)
        row[SEEN] = 1.0 if waits else 0.0
        if waits and (chosen < 0 or row[COUNTER] < memory[chosen, COUNTER]):
            chosen = client
    first = waiting.head[chosen]
    last = min(waiting.tail[chosen], first + int(params[SIZE]))
    for place in range(first, last):
        request = waiting.order[place]
        service = waiting.prompt_tokens[request] + params[OUTPUT_WEIGHT] * waiting.predicted_output_tokens[request]
        memory[chosen, COUNTER] += service
    if last == waiting.tail[chosen]:
        memory[chosen, SEEN] = 0.0
    memory[clients, COUNTER] = chosen
    return chosen, last - first


def least_counter(waiting: Waiting, memory: np.ndarray) -> float:
    """Kernel: the least counter of those that waited before and still do; of none, that of who was served last."""
    level, found = 0.0, False
    for client in range(len(waiting.head)):
        if waiting.tail[client] > waiting.head[client] and memory[client, SEEN] > 0.0:
            level = min(level, memory[client, COUNTER]) if found else memory[client, COUNTER]
            found = True
    return level if found else memory[int(memory[len(waiting.head), COUNTER]), COUNTER]


@dataclass(frozen=True, slots=True)
class FairShare:
    """Virtual token counters: of the clients that wait, the one that was given least service is served.

    Reads the table's label ``client``. Within a client the order is that of arrival; ties between clients go to the one
    that came first. A batch that runs to completion is of one client; continuous batching admits request by request.

    Parameters
    ----------
    batch_size : int
        Requests of a batch that runs to completion, at most; >= 1. Continuous batching has places of its own.
    output_weight : float
        What a token of output counts, a token of a prompt being 1; >= 0.

    Notes
    -----
    Service is charged when it is granted: the prompt and the *predicted* output, not corrected afterwards, so that
    predictions that are short for one client alone favour it.

    Examples
    --------
    >>> import simlib
    >>> table = simlib.RequestTable([0, 0.1, 0.2, 0.3], [1] * 4, [9] * 4, [9] * 4, labels={"client": list("aaab")})
    >>> run = simlib.simulate(table, FairShare(batch_size=1), simlib.GivenTimes([1.0] * 4))
    >>> run.times.start_s.tolist()  # at 1 s both have as much, at 2 s the second client has less
    [0.0, 1.0, 3.0, 2.0]
    """

    batch_size: int = 8
    output_weight: float = 2.0
    name: ClassVar[str] = "fair_share"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1, MAX_BATCH)
        check_number("output_weight", self.output_weight, 0.0, 1e6)

    @property
    def step_rules(self) -> dict[str, float]:
        """What continuous batching takes from it (`state.StepRules`): the order of admission."""
        return {"selection": orders.FAIR, "output_weight": self.output_weight}

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: a line a client."""
        queues = table.kept("clients", lambda: _lines(table))
        params = np.array([self.batch_size, self.output_weight], dtype=np.float64)
        return Plan(queues, decide_fair, learn_nothing, params, np.zeros((len(queues.end) + 1, 2)))


def _lines(table: RequestTable) -> bins.Queues:
    codes = clients_of(table)
    return bins.queues(codes, int(codes.max()) + 1)
