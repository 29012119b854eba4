"""How fast the simulator is: against the machine's limit, against its peers, and as the work grows.

Everything is a ratio of CPU times taken in turn in one run (`timing.compare`); the nanoseconds are of this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

import simlib
from benchmarks import peers
from benchmarks.timing import compare, memory_bytes
from simlib.engine import batches
from simlib.latency import presets
from simlib.requests.arrivals import Poisson
from simlib.requests.lengths import LogNormal
from simlib.requests.predictors import MultiplicativeNoise
from simlib.requests.workload import generate
from simlib.runs.metrics import percentiles
from simlib.simulation import prepare

MODEL = presets.PRESETS["original-synthetic"]
GPUS, RATE_RPS = 4, 145.0  # mean batch between 5 and 6
POLICIES = {
    "static_fifo": simlib.StaticFIFO(8),
    "dynamic_no_bins": simlib.DynamicNoBins(1.0),
    "multi_bin_dynamic": simlib.MultiBinDynamic(4, 1.0),
}
PROMPT, OUTPUT, NOISE = LogNormal(150.0, 0.8), LogNormal(100.0, 0.7), MultiplicativeNoise(0.3)


def table_of(requests: int, rate_rps: float = RATE_RPS) -> simlib.RequestTable:
    """Requests with Poisson arrivals, log-normal lengths and a noisy prediction."""
    return generate(requests, Poisson(rate_rps), PROMPT, OUTPUT, NOISE, family="benchmark")


def takes_eight(now_s: float, gpu: int, waiting: Any, params: Any, memory: Any, note: Any) -> tuple[int, int]:
    """`static_fifo`, as a user would write it."""
    return 0, 8


def takes(size: int) -> Callable[..., tuple[int, int]]:
    """The same with another size: a new function in each call."""

    def decide(now_s: float, gpu: int, waiting: Any, params: Any, memory: Any, note: Any) -> tuple[int, int]:
        return 0, size

    return decide


CUSTOM = simlib.Custom("takes_eight", takes_eight)


def serving(policy: Any, table: simlib.RequestTable, gpus: int = GPUS) -> Callable[[], batches.Batches]:
    """The engine alone: its input is made once, and emptied again before each call."""
    waiting, job = prepare(table, policy.plan(table, gpus), MODEL)
    start = waiting.head.copy()
    plan = policy.plan(table, gpus)
    memory = plan.memory.copy()

    def serve() -> batches.Batches:
        waiting.head[:], waiting.tail[:], plan.memory[:] = start, start, memory
        return batches.serve(waiting, job, gpus, plan, MODEL.law, MODEL.params, batches.all_compiled)[1]

    return serve


def kernels(requests: int) -> pd.DataFrame:
    """The event loop against the same loop in C. Both leave the same batches, to the last bit, or this fails."""
    table, reference = table_of(requests), peers.Reference()
    plan = POLICIES["dynamic_no_bins"].plan(table, GPUS)
    in_c = {
        "C static": partial(reference.serve, table, GPUS, MODEL, plan, 8, 1.0),
        "C dynamic": partial(reference.serve, table, GPUS, MODEL, plan, 0, 1.0),
    }
    ours = {name: serving(policy, table) for name, policy in POLICIES.items()} | {"custom": serving(CUSTOM, table)}
    for mine, rival in (("static_fifo", "C static"), ("dynamic_no_bins", "C dynamic")):
        one, other = ours[mine](), in_c[rival]()
        for column in ("start_s", "service_s", "size", "gpu", "max_prompt_tokens", "sum_prompt_tokens", "batch_of"):
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column), f"{mine} against {rival}")
    ways = {name: (requests, call) for name, call in (in_c | ours).items()}
    against = {"static_fifo": "C static", "dynamic_no_bins": "C dynamic", "multi_bin_dynamic": "C dynamic"}
    return compare("event loop", ways, against | {"custom": "static_fifo"}, rounds=11)


def pipeline(requests: int, peer_requests: int = 20_000) -> pd.DataFrame:
    """From nothing to percentiles: generate, predict, bin, simulate, columns by request, exact P50, P95 and P99.

    Against what cannot be avoided (the raw draws, the loop in C, the percentiles), a heap simulation, SimPy and Ciw.
    """
    reference, table = peers.Reference(), table_of(requests)
    plan = POLICIES["dynamic_no_bins"].plan(table, GPUS)
    rng = np.random.default_rng(1)

    def whole() -> np.ndarray:  # the library's percentiles are numpy's to the last bit
        run = simlib.simulate(table_of(requests), POLICIES["multi_bin_dynamic"], MODEL, GPUS)
        return np.array(percentiles(run.times.completion_s - run.table.arrival_s, 50, 95, 99))

    def least() -> np.ndarray:
        rng.standard_exponential(requests)
        for _ in range(3):
            rng.standard_normal(requests)
        reference.serve(table, GPUS, MODEL, plan, 0, 1.0)
        return np.percentile(table.arrival_s, (50, 95, 99))

    few = table.head(peer_requests)
    cut = POLICIES["multi_bin_dynamic"].plan(few, GPUS)
    ways = {
        "least possible": (requests, least),
        "simlib": (requests, whole),
        "Python heap": (peer_requests, partial(peers.heap_multi_bin, few, GPUS, MODEL, cut.edges, 1.0)),
        "Python heap, static": (peer_requests, partial(peers.heap_static, few, GPUS, MODEL, 8)),
        "SimPy M/M/4": (peer_requests, partial(peers.simpy_queue, peer_requests, 3.2, 1.0, 4)),
        "Ciw M/M/4": (peer_requests // 10, partial(peers.ciw_queue, peer_requests // 10, 3.2, 1.0, 4)),
    }
    return compare(
        "whole pipeline", ways, {name: "simlib" for name in ways if name != "simlib"} | {"simlib": "least possible"}
    )


def growth(sizes: tuple[int, ...]) -> pd.DataFrame:
    """Time against the number of requests, by scheduler, bins, GPUs and load (the last is overload)."""
    settings = {
        **{name: (policy, GPUS, RATE_RPS) for name, policy in POLICIES.items()},
        "multi_bin_dynamic, K = 64": (simlib.MultiBinDynamic(64), GPUS, RATE_RPS),
        "dynamic_no_bins, 64 GPUs": (simlib.DynamicNoBins(), 64, 16 * RATE_RPS),
        "static_fifo, overload": (simlib.StaticFIFO(8), GPUS, 4 * RATE_RPS),
        "multi_bin_dynamic, overload": (simlib.MultiBinDynamic(4), GPUS, 4 * RATE_RPS),
        "multi_bin_dynamic, light": (simlib.MultiBinDynamic(4), GPUS, 0.25 * RATE_RPS),
    }
    frames = []
    for size in sizes:
        tables = {rate: table_of(size, rate) for rate in {rate for _, _, rate in settings.values()}}
        calls = {
            name: (size, partial(simlib.simulate, tables[rate], policy, MODEL, gpus))
            for name, (policy, gpus, rate) in settings.items()
        }
        frames.append(compare("growth", calls, {}, rounds=3))
    return pd.concat(frames, ignore_index=True)


def exponents(frame: pd.DataFrame) -> dict[str, float]:
    """Exponent of time against requests by engine: the slope of the logarithms."""
    logs = frame.assign(x=np.log(frame["requests"]), y=np.log(frame["requests"] * frame["ns_per_request"]))
    return {name: float(np.polyfit(rows["x"], rows["y"], 1)[0]) for name, rows in logs.groupby("engine", sort=False)}


def stepped(requests: int) -> pd.DataFrame:
    """A user's policy in plain Python between compiled steps, against the same one compiled."""
    table = table_of(requests)
    backends = {
        name: partial(simlib.simulate, table, CUSTOM, MODEL, GPUS, backend=name) for name in ("compiled", "stepped")
    }
    ways = {name: (requests, call) for name, call in backends.items()}
    return compare("user's policy", ways, {"stepped": "compiled"})


