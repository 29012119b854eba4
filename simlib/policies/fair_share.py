"""Fair shares between clients: virtual token counters, in both executions.

Sheng et al., Fairness in Serving Large Language Models (OSDI 2024): a counter a client counts the
service that it was given, in weighted tokens; of those that wait, whoever has the least is served next. A client that
comes back after nobody of it waited is lifted to the least of those that wait: idleness earns no credit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import check_integer, check_number, keep
from simlib.policies import bins
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.orders import fair
from simlib.policies.plan import Order, Plan, learn_nothing
from simlib.requests.clients import clients_of
from simlib.requests.table import RequestTable


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
        keep(self, batch_size=check_integer("batch_size", self.batch_size, 1, MAX_BATCH))
        check_number("output_weight", self.output_weight, 0.0, 1e6)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: a line a client."""
        queues = table.kept("clients", lambda: client_queues(table))
        counters = np.zeros((len(queues.end) + 1, 2))
        batches = np.array([self.batch_size, self.output_weight, 0.0])
        order = Order(queues, fair, np.array([1.0, self.output_weight, 1.0]), counters)
        return Plan(queues, fair, learn_nothing, batches, counters, order=order)


def client_queues(table: RequestTable) -> bins.Queues:
    """A line a client."""
    codes = clients_of(table)
    return bins.queues(codes, int(codes.max()) + 1)
