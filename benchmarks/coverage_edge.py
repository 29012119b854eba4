"""Near the edge: do intervals still cover where a queue is nearly saturated?

Two questions whose truth has a closed form, on M/M/1 and M/D/1 with a mean service time of 1 s. *Capacities*: the rate
at which one request in twenty takes longer than 10 or 40 s, by `capacity.study` at the defaults of ``simlib capacity``;
beside it the mean of the replications' own roots. *One long run* at a load of 0.95, of more and fewer memories: its
mean, P95 and P99, each with the interval that it is given, or the reason why there is none; beside it the plain one,
Student's t over twenty sections.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import brentq

import simlib
from benchmarks.coverage import Interval, Made, coverage_of, limits, serve
from simlib.engine.compiled import compiled
from simlib.planning.carried import capacity
from simlib.requests.table import RequestTable
from simlib.stats import steady
from simlib.stats.intervals import mean_interval, t_quantile
from simlib.theory import queues

QUEUES, LATE, LOAD = ("mm1", "md1"), 0.05, 0.95
DEADLINES_S, REPLICATIONS, REQUESTS = (10.0, 40.0), 40, 20_000
MEMORIES = (50, 100, 200, 400)
TOKENS = 1000  # of a request whose service takes a second: tokens are whole
PLAIN = 20
RECOMMENDED = ("mean share", "batch_means", "sectioning")


def late_share(queue: str, rate_rps: float, deadline_s: float) -> float:
    """Share of requests that take longer, in the steady state; services take 1 s on average."""
    if queue == "mm1":
        return math.exp(-(1 - rate_rps) * deadline_s)
    return queues.md1_late_share(rate_rps, 1.0, deadline_s)


def capacity_rps(queue: str, deadline_s: float) -> float:
    """The largest rate at which few enough are late."""
    return brentq(lambda rate: late_share(queue, rate, deadline_s) - LATE, 0.01, 1 - 1e-6, xtol=1e-12)


def memory_requests(queue: str, rho: float) -> float:
    """Requests over which latencies depend: the relaxation time in heavy traffic, 2 (1 + c^2) / (1 - rho)^2 of them."""
    return (4 if queue == "mm1" else 2) / (1 - rho) ** 2


def drawn(queue: str, requests: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Arrivals at one a second, and service times, in seconds: those of fewer requests are how those of more begin."""
    gaps, service = (np.random.default_rng([81, part, seed]) for part in range(2))
    arrival_s = np.cumsum(gaps.standard_exponential(requests))
    return arrival_s, service.standard_exponential(requests) if queue == "mm1" else np.ones(requests)


def latencies(arrival_s: np.ndarray, service_s: np.ndarray) -> np.ndarray:
    """Of one server in order of arrival, from empty: Lindley's recursion, in seconds."""
    completion_s = np.empty(len(arrival_s))
    compiled(serve)(arrival_s, service_s, 1, 0, 0.0, completion_s)
    return completion_s - arrival_s


@dataclass(frozen=True)
class OneServer(capacity.Search):
    """`capacity.Search` on one server, whose runs are Lindley's recursion: a fraction of the engine's time."""

    def run(self, name: str, table: RequestTable, rate_rps: float) -> Any:
        arrival_s = table.arrival_s / rate_rps
        completion_s = arrival_s + latencies(arrival_s, table.output_tokens / TOKENS)
        return SimpleNamespace(
            table=SimpleNamespace(arrival_s=arrival_s), times=SimpleNamespace(completion_s=completion_s)
        )

    def share(self, name: str, table: RequestTable, rate_rps: float) -> float:
        run = self.run(name, table, rate_rps)
        late = run.times.completion_s - run.table.arrival_s > self.sla.limits_s["latency"]
        return float(np.mean(late[self.scored]))


def search(queue: str, deadline_s: float, requests: int = REQUESTS, kind: Any = OneServer) -> capacity.Search:
    """Whose capacity is asked for."""

    @functools.cache
    def draw(requests: int, seed: int) -> RequestTable:
        arrival_s, service_s = drawn(queue, requests, seed)
        tokens = np.maximum(1, np.rint(service_s * TOKENS)).astype(int)
        return RequestTable(arrival_s, np.zeros(requests, int), tokens)

    law = f"0,{1 / TOKENS},0"
    return kind({"fifo": simlib.StaticFIFO(1)}, draw, law, sla=deadline_s, late_share=LATE, requests=requests)


