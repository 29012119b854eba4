"""Static batches: one queue, a fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simlib.checks import check_integer, keep
from simlib.engine.shapes import Waiting
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.plan import Order, Plan, learn_nothing, one_queue
from simlib.requests.table import RequestTable


class FirstCome:
    """Policy ``fcfs``: in order of arrival; it forms no batches, and leaves it to an engine how many run at once."""

    name: ClassVar[str] = "fcfs"
    needs_predictions: ClassVar[bool] = False

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        return Plan(one_queue(table), None, learn_nothing, np.zeros(1), np.zeros((1, 1)), order=Order())

    def __repr__(self) -> str:
        return "fcfs"


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

    def __post_init__(self) -> None:
        keep(self, batch_size=check_integer("batch_size", self.batch_size, 1, MAX_BATCH))

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        params = np.array([self.batch_size], dtype=np.float64)
        order = Order(at_once=self.batch_size)
        return Plan(one_queue(table), decide_static, learn_nothing, params, np.zeros((1, 1)), order=order)
