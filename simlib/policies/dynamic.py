"""Which requests form the next batch: the policies.

A policy puts each request into a queue when the run is prepared, and answers one question of the engine: an idle GPU
asks, which queue, and how many of its oldest requests (0: wait; -n: turn n away). FIFO means arrival order, always;
ties are broken by table order. Policies differ in data (`Plan`) and in kernels alone: `order` says which queue, for
both engines (`orders`), `decide` adds the size of a batch, `learn` sees what became of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simlib.checks import check_choice, check_integer, check_type, keep
from simlib.durations import limit_s
from simlib.engine.compiled import bound
from simlib.engine.shapes import Waiting
from simlib.policies.batch_size import NOTES, PARAMS, Rules, observe, target
from simlib.policies.bins import MAX_BINS, Queues
from simlib.policies.optimal_bins import sizes_of
from simlib.policies.orders import BY_NAME, in_turn
from simlib.policies.plan import SELECTIONS, Order, Plan, binned, check_bounds, one_queue
from simlib.requests.table import RequestTable

# After the batching rules' numbers: how many requests of each bin are looked at. In memory: one row a controller, and
# the last row is the order's.
CANDIDATES = PARAMS

order: Any = None  # one of `orders`, bound to `decide_dynamic`


def decide_dynamic(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of the dynamic policies: the bin that is next, then as many as ``min(b_mem, b_sla)`` allows."""
    queue, _ = order(now_s, gpu, waiting, params, memory, note)
    size = target(memory[controller_of(gpu, memory)], params, note)
    return queue, min(size, int(params[CANDIDATES + queue]))


def learn_dynamic(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel of the dynamic policies: the GPU's controller sees the finished batch."""
    observe(memory[controller_of(gpu, memory)], batch, params)


def controller_of(gpu: int, memory: np.ndarray) -> int:
    """Kernel: the row of a GPU's controller, which is its own or the one that all share."""
    return gpu if gpu < len(memory) - 1 else 0


@dataclass(frozen=True, slots=True)
class DynamicNoBins:
    """One queue; a batch takes up to ``min(b_mem, b_sla)``, never waiting for a fuller one.

    Parameters
    ----------
    d_sla : float or str
        Deadline that the controller steers its batches' service time to, seconds, > 0, or text such as ``500ms``.
    variant : {"original", "paper", "printed", "released"} or Rules
        Which form of Algorithms 1 and 2, or one with its own numbers.
    """

    d_sla: float = 1.0
    variant: str | Rules = "original"
    name: ClassVar[str] = "dynamic_no_bins"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = False

    def __post_init__(self) -> None:
        keep(self, d_sla=limit_s("d_sla", self.d_sla))
        _rules(self.variant)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        return dynamic_plan(self, one_queue(table), gpus, in_turn)


@dataclass(frozen=True, slots=True)
class MultiBinDynamic:
    """K queues by predicted output length, every batch from one of them, its size as in `DynamicNoBins`.

    Parameters
    ----------
    k_bins : int
        Number of bins, >= 1; with 1 it is `DynamicNoBins`.
    d_sla : float
        As in `DynamicNoBins`, seconds, > 0.
    bin_select : {"round_robin", "longest_queue", "oldest_head"}
        The next non-empty bin behind the last one served; the bin with most requests, of several the lowest; the bin
        whose oldest request arrived first, of several at one instant the one that stands first in the table.
    bounds : str or sequence of float
        A rule of `bins.RULES` or K - 1 inner edges in tokens; the original variant cuts equal mass to integers.
    variant : str or Rules
        As in `DynamicNoBins`.
    batch_sizes : int or sequence of int, optional
        The largest batch of each bin, or of all; the controllers may want less. Rules that ask for a batch size take
        it from here, and 8 without.
    """

    k_bins: int = 4
    d_sla: float = 1.0
    bin_select: str = "round_robin"
    bounds: str | Sequence[float] = "equal_mass"
    variant: str | Rules = "original"
    batch_sizes: int | Sequence[int] | None = None
    name: ClassVar[str] = "multi_bin_dynamic"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        keep(self, k_bins=check_integer("k_bins", self.k_bins, 1, MAX_BINS))
        keep(self, d_sla=limit_s("d_sla", self.d_sla))
        check_choice("bin_select", self.bin_select, SELECTIONS)
        check_bounds(self.bounds, self.k_bins)
        _rules(self.variant)
        if self.batch_sizes is not None:
            sizes_of(self.batch_sizes, self.k_bins, "batch_sizes")

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: bins from the table's own predictions."""
        as_original = isinstance(self.bounds, str) and _rules(self.variant).variant == "original"
        rule = "equal_mass_integer" if as_original and self.bounds == "equal_mass" else self.bounds
        caps = None if self.batch_sizes is None else sizes_of(self.batch_sizes, self.k_bins, "batch_sizes")
        edges, queues = binned(table, rule, self.k_bins, caps)
        return dynamic_plan(self, queues, gpus, BY_NAME[self.bin_select], edges, caps)


def dynamic_plan(
    policy: Any,
    queues: Queues,
    gpus: int,
    selects: Callable[..., tuple[int, int]],
    edges: np.ndarray | None = None,
    caps: tuple[int, ...] | None = None,
) -> Plan:
    """Queues of which a kernel says the next, and batches as large as a policy's `variant` and `d_sla` want them."""
    rules = _rules(policy.variant)
    params, memory = _at_start(rules, policy.d_sla, gpus, len(queues.end), caps)
    return Plan(
        queues,
        bound(decide_dynamic, order=selects),
        learn_dynamic,
        params.copy(),
        memory.copy(),
        notes=NOTES,
        capacity_tokens=rules.memory.capacity_tokens,
        edges=edges,
        order=Order(queues, selects) if len(queues.end) > 1 else Order(),
        least=rules.least,
        target_s=policy.d_sla,
    )


@functools.lru_cache(maxsize=256)
def _at_start(
    rules: Rules, d_sla: float, gpus: int, bins: int, caps: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The kernels' numbers and their memory before the first decision; made once for the runs of a sweep."""
    candidates = rules.candidates if rules.variant == "original" else rules.b_max
    controller = rules.controller()
    memory = np.zeros(((1 if rules.pooled else gpus) + 1, len(controller)))
    memory[:-1] = controller
    looked_at = [candidates] * bins if caps is None else [min(candidates, cap) for cap in caps]
    params = np.array([*rules.params(d_sla).tolist(), *looked_at], np.float64)
    return params, memory


def _rules(variant: str | Rules) -> Rules:
    return (
        _named_rules(variant) if isinstance(variant, str) else check_type("variant", variant, Rules, "a name or Rules")
    )


_named_rules = functools.cache(Rules)  # a dozen checks, needed twice a run
