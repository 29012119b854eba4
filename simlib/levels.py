"""The four fidelity levels: synthetic or real arrivals, the synthetic or the so-called calibrated formula.

What the original system's document claims at each level, the replications that judge it, and the paired differences of
the three schedulers. Terminating studies: n requests from an empty system, no warm-up cut, common random numbers.
Levels 2 and 4 are studied twice: on the real rows that there are, and on draws from the population of such rows.
"""

from __future__ import annotations

import functools
import numbers
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from simlib import datasets
from simlib.checks import InputError, check_choice, check_each, check_frame, check_integer, check_number, check_type
from simlib.lazy import pd
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.plan import short_name
from simlib.policies.static import StaticFIFO
from simlib.requests import predictors, traces, workload
from simlib.requests.burstgpt import burstgpt_like
from simlib.requests.table import RequestTable
from simlib.simulation import simulate
from simlib.stats import intervals, shares
from simlib.stats.estimates import as_row
from simlib.text import p_value, percent, signed

SCHEDULERS = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic")
PAIRS = (
    ("dynamic_no_bins", "static_fifo"),
    ("multi_bin_dynamic", "static_fifo"),
    ("multi_bin_dynamic", "dynamic_no_bins"),
)
METRICS = {"sla_violation_share": "lower", "latency_mean_s": "lower", "throughput_rps": "higher"}
RUN_METRICS = (*METRICS, "latency_p99_s", "batch_size_mean")  # of one replication
# The settings of the document's tables; only runs with them are compared with its figures.
DOCUMENTED = {"requests": 1000, "rate_rps": 50.0, "rps_scale": 100.0, "gpus": 2, "k_bins": 4, "d_sla": 1.0, "seed": 42}
MOST_REPLICATIONS = 100_000
# What one study is: a level, and where its requests are from.
STUDY = ["level", "requests_from"]


@dataclass(frozen=True, slots=True)
class Level:
    """A fidelity level of the original system: where arrivals and service times come from."""

    number: int
    arrivals: str
    latency: str

    @property
    def on_trace(self) -> bool:
        """Whether the document's requests are rows of the real trace."""
        return self.arrivals == "burstgpt"

    @property
    def sources(self) -> tuple[str, ...]:
        """Where requests may be from: ``synthetic``; or the ``trace``, and the ``population`` that it is of."""
        return ("trace", "population") if self.on_trace else ("synthetic",)


LEVELS = {
    1: Level(1, "poisson", "original-synthetic"),
    2: Level(2, "burstgpt", "original-synthetic"),
    3: Level(3, "poisson", "original-calibrated"),
    4: Level(4, "burstgpt", "original-calibrated"),
}


def claims() -> pd.DataFrame:
    """What the original system's architecture document claims, one row a level and scheduler."""
    return pd.read_csv(datasets.shipped("original_claims.csv"))


def draw_of(level: int) -> Callable[[int, int], RequestTable]:
    """How a level's requests are drawn, any number of them by seed: of a trace, its population's (for `capacity`)."""
    source = of(level).sources[-1]
    return lambda requests, seed: requests_of(level, requests, seed, requests_from=source)[0]


def policies(k_bins: int = 4, d_sla: float = 1.0) -> dict[str, Any]:
    """The three schedulers as the original system configures them, by name."""
    schedulers = (StaticFIFO(), DynamicNoBins(d_sla), MultiBinDynamic(k_bins, d_sla))
    return {policy.name: policy for policy in schedulers}


