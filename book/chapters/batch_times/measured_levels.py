"""Levels 3 and 4 with measured service times: the three schedulers under presets of GPUs, at matched load.

Reads `levels` for the requests and the schedulers. A GPU that is three times as fast bears three times the load, so
neither the rate nor the deadline of the original's tables means the same on two of them: both are set by the preset.
The rate is a share of what static batches of 8 can serve, the deadline a multiple of what such a batch takes. Beside
the schedulers stand plans: bins with batch sizes of their own, chosen for each preset by `phase_bins`. Terminating: n
requests from an empty system.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.traffic_bins import deadline
from simlib import levels
from simlib.checks import InputError, check_each, check_frame, check_integer, check_number
from simlib.latency import presets
from simlib.latency.models import LatencyModel
from simlib.planning import phase_bins
from simlib.planning.joint_bins import JointBins
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row

if TYPE_CHECKING:
    import pandas as pd


PRESETS = (
    "original-calibrated",
    *("a100-vllm-llama3-8b", "h100-vllm-llama3-8b", "h100-trtllm-llama3-8b", "gaudi2-deepspeed-llama3-8b"),
    "h100x8-splitwise-llama2-70b",
)
KEYS = ["level", "load", "latency", "preset", "split"]
METRICS = ("sla_violation_share", "latency_mean_s", "queueing_mean_s", "service_mean_s", "batch_size_mean")
WORK = "gpu_s_per_request"
# Bins with batch sizes of their own, by name, and where they are cut; and what the second is held against.
PLANS = {"equal_mass_bins": "equal_mass", "joint_optimum": "optimal"}
PLAN_PAIRS = (("joint_optimum", "equal_mass_bins"), ("joint_optimum", "dynamic_no_bins"))
FITTED_SEED = levels.MOST_REPLICATIONS  # added to the seed: plans are fitted to requests of no replication


def models(names: Iterable[str] = PRESETS) -> dict[str, tuple[str, float, LatencyModel]]:
    """Models by label: a preset's name, with both ends of the split where prefill's share was not measured.

    Examples
    --------
    >>> list(models(["h100-vllm-llama3-8b", "h100x8-splitwise-llama2-70b"]))
    ['h100-vllm-llama3-8b, split 0.25', 'h100-vllm-llama3-8b, split 0.65', 'h100x8-splitwise-llama2-70b']
    """
    found: dict[str, tuple[str, float, LatencyModel]] = {}
    for name in check_each("presets", names, str):
        model = presets.load(name)
        if not getattr(getattr(model, "measured", None), "equal_lengths", False):
            found[name] = (name, np.nan, model)
            continue
        for split in presets.SPLIT_RANGE:
            found[f"{name}, split {split:g}"] = (name, split, presets.load(name, split=split))
    return found


def plans_of(
    level: int,
    latencies: Mapping[str, tuple[str, float, LatencyModel]],
    *,
    requests: int = 1000,
    fitted: int = 4000,
    gpus: int = 2,
    k_bins: int = 4,
    slack: float = 2.0,
    late_share: float = 0.1,
    seed: int = 42,
) -> dict[str, dict[str, JointBins]]:
    """Bins with batch sizes of their own, by model and name in `PLANS`.

    Parameters
    ----------
    level, latencies, requests, gpus, k_bins, slack, seed
        As for `runs_of`.
    fitted : int
        Requests of the level that plans are fitted to; none of them is simulated.
    late_share : float
        Share of each bin's batches whose service alone may take longer than the deadline. Nothing of the deadline is
        kept for waiting, as the controllers keep nothing.

    Returns
    -------
    dict
        Without the plans of a model whose deadline so many of the requests miss even alone.
    """
    source = levels.of(level).sources[-1]
    known = levels.requests_of(level, fitted, seed + FITTED_SEED, requests_from=source)[0]
    share = check_number("late_share", late_share, 0.0, 1.0, open_low=True, open_high=True)
    found: dict[str, dict[str, JointBins]] = {label: {} for label in latencies}
    for label, (_, _, model) in latencies.items():
        _, d_sla = _scale(level, model, requests, gpus, slack, seed)
        for name, bounds in PLANS.items():
            try:
                found[label][name] = phase_bins.joint_optimum(
                    known, k_bins, model, d_sla, quantile=1 - share, bounds=bounds, gpus=gpus
                )
            except InputError as problem:
                if not str(problem).startswith("deadline_s"):
                    raise
    return found


def plans_table(
    level: int,
    latencies: Mapping[str, tuple[str, float, LatencyModel]],
    plans: Mapping[str, Mapping[str, JointBins]],
) -> pd.DataFrame:
    """One row a plan: ``level, latency, preset, split, plan, edges, batch_sizes`` (texts), ``capacity_rps``.

    The capacity is that of servers that never lack a full batch, by formula, of the requests that were cut.
    """
    import pandas as pd

    rows = []
    for label, (preset, split, _) in latencies.items():
        for name, plan in plans.get(label, {}).items():
            rows.append(
                {"level": level, "latency": label, "preset": preset, "split": split, "plan": name}
                | {"edges": " ".join(f"{edge:.0f}" for edge in plan.edges)}
                | {"batch_sizes": " ".join(map(str, plan.batch_sizes)), "capacity_rps": plan.capacity_rps}
            )
    return pd.DataFrame(rows)


def _scale(level: int, model: LatencyModel, requests: int, gpus: int, slack: float, seed: int) -> tuple[float, float]:
    """What static batches of 8 serve of a level's requests all at once, per second; and the deadline."""
    first = levels.requests_of(level, requests, seed, requests_from=levels.of(level).sources[-1])[0]
    saturated_rps, batch_s = saturation(first, model, gpus)
    return saturated_rps, check_number("slack", slack, 0.0, open_low=True) * batch_s


