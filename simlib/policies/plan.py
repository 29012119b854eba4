"""What a policy is: data and kernels (`Plan`, `Order`); the checks that all policies share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from simlib.checks import InputError, check_choice
from simlib.policies import bins
from simlib.policies.orders import BY_NAME
from simlib.requests.table import RequestTable
from simlib.text import many

SELECTIONS = tuple(BY_NAME)


class Order(NamedTuple):
    """What continuous batching asks of a policy: who is admitted next.

    Parameters
    ----------
    queues : bins.Queues, optional
        In which line each request will stand; without, all in one.
    decide : callable, optional
        As in `Plan`; without, an only line is served in its order, and nobody is asked.
    params, memory : ndarray of float
        As in `Plan`. GPUs that do not share their lines have a memory each.
    key : callable, optional
        As in `Plan`.
    client_of : ndarray of int32, optional
        With a key, the client of each request.
    at_once : int, optional
        Sequences that run at once on a GPU, at most.
    notes : int
        Columns of `note`, which nobody keeps.
    priority : bool
        Whether the table's `priority` decides who is admitted, and who loses its memory.
    """

    queues: bins.Queues | None = None
    decide: Callable[..., tuple[int, int]] | None = None
    params: np.ndarray = np.zeros(1)
    memory: np.ndarray = np.zeros((1, 1))
    key: Callable[..., float] | None = None
    client_of: np.ndarray | None = None
    at_once: int | None = None
    notes: int = 0
    priority: bool = False


class Plan(NamedTuple):
    """A policy, ready for one table and a number of GPUs.

    Parameters
    ----------
    queues : bins.Queues
        In which queue each request will stand.
    decide : callable or None
        ``decide(now_s, gpu, waiting, params, memory, note) -> (queue, size)``; 0 waits, -n turns n away. None: it forms
        no batches.
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
    order : Order, optional
        What continuous batching takes from it; without, it has none to give.
    key : callable, optional
        ``key(now_s, request, given_to_client, params, memory) -> float`` orders within a queue, lowest first.
    client_of : ndarray of int32, optional
        With a key, the client of each request.
    spills : bool
        Whether a batch that its queue does not fill goes on into the next ones behind it.
    least, target_s : int, float
        The smallest batch that its rule for the deadline asks for, and what it steers to, seconds; 0: it has none. It
        notes ``b_sla`` and ``service_mean_s``.
    """

    queues: bins.Queues
    decide: Callable[..., tuple[int, int]] | None
    learn: Callable[..., None]
    params: np.ndarray
    memory: np.ndarray
    notes: tuple[str, ...] = ()
    capacity_tokens: float = np.inf
    edges: np.ndarray | None = None
    order: Order | None = None
    key: Callable[..., float] | None = None
    client_of: np.ndarray | None = None
    spills: bool = False
    least: int = 0
    target_s: float = 0.0


def learn_nothing(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel of policies without feedback."""


def short_name(scheduler: str) -> str:
    """A built-in scheduler as figures and tables call it: ``static``, ``dynamic``, ``multi-bin``."""
    names = {"static_fifo": "static", "dynamic_no_bins": "dynamic", "multi_bin_dynamic": "multi-bin"}
    return names.get(scheduler, scheduler)


DECIDE_SEES = ("now_s", "gpu", "waiting", "params", "memory", "note")
LEARN_SEES = ("now_s", "gpu", "batch", "params", "memory")
KEY_SEES = ("now_s", "request", "given_to_client", "params", "memory")


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
        raise InputError(f"{name}: {values!r} (expected numbers in {many(dimensions, 'dimension')}, at least one)")


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