def requests_of(
    level: int,
    requests: int = 1000,
    seed: int = 42,
    rate_rps: float = 50.0,
    rps_scale: float = 100.0,
    requests_from: str | None = None,
) -> tuple[RequestTable, str]:
    """One replication's requests, and which trace they are from (empty: synthetic).

    Parameters
    ----------
    level : {1, 2, 3, 4}
    requests : int
        How many, >= 1; on the trace at most as many as there are: the full trace where it was fetched, else the 400
        rows of the sample.
    seed : int
        Seed of the original's recipe; on a trace, of its predictions alone; of a population, which draw of it.
    rate_rps : float
        Poisson arrival rate of levels 1 and 3, requests per second.
    rps_scale : float
        Factor on the trace's arrival rate at levels 2 and 4, and on the population's.
    requests_from : str, optional
        One of the level's `sources`, by default the first. The population's requests are conversations from a
        workday's midnight on, as the trace begins.
    """
    arrivals, sources = of(level).arrivals, of(level).sources
    check_integer("requests", requests, 1)
    requests_from = check_choice("requests_from", sources[0] if requests_from is None else requests_from, sources)
    if requests_from == "synthetic":
        return workload.original(requests, seed, rate_rps, arrivals), ""
    check_number("rps_scale", rps_scale, 0.0, open_low=True)
    if requests_from == "trace":
        table, source = burstgpt(requests, rps_scale)
    else:
        table, source = burstgpt_like(requests, seed, traffic="conversations", rate_factor=rps_scale), ""
    return table.with_predictions(predictors.original_predictions(table.prompt_tokens, seed)), source


@functools.lru_cache(maxsize=4)
def burstgpt(requests: int, rps_scale: float) -> tuple[RequestTable, str]:
    """The first rows of BurstGPT, failures kept, arrivals from 0 and `rps_scale` times as fast; and their source."""
    full = datasets.find_full_burstgpt()
    rows = requests if full else min(requests, datasets.SAMPLE_ROWS)
    table = traces.read(full or datasets.sample(), rows=rows, failed="keep", rate_factor=rps_scale).requests
    return table, "BurstGPT" if full else f"BurstGPT sample ({len(table)} rows)"


def runs_of(
    level: int,
    *,
    requests: int = 1000,
    rate_rps: float = 50.0,
    rps_scale: float = 100.0,
    gpus: int = 2,
    k_bins: int = 4,
    d_sla: float = 1.0,
    seed: int = 42,
    replications: int = 100,
    requests_from: str | None = None,
) -> pd.DataFrame:
    """Simulate a level: every scheduler on the same requests, replication r with the original's seed + r.

    Settings as for `requests_of`; without `requests_from`, all of the level's `sources`, one after the other.

    Returns
    -------
    pandas.DataFrame
        One row a source, replication and scheduler: ``level, requests_from, scheduler, replication, seed, requests,
        trace`` and the metrics ``sla_violation_share, latency_mean_s, latency_p99_s, throughput_rps,
        batch_size_mean``.
    """
    preset = of(level).latency
    check_integer("replications", replications, 1, MOST_REPLICATIONS)
    check_integer("seed", seed, 0, 2**32 - 2 - replications)  # the recipe's streams have seeds up to two beyond
    contenders = policies(k_bins, d_sla)
    rows = []
    for source in of(level).sources if requests_from is None else (requests_from,):
        for replication in progress(replications, f"level {level}, {source}"):
            table, trace = requests_of(level, requests, seed + replication, rate_rps, rps_scale, source)
            for name, policy in contenders.items():
                summary = simulate(table, policy, preset, gpus, sla=d_sla).summary()
                rows.append(
                    {"level": level, "requests_from": source, "scheduler": name, "replication": replication}
                    | {"seed": seed + replication, "requests": len(table), "trace": trace}
                    | {metric: summary[metric] for metric in RUN_METRICS}
                )
    return pd.DataFrame(rows)


