"""Which requests form the next batch: the policies.

A policy puts each request into a queue when the run is prepared, and answers one question of the engine: an idle GPU
asks, which queue, and how many of its oldest requests (0: wait; -n: turn n away). FIFO means arrival order, always;
ties are broken by table order. Policies differ in data (`Plan`) and in two kernels, `decide` and `learn`, alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from simlib import binning
from simlib.batching import MAX_BATCH, NOTES, PARAMS, Rules, observe, target
from simlib.checks import InputError, check_choice, check_integer, check_number, check_type
from simlib.engine import Waiting
from simlib.optimal_bins import sizes_of
from simlib.table import RequestTable

__all__ = [
    "POLICIES",
    "SELECTIONS",
    "Custom",
    "DynamicNoBins",
    "MultiBinDynamic",
    "MultiBinFixed",
    "Plan",
    "StaticFIFO",
    "short_name",
]

SELECTIONS = ("round_robin", "longest_queue", "oldest_head")


class Plan(NamedTuple):
    """A policy, ready for one table and a number of GPUs.

    Parameters
    ----------
    queues : binning.Queues
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

    queues: binning.Queues
    decide: Callable[..., tuple[int, int]]
    learn: Callable[..., None]
    params: np.ndarray
    memory: np.ndarray
    notes: tuple[str, ...] = ()
    capacity_tokens: float = np.inf
    edges: np.ndarray | None = None


