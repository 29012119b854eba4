"""Which scheduler when: every policy of the book on the same requests, in both executions, up to the edge of capacity.

Beside `executions`, whose preset both executions read. Three kinds of traffic (Poisson, BurstGPT-like, Azure-like) are
brought to shares of what first come, first served carries of each in each execution; the deadline is what a tenth of
its requests miss at 80 % of that, and a minute at most. Batches have the size that does best on other draws
(`sizes.picked`), those of first come, first served, too, against which each policy is held, in pairs. Terminating: n
requests from an empty system.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous import executions
from book.chapters.policies import floors, sizes
from book.chapters.traffic_bins import deadline
from book.kit import arms
from book.kit.bins import phase_bins
from simlib import levels
from simlib.checks import check_choice, check_each, check_frame, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.durations import Seconds
from simlib.latency import presets
from simlib.policies import bins
from simlib.policies.batch_size import Rules
from simlib.policies.deadline.early_rejection import EarlyRejection
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.fair_share import FairShare
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests import azure, burstgpt, predictors, workload
from simlib.requests.clients import with_clients
from simlib.requests.table import RequestTable
from simlib.runs.metrics import request_times, violations
from simlib.runs.run import Run
from simlib.stats import intervals
from simlib.stats.estimates import as_row

if TYPE_CHECKING:
    import pandas as pd


BATCHES, STEPS = sizes.BATCHES, "continuous"
TRAFFIC = ("poisson", "burstgpt_like", "azure_like")
EDGE = 0.95  # the last load below capacity
LOADS = (0.5, 0.8, EDGE, 1.2)
PREDICTORS: Mapping[str, Any] = {
    "oracle": predictors.Oracle(),
    "noise 0.5": predictors.MultiplicativeNoise(0.5),
    "rank 0.4": predictors.LatentScore(0.4),
}
BASELINE = "fcfs"  # of batches, static or dynamic ones, whichever does better on other draws
MAIN = "noise 0.5"  # the predictor of the comparison; the others are an axis of it
BLIND = ("static_fifo", "dynamic_no_bins", BASELINE, "timeout")  # policies that read no prediction
CLASSES = {"short": (0.0, 1 / 3), "middle": (1 / 3, 2 / 3), "long": (2 / 3, 1.0)}  # by rank of the true output
METRICS = (
    *("sla_violation_share", "goodput_rps", "latency_mean_s", "latency_p99_s"),
    *(f"late_{name}" for name in CLASSES),
    *("late_heavy_client", "late_light_clients", "over_floor"),
)
AXIS_LOAD, LATE_SHARE, MOST_S, UNSTEERED_S = 0.8, 0.1, 60.0, Seconds(1e6)  # nobody promises a deadline beyond a minute
SHARES = (9.0, *[1.0] * 9)  # of ten clients: one sends half of the requests
POINT = ["execution", "traffic", "load", "predictor", "policy"]


@dataclass(frozen=True, slots=True)
class Place:
    """One kind of traffic in one execution: what competes, at which rate load 1 is, and the deadline.

    Attributes
    ----------
    execution, traffic : str
    capacity_rps : float
        What first come, first served carries of requests that all wait.
    d_sla : float
        Deadline of end-to-end latency, seconds.
    policies : mapping of str to mapping
        Each policy's variants, (policy, execution) by what is written in a table; one of them is picked.
    known : tuple of RequestTable
        Requests of no replication, with the main predictor, by which it is.
    model : LatencyModel
    gpus : int
    """

    execution: str
    traffic: str
    capacity_rps: float
    d_sla: float
    policies: Mapping[str, sizes.Variants]
    known: tuple[RequestTable, ...]
    model: Any
    gpus: int


def requests_of(traffic: str, requests: int, seed: int, predictor: str = "oracle") -> RequestTable:
    """Requests of a kind of traffic with predictions and clients.

    Parameters
    ----------
    traffic : {"poisson", "burstgpt_like", "azure_like"}
        The original's synthetic recipe; draws from BurstGPT's population of conversations, failed ones left out; draws
        like Azure's hour of conversations.
    requests, seed : int
    predictor : str
        A name in `PREDICTORS`.

    Raises
    ------
    InputError
        If an argument is bad.
    """
    check_choice("traffic", traffic, TRAFFIC)
    check_choice("predictor", predictor, PREDICTORS)
    requests, seed = check_integer("requests", requests, 16, 10**6), check_integer("seed", seed, 0, 2**31)
    if traffic == "poisson":
        table = workload.original(requests, seed)
    elif traffic == "azure_like":
        table = azure.azure_like(requests, seed)
    else:  # so many more that failed ones can be left out
        table = burstgpt.burstgpt_like(requests + requests // 5 + 50, seed, traffic="conversations")
        table = table.rows(table.output_tokens > 0).head(requests)
    table = predictors.predict(table, PREDICTORS[predictor], family=f"policies {traffic}", replication=seed)
    return with_clients(table, SHARES, f"policies {traffic}", seed)


def place_of(
    execution: str, traffic: str, *, requests: int = 1000, gpus: int = 2, k_bins: int = 4, seed: int = 42
) -> Place:
    """The policies that compete for a kind of traffic, and the scale of rates and deadline.

    Parameters
    ----------
    execution : {"run_to_completion", "continuous"}
    traffic : str
    requests, seed : int
        Rates, deadline, optimal bins and the joint optimum are fitted to draws of so many requests, which are of no
        replication: to `sizes.DRAWS` of them the deadline, the others to the first.

    Returns
    -------
    Place
        Its deadline is the 0.9 quantile of the latency under first come, first served at 80 % of the capacity, which is
        what it carries of requests that all wait; `MOST_S` where that is more.
    """
    check_choice("execution", execution, (BATCHES, STEPS))
    model = presets.load(executions.PRESET)
    most = int(model.measured.batch_size[1])
    rules = Rules(b_max=most)
    engine = Continuous(max_seqs=most, kv_tokens=int(rules.memory.capacity_tokens))
    known = tuple(requests_of(traffic, requests, seed + sizes.FITTED + draw, MAIN) for draw in range(sizes.DRAWS))
    first = (DynamicNoBins(UNSTEERED_S, rules), BATCHES) if execution == BATCHES else ("fcfs", engine)
    full = sizes.run_of(known[0].at_rate(1e9), first[0], model, gpus, first[1])
    capacity_rps = executions.saturated_rps_of(full)
    waits = [sizes.at_rate(table, AXIS_LOAD * capacity_rps) for table in known]
    latencies_s = [sizes.latencies_s(sizes.run_of(table, first[0], model, gpus, first[1])) for table in waits]
    d_sla = min(MOST_S, float(np.quantile(np.concatenate(latencies_s), 1 - LATE_SHARE)))
    if execution == BATCHES:
        policies = _of_batches(known[0], model, d_sla, rules, gpus, k_bins)
    else:
        policies = _of_steps(known[0], engine, d_sla, full.summary()["service_mean_s"], k_bins)
    return Place(execution, traffic, capacity_rps, d_sla, policies, known, model, gpus)


def carried_rps(table: RequestTable, model: Any, gpus: int) -> float:
    """What dynamic batching, steered to no deadline, carries of requests that all wait: the rate at load 1."""
    unsteered = DynamicNoBins(UNSTEERED_S, Rules(b_max=int(model.measured.batch_size[1])))
    return executions.saturated_rps_of(sizes.run_of(table.at_rate(1e9), unsteered, model, gpus))


def scales(places: Iterable[Place]) -> pd.DataFrame:
    """What load 1 is at each place, and the deadline: ``execution, traffic, capacity_rps, d_sla``."""
    import pandas as pd

    names = ("execution", "traffic", "capacity_rps", "d_sla")
    return pd.DataFrame([{name: getattr(place, name) for name in names} for place in places])


def _of_batches(
    known: RequestTable, model: Any, d_sla: float, rules: Rules, gpus: int, k_bins: int
) -> dict[str, sizes.Variants]:
    """What is fitted is fitted to `known`; a policy that orders lines has as many as there are bins."""
    plan = phase_bins.joint_optimum(
        known, k_bins, model, d_sla, quantile=1 - LATE_SHARE, max_batch=rules.b_max, gpus=gpus
    )
    joint = deadline.policy(deadline.Plan(plan.edges, plan.batch_sizes), "greedy")
    cut = bins.edges("optimal", known.predicted_output_tokens, k_bins, 8).tolist()
    capped = {cap: Rules(b_max=cap) for cap in sizes.CAPS}
    optimal = {str(cap): MultiBinDynamic(k_bins, d_sla, "oldest_head", cut, own) for cap, own in capped.items()}
    early = {str(cap): EarlyRejection(d_sla, variant=own) for cap, own in capped.items()}
    fair = {str(cap): FairShare(cap) for cap in capped}
    return {
        BASELINE: sizes.static() | sizes.dynamic(d_sla),
        "static_fifo": sizes.static(),
        "dynamic_no_bins": sizes.dynamic(d_sla),
        "multi_bin_dynamic": sizes.bins(d_sla, (2, k_bins)),
        "optimal_bins": sizes.in_batches(optimal),
        "joint_optimum": sizes.in_batches({" ".join(map(str, plan.batch_sizes)): joint}),
        "shortest_predicted_first": sizes.shortest(known, d_sla, (2, k_bins)),
        "early_rejection": sizes.in_batches(early),
        "fair_share": sizes.in_batches(fair),
    }


def _of_steps(
    known: RequestTable, engine: Continuous, d_sla: float, service_s: float, k_bins: int
) -> dict[str, sizes.Variants]:
    """Clients leave once what is left of the deadline is less than the mean time in service at capacity."""
    first = ShortestPredictedFirst(arms.ageing_s(known.output_tokens, d_sla))
    found = {
        BASELINE: ("fcfs", engine),
        "multi_bin_dynamic": (MultiBinDynamic(k_bins, d_sla), engine),
        "shortest_predicted_first": (first, engine),
        "timeout": ("fcfs", replace(engine, timeout_s=max(d_sla - service_s, d_sla / 4))),
        "fair_share": (FairShare(), engine),
    }
    return {name: {"": system} for name, system in found.items()}


def runs_of(
    places: Iterable[Place],
    loads: Iterable[float] = LOADS,
    *,
    requests: int = 1000,
    seed: int = 42,
    replications: int = 20,
    predictor: str = MAIN,
) -> pd.DataFrame:
    """Simulate every policy at every load with one predictor, and at `AXIS_LOAD` with each of them.

    Parameters
    ----------
    places : iterable of Place
    loads : iterable of float
        Rates over the place's capacity, > 0.
    seed : int
        Replication r has the requests of seed + r, the same for all policies, loads and predictors.
    predictor : str
        A name in `PREDICTORS`. What reads no prediction is simulated once.

    Returns
    -------
    pandas.DataFrame
        ``execution, traffic, load, predictor, policy, chosen, replication`` and the `METRICS`: `chosen` is the variant
        that was picked, ``late_short`` and so on are shares of late requests by `CLASSES` of true output,
        ``late_heavy_client`` that of the client that sends half of all, ``late_light_clients`` the mean over the
        others, ``over_floor`` the mean latency over what no order can be below; missing where requests were turned
        away.
    """
    import pandas as pd

    loads = check_each("loads", loads, lambda load: check_number("load", load, 0.0, open_low=True))
    check_choice("predictor", predictor, PREDICTORS)
    replications = check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    rows = []
    for place in places:
        chosen = _chosen(place, loads, predictor)
        for replication in levels.progress(replications, f"{place.execution}, {place.traffic}"):
            for name in PREDICTORS:
                table = requests_of(place.traffic, requests, seed + replication, name)
                for load in [load for load in loads if name == predictor or load == AXIS_LOAD]:
                    given = sizes.at_rate(table, load * place.capacity_rps)
                    floor_s = _floor_s(given, place)
                    for policy, variants in place.policies.items():
                        if name != predictor and policy in BLIND:
                            continue
                        which = chosen[load, name, policy]
                        run = sizes.run_of(given, variants[which][0], place.model, place.gpus, variants[which][1])
                        where = (place.execution, place.traffic, load, name, policy)
                        row = dict(zip(POINT, where, strict=True)) | {"chosen": which, "replication": replication}
                        rows.append(row | _measured(run, place.d_sla, floor_s))
    return pd.DataFrame(rows)


def _chosen(place: Place, loads: Iterable[float], main: str) -> dict[tuple[float, str, str], str]:
    """Each policy's variant by load and predictor, picked on the known requests as that predictor sees them."""
    found = {}
    for name, predictor in PREDICTORS.items():
        known = [
            predictors.predict(table, predictor, family=f"policies {place.traffic}", replication=sizes.FITTED + draw)
            for draw, table in enumerate(place.known)
        ]
        for load in [load for load in loads if name == main or load == AXIS_LOAD]:
            given = [sizes.at_rate(table, load * place.capacity_rps) for table in known]
            for policy, variants in place.policies.items():
                found[load, name, policy] = sizes.picked(variants, given, place.model, place.gpus, place.d_sla)
    return found