def table_of(runs: pd.DataFrame, as_claimed: bool = True) -> pd.DataFrame:
    """Claimed figures beside ours, one row a level, source and scheduler (as in ``data/results/levels.csv``).

    Parameters
    ----------
    runs : pandas.DataFrame
        From `runs_of`; replication 0 is the document's seed.
    as_claimed : bool
        Whether the runs have the document's settings; if not, the claims are left out.

    Notes
    -----
    ``ci_low, ci_high, interval_method``: of the mean violation share, by `shares.share_interval` with replications as
    groups; empty where too few replications have late requests for an interval. ``claim_percentile``: where the claimed
    share lies among the replications; ``claim_inside``: between the 2.5th and the 97.5th percentile. On the sample of
    the trace, which is not the document's 1,000 rows, neither is given. ``requests_from``: the level's source; against
    the ``population`` a claim is judged as one draw of rows like the document's, not as that table of rows.
    """
    check_runs(runs)
    check_type("as_claimed", as_claimed, (bool, np.bool_), "True or False")
    claimed = claims().set_index(["level", "scheduler"])
    rows = []
    for (level, source, scheduler), group in runs.groupby([*STUDY, "scheduler"], sort=False):
        group = group.sort_values("replication")
        share, first = group["sla_violation_share"].to_numpy(), group.iloc[0]
        mean = shares.share_interval(np.rint(share * group["requests"]), group["requests"])
        claim = claimed.loc[(level, scheduler)] if as_claimed else None
        comparable = as_claimed and (first["trace"] in ("", "BurstGPT"))
        claim_share = None if claim is None else claim["sla_violation_share"]
        rows.append(
            {
                "level": level,
                "scheduler": scheduler,
                "requests": first["requests"],
                "trace": first["trace"],
                "claimed_violation_share": claim_share,
                "claimed_latency_mean_s": None if claim is None else claim["latency_mean_s"],
                "claimed_throughput_rps": None if claim is None else claim["throughput_rps"],
                "seed42_violation_share": first["sla_violation_share"],
                "seed42_latency_mean_s": first["latency_mean_s"],
                "mean_violation_share": mean.value,
                "ci_low": mean.ci_low,
                "ci_high": mean.ci_high,
                "latency_mean_s": group["latency_mean_s"].mean(),
                "replications": len(share),
                "claim_percentile": intervals.percentile_of(claim_share, share) if comparable else None,
                "claim_inside": intervals.inside(claim_share, share) if comparable else None,
                "requests_from": source,
                "interval_method": mean.method,
            }
        )
    return pd.DataFrame(rows).astype({"ci_low": float, "ci_high": float})


