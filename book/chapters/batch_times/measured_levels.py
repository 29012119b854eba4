"""Levels 3 and 4 with measured service times: bins and the best without them, under presets of GPUs, at matched load.

Reads `levels` for the requests and the schedulers. A GPU that is three times as fast bears three times the load, so
neither the rate nor the deadline of the original's tables means the same on two of them: both are set by the preset.
The rate is a share of what static batches of 8 can serve, the deadline a multiple of what such a batch takes. Beside
the original's schedulers stand bins and what does without them, each with settings that other requests chose, and
plans: bins with batch sizes of their own, chosen for each preset by `phase_bins`. Terminating: n requests from an empty
system.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.traffic_bins import deadline
from book.kit import arms
from book.kit.bins import phase_bins
from book.kit.bins.joint_bins import JointBins
from simlib import levels
from simlib.checks import InputError, check_each, check_frame, check_integer, check_number
from simlib.latency import presets
from simlib.latency.models import LatencyModel
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row

if TYPE_CHECKING:
    import pandas as pd


GPU_NAMES = {
    "original-calibrated": "the formula, assumed",
    "a100-vllm-llama3-8b": "vLLM on A100, Llama 3 8B",
    "h100-vllm-llama3-8b": "vLLM on H100, Llama 3 8B",
    "h100-trtllm-llama3-8b": "TensorRT-LLM on H100, Llama 3 8B",
    "gaudi2-deepspeed-llama3-8b": "DeepSpeed on Gaudi 2, Llama 3 8B",
    "h100x8-splitwise-llama2-70b": "8 H100s, Llama 2 70B",
}
PRESETS = tuple(GPU_NAMES)
# Prefill's share of what a token adds, where it was not measured: from the least of Splitwise's groups to all of it, as
# closed-loop runs of Llama 3.1 8B have it (`prefill`).
SPLITS = (presets.SPLIT_RANGE[0], 1.0)
KEYS = ["level", "load", "latency", "preset", "split"]
METRICS = ("sla_violation_share", "latency_mean_s", "queueing_mean_s", "service_mean_s", "batch_size_mean")
WORK = "gpu_s_per_request"
# Bins with batch sizes of their own, by name, and where they are cut.
PLANS = {"equal_mass_bins": "equal_mass", "joint_optimum": "optimal"}
# What is chosen on other requests, the best of its arms with the best of its settings; without predictions, too.
BINS, WITHOUT_BINS, UNSORTED = "best_bins", "best_without_bins", "best_unsorted"
ARMS = {
    BINS: ("multi_bin_dynamic", *PLANS),
    WITHOUT_BINS: ("static_fifo", "dynamic_no_bins", "shortest_predicted_first"),
    UNSORTED: ("static_fifo", "dynamic_no_bins"),
}
SIZES, FEWEST_BINS, TUNED = (2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128), 2, 10
BEST = f"scheduler_a == {BINS!r} and scheduler_b == {WITHOUT_BINS!r}"  # the rows that compare them, as a query
PAIRS = (
    *((BINS, WITHOUT_BINS), (BINS, UNSORTED)),
    *(("joint_optimum", "equal_mass_bins"), ("joint_optimum", WITHOUT_BINS)),
)
FITTED_SEED = levels.MOST_REPLICATIONS  # added to the seed: what is chosen is chosen on requests of no replication


def models(names: Iterable[str] = PRESETS) -> dict[str, tuple[str, float, LatencyModel]]:
    """Models by label: a GPU's name, with both ends of `SPLITS` where prefill's share was not measured.

    Examples
    --------
    >>> list(models(["h100-vllm-llama3-8b", "h100x8-splitwise-llama2-70b"]))
    ['vLLM on H100, Llama 3 8B, prefill 0.25', 'vLLM on H100, Llama 3 8B, prefill 1', '8 H100s, Llama 2 70B']
    """
    found: dict[str, tuple[str, float, LatencyModel]] = {}
    for name in check_each("presets", names, str):
        model = presets.load(name)
        if not getattr(getattr(model, "measured", None), "equal_lengths", False):
            found[GPU_NAMES.get(name, name)] = (name, np.nan, model)
            continue
        for split in SPLITS:
            found[f"{GPU_NAMES.get(name, name)}, prefill {split:g}"] = (name, split, presets.load(name, split=split))
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
    most_s: float = deadline.UNSTEERED_S,
    late_share: float = 0.1,
    seed: int = 42,
) -> dict[str, dict[str, JointBins]]:
    """Bins with batch sizes of their own, by model and name in `PLANS`.

    Parameters
    ----------
    level, latencies, requests, gpus, k_bins, slack, most_s, seed
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
        _, d_sla = _scale(level, model, requests, gpus, slack, most_s, seed)
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


def greedy(plans: Mapping[str, Mapping[str, JointBins]]) -> dict[str, dict[str, Any]]:
    """Plans as policies, which take what waits up to each bin's batch size, oldest bin first."""
    return {
        label: {
            name: deadline.policy(deadline.Plan(plan.edges, plan.batch_sizes), "greedy") for name, plan in own.items()
        }
        for label, own in plans.items()
    }


