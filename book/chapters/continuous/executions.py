"""The two execution models on the same requests: batches run to completion, and continuous batching.

Reads a measured preset that both can use: a batch's time by its phases, and the same coefficients as a law of steps
(`phases.Phases.step_law`). Three schedulers form batches; an engine takes the same requests with the static
scheduler's places, in order of arrival, or in the order of the bins. Terminating: n requests from an empty system, at
rates from idle to overload; what is overloaded is called unstable, and has no mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import levels
from simlib.checks import check_each, check_frame, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.latency import presets
from simlib.latency.models import LatencyModel
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.static import StaticFIFO
from simlib.requests import workload
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.estimates import as_row

if TYPE_CHECKING:
    import pandas as pd


PRESET = "h100x8-splitwise-llama2-70b"  # of those with both phases measured, the fastest
LOADS = (0.1, 0.5, 0.9, 1.3, 2.0, 2.7, 4.0, 7.0, 9.5, 12.0)
BATCHES, STEPS = "run_to_completion", "continuous"
BEST = "best static batches"  # of the size that serves most, with a backlog, of requests that are not judged
CHOSEN_BY = 100_000  # added to the seed
METRICS = ("sla_violation_share", "ttft_p99_s", "tpot_mean_s", "latency_p99_s", "throughput_rps", "goodput_rps")
# What is subtracted from what: the engine's order from its counterpart, and bins from none, in both worlds.
PAIRS = (
    ((STEPS, "static_fifo"), (BATCHES, "static_fifo")),
    ((STEPS, "fcfs"), (BATCHES, BEST)),
    ((STEPS, "fcfs"), (BATCHES, "dynamic_no_bins")),
    ((STEPS, "multi_bin_dynamic"), (BATCHES, "multi_bin_dynamic")),
    ((BATCHES, "multi_bin_dynamic"), (BATCHES, BEST)),
    ((BATCHES, "multi_bin_dynamic"), (BATCHES, "dynamic_no_bins")),
    ((STEPS, "multi_bin_dynamic"), (STEPS, "fcfs")),
)
AGAINST = PAIRS[:4]  # the engine against each way of forming batches
SYSTEM, POINT = ["execution", "scheduler"], ["load", "rate_rps", "execution", "scheduler"]
SCORED = 0.9  # of a saturated run: at its end some GPUs have nothing left to do


@dataclass(frozen=True, slots=True)
class Contest:
    """What competes, on what: systems by execution and scheduler, a policy and an execution each.

    Attributes
    ----------
    model : LatencyModel
        Of batches; an engine's steps follow its law of steps.
    systems : mapping of (str, str) to (policy, execution)
    gpus : int
    d_sla : float
        The deadline of end-to-end latency that is scored, and that the controllers aim at, seconds.
    engine : Continuous
        The engine's settings.
    reference_rps : float
        What static batches serve of requests that all wait: the rate at load 1.
    """

    model: LatencyModel
    systems: Mapping[tuple[str, str], tuple[Any, Any]]
    gpus: int
    d_sla: float
    engine: Continuous
    reference_rps: float


def contest(
    requests: int, gpus: int = 2, k_bins: int = 4, batch_size: int = 8, slack: float = 2.0, seed: int = 42
) -> Contest:
    """The seven systems under `PRESET`, none with more sequences on a GPU than were measured.

    Parameters
    ----------
    requests, seed : int
        How many of the original's synthetic requests, of which seed, set deadline and reference rate, >= 1.
    batch_size : int
        Of static batches, and places of their counterpart, >= 1.
    slack : float
        Deadline over the mean time of static batches of requests that all wait, > 0.
    """
    check_number("slack", slack, 0.0, open_low=True)
    model = presets.load(PRESET)
    most = int(model.measured.batch_size[1])
    static = StaticFIFO(min(batch_size, most))
    run = simulate(_at_once(workload.original(requests, seed)), static, model, gpus)
    d_sla = float(slack * run.served.service_s.mean())
    rules = Rules(b_max=most)
    engine = Continuous(max_seqs=most, kv_tokens=int(rules.memory.capacity_tokens))
    bins = MultiBinDynamic(k_bins, d_sla, variant=rules)
    others = _at_once(workload.original(requests, seed + CHOSEN_BY))
    sizes = [most, *(size for size in (8, 16, 32) if size < most)]
    size = max(sizes, key=lambda size: saturated_rps_of(simulate(others, StaticFIFO(size), model, gpus)))
    systems = {(BATCHES, policy.name): (policy, BATCHES) for policy in (static, DynamicNoBins(d_sla, rules), bins)}
    systems |= {
        (BATCHES, BEST): (StaticFIFO(size), BATCHES),
        (STEPS, "static_fifo"): (static, engine),
        (STEPS, "fcfs"): ("fcfs", engine),
        (STEPS, "multi_bin_dynamic"): (bins, engine),
    }
    return Contest(model, systems, gpus, d_sla, engine, saturated_rps_of(run))


def runs_of(
    given: Contest, requests: int, loads: Iterable[float] = LOADS, *, seed: int = 42, replications: int = 20
) -> pd.DataFrame:
    """Simulate every system at every load, on the same requests: replication r has the original's seed + r.

    Parameters
    ----------
    loads : iterable of float
        Arrival rates over the contest's `reference_rps`, > 0.

    Returns
    -------
    pandas.DataFrame
        One row a load, replication and system: ``load, rate_rps, execution, scheduler, replication, stability,
        preemptions`` and the `METRICS`.
    """
    import pandas as pd

    loads = check_each("loads", loads, lambda load: check_number("load", load, 0.0, open_low=True))
    replications = check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    rows = []
    for replication in levels.progress(replications, "execution models"):
        drawn = workload.original(requests, seed + replication)
        for load in loads:
            table, rate_rps = _at_load(drawn, given, load), load * given.reference_rps
            for (execution, scheduler), (policy, how) in given.systems.items():
                run = simulate(table, policy, given.model, given.gpus, how, given.d_sla)
                summary = run.summary()
                rows.append(
                    {"load": load, "rate_rps": rate_rps, "execution": execution, "scheduler": scheduler}
                    | {"replication": replication, "stability": summary["stability"]}
                    | {"preemptions": getattr(run, "preemptions", 0)}
                    | {metric: summary[metric] for metric in METRICS}
                )
    return pd.DataFrame(rows)


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Means with 95 % intervals, one row a load, system and metric; none where the system is unstable.

    A point's ``stability`` is what most of its replications are called (``near_critical`` without a majority):
    `stability.stability`, which needs 5,000 requests.
    """
    import pandas as pd

    check_frame("runs", runs, (*POINT, "stability", *METRICS))
    rows = []
    for key, group in runs.groupby(POINT, sort=False):
        label = _label(group["stability"])
        for metric in METRICS:
            row = dict(zip(POINT, key, strict=True)) | {"stability": label, "metric": metric}
            if label != "unstable":
                row |= as_row(intervals.mean_interval(group[metric]), "mean")
                row["ci_low"] = max(row["ci_low"], 0.0)
            rows.append(row | {"replications": len(group)})
    columns = [*POINT, "stability", "metric", "mean", "ci_low", "ci_high", "replications"]
    return pd.DataFrame(rows, columns=columns)


