"""Two other ways to form batches for two classes: a controller of the step, and batches that run to completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from book.chapters.two_classes.study import (
    DEFAULT,
    MAIN_LOAD,
    PRESET,
    REFUSES,
    TUNING,
    TUNING_SEED,
    Outcome,
    Setting,
    drawn,
    law,
    middle,
    policy_of,
    serve,
)
from simlib.continuous.control import StepControl
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.priority import PriorityFirst
from simlib.requests.table import RequestTable
from simlib.simulation import simulate

TARGETS_S = (0.03, 0.035, 0.04, 0.045)
USUAL, PICKED, FOLLOWS = "usual", "picked", "places follow the step's time"
GPUS, LOW_LOAD, SIZES = 8, 0.1, (1, 2, 4, 8, 16)
BY_SIZE = {
    "first come": lambda size: DynamicNoBins(variant=Rules(b_min=size, b_max=size)),
    "priority": lambda size: PriorityFirst(variant=Rules(b_min=size, b_max=size)),
    "four bins": lambda size: MultiBinDynamic(4, variant=Rules(b_min=size, b_max=size)),
}


def controlled(table: RequestTable, target_s: float) -> Outcome:
    """Priority with refusals in the usual step, whose places follow Algorithm 2: fewer where steps take too long."""
    engine = DEFAULT.engine(control=StepControl(target_s, b_min=8))
    return Outcome.of(simulate(table, policy_of(REFUSES), law(), 1, engine), middle(len(table)))


def target_of(count: int, seed: int) -> float:
    """The target with which most is in time, each class counting half, on draws kept for that."""
    tables = [drawn(count, seed + TUNING_SEED + each, MAIN_LOAD) for each in range(TUNING)]
    return max(TARGETS_S, key=lambda target_s: np.mean([controlled(t, target_s).shares()["both"] for t in tables]))


def controlled_of(seed: int, count: int, own: Setting, target_s: float) -> list[dict]:
    """One replication: priority with refusals in the usual step, in the picked one, and under a controller."""
    table = drawn(count, seed, MAIN_LOAD)
    found = {setting: serve(table, policy_of(REFUSES), each) for setting, each in ((USUAL, DEFAULT), (PICKED, own))}
    found[FOLLOWS] = controlled(table, target_s)
    return [{"load": MAIN_LOAD, "step": name} | outcome.shares() for name, outcome in found.items()]


def to_completion(table: RequestTable, policy: Any) -> Outcome:
    """Serve a table in batches that run to completion, on `GPUS`."""
    return Outcome.of(simulate(table, policy, PRESET, GPUS), middle(len(table)))


def low(count: int, seed: int) -> RequestTable:
    """Requests for `GPUS` at a tenth of what as many engines carry."""
    return drawn(count, seed, LOW_LOAD * GPUS)


def sizes_of(count: int, seed: int) -> dict[str, int]:
    """For each order the size of batches with which most is in time, on draws kept for that."""
    tables, found = [low(count, seed + TUNING_SEED + each) for each in range(TUNING)], {}
    for order, policy in BY_SIZE.items():
        shares = {size: np.mean([to_completion(t, policy(size)).shares()["both"] for t in tables]) for size in SIZES}
        found[order] = max(shares, key=lambda size: (shares[size], size))
    return found


def batches_of(seed: int, count: int, sizes: Mapping[str, int]) -> list[dict]:
    """One replication: batches that run to completion, by who is first, and an engine's share beside them."""
    table = low(count, seed)
    rows = [
        {"load": LOW_LOAD, "order": order} | to_completion(table, policy(sizes[order])).shares()
        for order, policy in BY_SIZE.items()
    ]
    engine = serve(table, policy_of("first come"), DEFAULT, GPUS).shares()
    return [*rows, {"load": LOW_LOAD, "order": "an engine, first come"} | engine]
