"""How fast continuous batching is: against its twins, plain stepping and SimPy, and as the work grows.

The step loop keeps all that it always keeps: preemption on, a histogram of the times between tokens. So does the twin
in C, which leaves the same run. The twin of the tests, compiled without bounds checks, keeps no such times; it is
written to be read, and looks at each running sequence several times a step; plain stepping is the sharper rival, for it
has the step loop's keys.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pandas as pd
import plain_continuous

import simlib
from benchmarks import peers
from benchmarks.capacity import HALF_WIDTH, PAIR, log_ratio
from benchmarks.speed import exponents
from benchmarks.stopping import until_precise
from benchmarks.timing import compare, memory_bytes
from simlib.continuous import serve
from simlib.planning.carried.capacity import Search
from simlib.requests.arrivals import Poisson
from simlib.requests.lengths import LogNormal
from simlib.requests.workload import generate

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))  # where the twin is the reference

LAW = simlib.StepLaw(0.0078, 0.0001, 0.000073, 58e-9)
PROMPT, OUTPUT, LONG = LogNormal(150.0, 0.8), LogNormal(130.0, 0.73), LogNormal(2600.0, 0.73)  # means 207, 170, 3,394
ENGINE = simlib.Continuous(max_seqs=64, kv_tokens=60_000)
FULL = simlib.Continuous(max_seqs=64, kv_tokens=8_000)  # two preemptions for three requests
ROUTED = simlib.Continuous(max_seqs=64, kv_tokens=60_000, routing="least_requests")
REGIMES = {  # requests per second, outputs, engine, requests
    "busy": (14.0, OUTPUT, ENGINE, 100_000),
    "busy, cache too small": (14.0, OUTPUT, FULL, 100_000),
    "low load": (2.0, OUTPUT, ENGINE, 100_000),
    "long outputs": (0.2, LONG, simlib.Continuous(max_seqs=64, kv_tokens=600_000), 10_000),
}


@dataclass(frozen=True, slots=True)
class Stepped(simlib.StepLaw):
    """The same law without the promise that lets the loop take steps at once, and call the linear law by name."""

    linear = False


def table_of(requests: int, rate_rps: float, output: Any = OUTPUT) -> simlib.RequestTable:
    """Requests with Poisson arrivals and log-normal lengths."""
    return generate(requests, Poisson(rate_rps), PROMPT, output, family="benchmark")


def rivals(name: str, plain: Callable[..., Any], requests: int) -> dict[str, Callable[[], Any]]:
    """The step loop, plain stepping and the token-by-token loop on one GPU; each returns the completions."""
    rate_rps, output, engine, _ = REGIMES[name]
    table = table_of(requests, rate_rps, output)
    return {
        "step loop": lambda: serve.serve(table, LAW, engine).completion_s,
        "step by step": lambda: serve.serve(table, Stepped(*LAW.params), engine).completion_s,
        "token by token": lambda: plain_continuous.serve(table, LAW, engine, gaps=False, way=plain).completion_s,
    }


def regime(name: str, plain: Callable[..., Any], scale: float = 1.0) -> pd.DataFrame:
    """The three in turn. They end together, or this fails."""
    requests = int(scale * REGIMES[name][3])
    ways = rivals(name, plain, requests)
    first, *others = (call() for call in ways.values())
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-9)
    against = {"step by step": "step loop", "token by token": "step loop"}
    return compare(f"continuous, {name}", {way: (requests, call) for way, call in ways.items()}, against)


def against_c(scale: float = 1.0) -> pd.DataFrame:
    """The step loop against the same one by hand in C. Both leave the same run, to the last bit, or this fails."""
    reference, frames = peers.StepReference(), []
    for name, (rate_rps, output, engine, requests) in REGIMES.items():
        table = table_of(int(scale * requests), rate_rps, output)
        one, (other, _) = serve.serve(table, LAW, engine), reference.serve(table, LAW, engine)
        for column, theirs in other.items():
            np.testing.assert_array_equal(getattr(one, column), theirs, column)
        ways = {
            "in C": partial(reference.serve, table, LAW, engine),
            "step loop": partial(serve.serve, table, LAW, engine),
        }
        timed = {way: (len(table), call) for way, call in ways.items()}
        frames.append(compare(f"continuous, {name}, in C", timed, {"step loop": "in C"}, rounds=11))
    return pd.concat(frames, ignore_index=True)


def against_simpy(requests: int, peer_requests: int = 20_000) -> pd.DataFrame:
    """Busy, one GPU and four with join-shortest-queue, each against a queue of four servers in SimPy."""
    peer = {"SimPy M/M/4": (peer_requests, partial(peers.simpy_queue, peer_requests, 3.2, 1.0, 4))}
    one, four = table_of(requests, 14.0), table_of(requests, 56.0)
    ways = {
        "one GPU": partial(serve.serve, one, LAW, ENGINE),
        "four GPUs, least requests": partial(serve.serve, four, LAW, ROUTED, 4),
    }
    tables = [
        compare("continuous against SimPy", {name: (requests, call)} | peer, {"SimPy M/M/4": name})
        for name, call in ways.items()
    ]
    return pd.concat(tables, ignore_index=True)


def growth(sizes: tuple[int, ...]) -> pd.DataFrame:
    """Time against the number of requests."""
    settings = {"busy": (14.0, ENGINE, 1), "low load": (2.0, ENGINE, 1), "four GPUs, least requests": (56.0, ROUTED, 4)}
    frames = []
    for size in sizes:
        ways = {}
        for name, (rate_rps, engine, gpus) in settings.items():
            call = partial(simlib.simulate, table_of(size, rate_rps), "fcfs", LAW, gpus, engine, backend="compiled")
            ways[f"continuous, {name}"] = (size, call)
        frames.append(compare("growth, continuous", ways, {}))
    return pd.concat(frames, ignore_index=True)


def whole_run(requests: int) -> Any:
    """Table, state, columns by request."""
    return simlib.simulate(table_of(requests, 14.0), "fcfs", LAW, 1, ENGINE, backend="compiled").times


COMPILE = """
import time
from simlib.continuous import loop
from simlib.engine.compiled import compiled