STARTS = {
    "python": "pass",
    "import simlib": "import simlib",
    "simlib --help": "import sys, simlib.cli; sys.argv = ['simlib', '--help']; simlib.cli.main()",
    "10,000 requests": (
        "import simlib; t = simlib.workload.original(10_000); simlib.simulate(t, 'multi_bin_dynamic', gpus=2).summary()"
    ),
}


def start_up() -> pd.DataFrame:
    """CPU time of whole fresh processes (a row's ns are of the process), everything compiled on disk already."""
    children = {}
    for name, code in STARTS.items():
        command = [sys.executable, "-c", code]
        children[name] = (1, partial(subprocess.run, command, check=True, stdout=subprocess.DEVNULL))
    return compare("fresh process", children, {name: "python" for name in STARTS if name != "python"})


def whole_run(requests: int) -> Any:
    """Table, bins, engine, columns by request."""
    return simlib.simulate(table_of(requests), POLICIES["multi_bin_dynamic"], MODEL, GPUS).times


def first_result_s(requests: int = 10_000) -> float:
    """Wall time until a policy that this process has never seen has served its first run, seconds (most of 3)."""
    table, spent = table_of(requests), []
    simlib.simulate(table, CUSTOM, MODEL, GPUS, backend="compiled")  # the engine itself is there
    for size in (5, 6, 7):
        policy = simlib.Custom("fresh", takes(size))
        start_s = time.perf_counter()
        run = simlib.simulate(table, policy, MODEL, GPUS)
        spent.append(time.perf_counter() - start_s)
        assert run.backend == "compiled"
    return max(spent)


