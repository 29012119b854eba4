"""Bins that are cut anew at every decision against the best that fixed ones, shortest first and first come can do.

Batches run to completion under the measured law of `executions`, on the traffic and with the predictors of the map of
policies (`policies.study`). The deadline is a multiple of what a batch of eight takes; load 1 is what dynamic batching
carries of requests that all wait. Each arm's settings are those that leave fewest late on draws of no replication; of
first come, shortest predicted first, bins in turn and bins that turn away who will hardly be in time the one that does
best there is the rival; of two rules that cut anew the one that does best there competes with it. Terminating.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from book.chapters.continuous import executions
from book.chapters.policies import sizes
from book.chapters.policies import study as policies
from book.chapters.recut import bound, rules
from book.kit import arms
from simlib import levels
from simlib.checks import check_choice, check_each, check_frame, check_integer, check_number, check_type
from simlib.durations import Seconds
from simlib.latency import presets
from simlib.latency.phases import Phases
from simlib.policies.batch_size import Rules
from simlib.policies.deadline.early_rejection import EarlyRejection
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.static import StaticFIFO
from simlib.requests import predictors, workload
from simlib.requests.table import RequestTable
from simlib.stats import intervals
from simlib.stats.estimates import as_row, estimates

if TYPE_CHECKING:
    import pandas as pd


FIRST, SHORTEST, BINS, AWAY = "first come", "shortest first", "bins in turn", "bins, turning away"
SERVE_ALL = (FIRST, SHORTEST, BINS)
RIVALS = (*SERVE_ALL, AWAY)
RIVAL, RECUT = "rival", "cut anew"
CUTS = (rules.WORK, rules.IN_TIME)  # what is picked of for bins that are cut anew
CAPS = (16, 32, 64)
K_VALUES = (2, 4, 8)
AGEING = (1.0, 16.0, None)  # quarters of the deadline that outweigh a mean output; None: waiting counts for nothing
BATCHES, THREE = 2.0, 3.0  # of eight requests that the deadline has time for
ON_OFF = "on_off"
TRAFFIC = ("burstgpt_like", "azure_like", ON_OFF)
LOADS, FEW_LOADS, GPUS = (0.5, 0.8, 0.95, 1.1, 1.5), (0.8, 1.1, 1.5), 4
METRICS = ("late", "mean_s", "p99_s", "late_short", "late_long")
THIRDS = {name: policies.CLASSES[name] for name in ("short", "long")}
CELL = ["traffic", "predictor", "batches", "gpus", "load"]


def requests_of(traffic: str, requests: int, seed: int, predictor: str) -> RequestTable:
    """Requests of the map of policies, or those of its Poisson traffic in `ON_OFF` bursts, on which no rule was made.

    Examples
    --------
    >>> bool(requests_of("on_off", 40, 1, "oracle").arrival_s[-1] > 0)
    True
    """
    if traffic != ON_OFF:
        return policies.requests_of(traffic, requests, seed, predictor)
    check_choice("predictor", predictor, policies.PREDICTORS)
    table = workload.original(requests, seed, arrivals="on_off")
    return predictors.predict(table, policies.PREDICTORS[predictor], family="recut on_off", replication=seed)


_drawn = functools.lru_cache(maxsize=256)(requests_of)  # the same at every load


class Setting(NamedTuple):
    """One setting: whose requests, told by which predictor, for how many batches the deadline has time, GPUs, load."""

    traffic: str = "poisson"
    predictor: str = policies.MAIN
    batches: float = BATCHES
    gpus: int = GPUS
    load: float = 1.1


def settings() -> list[Setting]:
    """The map of GPUs and loads, and from four GPUs the other predictors, a later deadline and other traffic."""
    found = [Setting(gpus=gpus, load=load) for gpus in (1, 2, 4, 8) for load in LOADS]
    for load in FEW_LOADS:
        found += [Setting(predictor=name, load=load) for name in policies.PREDICTORS if name != policies.MAIN]
        found += [Setting(batches=THREE, load=load)]
        found += [Setting(traffic, load=load) for traffic in TRAFFIC]
    return found


@dataclass(frozen=True)
class Scale:
    """What a setting's numbers mean: the deadline, the rate, and the requests to pick settings on."""

    d_sla: float
    rate_rps: float
    known: tuple[RequestTable, ...]