def runs_of(
    level: int,
    latencies: Mapping[str, tuple[str, float, LatencyModel]],
    *,
    requests: int = 1000,
    gpus: int = 2,
    k_bins: int = 4,
    load: float = 0.8,
    slack: float = 2.0,
    seed: int = 42,
    replications: int = 30,
    plans: Mapping[str, Mapping[str, JointBins]] | None = None,
) -> pd.DataFrame:
    """Simulate a level under each model: every scheduler on the same requests, replication r with seed + r.

    Parameters
    ----------
    level : {1, 2, 3, 4}
        Whose requests: synthetic (1 and 3), or draws from BurstGPT's population (2 and 4).
    latencies : mapping
        From `models`.
    load : float
        Arrival rate over the rate at which static batches of 8 serve the same requests all at once, > 0.
    slack : float
        Deadline over the mean time of those batches, > 0; also the deadline that the controllers aim at.
    plans : mapping, optional
        From `plans_of`: more policies, which take what waits up to each bin's batch size, oldest bin first.

    Returns
    -------
    pandas.DataFrame
        One row a model, replication and scheduler: ``level, load, latency, preset, split, scheduler, replication,
        rate_rps, d_sla_s, sla_violation_share, latency_mean_s, queueing_mean_s, service_mean_s, batch_size_mean``,
        and the GPU time that a request takes, ``gpu_s_per_request``.
    """
    import pandas as pd

    check_number("load", load, 0.0, open_low=True)
    replications = check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    source, rows = levels.of(level).sources[-1], []
    for label, (preset, split, model) in latencies.items():
        saturated_rps, d_sla = _scale(level, model, requests, gpus, slack, seed)
        policies = levels.policies(k_bins, d_sla)
        for name, plan in (plans or {}).get(label, {}).items():
            policies[name] = deadline.policy(deadline.Plan(plan.edges, plan.batch_sizes), "greedy")
        for replication in levels.progress(replications, f"level {level}, {label}"):
            table = levels.requests_of(level, requests, seed + replication, requests_from=source)[0]
            span_s = float(table.arrival_s[-1] - table.arrival_s[0])
            table = table.at_rate(load * saturated_rps * span_s / (len(table) - 1))
            for name, policy in policies.items():
                run = simulate(table, policy, model, gpus, sla=d_sla)
                summary = run.summary() | {WORK: float(run.served.service_s.sum()) / len(table)}
                rows.append(
                    {"level": level, "load": load, "latency": label, "preset": preset, "split": split}
                    | {
                        "scheduler": name,
                        "replication": replication,
                        "rate_rps": load * saturated_rps,
                        "d_sla_s": d_sla,
                    }
                    | {metric: summary[metric] for metric in (*METRICS, WORK)}
                )
    return pd.DataFrame(rows)


def saturation(table: RequestTable, model: LatencyModel, gpus: int) -> tuple[float, float]:
    """What static batches of 8 serve of requests all at once, requests per second, and their mean time, seconds."""
    at_once = simulate(table.at_rate(1e9), StaticFIFO(), model, gpus)
    return len(table) / float(at_once.times.completion_s.max()), float(at_once.served.service_s.mean())


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean share of late requests with its 95 % interval, one row a level, load, model and scheduler."""
    import pandas as pd

    check_frame("runs", runs, (*KEYS, "scheduler", "sla_violation_share"))
    rows = []
    for key, group in runs.groupby([*KEYS, "scheduler"], sort=False, dropna=False):
        share = as_row(intervals.mean_interval(group["sla_violation_share"]), "violation_share")
        means = group[["rate_rps", "d_sla_s", "latency_mean_s", "batch_size_mean"]].mean().to_dict()
        rows.append(
            dict(zip([*KEYS, "scheduler"], key, strict=True))
            | share
            | {"ci_low": max(share["ci_low"], 0.0)}
            | means
            | {"replications": len(group)}
        )
    return pd.DataFrame(rows)


def differences(runs: pd.DataFrame, keys: Sequence[str] = tuple(KEYS)) -> pd.DataFrame:
    """Differences of the shares of late requests, A minus B, by `keys`; ``p_holm`` over all of the table."""
    import pandas as pd

    check_frame("runs", runs, (*keys, "scheduler", "replication", "sla_violation_share"))
    rows: list[dict[str, Any]] = []
    for key, group in runs.groupby(list(keys), sort=False, dropna=False):
        wide = group.pivot_table(index="replication", columns="scheduler", values="sla_violation_share")
        for a, b in [pair for pair in (*levels.PAIRS, *PLAN_PAIRS) if set(pair) <= set(wide)]:
            pair = intervals.difference(wide[a], wide[b])
            rows.append(
                dict(zip(keys, key, strict=True))
                | {"scheduler_a": a, "scheduler_b": b}
                | as_row(pair, "difference")
                | {"p_holm": pair.p_value, "replications": len(wide)}
            )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=intervals.holm(table["p_holm"]))
