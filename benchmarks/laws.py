"""What each latency model costs in a whole simulation, against the original's affine formula.

Requests that all wait from the start, one to a batch: as many calls of the law as there can be, the same number for
every law, and with them its times to the first token.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any

import pandas as pd

import simlib
from benchmarks.speed import GPUS, table_of
from benchmarks.timing import compare
from simlib import named
from simlib.latency import interpolated, phases, presets
from simlib.latency.measurements import TIMED

CASE = "latency model, whole simulation"
AFFINE, LIMIT = "affine", 2.0
GRID = list(itertools.product((1, 2, 4, 8, 16, 32, 64), (64, 128, 256, 512, 1024), (32, 64, 128, 256, 512)))


def plain(
    size: float, max_prompt: float, sum_prompt: float, max_output: float, sum_output: float, max_total: float
) -> float:
    """The padded law of two phases, as a user would write it."""
    return 0.01 + 3e-5 * size * max_prompt + max_output * (0.006 + 4e-5 * size)


def measured() -> pd.DataFrame:
    """A crossed grid, with times of a preset."""
    grid = pd.DataFrame(GRID, columns=TIMED[:3])
    return grid.assign(total_s=presets.load("h100-vllm-llama3-8b").batch_time_s(*(grid[c] for c in TIMED[:3])))


def models() -> dict[str, Any]:
    """One of each kind that `named.latency_of` knows, by name; affine first."""
    equal = presets.load("h100-vllm-llama3-8b").model
    return {
        AFFINE: presets.PRESETS["original-synthetic"],
        "power": phases.Power(0.01, 2e-4, 0.4),
        "phase4": phases.Phases(0.01, 3e-5, 0.006, 4e-5),
        "phase5": equal,
        "phase5, packed": phases.Phases(*equal.params, tokens="packed"),
        "phase5, with its range": presets.load("h100x8-splitwise-llama2-70b"),
        "table": interpolated.Table.of(measured()).model,
        "function": named.latency_of(plain),
    }


def run(requests: int = 1_000_000, rounds: int = 7) -> dict[str, pd.DataFrame]:
    """Measure; a goal a model."""
    table, one_by_one = table_of(requests).at_rate(1e9), simlib.StaticFIFO(1)
    ways = {
        name: (requests, partial(simlib.simulate, table, one_by_one, model, GPUS)) for name, model in models().items()
    }
    others = [name for name in ways if name != AFFINE]
    times = compare(CASE, ways, dict.fromkeys(others, AFFINE), rounds)
    ratios = times.set_index("engine")["ratio"]
    goals = [(f"{CASE}: {name} / {AFFINE}", ratios[name], "times", LIMIT, True) for name in others]
    held = pd.DataFrame(goals, columns=["goal", "measured", "unit", "limit", "at_most"])
    held["met"] = (held["measured"] <= held["limit"]) == held["at_most"]
    return {"benchmarks_laws": times, "benchmarks_laws_goals": held}