def scale_of(setting: Setting, requests: int, seed: int, model: Any) -> Scale:
    """Deadline and rate, from `sizes.DRAWS` draws of so many requests that no replication has."""
    known = [
        _drawn(setting.traffic, requests, seed + sizes.FITTED + draw, setting.predictor) for draw in range(sizes.DRAWS)
    ]
    eights = sizes.run_of(known[0].at_rate(1e9), StaticFIFO(8), model, setting.gpus)
    d_sla = setting.batches * float(eights.served.service_s.mean())
    rate_rps = setting.load * policies.carried_rps(known[0], model, setting.gpus)
    return Scale(d_sla, rate_rps, tuple(sizes.at_rate(table, rate_rps) for table in known))


def variants_of(d_sla: float, known: RequestTable, law: Phases) -> dict[str, dict[str, Any]]:
    """Each arm's settings: policies, or windows that make one for a table."""
    ageing_s = arms.ageing_s(known.output_tokens, d_sla)
    shortest = {
        f"{text}, {part or 'no'} ageing": policy
        for part in AGEING
        for text, policy in arms.shortest(part and part * ageing_s, K_VALUES, CAPS, "{} lines, {}").items()
    }
    away = {
        f"{k} bins, {cap}": EarlyRejection(d_sla, k_bins=k, variant=Rules(b_max=cap))
        for k in (1, *K_VALUES)
        for cap in CAPS
    }
    found: dict[str, dict[str, Any]] = {
        FIRST: arms.static((8, *CAPS)) | arms.dynamic(d_sla, CAPS),
        SHORTEST: shortest,
        BINS: arms.bins(d_sla, K_VALUES, CAPS),
        AWAY: away,
    }
    return found | {kind: rules.variants(kind, d_sla, law) for kind in rules.KINDS}


def latencies_s(table: RequestTable, variant: Any, model: Any, gpus: int) -> np.ndarray:
    """What each request takes from its arrival to its end, seconds; missing where it was turned away."""
    policy = variant.policy(table, model.model) if isinstance(variant, rules.Window) else variant
    return sizes.latencies_s(sizes.run_of(table, policy, model, gpus))


def measured(latency_s: np.ndarray, output_tokens: np.ndarray, d_sla: float) -> dict[str, float]:
    """Late share, mean and P99 of latency (missing where not all were served), and late shares by true output."""
    late = ~(latency_s <= d_sla)
    rank = np.argsort(np.argsort(output_tokens, kind="stable")) / len(late)
    thirds = {f"late_{name}": float(late[(rank >= low) & (rank < high)].mean()) for name, (low, high) in THIRDS.items()}
    plain = {"late": late.mean(), "mean_s": latency_s.mean(), "p99_s": np.quantile(latency_s, 0.99)}
    return {name: float(value) for name, value in plain.items()} | thirds