def _measured(run: Run, d_sla: float, floor_s: float) -> dict[str, float]:
    summary, late = run.summary(d_sla), violations(run, d_sla)
    found = {metric: float(summary[metric]) for metric in METRICS[:2]}
    latency_s = request_times(run)["latency"]
    served_s = latency_s[~np.isnan(latency_s)]
    found |= {"latency_mean_s": float(served_s.mean()), "latency_p99_s": float(np.quantile(served_s, 0.99))}
    rank = np.argsort(np.argsort(run.table.output_tokens, kind="stable")) / len(late)
    found |= {
        f"late_{name}": float(late[(rank >= low) & (rank < high)].mean()) for name, (low, high) in CLASSES.items()
    }
    client = run.table.labels["client"]  # from 0, the heavy one first
    sent = np.bincount(client, minlength=len(SHARES))
    shares = np.bincount(client, late, len(SHARES)) / np.maximum(sent, 1)
    found |= {"late_heavy_client": float(shares[0]), "late_light_clients": float(shares[1:][sent[1:] > 0].mean())}
    everybody = len(served_s) == len(late)
    return found | {"over_floor": found["latency_mean_s"] / floor_s if everybody else np.nan}


def _floor_s(table: RequestTable, place: Place) -> float:
    """The mean latency that no order of these requests is below."""
    prompt, output = table.prompt_tokens, table.output_tokens
    most = int(place.model.measured.batch_size[1])
    if place.execution == BATCHES:
        times_s = place.model.model.batch_time_s(np.arange(1, most + 1), prompt[:, None], output[:, None])
        work_s, alone_s = floors.batch_work_s(times_s), times_s[:, 0]
    else:
        work_s, alone_s = floors.step_work_s(prompt, output, place.model.step_law().params, most)
    return floors.mean_latency_floor_s(table.arrival_s, work_s, alone_s, place.gpus)


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Means and paired differences to first come, first served, one row a point, policy and metric.

    Parameters
    ----------
    runs : pandas.DataFrame
        From `runs_of`.

    Returns
    -------
    pandas.DataFrame
        ``execution, traffic, load, predictor, policy, chosen, metric, value, ci_low, ci_high, difference,
        difference_ci_low, difference_ci_high, p_holm, replications``: Student's t over replications; ``p_holm`` over
        all differences of a metric. Differences of the baseline itself, and what was not measured, are missing.
    """
    import pandas as pd

    check_frame("runs", runs, (*POINT, "chosen", "replication", *METRICS))
    keys = POINT[:3]
    base = dict(iter(runs[runs["policy"] == BASELINE].groupby(keys)))
    rows = []
    for key, group in runs.groupby(POINT, sort=False):
        group = group.sort_values("replication")
        rival = base[key[:3]].sort_values("replication")
        for metric in METRICS:
            row = dict(zip(POINT, key, strict=True)) | {"chosen": group["chosen"].iloc[0], "metric": metric}
            values = group[metric].to_numpy()
            if not np.isnan(values).any():
                row |= as_row(intervals.mean_interval(values), "value")
                if key[-1] != BASELINE:
                    pair = intervals.paired_difference(values, rival[metric].to_numpy())
                    row |= as_row(pair, "difference", "difference_") | {"p_holm": pair.p_value}
            rows.append(row | {"replications": len(group)})
    table = pd.DataFrame(rows)
    compared = table["p_holm"].notna()
    table.loc[compared, "p_holm"] = table[compared].groupby("metric")["p_holm"].transform(intervals.holm)
    return table
