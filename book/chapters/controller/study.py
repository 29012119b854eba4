"""The controller at work: its branches, its collapse under a burst, the backlog."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from simlib import levels
from simlib.checks import check_each, check_integer, check_number, check_type
from simlib.policies.batch_size import BRANCHES
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable
from simlib.runs.run import Run
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row
from simlib.stats.shares import wilson_interval

if TYPE_CHECKING:
    import pandas as pd


BURST = 400  # requests in the burst of `collapse`
MOST_REQUESTS = 10_000_000  # of `collapse`


def equals_static(
    numbers: Iterable[int],
    batch_sizes: Iterable[int] = (64,),
    *,
    gpus: int = 2,
    seed: int = 42,
    replications: int = 100,
    requests: int = 1000,
    rate_rps: float = 50.0,
) -> pd.DataFrame:
    """How often dynamic batching completes every request at the very instant at which a static batch does.

    Returns
    -------
    pandas.DataFrame
        ``level, batch_size, share, ci_low, ci_high, replications``: the share of replications, with Wilson's interval.
    """
    import pandas as pd

    rows, seed = [], check_integer("seed", seed, 0)
    replications = check_integer("replications", replications, 1, levels.MOST_REPLICATIONS)
    batch_sizes = check_each("batch_sizes", batch_sizes, lambda size: check_integer("batch_size", size, 1))
    for level in check_each("numbers", numbers, lambda level: levels.of(level).number):
        same = dict.fromkeys(batch_sizes, 0)
        for replication in range(replications):
            table, _ = levels.requests_of(level, requests, seed + replication, rate_rps)
            policies = (DynamicNoBins(), *(StaticFIFO(size) for size in same))
            dynamic, *static = (simulate(table, one, levels.of(level).latency, gpus).times for one in policies)
            for size, times in zip(same, static, strict=True):
                same[size] += np.array_equal(dynamic.completion_s, times.completion_s)
        for size, count in same.items():
            one = wilson_interval(count, replications)
            share = {"share": one.value, "ci_low": one.ci_low, "ci_high": one.ci_high}
            rows.append({"level": level, "batch_size": size} | share | {"replications": replications})
    return pd.DataFrame(rows)


def controller_branches(
    numbers: Iterable[int],
    deadlines_s: Iterable[float],
    *,
    k_bins: int = 4,
    gpus: int = 2,
    seed: int = 42,
    replications: int = 100,
    requests: int = 1000,
    rate_rps: float = 50.0,
) -> pd.DataFrame:
    """Which branch the SLA controller takes, by level, deadline and scheduler.

    Returns
    -------
    pandas.DataFrame
        ``level, d_sla_s, scheduler, branch, share, ci_low, ci_high, replications``: the share of batch formations
        that take the branch (`batch_size.BRANCHES`), mean over replications with its interval.
    """
    import pandas as pd

    rows = []
    numbers = check_each("numbers", numbers, lambda level: levels.of(level).number)
    deadlines_s = check_each("deadlines_s", deadlines_s, lambda d_sla: check_number("d_sla", d_sla, 0.0, open_low=True))
    seed = check_integer("seed", seed, 0)
    for level in numbers:
        shares: dict[tuple[float, str], list[np.ndarray]] = {}
        for replication in levels.progress(
            check_integer("replications", replications, 2, levels.MOST_REPLICATIONS), f"branches, level {level}"
        ):
            table, _ = levels.requests_of(level, requests, seed + replication, rate_rps)
            for deadline_s in dict.fromkeys(deadlines_s):
                for policy in (DynamicNoBins(deadline_s), MultiBinDynamic(k_bins, deadline_s)):
                    notes = simulate(table, policy, levels.of(level).latency, gpus).served.notes
                    taken = np.bincount(notes[:, -1].astype(int), minlength=len(BRANCHES)) / len(notes)
                    shares.setdefault((deadline_s, policy.name), []).append(taken)
        for (deadline_s, name), taken in shares.items():
            for branch, column in zip(BRANCHES, np.array(taken).T, strict=True):
                place = {"level": level, "d_sla_s": deadline_s, "scheduler": name, "branch": branch}
                share = as_row(intervals.mean_interval(column), "share")
                rows.append(place | share | {"replications": len(column)})
    return pd.DataFrame(rows)


def collapse(d_sla: float = 1.0, long_requests: int = 40, burst: int = BURST) -> RequestTable:
    """A feasible load after which the original's controller stays at tiny batches.

    Long requests, one every two seconds, teach it that batches are slow; ordinary ones, one every half second, do not
    bring it back; then a burst arrives within 0.4 s. Deterministic: no stream of chance is involved.
    """
    check_number("d_sla", d_sla, 0.0, open_low=True)
    long_s = np.arange(check_integer("long_requests", long_requests, 1, MOST_REQUESTS)) * 2.0
    calm_s = long_s[-1] + 2.0 + np.arange(40) * 0.5
    burst_s = calm_s[-1] + 0.5 + np.arange(check_integer("burst", burst, 1, MOST_REQUESTS)) * (0.4 / burst)
    prompt = np.concatenate([np.full(len(long_s), 8000), np.full(len(calm_s) + burst, 100)])
    output = np.concatenate([np.full(len(long_s), 2000), np.full(len(calm_s) + burst, 140)])
    return RequestTable(np.concatenate([long_s, calm_s, burst_s]), prompt, output, output)


def clearing_times(burst: RequestTable) -> pd.DataFrame:
    """How long each scheduler, and each variant of the dynamic one, needs to clear `collapse`'s burst on one GPU.

    ``scheduler, variant, clearing_s, batch_size_mean``: from the burst's first arrival to its last completion, and
    the mean size of the batches that start after it. Deterministic, so there is no interval.
    """
    import pandas as pd

    contenders = [(StaticFIFO(), ""), *((DynamicNoBins(variant=v), v) for v in ("original", "paper", "printed"))]
    rows = []
    for policy, variant in contenders:
        run = simulate(burst, policy, gpus=1)
        start_s = _burst_start_s(burst)
        after = run.served.start_s >= start_s
        rows.append(
            {"scheduler": policy.name, "variant": variant}
            | {"clearing_s": float(run.times.completion_s.max() - start_s)}
            | {"batch_size_mean": float(run.served.size[after].mean())}
        )
    return pd.DataFrame(rows)


def backlog(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Requests in the system since `collapse`'s burst began: times in seconds from it, and their number."""
    start_s = _burst_start_s(check_type("run", run, Run, "a run, as simulate returns it").table)
    events = np.concatenate([run.table.arrival_s, run.times.completion_s])
    steps = np.repeat([1, -1], len(run.table))
    order = np.argsort(events, kind="stable")
    time_s, number = events[order] - start_s, np.cumsum(steps[order])
    return time_s[time_s >= 0], number[time_s >= 0]


def _burst_start_s(table: RequestTable) -> float:
    """The first arrival that the next one follows within a hundredth of a second."""
    return float(table.arrival_s[np.argmax(np.diff(table.arrival_s) < 0.01)])
