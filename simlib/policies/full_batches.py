"""The Multi-Bin paper's policy: full batches only, from one queue of formed batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import check_integer, keep
from simlib.engine.shapes import Waiting
from simlib.policies import bins
from simlib.policies.optimal_bins import sizes_of
from simlib.policies.orders import earlier, oldest_head
from simlib.policies.plan import Order, Plan, binned, check_bounds, learn_nothing
from simlib.requests.table import RequestTable


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
            if earlier(last, best_last, waiting):
                best, best_last = queue, last
    if best < 0 and open_queues == 0:
        best, _ = oldest_head(now_s, gpu, waiting, params, memory, note)
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
        A rule of `bins.RULES` or K - 1 inner edges in tokens.
    """

    batch_size: int | Sequence[int] = 8
    k_bins: int = 4
    bounds: str | Sequence[float] = "equal_mass"
    name: ClassVar[str] = "multi_bin_fixed"
    work_conserving: ClassVar[bool] = False
    needs_predictions: ClassVar[bool] = True

    def __post_init__(self) -> None:
        keep(self, k_bins=check_integer("k_bins", self.k_bins, 1, bins.MAX_BINS))
        sizes_of(self.batch_size, self.k_bins)
        check_bounds(self.bounds, self.k_bins)

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run: bins from the table's own predictions."""
        sizes = sizes_of(self.batch_size, self.k_bins)
        edges, queues = binned(table, self.bounds, self.k_bins, sizes)
        params = np.array(sizes, dtype=np.float64)
        order = Order(queues, oldest_head) if self.k_bins > 1 else Order()
        return Plan(queues, decide_fixed, learn_nothing, params, np.zeros((1, 1)), edges=edges, order=order)