def learn_nothing(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel of policies without feedback."""


def decide_static(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `StaticFIFO`: whatever waits, up to the batch size."""
    return 0, int(params[0])


@dataclass(frozen=True, slots=True)
class StaticFIFO:
    """One queue, batches of up to `batch_size`, never waiting for a fuller one; ignores memory and deadline."""

    batch_size: int = 8
    name: ClassVar[str] = "static_fifo"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = False
    d_sla: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_integer("batch_size", self.batch_size, 1, MAX_BATCH)

    @property
    def step_rules(self) -> dict[str, int]:
        """What continuous batching takes from it (`step_state.StepRules`): how many sequences run at once."""
        return {"seats": self.batch_size}

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        params = np.array([self.batch_size], dtype=np.float64)
        return Plan(_one_queue(table), decide_static, learn_nothing, params, np.zeros((1, 1)))


# After the batching rules' numbers: how the bin is chosen, and how many requests of each bin are looked at. In memory:
# one row a controller, and in the last row the round robin's pointer.
SELECTION, CANDIDATES = PARAMS, PARAMS + 1
ROUND_ROBIN, LONGEST, OLDEST = range(3)


def decide_dynamic(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of the dynamic policies: choose a bin, then as many as ``min(b_mem, b_sla)`` allows."""
    queue = select(waiting, params[SELECTION], memory)
    size = target(memory[controller_of(gpu, memory)], params, note)
    return queue, min(size, int(params[CANDIDATES + queue]))


def learn_dynamic(now_s: float, gpu: int, batch: np.ndarray, params: np.ndarray, memory: np.ndarray) -> None:
    """Kernel of the dynamic policies: the GPU's controller sees the finished batch."""
    observe(memory[controller_of(gpu, memory)], batch, params)


def controller_of(gpu: int, memory: np.ndarray) -> int:
    """Kernel: the row of a GPU's controller, which is its own or the one that all share."""
    return gpu if gpu < len(memory) - 1 else 0


def select(waiting: Waiting, selection: float, memory: np.ndarray) -> int:
    """Kernel: the bin to serve. Somebody waits, or the engine would not ask."""
    queues, last = len(waiting.head), len(memory) - 1
    queue = int(memory[last, 0]) if selection == ROUND_ROBIN else 0
    best = -1
    for _ in range(queues):
        if waiting.tail[queue] > waiting.head[queue]:
            if selection == ROUND_ROBIN:
                memory[last, 0] = queue + 1 if queue + 1 < queues else 0
                return queue
            if best < 0 or precedes(waiting, queue, best, selection):
                best = queue
        queue = queue + 1 if queue + 1 < queues else 0
    return best


def precedes(waiting: Waiting, queue: int, best: int, selection: float) -> bool:
    """Kernel: whether a bin comes before another one of lower index; ties keep the lower index."""
    if selection == LONGEST:
        return waiting.tail[queue] - waiting.head[queue] > waiting.tail[best] - waiting.head[best]
    return waiting.order[waiting.head[queue]] < waiting.order[waiting.head[best]]


@dataclass(frozen=True, slots=True)
class DynamicNoBins:
    """One queue; a batch takes up to ``min(b_mem, b_sla)``, never waiting for a fuller one.

    Parameters
    ----------
    d_sla : float
        Deadline that the controller steers its batches' service time to, seconds, > 0.
    variant : {"original", "paper", "printed", "released"} or Rules
        Which form of Algorithms 1 and 2, or one with its own numbers.
    """

    d_sla: float = 1.0
    variant: str | Rules = "original"
    name: ClassVar[str] = "dynamic_no_bins"
    work_conserving: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_number("d_sla", self.d_sla, 0.0, open_low=True)
        _rules(self.variant)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        return _dynamic_plan(self, _one_queue(table), gpus, "round_robin", None, None)


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
        The next non-empty bin behind the last one served; the bin with most requests; the bin whose oldest request
        arrived first. Ties go to the lowest index.
    bounds : str or sequence of float
        A rule of `binning.RULES` or K - 1 inner edges in tokens; the original variant cuts equal mass to integers.
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
        check_integer("k_bins", self.k_bins, 1, binning.MAX_BINS)
        check_number("d_sla", self.d_sla, 0.0, open_low=True)
        check_choice("bin_select", self.bin_select, SELECTIONS)
        _check_bounds(self.bounds, self.k_bins)
        _rules(self.variant)
        if self.batch_sizes is not None:
            sizes_of(self.batch_sizes, self.k_bins, "batch_sizes")

    @property
    def step_rules(self) -> dict[str, int]:
        """What continuous batching takes from it (`step_state.StepRules`): how the next bin is chosen."""
        return {"selection": SELECTIONS.index(self.bin_select)}

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: bins from the table's own predictions."""
        as_original = isinstance(self.bounds, str) and _rules(self.variant).variant == "original"
        rule = "equal_mass_integer" if as_original and self.bounds == "equal_mass" else self.bounds
        caps = None if self.batch_sizes is None else sizes_of(self.batch_sizes, self.k_bins, "batch_sizes")
        edges, queues = _bins(table, rule, self.k_bins, caps)
        return _dynamic_plan(self, queues, gpus, self.bin_select, edges, caps)


def _dynamic_plan(
    policy: DynamicNoBins | MultiBinDynamic,
    queues: binning.Queues,
    gpus: int,
    bin_select: str,
    edges: np.ndarray | None,
    caps: tuple[int, ...] | None,
) -> Plan:
    rules = _rules(policy.variant)
    params, memory = _at_start(rules, policy.d_sla, gpus, bin_select, len(queues.end), caps)
    return Plan(
        queues,
        decide_dynamic,
        learn_dynamic,
        params.copy(),
        memory.copy(),
        notes=NOTES,
        capacity_tokens=rules.memory.capacity_tokens,
        edges=edges,
    )


@functools.lru_cache(maxsize=256)
def _at_start(
    rules: Rules, d_sla: float, gpus: int, bin_select: str, bins: int, caps: tuple[int, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The kernels' numbers and their memory before the first decision; made once for the runs of a sweep."""
    candidates = rules.candidates if rules.variant == "original" else rules.b_max
    controller = rules.controller()
    memory = np.zeros(((1 if rules.pooled else gpus) + 1, len(controller)))
    memory[:-1] = controller
    looked_at = [candidates] * bins if caps is None else [min(candidates, cap) for cap in caps]
    params = np.array([*rules.params(d_sla).tolist(), SELECTIONS.index(bin_select), *looked_at], np.float64)
    return params, memory


def decide_fixed(
    now_s: float, gpu: int, waiting: Waiting, params: np.ndarray, memory: np.ndarray, note: np.ndarray
) -> tuple[int, int]:
    """Kernel of `MultiBinFixed`: the batch that was full first; leftovers, oldest first, once no more will come."""
    best, best_last, open_queues = -1, -1, 0
    for queue in range(len(waiting.head)):
        size = int(params[queue])
        if waiting.tail[queue] < waiting.end[queue]:
            open_queues += 1
        if waiting.tail[queue] - waiting.head[queue] >= size:
            last = waiting.order[waiting.head[queue] + size - 1]  # its arrival filled the batch
            if best < 0 or last < best_last:
                best, best_last = queue, last
    if best < 0 and open_queues == 0:
        best = select(waiting, float(OLDEST), memory)
    return (best, int(params[best])) if best >= 0 else (0, 0)


@dataclass(frozen=True, slots=True)
class MultiBinFixed:
    """The Multi-Bin paper's policy (arXiv 2412.04504, Algorithm 1): full batches only, one queue of formed batches.

    A batch of one bin is formed when its B-th request arrives; formed batches are served first formed, first served.
    What is left when no request will come any more is flushed in part-filled batches, oldest bin first: also the
    requests of a bin that never fills, because B is more than will ever come to it.

    Parameters
    ----------
    batch_size : int or sequence of int
        B of all bins or of each, >= 1.
    k_bins : int
        Number of bins, >= 1.
    bounds : str or sequence of float
        A rule of `binning.RULES` or K - 1 inner edges in tokens.
    """

    batch_size: int | Sequence[int] = 8
    k_bins: int = 4
    bounds: str | Sequence[float] = "equal_mass"
    name: ClassVar[str] = "multi_bin_fixed"
    work_conserving: ClassVar[bool] = False
    needs_predictions: ClassVar[bool] = True
    d_sla: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_integer("k_bins", self.k_bins, 1, binning.MAX_BINS)
        sizes_of(self.batch_size, self.k_bins)
        _check_bounds(self.bounds, self.k_bins)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: bins from the table's own predictions."""
        sizes = sizes_of(self.batch_size, self.k_bins)
        edges, queues = _bins(table, self.bounds, self.k_bins, sizes)
        params = np.array(sizes, dtype=np.float64)
        return Plan(queues, decide_fixed, learn_nothing, params, np.zeros((1, 1)), edges=edges)


@dataclass(frozen=True, slots=True, eq=False)
class Custom:
    """A policy of your own, from a few lines in a notebook cell.

    Parameters
    ----------
    name : str
        What tables and figures call it.
    decide : callable
        ``decide(now_s, gpu, waiting, params, memory, note) -> (queue, size)``: from which queue, and up to how many of
        its oldest requests; 0 waits for the next event, -n turns n away. `waiting` is an `engine.Waiting`.
    learn : callable, optional
        ``learn(now_s, gpu, batch, params, memory)``, called with each finished batch (`engine.BATCH_COLUMNS`).
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
    d_sla : float
        Deadline for the run's summary, seconds.
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
    d_sla: float = 1.0
    work_conserving: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_type("policy name", self.name, str, "a text")
        _check_kernel(f"policy {self.name}, decide", self.decide, DECIDE_SEES)
        _check_kernel(f"policy {self.name}, learn", self.learn, LEARN_SEES)
        check_integer("k_bins", self.k_bins, 1, binning.MAX_BINS)
        check_number("d_sla", self.d_sla, 0.0, open_low=True)
        _check_bounds(self.bounds, self.k_bins)
        if not (isinstance(self.capacity_tokens, float) and self.capacity_tokens == np.inf):
            check_number("capacity_tokens", self.capacity_tokens, 1.0)
        _check_numbers("params", self.params, 1)
        _check_numbers("memory", self.memory, 2)
        if not isinstance(self.notes, tuple) or not all(isinstance(name, str) for name in self.notes):
            raise InputError(f"notes: {self.notes!r} (expected a tuple of names)")

    @property
    def needs_predictions(self) -> bool:
        """Whether it bins by predicted length."""
        return self.k_bins > 1

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        edges, queues = _bins(table, self.bounds, self.k_bins) if self.k_bins > 1 else (None, _one_queue(table))
        params = np.array(self.params, dtype=np.float64)
        memory = np.array(self.memory, dtype=np.float64)
        capacity = self.capacity_tokens
        return Plan(queues, self.decide, self.learn, params, memory, self.notes, capacity, edges)


POLICIES = {policy.name: policy for policy in (StaticFIFO, DynamicNoBins, MultiBinDynamic, MultiBinFixed)}


def short_name(scheduler: str) -> str:
    """A built-in scheduler as figures and tables call it: ``static``, ``dynamic``, ``multi-bin``."""
    names = {"static_fifo": "static", "dynamic_no_bins": "dynamic", "multi_bin_dynamic": "multi-bin"}
    return names.get(scheduler, scheduler)


DECIDE_SEES = ("now_s", "gpu", "waiting", "params", "memory", "note")
LEARN_SEES = ("now_s", "gpu", "batch", "params", "memory")


def _check_kernel(name: str, kernel: Any, sees: tuple[str, ...]) -> None:
    if not callable(kernel):
        raise InputError(f"{name}: {kernel!r} (expected a function)")
    try:
        inspect.signature(kernel).bind(*sees)
    except (TypeError, ValueError) as problem:
        raise InputError(f"{name}: {problem} (expected the parameters {', '.join(sees)})") from None


def _check_numbers(name: str, values: Any, dimensions: int) -> None:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(())
    if numbers.ndim != dimensions or numbers.size == 0:
        raise InputError(f"{name}: {values!r} (expected numbers in {dimensions} dimension(s), at least one)")


def _one_queue(table: RequestTable) -> binning.Queues:
    return table.kept("one queue", lambda: binning.queues(np.zeros(len(table), np.int64), 1))


def _bins(
    table: RequestTable, rule: str | Sequence[float], k_bins: int, sizes: tuple[int, ...] | None = None
) -> tuple[np.ndarray, binning.Queues]:
    """The edges that a rule gives for the table's own predictions, and who stands in which bin."""

    def cut() -> tuple[np.ndarray, binning.Queues]:
        edges = binning.edges(rule, table.predicted_output_tokens, k_bins, 8 if sizes is None else sizes)
        return edges, binning.queues(binning.assign(table.predicted_output_tokens, edges), k_bins)

    return table.kept(("bins", rule if isinstance(rule, str) else tuple(rule), k_bins, sizes), cut)


def _rules(variant: str | Rules) -> Rules:
    return (
        _named_rules(variant) if isinstance(variant, str) else check_type("variant", variant, Rules, "a name or Rules")
    )


_named_rules = functools.cache(Rules)  # a dozen checks, needed twice a run


def _check_bounds(bounds: str | Sequence[float], k_bins: int) -> None:
    if isinstance(bounds, str):
        check_choice("bounds", bounds, binning.RULES)
    else:
        binning.edges(bounds, np.zeros(1), k_bins)
