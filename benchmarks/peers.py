"""The same work elsewhere: both loops by hand in C, a plain-Python heap simulation, SimPy and Ciw."""

from __future__ import annotations

import ctypes
import heapq
import shutil
import subprocess
import tempfile
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from simlib import RequestTable
from simlib.continuous.serve import rules_of
from simlib.continuous.settings import Continuous
from simlib.continuous.state import GAP_BINS, GAP_OCTAVES
from simlib.engine.batches import Batches
from simlib.latency.models import Affine
from simlib.latency.steps import StepLaw
from simlib.policies.batch_size import PLANNED

DOUBLES, INTEGERS, LINKS = (ctypes.POINTER(kind) for kind in (ctypes.c_double, ctypes.c_int64, ctypes.c_int32))
POINTERS = {"float64": DOUBLES, "int64": INTEGERS, "int32": LINKS}


def built(source: str, folder: str) -> ctypes.CDLL:
    """A C file of this folder, compiled into another one."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("no C compiler: the reference needs cc or gcc on the path")
    library = Path(folder) / f"{source}.so"
    flags = ["-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC"]
    subprocess.run([compiler, *flags, "-o", library, Path(__file__).with_name(source), "-lm"], check=True)
    return ctypes.CDLL(str(library))


def pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(POINTERS[array.dtype.name])


class _Run(ctypes.Structure):
    _fields_ = [
        ("arrival_s", DOUBLES),
        ("prompt", INTEGERS),
        ("output", INTEGERS),
        ("requests", ctypes.c_int64),
        ("gpus", ctypes.c_int64),
        *[(name, ctypes.c_double) for name in ("alpha", "beta", "gamma", "floor_s")],
        *[(name, DOUBLES) for name in ("start_s", "service_s", "max_prompt", "sum_prompt", "notes")],
        *[(name, INTEGERS) for name in ("size", "gpu", "batch_of")],
    ]


class Reference:
    """`reference.c`, compiled into a temporary folder for as long as this object lives."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.library = built("reference.c", self.folder.name)
        self.library.serve.restype = ctypes.c_int64

    def serve(self, table: RequestTable, gpus: int, model: Affine, plan: Any, batch_size: int, d_sla: float) -> Batches:
        """Serve under the static policy, or under the original's dynamic one if `batch_size` is 0."""
        n = len(table)
        served = Batches(
            start_s=np.empty(n),
            service_s=np.empty(n),
            size=np.empty(n, np.int64),
            gpu=np.empty(n, np.int64),
            queue=np.zeros(1, np.int64),
            max_prompt_tokens=np.empty(n),
            sum_prompt_tokens=np.empty(n),
            notes=np.empty((n, 7)),
            batch_of=np.empty(n, np.int64),
        )

        inputs = map(pointer, (table.arrival_s, table.prompt_tokens, table.output_tokens))
        floats = (served.start_s, served.service_s, served.max_prompt_tokens, served.sum_prompt_tokens, served.notes)
        outputs = map(pointer, (*floats, served.size, served.gpu, served.batch_of))
        run = _Run(*inputs, n, gpus, *model.params, *outputs)
        planned_tokens = plan.params[PLANNED] if batch_size == 0 else 0.0
        numbers = (d_sla, planned_tokens, min(plan.capacity_tokens, 1e300))
        batches = self.library.serve(
            ctypes.byref(run), ctypes.c_int64(batch_size), *(ctypes.c_double(float(x)) for x in numbers)
        )
        return served._replace(
            **{name: getattr(served, name)[:batches] for name in Batches._fields if name not in ("queue", "batch_of")}
        )


class _Steps(ctypes.Structure):
    _fields_ = [
        ("arrival_s", DOUBLES),
        *[(name, INTEGERS) for name in ("prompt", "output")],
        *[(name, ctypes.c_int64) for name in ("requests", "seats", "blocks", "bits", "watermark", "budget", "whole")],
        *[(name, ctypes.c_double) for name in ("a_s", "b_s", "c_s", "d_s", "busy_s")],
        *[(name, DOUBLES) for name in ("start_s", "first_token_s", "completion_s")],
        *[(name, INTEGERS) for name in ("gaps", "heap", "growth")],
        *[(name, LINKS) for name in ("before", "after", "done", "joined")],
        *[(name, ctypes.c_int64) for name in ("steps", "sum_decodes", "sum_prefill", "sum_context")],
        *[(name, ctypes.c_int64) for name in ("preemptions", "recomputed", "peak")],
    ]


