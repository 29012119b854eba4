"""What a policy is: data (`Plan`) and two kernels, `decide` and `learn`; the checks that all policies share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_choice
from simlib.policies import bins
from simlib.requests.table import RequestTable

SELECTIONS = ("round_robin", "longest_queue", "oldest_head")


class Plan(NamedTuple):
    """A policy, ready for one table and a number of GPUs.

    Parameters
    ----------
    queues : bins.Queues
        In which queue each request will stand.
    decide : callable
        ``decide(now_s, gpu, waiting, params, memory, note) -> (queue, size)``; 0 waits, -n turns n away.
    learn : callable
        ``learn(now_s, gpu, batch, params, memory)``, called when a batch has finished.
    params : ndarray of float, shape (any,)
    memory : ndarray of float, shape (rows, any)
        What the policy remembers, changed by its kernels.
    notes : tuple of str
        Names of what `decide` writes into `note`, kept with each batch.
    capacity_tokens : float
        Tokens that a batch may hold, infinite for policies that ignore memory.
    edges : ndarray or None
        Inner edges of the bins, tokens.
    """

    queues: bins.Queues
    decide: Callable[..., tuple[int, int]]
    learn: Callable[..., None]
    params: np.ndarray
    memory: np.ndarray
    notes: tuple[str, ...] = ()
    capacity_tokens: float = np.inf
    edges: np.ndarray | None = None


def learn_nothing(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel of policies without feedback."""


def short_name(scheduler: str) -> str:
    """A built-in scheduler as figures and tables call it: ``static``, ``dynamic``, ``multi-bin``."""
    names = {"static_fifo": "static", "dynamic_no_bins": "dynamic", "multi_bin_dynamic": "multi-bin"}
    return names.get(scheduler, scheduler)


DECIDE_SEES = ("now_s", "gpu", "waiting", "params", "memory", "note")
LEARN_SEES = ("now_s", "gpu", "batch", "params", "memory")


def check_kernel(name: str, kernel: Any, sees: tuple[str, ...]) -> None:
    if not callable(kernel):
        raise InputError(f"{name}: {kernel!r} (expected a function)")
    try:
        inspect.signature(kernel).bind(*sees)
    except (TypeError, ValueError) as problem:
        raise InputError(f"{name}: {problem} (expected the parameters {', '.join(sees)})") from None


def check_numbers(name: str, values: Any, dimensions: int) -> None:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(())
    if numbers.ndim != dimensions or numbers.size == 0:
        raise InputError(f"{name}: {values!r} (expected numbers in {dimensions} dimension(s), at least one)")


def one_queue(table: RequestTable) -> bins.Queues:
    return table.kept("one queue", lambda: bins.queues(np.zeros(len(table), np.int64), 1))


def binned(
    table: RequestTable, rule: str | Sequence[float], k_bins: int, sizes: tuple[int, ...] | None = None
) -> tuple[np.ndarray, bins.Queues]:
    """The edges that a rule gives for the table's own predictions, and who stands in which bin."""

    def cut() -> tuple[np.ndarray, bins.Queues]:
        edges = bins.edges(rule, table.predicted_output_tokens, k_bins, 8 if sizes is None else sizes)
        return edges, bins.queues(bins.assign(table.predicted_output_tokens, edges), k_bins)

    return table.kept(("bins", rule if isinstance(rule, str) else tuple(rule), k_bins, sizes), cut)


def check_bounds(bounds: str | Sequence[float], k_bins: int) -> None:
    if isinstance(bounds, str):
        check_choice("bounds", bounds, bins.RULES)
    else:
        bins.edges(bounds, np.zeros(1), k_bins)