def differences(runs: pd.DataFrame, settings: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Differences of the schedulers, A minus B, under common random numbers.

    Parameters
    ----------
    runs : pandas.DataFrame
        As `runs_of` gives them, of one or several levels.
    settings : mapping, optional
        What `runs_of` was called with, but for the replications. Where A and B are not positively correlated, B is run
        with them on requests of its own, from the seeds that follow, and the comparison is of independent samples.
        Without settings all comparisons are of pairs.

    Returns
    -------
    pandas.DataFrame
        One row a level, source, pair and metric: ``difference, ci_low, ci_high, replications,
        share_of_replications_better`` (the share in which A is strictly better), ``correlation, method`` as in
        `intervals.difference`, and ``p_holm``, adjusted for all comparisons of the table.
    """
    check_runs(runs)
    if settings is not None:
        check_type("settings", settings, Mapping, "settings by name")

    @functools.cache
    def fresh(level: int, source: str, replications: int) -> pd.DataFrame:
        given = {"seed": DOCUMENTED["seed"]} | dict(settings or {})
        given |= {"seed": given["seed"] + replications, "replications": replications}
        return runs_of(level, requests_from=source, **given)

    rows = []
    for (level, source), group in runs.groupby(STUDY, sort=False):
        for metric, better in METRICS.items():
            wide = group.pivot_table(index="replication", columns="scheduler", values=metric)

            def apart(study: tuple, scheduler: str, metric: str) -> pd.Series:
                other = fresh(*study)
                return other.loc[other["scheduler"] == scheduler, metric]

            for a, b in PAIRS:
                again = functools.partial(apart, (level, source, len(wide)), b, metric)
                pair = intervals.difference(wide[a], wide[b], None if settings is None else again)
                share = pair.share_less if better == "lower" else pair.share_greater
                rows.append(
                    {"level": level, "scheduler_a": a, "scheduler_b": b, "metric": metric}
                    | as_row(pair, "difference")
                    | {"replications": len(wide), "share_of_replications_better": share, "requests_from": source}
                    | {"correlation": pair.correlation, "method": pair.method, "p_holm": pair.p_value}
                )
    table = pd.DataFrame(rows)
    if table["p_holm"].notna().all():  # one replication has no p-value
        table["p_holm"] = intervals.holm(table["p_holm"])
    return table


def times_of(levels: Iterable[int] = tuple(LEVELS), requests: int = 1000, seed: int = 42) -> pd.DataFrame:
    """The document's execution times beside ours: wall-clock time of one level at one seed, the workload included."""
    claimed = claims().groupby("level")["execution_time_s"].first()
    rows = []
    for level in check_each("levels", levels, lambda level: of(level).number):
        start_s = time.perf_counter()
        runs_of(level, requests=requests, seed=seed, replications=1, requests_from=of(level).sources[0])
        ours_s = time.perf_counter() - start_s
        rows.append({"level": level, "claimed_time_s": claimed[level], "time_s": ours_s, "requests": requests})
    return pd.DataFrame(rows)


def progress(replications: int, what: str) -> Iterable[int]:
    """Count through replications, with a progress bar where there is a terminal."""
    check_integer("replications", replications, 1, MOST_REPLICATIONS)
    return tqdm(range(replications), desc=what, unit="replication", disable=None, leave=False)


def of(level: int) -> Level:
    """The level of that number, or `InputError`."""
    if isinstance(level, bool) or not isinstance(level, numbers.Real) or level not in LEVELS:
        raise InputError(f"level: {level!r} (expected one of {', '.join(map(str, LEVELS))})")
    return LEVELS[level]


def check_runs(runs: Any) -> None:
    """Refuse what `runs_of` does not give."""
    columns = (*STUDY, "scheduler", "replication", "requests", "trace", *METRICS)
    schedulers = set(check_frame("runs", runs, columns)["scheduler"])
    if schedulers != set(SCHEDULERS):
        raise InputError(f"runs, scheduler: {', '.join(map(str, schedulers))} (expected {', '.join(SCHEDULERS)})")


VIOLATIONS = "sla_violation_share"
# Where requests are from: in a sentence after a level, before sentences of its own, after a number.
PLACES = {"synthetic": "", "trace": " on the trace", "population": " in the population"}


def place(level: int, requests_from: str) -> str:
    """A study in a sentence: ``level 1``, ``level 2 on the trace``, ``level 2 in the population``."""
    return f"level {level}{PLACES[requests_from]}"


def readable_differences(differences: pd.DataFrame) -> pd.DataFrame:
    """Differences, A minus B, with how they were found, as texts: points, seconds, requests per second."""
    units = {VIOLATIONS: ("late requests", 100.0, "points"), "latency_mean_s": ("mean latency", 1.0, "s")}
    units["throughput_rps"] = ("throughput", 1.0, "requests/s")
    rows = []
    for pair in differences.itertuples():
        metric, factor, unit = units[pair.metric]
        difference, low, high = (factor * v for v in (pair.difference, pair.ci_low, pair.ci_high))
        rows.append(
            {"level": place(pair.level, pair.requests_from)}
            | {"A − B": f"{short_name(pair.scheduler_a)} − {short_name(pair.scheduler_b)}", "of": metric}
            | {"difference (95 % interval)": f"{signed(difference)} ({signed(low)} to {signed(high)}) {unit}"}
            | {"A better in": percent(pair.share_of_replications_better, 0), "samples": pair.method}
            | {"correlation": "–" if pd.isna(pair.correlation) else signed(pair.correlation)}
            | {"p (Holm)": p_value(pair.p_holm)}
        )
    shown = pd.DataFrame(rows)
    alike = [column for column in ("level", "samples") if len(set(shown[column])) == 1]
    return shown.drop(columns=alike)