def call_us(requests: int = 10, calls: int = 300) -> float:
    """Median wall time of one `simulate` call on a handful of requests, checks and bins included, microseconds."""
    table, spent = table_of(requests), np.empty(calls)
    for turn in range(-20, calls):
        start_s = time.perf_counter()
        simlib.simulate(table, POLICIES["multi_bin_dynamic"], MODEL, 2)
        spent[turn] = time.perf_counter() - start_s
    return 1e6 * float(np.median(spent))


GOALS = {  # by engine, in `kernels`, `pipeline`, `stepped`: largest ratio wanted, or least if negative
    "static_fifo": 1.5,
    "dynamic_no_bins": 2.5,
    "multi_bin_dynamic": 2.5,
    "custom": 1.3,
    "simlib": 2.5,
    "Python heap": -10.0,
    "SimPy M/M/4": -60.0,
}
START_GOALS_S = {"import simlib": 0.1, "simlib --help": 0.15, "10,000 requests": 1.0}


def run() -> dict[str, pd.DataFrame]:
    """All of it: ``benchmarks`` has a row a case and engine, ``benchmarks_goals`` a row a goal."""
    sizes = (100_000, 1_000_000, 10_000_000)
    loops, whole, own, starts = kernels(1_000_000), pipeline(1_000_000), stepped(200_000), start_up()
    grown = growth(sizes)
    goals = []
    for row in pd.concat([loops, whole]).itertuples():
        goal = GOALS.get(row.engine)
        if goal is not None:
            goals.append((f"{row.case}: {row.engine} / {row.ratio_to}", row.ratio, "times", abs(goal), goal > 0))
    for name, exponent in exponents(grown).items():
        goals.append((f"growth: {name}", exponent, f"exponent, {sizes[0]:g} to {sizes[-1]:g} requests", 1.06, True))
    for name, goal_s in START_GOALS_S.items():
        spent_s = starts.set_index("engine")["ns_per_request"][name] / 1e9
        goals.append((f"fresh process: {name}", spent_s, "CPU seconds", goal_s, True))
    rate = 1e9 / own.set_index("engine")["ns_per_request"]["stepped"]
    goals.append(("user's policy, stepped", rate, "requests per CPU second", 500_000.0, False))
    goals.append(("user's policy, first result", first_result_s(), "seconds", 0.5, True))
    goals.append(("memory at the peak", memory_bytes(__name__, sizes[-1]), "bytes a request", 200.0, True))
    goals.append(("simulate, 10 requests", call_us(), "microseconds a call", 300.0, True))
    table = pd.DataFrame(goals, columns=["goal", "measured", "unit", "limit", "at_most"])
    table["met"] = (table["measured"] <= table["limit"]) == table["at_most"]
    return {"benchmarks": pd.concat([loops, whole, own, starts, grown], ignore_index=True), "benchmarks_goals": table}