class StepReference:
    """`reference_steps.c`, compiled into a temporary folder for as long as this object lives."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.library = built("reference_steps.c", self.folder.name)

    def serve(self, table: RequestTable, law: StepLaw, engine: Continuous) -> tuple[dict[str, np.ndarray], _Steps]:
        """Times and gaps, and all totals, of a table of which every request fits; the engine is as the file says."""
        rules, n = rules_of(engine, law, 1), len(table)
        seats = min(rules.seats, n)
        out = {name: np.full(n, np.nan) for name in ("start_s", "first_token_s", "completion_s")}
        out["gaps"] = np.zeros(GAP_BINS * GAP_OCTAVES, np.int64)
        heap, growth = np.empty(seats + 1, np.int64), np.zeros(engine.block_tokens, np.int64)
        links = np.empty(n, np.int32), np.empty(n, np.int32), np.zeros(n, np.int32), np.empty(seats + 1, np.int32)
        arrays = table.arrival_s, table.prompt_tokens, table.output_tokens
        numbers = n, seats, rules.blocks, rules.bits, rules.watermark, rules.budget, rules.whole
        work = *out.values(), heap, growth, *links
        run = _Steps(*map(pointer, arrays), *numbers, *law.params[:4], 0.0, *map(pointer, work))
        self.library.serve(ctypes.byref(run))
        return out, run


def heap_static(table: RequestTable, gpus: int, model: Affine, batch_size: int) -> float:
    """Static batches in plain Python: a heap of events, a deque of requests. Returns the last completion."""
    arrivals, totals = table.arrival_s.tolist(), (table.prompt_tokens + table.output_tokens).tolist()
    alpha, beta, gamma, floor_s = model.params.tolist()
    events, queue, idle, upcoming, now_s = [(arrivals[0], 1)], deque(), gpus, 0, 0.0
    while events:
        now_s, kind = heapq.heappop(events)
        if kind == 0:
            idle += 1
        else:
            queue.append(totals[upcoming])
            upcoming += 1
            if upcoming < len(arrivals):
                heapq.heappush(events, (arrivals[upcoming], 1))
        while idle and queue:
            members = [queue.popleft() for _ in range(min(batch_size, len(queue)))]
            company = 1.0 + gamma * (len(members) - 1.0) / len(members)
            idle -= 1
            heapq.heappush(events, (now_s + max(floor_s, alpha + beta * max(members) * company), 0))
    return now_s


def heap_multi_bin(table: RequestTable, gpus: int, model: Affine, edges: np.ndarray, d_sla: float) -> float:
    """The original's multi-bin rules in plain Python, round robin over the bins. Returns the last completion."""
    arrivals, totals = table.arrival_s.tolist(), (table.prompt_tokens + table.output_tokens).tolist()
    bins = np.searchsorted(edges, table.predicted_output_tokens, side="right").tolist()
    alpha, beta, gamma, floor_s = model.params.tolist()
    queues: list[deque[int]] = [deque() for _ in range(len(edges) + 1)]
    low, high, tau_s, mean_size, pointer = 1, 128, 0.0, 1.0, 0
    events, idle, upcoming, waiting, now_s = [(arrivals[0], 1, 0, 0.0)], gpus, 0, 0, 0.0
    while events:
        now_s, kind, size, service_s = heapq.heappop(events)
        if kind == 0:
            idle += 1
            tau_s += 0.2 * (service_s - tau_s)
            mean_size += 0.2 * (size - mean_size)
        else:
            queues[bins[upcoming]].append(totals[upcoming])
            waiting += 1
            upcoming += 1
            if upcoming < len(arrivals):
                heapq.heappush(events, (arrivals[upcoming], 1, 0, 0.0))
        while idle and waiting:
            while not queues[pointer]:
                pointer = (pointer + 1) % len(queues)
            queue, pointer = queues[pointer], (pointer + 1) % len(queues)
            if tau_s > d_sla + 0.05:
                low, high = max(low, int(0.8 * mean_size)), min(high, int(mean_size))
            elif 0 < tau_s < d_sla - 0.05:
                low, high = max(low, int(mean_size)), min(high + int(0.2 * mean_size), 128)
            elif tau_s:
                width = max(1, int(0.1 * (high - low)))
                low, high = max(int(mean_size) - width, 1), min(int(mean_size) + width, 128)
            high = max(high, 1)
            low = min(low, high)
            size = min((low + high) // 2, 64, len(queue))
            members = [queue.popleft() for _ in range(size)]
            service_s = max(floor_s, alpha + beta * max(members) * (1.0 + gamma * (size - 1.0) / size))
            idle -= 1
            waiting -= size
            heapq.heappush(events, (now_s + service_s, 0, size, service_s))
    return now_s


def simpy_queue(requests: int, rate_rps: float, service_mean_s: float, servers: int, seed: int = 1) -> float:
    """M/M/c in SimPy; returns the last completion."""
    import simpy

    rng = np.random.default_rng(seed)
    gaps_s = rng.exponential(1 / rate_rps, requests).tolist()
    times_s = rng.exponential(service_mean_s, requests).tolist()
    environment = simpy.Environment()
    servers_of = simpy.Resource(environment, servers)

    def request(time_s: float) -> Any:
        with servers_of.request() as turn:
            yield turn
            yield environment.timeout(time_s)

    def source() -> Any:
        for gap_s, time_s in zip(gaps_s, times_s, strict=True):
            yield environment.timeout(gap_s)
            environment.process(request(time_s))

    environment.process(source())
    environment.run()
    return environment.now


def ciw_queue(requests: int, rate_rps: float, service_mean_s: float, servers: int, seed: int = 1) -> int:
    """M/M/c in Ciw; returns how many were served."""
    import ciw

    ciw.seed(seed)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate_rps)],
        service_distributions=[ciw.dists.Exponential(1 / service_mean_s)],
        number_of_servers=[servers],
    )
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(requests)
    return len(simulation.get_all_records())
