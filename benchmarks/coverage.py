"""How often do intervals contain the truth? Every method of the book on queues whose means and quantiles are known.

The queue is M/M^(1,b)/1: Poisson arrivals, one server that takes all that waits, at most b, for an exponential time of
mean 1 s; b = 1 is M/M/1. One experiment makes one interval with each method, from the same runs. *Terminating* studies
make 100 runs of 1,000 requests, each begun in the steady state, so that the truth is known; *steady-state* studies
make one run from empty, warm-up cut by MSER-5, of a length in proportion to the queue's memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats
from scipy.optimize import brentq

from benchmarks import cycles, stopping
from simlib.checks import InputError
from simlib.engine.compiled import compiled
from simlib.stats import shares, steady
from simlib.stats.intervals import mean_interval
from simlib.theory import queues

LARGEST_BATCHES = {"mm1": 1, "batch_4": 4}
# Length of the steady-state run in memories of the queue (`Queue.memory_requests`): long enough for every method at low
# loads, for means alone at higher ones, and for nothing in the end, as happens to those who do not look.
MEMORIES = {
    "mm1": {0.5: 5000, 0.8: 1500, 0.9: 1000, 0.95: 100},
    "batch_4": {0.5: 5000, 0.8: 1000, 0.9: 100, 0.95: 30},
}
RUNS, RUN_REQUESTS, BATCHES, SEQUENTIAL_RUNS = 100, 1000, 50, 100
SMALL, TINY = 0.01, 1e-4
# Where a method is recommended: from so many memories on, all runs of the study together (for `sequential`, one run).
FROM_MEMORIES = {
    ("mean", "replications"): 100,
    ("mean", "sequential"): 50,
    ("mean", "batch_means"): 200,
    ("mean", "regenerative"): 1000,
    ("p95", "sectioning"): 200,
    ("p99", "sectioning"): 200,
    ("share 0.01", "replications, bootstrap_t"): 1000,
    ("share 0.01", "batches, bootstrap_t"): 3000,
    ("share 0.01", "cycles, bootstrap_t"): 1000,
    ("share 0.05", "rule of three"): 0,
}


def serve(arrival_s, service_s, largest, waiting, free_s, completion_s):
    """Complete every request of a batch server that is busy until `free_s`, with some waiting from before."""
    request, batch = 0, 0
    while request < len(arrival_s):
        start_s = free_s
        if waiting == 0 and arrival_s[request] > free_s:
            start_s = arrival_s[request]
        free_s = start_s + service_s[batch]
        taken = min(waiting, largest)
        waiting -= taken
        while taken < largest and request < len(arrival_s) and arrival_s[request] <= start_s:
            completion_s[request] = free_s
            request += 1
            taken += 1
        batch += 1


@dataclass(frozen=True)
class Queue:
    """M/M^(1,b)/1 with mean batch time 1 s, in closed form and as runs."""

    largest: int
    rho: float

    @property
    def rate_rps(self) -> float:
        return self.rho * self.largest

    @cached_property
    def idle(self) -> float:
        """Share of time, and of arrivals, that find the server idle."""
        return queues.greedy_batch_idle_share(self.rate_rps, 1.0, self.largest)

    @cached_property
    def ratio(self) -> float:
        """While the server is busy, n requests wait with probability (1 - r) r^n."""
        return 1 - self.rate_rps / (1 / self.idle - 1)

    @property
    def mean_s(self) -> float:
        return queues.greedy_batch_latency_s(self.rate_rps, 1.0, self.largest)

    def tail(self, latency_s: float) -> float:
        """Share of requests with a longer latency.

        Who finds n waiting sits out the present batch and floor(n / b) full ones: a geometric number of exponential
        times, which is exponential with rate 1 - r^b. Then comes the request's own batch.
        """
        wait = 1 - self.ratio**self.largest
        both = (math.exp(-wait * latency_s) - wait * math.exp(-latency_s)) / (1 - wait)
        return self.idle * math.exp(-latency_s) + (1 - self.idle) * both

    def quantile_s(self, q: float) -> float:
        return brentq(lambda t: self.tail(t) - (1 - q), 0, 1e5)

    def memory_requests(self) -> float:
        """Requests over which latencies depend: their integrated autocorrelation in M/M/1 (Daley, 1968), scaled."""
        rho = self.rho
        alone = (2 + 5 * rho - 4 * rho**2 + rho**3) / (2 - rho) / (1 - rho) ** 2
        return alone * (self.largest + 1) / 2  # b requests a batch, of which only the batch's time is as variable

    @cached_property
    def half_width_s(self) -> float:
        """Of the mean's interval from `SEQUENTIAL_RUNS` runs, about: what the sequential method is asked for."""
        rng = np.random.default_rng(0)
        means_s = [latencies(self.run(rng, RUN_REQUESTS, steady_start=True)).mean() for _ in range(1000)]
        return 2 * float(np.std(means_s)) / math.sqrt(SEQUENTIAL_RUNS)

    def run(self, rng: np.random.Generator, requests: int, steady_start: bool) -> Any:
        """Arrivals and completions, in seconds; with `steady_start` the first arrival meets the steady state."""
        uniform, residual, waiting = rng.random(), rng.standard_exponential(), rng.geometric(1 - self.ratio) - 1
        arrival_s = np.cumsum(rng.standard_exponential(requests)) / self.rate_rps
        arrival_s -= arrival_s[0]  # the state that we draw is the one that an arrival meets
        service_s = rng.standard_exponential(requests + waiting // self.largest + 1)
        if not steady_start or uniform < self.idle:
            waiting, residual = 0, 0.0
        completion_s = np.empty(requests)
        compiled(serve)(arrival_s, service_s, self.largest, waiting, residual, completion_s)
        return arrival_s, completion_s


Interval = tuple[float | None, float | None]
NO_CLAIM = (0.0, 1.0)
Made = tuple[str, str, float, Interval]  # quantity, method, truth, limits


def order_statistics(values: np.ndarray, q: float) -> Interval:
    """The interval for a quantile of *independent* values: two order statistics, by the binomial law."""
    n = len(values)
    low, high = (int(place) for place in scipy_stats.binom.ppf([0.025, 0.975], n, q))
    ordered = np.partition(values, [low, min(high, n - 1)])
    return ordered[low], ordered[min(high, n - 1)]


def independent_share(hits: int, trials: int) -> Interval:
    """Wilson's interval for a share of *independent* requests."""
    found = shares.wilson_interval(int(hits), trials)
    return found.ci_low, found.ci_high


def latencies(run: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return run[1] - run[0]


def limits(found: Any) -> Interval:
    return found.ci_low, found.ci_high


def steady_state(queue: Queue, requests: int, rng: np.random.Generator) -> Iterator[Made]:
    """One long run from empty, its warm-up cut where MSER-5 says for the mean of 20 pilot runs."""
    length = max(100, round(10 * queue.memory_requests()))
    cut = warm_up(np.array([latencies(queue.run(rng, length, steady_start=False)) for _ in range(20)]))
    arrival_s, completion_s = queue.run(rng, requests, steady_start=False)
    latency_s = completion_s - arrival_s
    kept = latency_s[cut:]
    mean = queue.mean_s
    yield "mean", "batch_means", mean, limits(steady.batch_means(kept))
    yield "mean", "batch_means, cut by the same run", mean, limits(steady.batch_means(latency_s[warm_up(latency_s) :]))
    yield "mean", "independent requests", mean, limits(mean_interval(kept))
    yield "p95", "sectioning", queue.quantile_s(0.95), limits(steady.quantile(kept, 0.95))
    p99 = queue.quantile_s(0.99)
    yield "p99", "sectioning", p99, limits(steady.quantile(kept, 0.99))
    yield "p99", "batch_quantiles", p99, limits(steady.quantile(kept, 0.99, method="batch_quantiles"))
    yield "p99", "order statistics", p99, order_statistics(kept, 0.99)
    late = (latency_s > queue.quantile_s(1 - SMALL)).astype(float)
    hits = late[cut + len(kept) % BATCHES :].reshape(BATCHES, -1).sum(axis=1)
    size = len(kept) // BATCHES
    for method in ("bootstrap_t", "logit"):
        found = shares.share_interval(hits, size, method=method)
        yield f"share {SMALL:g}", f"batches, {method}", SMALL, limits(found)
    yield f"share {SMALL:g}", "independent requests", SMALL, independent_share(hits.sum(), BATCHES * size)
    starts = cycles.cycle_starts(arrival_s, completion_s)
    if len(starts) > 1:
        yield "mean", "regenerative", mean, limits(cycles.regenerative(latency_s, starts))
        found = shares.share_interval(*cycles.cycle_sums(late, starts))
        yield f"share {SMALL:g}", "cycles, bootstrap_t", SMALL, limits(found)


def warm_up(latency_s: np.ndarray) -> int:
    """What MSER-5 cuts; half where it finds the run too short."""
    try:
        return steady.truncation(latency_s)
    except InputError:
        return latency_s.shape[-1] // 2


def terminating(queue: Queue, rng: np.random.Generator) -> Iterator[Made]:
    """Independent runs, each of `RUN_REQUESTS` requests begun in the steady state."""
    runs = np.array([latencies(queue.run(rng, RUN_REQUESTS, steady_start=True)) for _ in range(RUNS)])
    means, mean = runs.mean(axis=1), queue.mean_s
    yield "mean", "replications", mean, limits(mean_interval(means))
    yield "mean", "10 replications", mean, limits(mean_interval(means[:10]))
    if queue.largest == 1:

        def draw(seed: int) -> dict[str, float]:
            return {"mean": latencies(queue.run(rng, RUN_REQUESTS, steady_start=True)).mean()}

        found = stopping.until_precise(draw, "mean", half_width=queue.half_width_s, seed=0)
        yield "mean", "sequential", mean, limits(found.interval)
    hits = (runs > queue.quantile_s(1 - SMALL)).sum(axis=1)
    for method in ("bootstrap_t", "logit", "t"):
        found = shares.share_interval(hits, RUN_REQUESTS, method=method)
        yield f"share {SMALL:g}", f"replications, {method}", SMALL, limits(found)
    yield f"share {SMALL:g}", "independent requests", SMALL, independent_share(hits.sum(), runs.size)
    # No hit among 60 runs of one request, whose share is 5 %, has probability 4.6 %; with a hit there is no claim.
    first = (runs[:60, 0] > queue.quantile_s(0.95)).astype(int)
    claim = NO_CLAIM if first.any() else limits(shares.share_interval(first, 1))
    yield "share 0.05", "rule of three", 0.05, claim
    tiny = runs > queue.quantile_s(1 - TINY)
    yield f"share {TINY:g}", "rule of three, requests", TINY, NO_CLAIM if tiny.any() else (0.0, 3 / runs.size)


def measure(name: str, rho: float, experiments: int, length: float, seed: int = 42) -> pd.DataFrame:
    """Coverage of every method on one queue, one row each; the steady-state run is `length` memories long."""
    queue = Queue(LARGEST_BATCHES[name], rho)
    long_run = math.ceil(length * queue.memory_requests())
    rng = np.random.default_rng([seed, queue.largest, round(1000 * rho)])
    rows: list[dict[str, Any]] = []
    for study, requests in ((terminating, RUNS * RUN_REQUESTS), (steady_state, long_run)):
        found: dict[tuple[str, str], list[tuple[float, Interval]]] = {}
        for _ in range(experiments):
            made = terminating(queue, rng) if study is terminating else steady_state(queue, long_run, rng)
            for quantity, method, truth, interval in made:
                found.setdefault((quantity, method), []).append((truth, interval))
        for (quantity, method), intervals in found.items():
            given = [(truth, low, high) for truth, (low, high) in intervals if low is not None]
            memories = (RUN_REQUESTS if method == "sequential" else requests) / queue.memory_requests()
            rows.append(
                {
                    "queue": name,
                    "rho": rho,
                    "quantity": quantity,
                    "method": method,
                    "experiments": len(intervals),
                    **coverage_of(given),
                    "recommended": memories >= FROM_MEMORIES.get((quantity, method), math.inf),
                    "study": study.__name__,
                    "requests": requests,
                    "memories": round(memories),
                    "without_interval_share": 1 - len(given) / len(intervals),
                }
            )
    return pd.DataFrame(rows)


def coverage_of(given: list[tuple[float, float, float]]) -> dict[str, float]:
    """Share of the intervals that contain the truth, with Wilson's interval: experiments are independent."""
    if not given:
        return dict.fromkeys(("coverage", "ci_low", "ci_high", "half_width_mean"), math.nan)
    covered = sum(low <= truth <= high for truth, low, high in given)
    share = shares.wilson_interval(covered, len(given))
    half_width = float(np.mean([(high - low) / 2 for _, low, high in given]))
    return {
        "coverage": share.value,
        "ci_low": share.ci_low,
        "ci_high": share.ci_high,
        "half_width_mean": half_width,
    }


def run(experiments: int = 2000, seed: int = 42) -> dict[str, pd.DataFrame]:
    """The table ``coverage``, of every queue, in some 420 CPU-seconds."""
    parts = []
    for name, loads in MEMORIES.items():
        for rho, length in loads.items():
            started_s = time.process_time()
            parts.append(measure(name, rho, experiments, length, seed))
            print(f"{name}, load {rho}: {time.process_time() - started_s:.0f} CPU-s", flush=True)
    return {"coverage": pd.concat(parts, ignore_index=True)}
