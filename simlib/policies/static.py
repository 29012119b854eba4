"""Static batches: one queue, a fixed size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simlib.checks import InputError, check_integer
from simlib.engine.shapes import Waiting
from simlib.policies.batch_size import MAX_BATCH
from simlib.policies.plan import Plan, learn_nothing, one_queue
from simlib.requests.table import RequestTable


class FirstCome:
    """Policy ``fcfs``, which only an engine has: in order of arrival, as many at once as its own cap allows."""

    name: ClassVar[str] = "fcfs"
    needs_predictions: ClassVar[bool] = False

    def plan(self, table: RequestTable, gpus: int) -> Any:
        """It forms no batches.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError("policy: fcfs (expected a policy that forms batches, or execution 'continuous')")

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
        check_integer("batch_size", self.batch_size, 1, MAX_BATCH)

    @property
    def step_rules(self) -> dict[str, int]:
        """What continuous batching takes from it (`state.StepRules`): how many sequences run at once."""
        return {"seats": self.batch_size}

    def plan(self, table: RequestTable, gpus: int) -> Plan:
        """Prepare a run."""
        params = np.array([self.batch_size], dtype=np.float64)
        return Plan(one_queue(table), decide_static, learn_nothing, params, np.zeros((1, 1)))