def runs_of(
    found: Iterable[Setting] | None = None, *, requests: int = 200, seed: int = 3042, replications: int = 12
) -> pd.DataFrame:
    """Every arm in each setting and replication, at the arm's settings that were picked.

    Parameters
    ----------
    found : iterable of Setting, optional
        By default all of `settings`.
    requests : int
        A GPU.
    seed, replications : int
        Replication r has the requests of seed + r, the same for all arms.

    Returns
    -------
    pandas.DataFrame
        ``traffic, predictor, batches, gpus, load, d_sla, arm, chosen, tuned, replication``, the `METRICS` and
        ``floor``, which no policy's late share is below; `tuned` is the late share on the draws that it was picked on.
    """
    import pandas as pd

    found = settings() if found is None else check_each("found", found, _setting)
    requests, seed = check_integer("requests", requests, 16), check_integer("seed", seed, 0)
    replications = check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    model, rows = presets.load(executions.PRESET), []
    for setting in found:
        count = requests * setting.gpus
        scale = scale_of(setting, count, seed, model)
        variants = variants_of(scale.d_sla, scale.known[0], model.model)
        if setting.gpus != GPUS:
            del variants[rules.FIXED]  # what the edges do is asked once
        chosen = {arm: _picked(tried, scale, model, setting.gpus) for arm, tried in variants.items()}
        for replication in range(replications):
            drawn = _drawn(setting.traffic, count, seed + replication, setting.predictor)
            table = sizes.at_rate(drawn, scale.rate_rps)
            floor = bound.late_floor(table, model.model, setting.gpus, scale.d_sla)
            for arm, (name, tuned) in chosen.items():
                latency_s = latencies_s(table, variants[arm][name], model, setting.gpus)
                row = setting._asdict() | {"d_sla": scale.d_sla, "arm": arm, "chosen": name, "tuned": tuned}
                row |= {"replication": replication, "floor": floor}
                rows.append(row | measured(latency_s, table.output_tokens, scale.d_sla))
    return pd.DataFrame(rows)


def _setting(given: Any) -> Setting:
    setting = check_type("found", given, Setting, "settings")
    check_number("load", setting.load, 0.0, open_low=True)
    check_number("batches", setting.batches, 0.0, open_low=True)
    check_integer("gpus", setting.gpus, 1, 64)
    return setting


def _picked(tried: Mapping[str, Any], scale: Scale, model: Any, gpus: int) -> tuple[str, float]:
    """The variant with fewest late, of several the one of least mean latency, and its late share."""
    scores = {}
    for name, variant in tried.items():
        all_s = np.concatenate([latencies_s(table, variant, model, gpus) for table in scale.known])
        scores[name] = float(np.mean(~(all_s <= scale.d_sla))), float(np.nanmean(all_s))
    best = min(scores, key=lambda name: scores[name])
    return best, scores[best][0]