def differences(runs: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of `PAIRS`, A minus B, where neither is unstable; ``p_holm`` over the whole table."""
    import pandas as pd

    check_frame("runs", runs, (*POINT, "replication", "stability", *METRICS))
    rows: list[dict[str, Any]] = []
    for (load, rate_rps), group in runs.groupby(["load", "rate_rps"], sort=False):
        systems = {key: rows.set_index("replication") for key, rows in group.groupby(SYSTEM, sort=False)}
        for a, b in PAIRS:
            if "unstable" in (_label(systems[a]["stability"]), _label(systems[b]["stability"])):
                continue
            for metric in METRICS:
                pair = intervals.paired_difference(systems[a][metric], systems[b][metric])
                rows.append(
                    {"load": load, "rate_rps": rate_rps, "execution_a": a[0], "scheduler_a": a[1]}
                    | {"execution_b": b[0], "scheduler_b": b[1], "metric": metric}
                    | as_row(pair, "difference")
                    | {"p_holm": pair.p_value, "replications": pair.replications}
                )
    table = pd.DataFrame(rows)
    return table.assign(p_holm=intervals.holm(table["p_holm"])) if len(table) else table


def saturated(given: Contest, requests: int, *, seed: int = 42, replications: int = 20) -> pd.DataFrame:
    """What each system serves of requests that all wait: ``execution, scheduler, replication, saturated_rps``."""
    import pandas as pd

    check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    rows = []
    for replication in range(replications):
        table = _at_once(workload.original(requests, seed + replication))
        for (execution, scheduler), (policy, how) in given.systems.items():
            run = simulate(table, policy, given.model, given.gpus, how)
            place = {"execution": execution, "scheduler": scheduler, "replication": replication}
            rows.append(place | {"saturated_rps": saturated_rps_of(run)})
    return pd.DataFrame(rows)


def ratios(runs: pd.DataFrame) -> pd.DataFrame:
    """Saturated throughputs with 95 % intervals, and the ratios of `PAIRS`, paired on the logarithmic scale.

    One row a system (empty ``execution_b, scheduler_b``, requests a second), then one a pair (a ratio).
    """
    import pandas as pd

    check_frame("runs", runs, (*SYSTEM, "replication", "saturated_rps"))
    systems = {key: rows.set_index("replication")["saturated_rps"] for key, rows in runs.groupby(SYSTEM, sort=False)}
    rows = []
    for (execution, scheduler), rates in systems.items():
        place = {"execution_a": execution, "scheduler_a": scheduler, "execution_b": "", "scheduler_b": ""}
        rows.append(place | as_row(intervals.mean_interval(rates), "value"))
    for a, b in PAIRS:
        pair = intervals.paired_difference(np.log(systems[a]), np.log(systems[b]))
        place = {"execution_a": a[0], "scheduler_a": a[1], "execution_b": b[0], "scheduler_b": b[1]}
        rows.append(place | {name: float(np.exp(value)) for name, value in as_row(pair, "value").items()})
    return pd.DataFrame(rows).assign(replications=runs["replication"].nunique())


def occupancies(given: Contest, *, load: float = 0.9, requests: int = 400, seed: int = 42) -> dict[str, pd.DataFrame]:
    """What GPUs did under the static scheduler and on an engine with its places, by title (`BatchRun.occupancy`)."""
    check_number("load", load, 0.0, open_low=True)
    table = _at_load(workload.original(requests, seed), given, load)
    titles = {BATCHES: "Static batches", STEPS: "Engine with as many places"}
    return {
        title: simulate(table, policy, given.model, given.gpus, how).occupancy()
        for execution, title in titles.items()
        for policy, how in [given.systems[execution, "static_fifo"]]
    }


def _at_load(table: RequestTable, given: Contest, load: float) -> RequestTable:
    if len(table) == 1:
        return table
    span_s = float(table.arrival_s[-1] - table.arrival_s[0])
    return table.at_rate(load * given.reference_rps * span_s / (len(table) - 1))


def _at_once(table: RequestTable) -> RequestTable:
    return table.at_rate(1e9)


def saturated_rps_of(run: Any) -> float:
    """The rate at which a run of requests that all wait is served, without the end, when GPUs run out of work."""
    done_s = np.sort(run.times.completion_s) - run.table.arrival_s[0]
    scored = max(1, int(SCORED * len(done_s)))
    return scored / float(done_s[scored - 1])


def _label(labels: pd.Series) -> str:
    counts = labels.value_counts()
    return str(counts.index[0]) if 2 * counts.iloc[0] > len(labels) else "near_critical"
