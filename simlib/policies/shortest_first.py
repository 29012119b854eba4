"""Shortest predicted first, with ageing: a policy for both executions.

With linear ageing, who waits is ordered by ``arrival_s + seconds_per_token * predicted tokens``: a request ages a
second in a second, so the order of two of them never changes while they wait. The key is fixed at arrival, requests of
equal predictions stand in order of arrival, and so a line for each predicted length whose heads are compared is a
priority queue.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import check_integer, check_number, keep
from simlib.policies import bins
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.orders import shortest
from simlib.policies.plan import Order, Plan, learn_nothing
from simlib.requests.table import RequestTable


@dataclass(frozen=True, slots=True)
class ShortestPredictedFirst:
    """The shortest predicted output first, and whoever waits gains on those who come later.

    Continuous batching admits in this order. A batch that runs to completion is the head of that order and those
    behind it in its line, that is, of about its predicted length; such batches need fewer lines.

    Parameters
    ----------
    seconds_per_token : float or None
        Seconds of waiting that outweigh one predicted token, >= 0. With 0 it is first come, first served; with None
        or infinity waiting counts for nothing, and the longest may wait for ever.
    k_bins : int
        Lines by predicted length, >= 1: one a length where that many suffice, and then the order is exact; else they
        hold equally many, and in each line the order is that of arrival.
    batch_size : int
        Requests of a batch that runs to completion, at most; >= 1. Continuous batching has places of its own.

    Examples
    --------
    >>> import simlib
    >>> requests = simlib.RequestTable([0, 1, 1], [5, 5, 5], [9, 9, 3], [9, 9, 3])
    >>> policy = ShortestPredictedFirst(None, batch_size=1)
    >>> simlib.simulate(requests, policy, simlib.GivenTimes([9, 9, 3])).times.start_s.tolist()
    [0.0, 12.0, 9.0]
    """

    seconds_per_token: float | None = 0.01
    k_bins: int = 64
    batch_size: int = 8
    name: ClassVar[str] = "shortest_predicted_first"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.seconds_per_token is not None and not self.ignores_waiting:
            check_number("seconds_per_token", self.seconds_per_token, 0.0)
        keep(self, k_bins=check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS))
        keep(self, batch_size=check_integer("batch_size", self.batch_size, 1, MAX_BATCH))

    @property
    def ignores_waiting(self) -> bool:
        """Whether it is shortest first without ageing."""
        given = self.seconds_per_token
        return given is None or (isinstance(given, float) and given == math.inf)

    @property
    def weight_s(self) -> float:
        """Seconds of waiting that outweigh a token, infinite without ageing."""
        return math.inf if self.ignores_waiting else float(self.seconds_per_token)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: a line for each predicted length, or equally filled ones if these are too many."""
        edges, queues = table.kept(("shortest first", self.k_bins), lambda: _lines(table, self.k_bins))
        params, one = np.array([self.batch_size, self.weight_s], float), np.array([1, self.weight_s], float)
        order = Order(queues, shortest, one) if len(queues.end) > 1 else Order()
        return Plan(queues, shortest, learn_nothing, params, np.zeros((1, 1)), edges=edges, order=order)


def _lines(table: RequestTable, k_bins: int) -> tuple[np.ndarray, bins.Queues]:
    lengths = np.unique(table.predicted_output_tokens)
    if len(lengths) <= k_bins:
        edges = lengths[1:].astype(np.float64)
    else:  # edges that are lengths themselves, each once: somebody will stand in every line
        places = np.searchsorted(lengths, bins.equal_mass(table.predicted_output_tokens, k_bins))
        edges = lengths[np.unique(places[places > 0])].astype(np.float64)
    return edges, bins.queues(bins.assign(table.predicted_output_tokens, edges), len(edges) + 1)
