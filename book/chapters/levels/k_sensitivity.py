"""How much the number of bins matters, by bin selection and arrivals.

A recipe simulates replications under common random numbers and returns tidy data frames: one row an estimate with its
interval. All are terminating studies: n requests from an empty system, no warm-up cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import levels
from simlib.checks import check_choice, check_each, check_integer, check_type
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.plan import SELECTIONS
from simlib.requests import workload
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd

ARRIVALS = ("poisson", "on_off", "burstgpt")


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
        interval, pair = intervals.mean_interval(share), intervals.paired_difference(share, alone)
        rows.append(
            {"arrivals": profile, "bin_select": select, "k_bins": k_bins, "violation_share": interval.mean}
            | {"ci_low": interval.ci_low, "ci_high": interval.ci_high}
            | {m: float(np.mean([s[m] for s in summaries])) for m in ("latency_mean_s", "throughput_rps")}
            | {"difference": pair.mean, "difference_ci_low": pair.ci_low, "difference_ci_high": pair.ci_high}
            | {"replications": len(share)}
        )
    return pd.DataFrame(rows)


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
        mean = intervals.mean_interval(shares[name])
        row = {"scheduler": name, "violation_share": mean.mean, "ci_low": mean.ci_low, "ci_high": mean.ci_high}
        if name in others:
            pair = intervals.paired_difference(shares[name], shares[last])
            row |= {"difference": pair.mean, "difference_ci_low": pair.ci_low, "difference_ci_high": pair.ci_high}
        rows.append(row | {"replications": replications, "backend": backends[name]})
    return pd.DataFrame(rows)


def _profile(arrivals: str, requests: int, seed: int, rate_rps: float, rps_scale: float) -> RequestTable:
    if arrivals == "burstgpt":
        return levels.requests_of(2, requests, seed, rps_scale=rps_scale)[0]
    return workload.original(requests, seed, rate_rps, arrivals)