def table_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Means of each arm and paired differences to the rival, one row a setting, arm and metric.

    Returns
    -------
    pandas.DataFrame
        `CELL`, ``d_sla, rival, arm, chosen, metric, value, ci_low, ci_high, difference, difference_ci_low,
        difference_ci_high, p_holm, closed, closed_ci_low, closed_ci_high, floor, replications``. ``p_holm`` is over all
        differences of a metric, which arms that may be the rival have none of; who turns requests away is no rival
        where latencies are compared. `RECUT` is the one of `CUTS` that was picked. ``closed`` is the difference over
        that from the rival to the floor, where late shares are that far apart.
    """
    import pandas as pd

    check_frame("runs", runs, (*CELL, "d_sla", "arm", "chosen", "tuned", "replication", "floor", *METRICS))
    rows = []
    for key, cell in runs.groupby(CELL, sort=False):
        own = {arm: part.sort_values("replication") for arm, part in cell.groupby("arm", sort=False)}
        rivals = {metric: _best(own, RIVALS if metric.startswith("late") else SERVE_ALL) for metric in METRICS}
        for arm, part in (own | {RECUT: own[_best(own, CUTS)]}).items():
            for metric, rival in rivals.items():
                row = dict(zip(CELL, key, strict=True)) | {"d_sla": part["d_sla"].iloc[0], RIVAL: rival, "arm": arm}
                row |= {"chosen": f"{part['arm'].iloc[0]}: {part['chosen'].iloc[0]}", "metric": metric}
                if part[metric].notna().all():
                    row |= as_row(intervals.mean_interval(part[metric]), "value")
                if arm not in RIVALS:
                    a, b = part[metric].to_numpy(), own[rival][metric].to_numpy()
                    pair = intervals.paired_difference(a, b)
                    row |= as_row(pair, "difference", "difference_") | {"p_holm": pair.p_value}
                    if metric == "late":
                        row |= closed(b - a, b - part["floor"].to_numpy())
                rows.append(row | {"floor": part["floor"].mean(), "replications": len(part)})
    table = pd.DataFrame(rows)
    compared = table["p_holm"].notna()
    table.loc[compared, "p_holm"] = table[compared].groupby("metric")["p_holm"].transform(intervals.holm)
    return table


def _best(own: Mapping[str, pd.DataFrame], arms_of: Iterable[str]) -> str:
    """The arm with fewest late on the draws that it was picked on."""
    return min(arms_of, key=lambda arm: own[arm]["tuned"].iloc[0])


def closed(saved: Any, gap: Any, least: float = 0.02) -> dict[str, float | None]:
    """How much of a gap is closed: a ratio of means over replications, with the limits of its linearised error.

    Examples
    --------
    >>> closed([0.1, 0.2], [0.2, 0.4])
    {'closed': 0.5, 'closed_ci_low': 0.5, 'closed_ci_high': 0.5}
    """
    saved, gap = intervals.check_numbers("saved", saved, "replication", -1.0), np.asarray(gap, float)
    if gap.mean() < least:
        return {"closed": np.nan, "closed_ci_low": np.nan, "closed_ci_high": np.nan}
    share = float(saved.mean() / gap.mean())
    found = intervals.mean_interval((saved - share * gap) / gap.mean())
    return {"closed": share, "closed_ci_low": share + found.ci_low, "closed_ci_high": share + found.ci_high}


K_SCAN, QUEUES, BACKLOG_CAP = (1, 2, 4, 8, 16, 32, 64), (500, 2000), bound.MOST
FULL_S = Seconds(1e6)  # a deadline that steers to nothing


def backlog(*, seed: int = 3042, replications: int = 6, queues: Iterable[int] = QUEUES) -> pd.DataFrame:
    """What one GPU serves of requests that all wait, over the most that any batches could, lengths known.

    Returns
    -------
    pandas.DataFrame
        ``waiting, arm, k_bins, replication, of_bound``; `k_bins` is 0 of rules that cut anew. Served is counted over
        the first nine tenths.
    """
    import pandas as pd

    replications = check_integer("replications", replications, 2, levels.MOST_REPLICATIONS)
    model, rows = presets.load(executions.PRESET), []
    for waiting in check_each("queues", queues, lambda count: check_integer("queues", count, 16)):
        for replication in range(replications):
            table = policies.requests_of("poisson", waiting, seed + replication).at_rate(1e9)
            tried: dict[tuple[str, int], Any] = {
                (BINS, k): MultiBinDynamic(k, FULL_S, variant=Rules(b_max=BACKLOG_CAP)) for k in K_SCAN
            }
            for kind in (rules.OLDEST, rules.WORK):
                tried[kind, 0] = rules.Window(kind, BACKLOG_CAP, FULL_S).policy(table, model.model)
            most_rps = bound.most_rps(table, model.model)
            for (arm, k), policy in tried.items():
                served_rps = executions.saturated_rps_of(sizes.run_of(table, policy, model, 1))
                row = {"waiting": waiting, "arm": arm, "k_bins": k, "replication": replication}
                rows.append(row | {"of_bound": served_rps / most_rps})
    return pd.DataFrame(rows)


def backlog_of(runs: pd.DataFrame) -> pd.DataFrame:
    """Means of `backlog` with intervals: ``waiting, arm, k_bins, of_bound, ci_low, ci_high``."""
    own = {key: part["of_bound"] for key, part in runs.groupby(["waiting", "arm", "k_bins"], sort=False)}
    return estimates(own, ["waiting", "arm", "k_bins"], "of_bound")
