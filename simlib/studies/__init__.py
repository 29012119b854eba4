"""The recipes that notebooks share beside the fidelity levels: K sensitivity, the controller at work, workloads.

A recipe simulates replications under common random numbers and returns tidy data frames: one row an estimate with its
interval. All are terminating studies: n requests from an empty system, no warm-up cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import binning, stats, workload
from simlib.batching import BRANCHES
from simlib.checks import check_choice, check_each, check_integer, check_number, check_type
from simlib.latency import resolve
from simlib.lazy import getter
from simlib.replications import replicate
from simlib.run import Run
from simlib.schedulers import SELECTIONS, DynamicNoBins, MultiBinDynamic, StaticFIFO
from simlib.simulation import simulate
from simlib.studies import levels
from simlib.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ARRIVALS",
    "BURST",
    "backlog",
    "bin_edges",
    "clearing_times",
    "collapse",
    "contest",
    "controller_branches",
    "equals_static",
    "k_sensitivity",
    "late_alone",
    "powers_of_two",
]

__getattr__ = getter(__name__)

BURST = 400  # requests in the burst of `collapse`
ARRIVALS = ("poisson", "on_off", "burstgpt")
MOST_REQUESTS = 10_000_000  # of `collapse`


def powers_of_two(largest: int) -> list[int]:
    """1, 2, 4, … up to `largest`, which is always among them."""
    largest = check_integer("k_bins", largest, 1)
    return sorted({2**i for i in range(largest.bit_length()) if 2**i <= largest} | {largest})


def k_sensitivity(
    *,
    k_values: Iterable[int] = (1, 2, 4, 8, 16),
    selections: Iterable[str] = SELECTIONS,
    arrivals: Iterable[str] = ARRIVALS,
    latency: str = "original-synthetic",
    requests: int = 1000,
    rate_rps: float = 50.0,
    rps_scale: float = 100.0,
    gpus: int = 2,
    d_sla: float = 1.0,
    seed: int = 42,
    replications: int = 30,
) -> pd.DataFrame:
    """Number of bins × bin selection × arrivals, each against K = 1 on the same requests.

    Returns
    -------
    pandas.DataFrame
        One row a cell: ``arrivals, bin_select, k_bins, violation_share, ci_low, ci_high, latency_mean_s,
        throughput_rps, difference, difference_ci_low, difference_ci_high, replications``; the difference is the
        violation share minus that of K = 1, with a paired interval.
    """
    import pandas as pd

    k_values = sorted({1, *check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 1))})
    selections = check_each("selections", selections, lambda select: check_choice("bin_select", select, SELECTIONS))
    arrivals = check_each("arrivals", arrivals, lambda profile: check_choice("arrivals", profile, ARRIVALS))
    seed = check_integer("seed", seed, 0)
    cells: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for profile in arrivals:
        for replication in levels.progress(
            check_integer("replications", replications, 2, levels.MOST_REPLICATIONS), f"K, {profile}"
        ):
            table = _profile(profile, requests, seed + replication, rate_rps, rps_scale)
            for select in selections:
                for k_bins in k_values:
                    run = simulate(table, MultiBinDynamic(k_bins, d_sla, select), latency, gpus)
                    cells.setdefault((profile, select, k_bins), []).append(run.summary())
    rows = []
    for (profile, select, k_bins), summaries in cells.items():
        share = np.array([s["sla_violation_share"] for s in summaries])
        alone = np.array([s["sla_violation_share"] for s in cells[profile, select, 1]])
        interval, pair = stats.mean_interval(share), stats.paired_difference(share, alone)
        rows.append(
            {"arrivals": profile, "bin_select": select, "k_bins": k_bins, "violation_share": interval.mean}
            | {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
            | {m: float(np.mean([s[m] for s in summaries])) for m in ("latency_mean_s", "throughput_rps")}
            | {"difference": pair.mean, "difference_ci_low": pair.ci_low, "difference_ci_high": pair.ci_high}
            | {"replications": len(share)}
        )
    return pd.DataFrame(rows)


def equals_static(
    level: int,
    batch_size: int = 64,
    *,
    gpus: int = 2,
    seed: int = 42,
    replications: int = 100,
    requests: int = 1000,
    rate_rps: float = 50.0,
) -> float:
    """Share of replications in which dynamic batching completes every request exactly when a static batch does."""
    latency, same = levels.of(level).latency, 0
    seed = check_integer("seed", seed, 0)
    for replication in range(check_integer("replications", replications, 1, levels.MOST_REPLICATIONS)):
        table, _ = levels.requests_of(level, requests, seed + replication, rate_rps)
        runs = (simulate(table, policy, latency, gpus) for policy in (DynamicNoBins(), StaticFIFO(batch_size)))
        same += np.array_equal(*(run.times.completion_s for run in runs))
    return same / replications


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
        that take the branch (`batching.BRANCHES`), mean over replications with its interval.
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
                mean = stats.mean_interval(column)
                rows.append(
                    {"level": level, "d_sla_s": deadline_s, "scheduler": name, "branch": branch, "share": mean.mean}
                    | {"ci_low": mean.ci_low, "ci_high": mean.ci_high, "replications": len(column)}
                )
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


def contest(
    policies: Mapping[str, Any],
    level: int = 3,
    *,
    requests: int = 1000,
    rate_rps: float = 50.0,
    gpus: int = 2,
    d_sla: float = 1.0,
    seed: int = 42,
    replications: int = 30,
) -> pd.DataFrame:
    """Policies, a user's own among them, on the same requests of a synthetic level; each is held against the last.

    Parameters
    ----------
    policies : mapping of str to policy
        At least two, by the name that the table calls them.

    Returns
    -------
    pandas.DataFrame
        ``scheduler, violation_share, ci_low, ci_high, difference, difference_ci_low, difference_ci_high,
        replications, backend``: `difference` is the mean violation share minus the last policy's, paired; missing for
        the last. `backend` says whether it ran compiled.

    Raises
    ------
    InputError
        If there are fewer than two policies or an argument is out of range.
    """
    import pandas as pd

    check_type("policies", policies, Mapping, "policies by name")
    check_integer("number of policies", len(policies), 2)
    latency = levels.of(level).latency
    backends: dict[str, str] = {}

    def one(replication_seed: int) -> dict[str, float]:
        table, _ = levels.requests_of(level, requests, replication_seed, rate_rps)
        runs = {name: simulate(table, policy, latency, gpus, sla=d_sla) for name, policy in policies.items()}
        backends.update({name: run.backend for name, run in runs.items()})
        return {name: run.summary()["sla_violation_share"] for name, run in runs.items()}

    shares = replicate(one, replications, seed=seed)
    *others, last = policies
    rows = []
    for name in policies:
        mean = stats.mean_interval(shares[name])
        row = {"scheduler": name, "violation_share": mean.mean, "ci_low": mean.ci_low, "ci_high": mean.ci_high}
        if name in others:
            pair = stats.paired_difference(shares[name], shares[last])
            row |= {"difference": pair.mean, "difference_ci_low": pair.ci_low, "difference_ci_high": pair.ci_high}
        rows.append(row | {"replications": replications, "backend": backends[name]})
    return pd.DataFrame(rows)


def late_alone(rps_scale: float, d_sla: float, seed: int, requests: int, rate_rps: float) -> pd.DataFrame:
    """Share of requests that are late even alone in a batch: a floor under every scheduler's violations.

    ``level, requests, mean_s, max_s, late_alone_share`` of the service time in a batch of one, at each level.
    """
    import pandas as pd

    check_number("d_sla", d_sla, 0.0, open_low=True)
    rows = []
    for number, level in levels.LEVELS.items():
        table, _ = levels.requests_of(number, requests, seed, rate_rps, rps_scale)
        alone_s = resolve(level.latency).batch_time_s(1, table.prompt_tokens + table.output_tokens)
        rows.append(
            {"level": number, "requests": len(table), "mean_s": alone_s.mean(), "max_s": alone_s.max()}
            | {"late_alone_share": float(np.mean(alone_s > d_sla))}
        )
    return pd.DataFrame(rows)


def bin_edges(k_bins: int, seed: int, requests: int, rate_rps: float) -> pd.DataFrame:
    """Where equal-mass bins cut the predictions of each workload, and how well the predictions order the lengths.

    ``workload, edges_tokens, distinct_bins, rank_correlation`` (Spearman's, between prediction and true output).
    """
    import pandas as pd
    from scipy.stats import spearmanr

    rows = []
    for name, level in (("synthetic recipe", 1), ("BurstGPT", 2)):
        table, _ = levels.requests_of(level, requests, seed, rate_rps)
        predicted = table.predicted_output_tokens
        edges = binning.edges("equal_mass_integer", predicted, k_bins)
        rows.append(
            {"workload": name, "edges_tokens": ", ".join(f"{edge:g}" for edge in edges)}
            | {"distinct_bins": binning.distinct_bins(predicted, edges)}
            | {"rank_correlation": float(spearmanr(predicted, table.output_tokens).statistic)}
        )
    return pd.DataFrame(rows)


def _profile(arrivals: str, requests: int, seed: int, rate_rps: float, rps_scale: float) -> RequestTable:
    if arrivals == "burstgpt":
        return levels.requests_of(2, requests, seed, rps_scale=rps_scale)[0]
    return workload.original(requests, seed, rate_rps, arrivals)
