"""What a sweep costs: 1,000 cells with common random numbers, the same all fresh, and without the sweep around them."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

import simlib
from benchmarks.speed import GPUS, RATE_RPS
from benchmarks.timing import compare
from simlib.sweep import run as sweep_run
from simlib.sweep.grid import Grid
from simlib.sweep.run import work

CASE = "sweep of 1,000 cells"
K_BINS, D_SLA, REPLICATIONS, REQUESTS = [1, 2, 4, 8, 16], [0.1 * tenth for tenth in range(5, 15)], 20, 10_000


def grid_of(requests: int = REQUESTS, replications: int = REPLICATIONS) -> Grid:
    """Bins by deadlines, on the workload of the other benchmarks."""
    workload = {
        "kind": "synthetic",
        "requests": requests,
        "arrivals": {"kind": "poisson", "rate_rps": RATE_RPS},
        "prompt": {"kind": "log_normal", "median_tokens": 150.0, "sigma": 0.8},
        "output": {"kind": "log_normal", "median_tokens": 100.0, "sigma": 0.7},
        "predictor": {"kind": "noise", "sigma": 0.3},
        "family": "benchmark",
    }
    return Grid({"policy.k_bins": K_BINS, "policy.d_sla": D_SLA}, replications, workload, gpus=GPUS)


def swept(grid: Grid) -> int:
    """The whole sweep, checked, run by one process and written."""
    with tempfile.TemporaryDirectory() as folder:
        return sweep_run.run(grid, Path(folder) / "out", workers=1, progress=False).dataset().count_rows()


def fresh(grid: Grid) -> int:
    """The same rows, every cell with a workload and bins of its own."""
    runs = itertools.product(range(grid.replications), range(grid.cells))
    return sum(len(work(grid.document, range(r, r + 1), range(c, c + 1))[0]) for r, c in runs)


def bare(grid: Grid) -> int:
    """The same runs in a plain loop, workloads shared: what the sweep adds its checks, tables and files to."""
    return len(list(_summaries(grid)))


def _summaries(grid: Grid) -> Iterator[dict]:
    for replication in range(grid.replications):
        table = grid.cell(0).workload.table(replication)
        for k_bins, d_sla in itertools.product(K_BINS, D_SLA):
            yield simlib.simulate(table, simlib.MultiBinDynamic(k_bins, d_sla), gpus=GPUS).summary()


def run(requests: int = REQUESTS, replications: int = REPLICATIONS, rounds: int = 11) -> dict[str, pd.DataFrame]:
    """Measure, and hold the figures against their goals."""
    grid = grid_of(requests, replications)
    simulated = requests * grid.cells * replications
    ways = {"plain loop": bare, "sweep": swept, "all fresh": fresh}
    table = compare(
        CASE,
        {name: (simulated, lambda way=way: way(grid)) for name, way in ways.items()},
        {"sweep": "plain loop", "all fresh": "sweep"},
        rounds,
    )
    by = table.set_index("engine")
    goals = [
        (f"{CASE}: CPU time", by["ns_per_request"]["sweep"] * simulated / 1e9, "CPU seconds", 1.0, True),
        (f"{CASE}: all fresh / common random numbers", by["ratio"]["all fresh"], "times", 2.0, False),
        (f"{CASE}: overhead of scheduling", by["ratio"]["sweep"] - 1, "of the plain loop", 0.05, True),
    ]
    held = pd.DataFrame(goals, columns=["goal", "measured", "unit", "limit", "at_most"])
    held["met"] = (held["measured"] <= held["limit"]) == held["at_most"]
    return {"benchmarks_sweep": table, "benchmarks_sweep_goals": held}