def found_capacities(queue: str, deadline_s: float, seed: int) -> Iterator[Made]:
    """One study at the defaults, and the mean of the same replications' own roots."""
    truth = capacity_rps(queue, deadline_s)
    found = capacity.study(search(queue, deadline_s), REPLICATIONS, seed=seed)
    row = found.table.iloc[0]
    given = not math.isnan(row["ci_low"])
    quantity = f"capacity, {deadline_s:g} s"
    yield quantity, "mean share", truth, (row["ci_low"], row["ci_high"]) if given else (None, None)
    yield quantity, "mean of roots", truth, limits(mean_interval(found.roots["fifo"]))


def found_in_a_run(queue: str, requests: int, truths: dict[str, float], seed: int) -> Iterator[Made]:
    """One run from empty of which so many requests are kept, behind a warm-up of a tenth of them."""
    arrival_s, service_s = drawn(queue, requests + requests // 10, seed)
    kept = latencies(arrival_s / LOAD, service_s)[requests // 10 :]
    for quantity, truth in truths.items():
        q = None if quantity == "mean" else int(quantity[1:]) / 100
        found = steady.batch_means(kept) if q is None else steady.quantile(kept, q)
        yield quantity, "batch_means" if q is None else "sectioning", truth, limits(found)
        yield quantity, "plain sections", truth, plain(kept, q)


def plain(values: np.ndarray, q: float | None) -> Interval:
    """Student's t over twenty sections, whatever the length of the run: around its mean, or around its quantile."""
    parts = values[len(values) % PLAIN :].reshape(PLAIN, -1)
    each = parts.mean(axis=1) if q is None else np.quantile(parts, q, axis=1)
    centre = each.mean() if q is None else np.quantile(parts, q)
    half_width = t_quantile(PLAIN - 1, 0.95) * math.sqrt(np.sum((each - centre) ** 2) / PLAIN / (PLAIN - 1))
    return centre - half_width, centre + half_width


def truths_of(queue: str) -> dict[str, float]:
    """Mean, P95 and P99 of the latency at `LOAD`, in seconds."""
    quantiles = {
        f"p{percent}": brentq(lambda t, late=1 - percent / 100: late_share(queue, LOAD, t) - late, 1, 1000)
        for percent in (95, 99)
    }
    return {"mean": queues.mg1_latency_s(LOAD, 1.0, float(queue == "mm1"))} | quantiles


def measure(
    queue: str, rho: float, requests: int, memories: float, experiments: Iterator[Iterator[Made]]
) -> list[dict[str, Any]]:
    """How often intervals cover where they are given, and how often they are; widths in shares of the truth."""
    found: dict[tuple[str, str], list[tuple[float, float, float] | None]] = {}
    for made in experiments:
        for quantity, method, truth, (low, high) in made:
            interval = None if low is None else (1.0, low / truth, high / truth)
            found.setdefault((quantity, method), []).append(interval)
    rows = []
    for (quantity, method), each in found.items():
        given = [interval for interval in each if interval is not None]
        rows.append(
            {"queue": queue, "rho": rho, "quantity": quantity, "method": method, "experiments": len(each)}
            | coverage_of(given)
            | {"recommended": method in RECOMMENDED, "requests": requests, "memories": round(memories)}
            | {"given_share": len(given) / len(each)}
        )
    return rows


def run(experiments: int = 2000, seed: int = 42) -> dict[str, pd.DataFrame]:
    """The table ``coverage_edge``, in some 45 CPU-minutes."""
    rows: list[dict[str, Any]] = []
    for queue in QUEUES:
        for deadline_s in DEADLINES_S:
            rho = capacity_rps(queue, deadline_s)
            seeds = range(seed, seed + experiments * REPLICATIONS, REPLICATIONS)
            made = (found_capacities(queue, deadline_s, each) for each in seeds)
            rows += measure(queue, rho, REQUESTS, REQUESTS / memory_requests(queue, rho), made)
            print(queue, deadline_s, f"{time.process_time():.0f} CPU-s", flush=True)
        truths = truths_of(queue)
        for memories in MEMORIES:
            requests = math.ceil(memories * memory_requests(queue, LOAD))
            seeds = range(seed, seed + experiments)
            made = (found_in_a_run(queue, requests, truths, each) for each in seeds)
            rows += measure(queue, LOAD, requests, memories, made)
            print(queue, memories, f"{time.process_time():.0f} CPU-s", flush=True)
    return {"coverage_edge": pd.DataFrame(rows)}
