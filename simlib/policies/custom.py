"""A policy of your own, from a few lines in a notebook cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number, check_type, keep
from simlib.engine.shapes import Waiting
from simlib.policies import bins
from simlib.policies.fair_share import client_queues
from simlib.policies.plan import (
    DECIDE_SEES,
    KEY_SEES,
    LEARN_SEES,
    Order,
    Plan,
    binned,
    check_bounds,
    check_kernel,
    check_numbers,
    learn_nothing,
    one_queue,
)
from simlib.requests.clients import clients_of
from simlib.requests.table import RequestTable

LINES = ("bins", "client")


def everyone(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of a policy that has a key alone: whoever waits."""
    return 0, waiting.tail[0] - waiting.head[0]


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """A policy of your own, from a few lines in a notebook cell.

    Parameters
    ----------
    name : str
        What tables and figures call it.
    decide : callable
        ``decide(now_s, gpu, waiting, params, memory, note) -> (queue, size)``: from which queue, and up to how many of
        its first requests; 0 waits for the next event, -n turns the n oldest away. `waiting` is a `shapes.Waiting`. A
        batch is formed of them; continuous batching admits them while they fit, and asks again while there is room.
        Optional with a `key`: then the only queue, as many as there are.
    key : callable, optional
        ``key(now_s, request, given_to_client, params, memory) -> float``: within a queue the lowest is first, ties go
        to the oldest. `request` is a `shapes.Request`, `given_to_client` counts the tokens, prompts and predicted
        outputs, of its client's requests that were taken so far (label ``client``; without, all are of one).
    learn : callable, optional
        ``learn(now_s, gpu, batch, params, memory)``, called with each finished batch (`shapes.BATCH_COLUMNS`);
        continuous batching has none, and never calls it.
    lines : {"bins", "client"}
        What the queues are: `k_bins` by predicted output length, or one a client.
    k_bins : int
        Number of queues, by predicted output length.
    bounds : str or sequence of float
        How they are cut, as in `MultiBinDynamic`.
    params : sequence of float
        Numbers that the kernels read.
    memory : ndarray of float, shape (rows, any)
        What the policy remembers, as it is before the first decision. Where a router deals requests to GPUs, each GPU
        has queues, a memory and a count of what was given to a client of its own.
    notes : tuple of str
        Names of what `decide` writes into `note`; of batches they become columns of ``run.controller``.
    capacity_tokens : float
        Tokens that a batch may hold; an engine has its own (`settings.Continuous.kv_tokens`).

    Notes
    -----
    Under continuous batching `decide` is asked while a GPU composes a step that has room and somebody waits. What is
    not carried out was not said: if it waits, or the first that it names does not fit, `memory` is as before. With an
    only queue and no `key` it is not asked while the first does not fit; having said that it waits, it is asked again
    once a request has arrived or one has ended.

    Examples
    --------
    >>> import simlib
    >>> def fewest_tokens(now_s, request, given_to_client, params, memory):
    ...     return request.predicted_output_tokens
    >>> requests = simlib.RequestTable([0, 1, 1], [5, 5, 5], [9, 9, 3], [9, 9, 3])
    >>> policy = Custom("shortest", key=fewest_tokens)
    >>> engine = simlib.Continuous(max_seqs=1)
    >>> simlib.simulate(requests, policy, simlib.StepLaw(1.0), 1, engine).times.start_s.tolist()
    [0.0, 12.0, 9.0]
    """

    name: str
    decide: Callable[..., tuple[int, int]] = everyone
    learn: Callable[..., None] = learn_nothing
    k_bins: int = 1
    bounds: str | Sequence[float] = "equal_mass"
    params: Sequence[float] = (0.0,)
    memory: Any = ((0.0,),)
    notes: tuple[str, ...] = ()
    capacity_tokens: float = np.inf
    key: Callable[..., float] | None = None
    lines: str = "bins"
    work_conserving: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_type("policy name", self.name, str, "a text")
        check_kernel(f"policy {self.name}, decide", self.decide, DECIDE_SEES)
        check_kernel(f"policy {self.name}, learn", self.learn, LEARN_SEES)
        if self.key is not None:
            check_kernel(f"policy {self.name}, key", self.key, KEY_SEES)
        elif self.decide is everyone:
            raise InputError(f"policy {self.name}: neither decide nor key (expected at least one of them)")
        keep(self, k_bins=check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS))
        check_choice("lines", self.lines, LINES)
        if self.k_bins > 1 and (self.lines == "client" or self.decide is everyone):
            raise InputError(f"k_bins: {self.k_bins} (expected 1 with lines 'client', or without decide)")
        check_bounds(self.bounds, self.k_bins)
        if not (isinstance(self.capacity_tokens, float) and self.capacity_tokens == np.inf):
            check_number("capacity_tokens", self.capacity_tokens, 1.0)
        check_numbers("params", self.params, 1)
        check_numbers("memory", self.memory, 2)
        if not isinstance(self.notes, tuple) or not all(isinstance(name, str) for name in self.notes):
            raise InputError(f"notes: {self.notes!r} (expected a tuple of names)")

    @property
    def needs_predictions(self) -> bool:
        """Whether it bins by predicted length."""
        return self.k_bins > 1

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        edges, queues = binned(table, self.bounds, self.k_bins) if self.k_bins > 1 else (None, one_queue(table))
        if self.lines == "client":
            queues = table.kept("clients", lambda: client_queues(table))
        params, memory = np.array(self.params, dtype=np.float64), np.array(self.memory, dtype=np.float64)
        client_of = None
        if self.key is not None:
            client_of = clients_of(table) if "client" in table.labels else np.zeros(len(table))
            client_of = client_of.astype(np.int32)
        order = Order(queues, self.decide, params, memory, self.key, client_of, notes=len(self.notes))
        capacity, more = self.capacity_tokens, (order, self.key, client_of)
        return Plan(queues, self.decide, self.learn, params, memory, self.notes, capacity, edges, *more)
