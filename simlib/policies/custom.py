"""A policy of your own, from a few lines in a notebook cell."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.policies import bins
from simlib.policies.plan import (
    DECIDE_SEES,
    LEARN_SEES,
    Plan,
    binned,
    check_bounds,
    check_kernel,
    check_numbers,
    learn_nothing,
    one_queue,
)
from simlib.requests.table import RequestTable


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """A policy of your own, from a few lines in a notebook cell.

    Parameters
    ----------
    name : str
        What tables and figures call it.
    decide : callable
        ``decide(now_s, gpu, waiting, params, memory, note) -> (queue, size)``: from which queue, and up to how many of
        its oldest requests; 0 waits for the next event, -n turns n away. `waiting` is an `shapes.Waiting`.
    learn : callable, optional
        ``learn(now_s, gpu, batch, params, memory)``, called with each finished batch (`shapes.BATCH_COLUMNS`).
    k_bins : int
        Number of queues, by predicted output length.
    bounds : str or sequence of float
        How they are cut, as in `MultiBinDynamic`.
    params : sequence of float
        Numbers that both kernels read.
    memory : ndarray of float, shape (rows, any)
        What the policy remembers, as it is before the first decision.
    notes : tuple of str
        Names of what `decide` writes into `note`; they become columns of ``run.controller``.
    capacity_tokens : float
        Tokens that a batch may hold.
    """

    name: str
    decide: Callable[..., tuple[int, int]]
    learn: Callable[..., None] = learn_nothing
    k_bins: int = 1
    bounds: str | Sequence[float] = "equal_mass"
    params: Sequence[float] = (0.0,)
    memory: Any = ((0.0,),)
    notes: tuple[str, ...] = ()
    capacity_tokens: float = np.inf
    work_conserving: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_type("policy name", self.name, str, "a text")
        check_kernel(f"policy {self.name}, decide", self.decide, DECIDE_SEES)
        check_kernel(f"policy {self.name}, learn", self.learn, LEARN_SEES)
        check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS)
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
        params = np.array(self.params, dtype=np.float64)
        memory = np.array(self.memory, dtype=np.float64)
        capacity = self.capacity_tokens
        return Plan(queues, self.decide, self.learn, params, memory, self.notes, capacity, edges)