kinds = loop.signatures()
start_s = time.process_time()
compiled(loop.loop, kinds.loop)
print(time.process_time() - start_s)
"""


def compile_s() -> float:
    """CPU time until the step loop is there, in a process that finds no compiled kernels on disk, seconds."""
    with tempfile.TemporaryDirectory() as folder:
        bare = os.environ | {"NUMBA_CACHE_DIR": folder}
        child = subprocess.run([sys.executable, "-c", COMPILE], check=True, capture_output=True, text=True, env=bare)
    return float(child.stdout)


def predicted(requests: int, seed: int) -> simlib.RequestTable:
    """Requests whose predictions miss by a factor, for the bins."""
    noise = simlib.predictors.MultiplicativeNoise(0.3)
    return generate(requests, Poisson(1.0), PROMPT, OUTPUT, noise, family="benchmark", replication=seed)


def capacities(requests: int, rounds: int = 5) -> pd.DataFrame:
    """CPU time until the ratio of two policies' capacities is known to 2 %, each round from seeds of its own."""
    orders = simlib.MultiBinDynamic(4), simlib.DynamicNoBins()  # of bins, and of arrival
    policies = dict(zip(PAIR, orders, strict=True))
    search = Search(policies, predicted, LAW, 1, "ttft<=1", requests=requests, execution=ENGINE)

    ratio = partial(log_ratio, search)
    ratio(1)  # what compiles, compiles before the clock starts
    rows = []
    for turn in range(rounds):
        start_s = time.process_time()
        found = until_precise(ratio, "log_ratio", half_width=math.log1p(HALF_WIDTH), seed=1_000_000 * (1 + turn))
        rows.append(
            {"round": turn, "cpu_s": time.process_time() - start_s, "ratio": math.exp(found.interval.mean)}
            | {"half_width": math.expm1(found.interval.ci_high - found.interval.mean), "requests": requests}
            | {"replications": found.interval.replications, "reached": found.reached}
        )
    return pd.DataFrame(rows)


LEAST = {  # by case and engine: the least ratio wanted
    ("continuous, busy", "token by token"): 1.5,
    ("continuous, busy, cache too small", "token by token"): 1.5,
    ("continuous, low load", "token by token"): 4.0,
    ("continuous, long outputs", "token by token"): 15.0,
    **{(f"continuous, {name}", "step by step"): 0.85 for name in REGIMES},
}
C_MOST = 2.5
SIMPY_LEAST = {"one GPU": 40.0, "four GPUs, least requests": 15.0}


def run(scale: float = 1.0, most: int = 10_000_000) -> dict[str, pd.DataFrame]:
    """All of it: ``benchmarks_continuous`` has a row a case and engine; capacities and goals have their own tables."""
    plain = numba.njit(plain_continuous.token_by_token)
    sizes = tuple(most // 10**power for power in (3, 2, 1, 0))
    measured = pd.concat([regime(name, plain, scale) for name in REGIMES], ignore_index=True)
    in_c, simpy, grown = against_c(scale), against_simpy(int(1e6 * scale)), growth(sizes)
    found = capacities(max(int(10_000 * scale), 1000))
    ratio = measured.set_index(["case", "engine"])["ratio"]
    goals = [
        (f"{case}: {way} / step loop", ratio[case, way], "times", least, False) for (case, way), least in LEAST.items()
    ]
    for row in in_c[in_c["ratio"].notna()].itertuples():
        goals.append((f"{row.case.removesuffix(', in C')}: step loop / in C", row.ratio, "times", C_MOST, True))
    for row in simpy[simpy["ratio"].notna()].itertuples():
        what = f"{row.case}: SimPy M/M/4 / {row.ratio_to}"
        goals.append((what, row.ratio, "times", SIMPY_LEAST[row.ratio_to], False))
    for name, exponent in exponents(grown).items():
        goals.append((f"growth: {name}", exponent, f"exponent, {sizes[0]:g} to {most:g} requests", 1.06, True))
    goals.append(("continuous, memory at the peak", memory_bytes(__name__, most), "bytes a request", 130.0, True))
    what = f"continuous, capacities of {' / '.join(PAIR)} to {HALF_WIDTH:.0%}"
    spent_s = found["cpu_s"].median() if found["reached"].all() else math.inf
    goals.append((what, spent_s, "CPU seconds", 10.0, True))
    goals.append(("continuous, compiling the step loop", compile_s(), "CPU seconds", 15.0, True))
    table = pd.DataFrame(goals, columns=["goal", "measured", "unit", "limit", "at_most"])
    table["met"] = (table["measured"] <= table["limit"]) == table["at_most"]
    return {
        "benchmarks_continuous": pd.concat([measured, in_c, simpy, grown], ignore_index=True),
        "benchmarks_continuous_capacity": found,
        "benchmarks_continuous_goals": table,
    }