def tuned(
    level: int,
    latencies: Mapping[str, tuple[str, float, LatencyModel]],
    *,
    load: float,
    requests: int = 1000,
    gpus: int = 2,
    k_bins: int = 4,
    slack: float = 2.0,
    most_s: float = deadline.UNSTEERED_S,
    seed: int = 42,
    replications: int = TUNED,
    plans: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """Choose the settings of bins and of what does without them, by the least mean share of late requests.

    Parameters
    ----------
    level, latencies, load, requests, gpus, k_bins, slack, most_s, seed
        As for `runs_of`.
    replications : int
        Of requests that `runs_of` has in none of its own.
    plans : mapping, optional
        From `greedy`: they have their sizes, and stand among the bins.

    Returns
    -------
    table : pandas.DataFrame
        One row a model and arm: ``level, load, latency, preset, split, arm, setting, tuned_share``, and whether it is
        the best of each group in `ARMS`.
    policies : dict
        By model and group, the best.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    policies = {}
    for label, (preset, split, model) in latencies.items():
        saturated_rps, d_sla = _scale(level, model, requests, gpus, slack, most_s, seed)
        tables = [
            _requests(level, requests, seed + FITTED_SEED + 1 + draw, load * saturated_rps)
            for draw in range(check_integer("replications", replications, 1, levels.MOST_REPLICATIONS))
        ]
        planned = [(arm, "sizes of their own", plan) for arm, plan in (plans or {}).get(label, {}).items()]
        best: dict[str, tuple[float, str, Any]] = {}
        for arm, setting, policy in [*_settings(k_bins, d_sla, tables[0].output_tokens), *planned]:
            runs = (simulate(table, policy, model, gpus, sla=d_sla) for table in tables)
            share = float(np.mean([run.summary()["sla_violation_share"] for run in runs]))
            if arm not in best or share < best[arm][0]:
                best[arm] = (share, setting, policy)
        first = {group: min(set(own) & set(best), key=lambda arm: (best[arm][0], arm)) for group, own in ARMS.items()}
        policies[label] = {group: best[arm][2] for group, arm in first.items()}
        rows += [
            {"level": level, "load": load, "latency": label, "preset": preset, "split": split, "arm": arm}
            | {"setting": setting, "tuned_share": share}
            | {group: arm == chosen for group, chosen in first.items()}
            for arm, (share, setting, _) in best.items()
        ]
    return pd.DataFrame(rows), policies


def _settings(k_bins: int, d_sla: float, output_tokens: np.ndarray) -> Iterator[tuple[str, str, Any]]:
    """Arm, setting in words, policy: what is tried, the smallest batches first."""
    ageing_s, lines = arms.ageing_s(output_tokens, d_sla), sorted({min(FEWEST_BINS, k_bins), k_bins})
    for size in SIZES:
        tried = [arms.static([size], "at most {}"), arms.dynamic(d_sla, [size], "at most {}")]
        for k in lines:
            tried.append(arms.bins(d_sla, [k], [size], "{} bins, at most {}"))
            tried.append(arms.shortest(ageing_s, [k], [size], "{} lines, ageing, at most {}"))
            tried.append(arms.shortest(None, [k], [size], "{} lines, no ageing, at most {}"))
        yield from ((policy.name, setting, policy) for found in tried for setting, policy in found.items())


def _requests(level: int, requests: int, seed: int, rate_rps: float) -> RequestTable:
    table = levels.requests_of(level, requests, seed, requests_from=levels.of(level).sources[-1])[0]
    return table.at_rate(rate_rps * float(table.arrival_s[-1] - table.arrival_s[0]) / (len(table) - 1))


def _scale(
    level: int, model: LatencyModel, requests: int, gpus: int, slack: float, most_s: float, seed: int
) -> tuple[float, float]:
    """What static batches of 8 serve of a level's requests all at once, per second; and the deadline."""
    first = levels.requests_of(level, requests, seed, requests_from=levels.of(level).sources[-1])[0]
    saturated_rps, batch_s = saturation(first, model, gpus)
    limit_s = check_number("most_s", most_s, 0.0, open_low=True)
    return saturated_rps, min(check_number("slack", slack, 0.0, open_low=True) * batch_s, limit_s)


def runs_of(
    level: int,
    latencies: Mapping[str, tuple[str, float, LatencyModel]],
    *,
    requests: int = 1000,
    gpus: int = 2,
    k_bins: int = 4,
    load: float = 0.8,
    slack: float = 2.0,
    most_s: float = deadline.UNSTEERED_S,
    seed: int = 42,
    replications: int = 30,
    others: Mapping[str, Mapping[str, Any]] | None = None,
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
    most_s : float
        No deadline is longer, seconds.
    others : mapping, optional
        More policies, by model and name: of `tuned`, of `greedy`.

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
    rows: list[dict[str, Any]] = []
    for label, (preset, split, model) in latencies.items():
        saturated_rps, d_sla = _scale(level, model, requests, gpus, slack, most_s, seed)
        policies = levels.policies(k_bins, d_sla) | dict((others or {}).get(label, {}))
        for replication in levels.progress(replications, f"level {level}, {label}"):
            table = _requests(level, requests, seed + replication, load * saturated_rps)
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
        for a, b in [pair for pair in (*levels.PAIRS, *PAIRS) if set(pair) <= set(wide)]:
            pair = intervals.difference(wide[a], wide[b])
            rows.append(
                dict(zip(keys, key, strict=True))
                | {"scheduler_a": a, "scheduler_b": b}
                | as_row(pair, "difference")
                | {"p_holm": pair.p_value, "replications": len(wide)}
            )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=intervals.holm(table["p_holm"]))
