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

from simlib.checks import check_integer, check_number
from simlib.engine.shapes import Waiting
from simlib.policies import bins, orders
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.orders import aged_key_s
from simlib.policies.plan import Plan, learn_nothing
from simlib.requests.table import RequestTable


def decide_shortest(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `ShortestPredictedFirst`: the line whose head has the least key, of equal ones that who came first."""
    best, best_head, best_key = 0, -1, math.inf
    for queue in range(len(waiting.head)):
        if waiting.tail[queue] > waiting.head[queue]:
            head = waiting.order[waiting.head[queue]]
            key = aged_key_s(waiting.arrival_s[head], waiting.predicted_output_tokens[head], params[1])
            if best_head < 0 or key < best_key or (key == best_key and head < best_head):
                best, best_head, best_key = queue, head, key
    return best, int(params[0])


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
        check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS)
        check_integer("batch_size", self.batch_size, 1, MAX_BATCH)

    @property
    def ignores_waiting(self) -> bool:
        """Whether it is shortest first without ageing."""
        given = self.seconds_per_token
        return given is None or (isinstance(given, float) and given == math.inf)

    @property
    def weight_s(self) -> float:
        """Seconds of waiting that outweigh a token, infinite without ageing."""
        return math.inf if self.ignores_waiting else float(self.seconds_per_token)

    @property
    def step_rules(self) -> dict[str, float]:
        """What continuous batching takes from it (`state.StepRules`): the order of admission."""
        return {"selection": orders.SHORTEST, "seconds_per_token": self.weight_s}

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: a line for each predicted length, or equally filled ones if these are too many."""
        edges, queues = table.kept(("shortest first", self.k_bins), lambda: _lines(table, self.k_bins))
        params = np.array([self.batch_size, self.weight_s], dtype=np.float64)
        return Plan(queues, decide_shortest, learn_nothing, params, np.zeros((1, 1)), edges=edges)


def _lines(table: RequestTable, k_bins: int) -> tuple[np.ndarray, bins.Queues]:
    lengths = np.unique(table.predicted_output_tokens)
    if len(lengths) <= k_bins:
        edges = lengths[1:].astype(np.float64)
    else:  # edges that are lengths themselves, each once: somebody will stand in every line
        places = np.searchsorted(lengths, bins.equal_mass(table.predicted_output_tokens, k_bins))
        edges = lengths[np.unique(places[places > 0])].astype(np.float64)
    return edges, bins.queues(bins.assign(table.predicted_output_tokens, edges), len(edges) + 1)
