"""Open against closed loops: the same engine at the same throughput, by a benchmark of clients and by open arrivals.

A closed loop has a fixed number of clients, each of whom sends the next request when the last is answered; its
throughput is what comes out. The same requests then come openly, as a Poisson process at just that rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.continuous.executions import PRESET
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.requests import workload
from simlib.requests.streams import stream
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats.estimates import estimates
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


PLACES, CLIENTS, DEADLINE_S, LATE = 64, (8, 16, 24, 32, 40, 48, 56, 64, 80, 96), 1.0, 0.01
CLOSED, OPEN, SCORED, TOLERANCE = "closed", "open", (0.1, 0.9), math.log(1.005)
METRICS = ("rate_rps", "ttft_p99_s", "latency_p99_s", "late_share")


def runs_of(
    requests: int, clients: Iterable[int] = CLIENTS, *, seed: int = 42, replications: int = 20, workers: int = 1
) -> pd.DataFrame:
    """Both loops at each number of clients: one row a replication, columns ``CLIENTS LOOP METRIC``; and what is borne.

    ``borne`` is the open rate at which a share `LATE` of the first tokens comes later than `DEADLINE_S`.
    """
    clients = list(clients)

    def one(seed: int) -> dict[str, float]:
        table, found = workload.original(requests, seed), {}
        rng = stream("open against closed", seed, "arrivals")
        openly = replace(table, arrival_s=np.cumsum(rng.exponential(1.0, len(table))))
        for count in clients:
            dealt = _seen(workload.dealt(table, count))
            for loop, seen in ((CLOSED, dealt), (OPEN, _seen(openly.at_rate(dealt["rate_rps"])))):
                found |= {f"{count} {loop} {metric}": value for metric, value in seen.items()}
        most = max(found[f"{count} {CLOSED} rate_rps"] for count in clients)
        return found | {"borne": _borne(openly, most)}

    return replicate(one, replications, seed=seed, workers=workers)


def _seen(table: RequestTable) -> dict[str, float]:
    """The `METRICS` of the requests in the middle of a run, by order of arrival."""
    run = simulate(
        table, "fcfs", presets.load(PRESET).step_law(), 1, Continuous(max_seqs=PLACES), f"ttft<={DEADLINE_S}"
    )
    middle = slice(*(round(part * len(table)) for part in SCORED))
    arrival_s, done_s = run.table.arrival_s, np.sort(run.times.completion_s)[middle]
    ttft_s, latency_s = (
        times[middle] for times in (run.times.first_token_s - arrival_s, run.times.completion_s - arrival_s)
    )
    rate_rps = (len(done_s) - 1) / (done_s[-1] - done_s[0])
    numbers = rate_rps, np.quantile(ttft_s, 0.99), np.quantile(latency_s, 0.99), np.mean(ttft_s > DEADLINE_S)
    return dict(zip(METRICS, map(float, numbers), strict=True))


def _borne(openly: RequestTable, most_rps: float) -> float:
    """The largest open rate in time, by bisection."""
    low, high = math.log(most_rps / 4), math.log(most_rps)
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        late = _seen(openly.at_rate(math.exp(middle)))["late_share"] > LATE
        low, high = (low, middle) if late else (middle, high)
    return math.exp(low)


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Means with 95 % intervals: ``clients, loop, metric, value, ci_low, ci_high``; ``borne`` has no clients."""
    columns = {(*(name.split() if name != "borne" else ("0", "borne", "rate_rps")),): runs[name] for name in runs}
    table = estimates(columns, ["clients", "loop", "metric"], "value")
    return table.astype({"clients": int}).assign(ci_low=table["ci_low"].clip(lower=0), replications=len(runs))
