"""The four fidelity levels: synthetic or real arrivals, the synthetic or the so-called calibrated formula.

What the original system's document claims at each level, the replications that judge it, and the paired differences of
the three schedulers. Terminating studies: n requests from an empty system, no warm-up cut, common random numbers.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from simlib import predictors, stats, traces, workload
from simlib.checks import InputError, check_integer, check_number
from simlib.schedulers import DynamicNoBins, MultiBinDynamic, StaticFIFO
from simlib.simulation import simulate
from simlib.table import RequestTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CLAIMS",
    "DOCUMENTED",
    "LEVELS",
    "METRICS",
    "PAIRS",
    "SCHEDULERS",
    "Level",
    "claims",
    "differences",
    "is_documented",
    "of",
    "policies",
    "progress",
    "rankings",
    "requests_of",
    "runs_of",
    "table_of",
    "times_of",
]

SCHEDULERS = ("static_fifo", "dynamic_no_bins", "multi_bin_dynamic")
PAIRS = (
    ("dynamic_no_bins", "static_fifo"),
    ("multi_bin_dynamic", "static_fifo"),
    ("multi_bin_dynamic", "dynamic_no_bins"),
)
METRICS = {"sla_violation_share": "lower", "latency_mean_s": "lower", "throughput_rps": "higher"}
# The settings of the document's tables; only runs with them are compared with its figures.
DOCUMENTED = {"requests": 1000, "rate_rps": 50.0, "rps_scale": 100.0, "gpus": 2, "k_bins": 4, "d_sla": 1.0, "seed": 42}
CLAIMS = Path(__file__).resolve().parents[1] / "data" / "original_claims.csv"


@dataclass(frozen=True, slots=True)
class Level:
    """A fidelity level of the original system: where arrivals and service times come from."""

    number: int
    arrivals: str
    latency: str

    @property
    def on_trace(self) -> bool:
        """Whether requests are rows of the real trace, so that only predictions vary between replications."""
        return self.arrivals == "burstgpt"


LEVELS = {
    1: Level(1, "poisson", "original-synthetic"),
    2: Level(2, "burstgpt", "original-synthetic"),
    3: Level(3, "poisson", "original-calibrated"),
    4: Level(4, "burstgpt", "original-calibrated"),
}


def claims() -> pd.DataFrame:
    """What the original system's architecture document claims, one row a level and scheduler."""
    import pandas as pd

    return pd.read_csv(CLAIMS)


def is_documented(settings: Mapping[str, Any]) -> bool:
    """Whether settings are those of the document's tables (`DOCUMENTED`)."""
    return dict(settings) == DOCUMENTED


def policies(k_bins: int = 4, d_sla: float = 1.0, bin_select: str = "round_robin") -> dict[str, Any]:
    """The three schedulers as the original system configures them, by name."""
    schedulers = (StaticFIFO(), DynamicNoBins(d_sla), MultiBinDynamic(k_bins, d_sla, bin_select))
    return {policy.name: policy for policy in schedulers}


def requests_of(
    level: int, requests: int = 1000, seed: int = 42, rate_rps: float = 50.0, rps_scale: float = 100.0
) -> tuple[RequestTable, str]:
    """One replication's requests, and which trace they are from (empty: synthetic).

    Parameters
    ----------
    level : {1, 2, 3, 4}
    requests : int
        How many, >= 1; on the trace at most as many as there are: the full trace where it was fetched, else the 400
        rows of the sample.
    seed : int
        Seed of the original's recipe; on a trace, of its predictions alone.
    rate_rps : float
        Poisson arrival rate of levels 1 and 3, requests per second.
    rps_scale : float
        Factor on the trace's arrival rate at levels 2 and 4.
    """
    arrivals = of(level).arrivals
    check_integer("requests", requests, 1)
    if arrivals != "burstgpt":
        return workload.original(requests, seed, rate_rps, arrivals), ""
    table, source = burstgpt(requests, check_number("rps_scale", rps_scale, 0.0, open_low=True))
    return table.with_predictions(predictors.original_predictions(table.prompt_tokens, seed)), source


@functools.lru_cache(maxsize=4)
def burstgpt(requests: int, rps_scale: float) -> tuple[RequestTable, str]:
    """The first rows of BurstGPT, failures kept, arrivals from 0 and `rps_scale` times as fast; and their source."""
    full = traces.find_full_burstgpt()
    rows = requests if full else min(requests, traces.SAMPLE_ROWS)
    table = traces.read(full or traces.sample(), rows=rows, failed="keep", rate_factor=rps_scale).requests
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
) -> pd.DataFrame:
    """Simulate a level: every scheduler on the same requests, replication r with the original's seed + r.

    Returns
    -------
    pandas.DataFrame
        One row a replication and scheduler: ``level, scheduler, replication, seed, requests, trace`` and the metrics
        ``sla_violation_share, latency_mean_s, latency_p99_s, throughput_rps, batch_size_mean``.
    """
    import pandas as pd

    preset = of(level).latency
    check_integer("replications", replications, 1)
    check_integer("seed", seed, 0, 2**32 - 1 - replications)
    contenders = policies(k_bins, d_sla)
    kept = (*METRICS, "latency_p99_s", "batch_size_mean")
    rows = []
    for replication in progress(replications, f"level {level}"):
        table, trace = requests_of(level, requests, seed + replication, rate_rps, rps_scale)
        for name, policy in contenders.items():
            summary = simulate(table, policy, preset, gpus).summary()
            rows.append(
                {"level": level, "scheduler": name, "replication": replication, "seed": seed + replication}
                | {"requests": len(table), "trace": trace}
                | {metric: summary[metric] for metric in kept}
            )
    return pd.DataFrame(rows)


def table_of(runs: pd.DataFrame, as_claimed: bool = True) -> pd.DataFrame:
    """Claimed figures beside ours, one row a level and scheduler (the columns of ``data/results/levels.csv``).

    Parameters
    ----------
    runs : pandas.DataFrame
        From `runs_of`; replication 0 is the document's seed.
    as_claimed : bool
        Whether the runs have the document's settings; if not, the claims are left out.

    Notes
    -----
    ``ci_low, ci_high``: Student t interval of the mean violation share. ``claim_percentile``: where the claimed share
    lies among the replications; ``claim_inside``: between the 2.5th and the 97.5th percentile. On the sample of the
    trace, which is not the document's 1,000 rows, neither is given.
    """
    import pandas as pd

    claimed = claims().set_index(["level", "scheduler"])
    rows = []
    for (level, scheduler), group in runs.groupby(["level", "scheduler"], sort=False):
        share = group.sort_values("replication")["sla_violation_share"].to_numpy()
        interval, first = stats.mean_interval(share), group[group["replication"] == 0].iloc[0]
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
                "mean_violation_share": interval.mean,
                "ci_low": interval.ci_low,
                "ci_high": interval.ci_high,
                "latency_mean_s": group["latency_mean_s"].mean(),
                "replications": len(share),
                "claim_percentile": stats.percentile_of(claim_share, share) if comparable else None,
                "claim_inside": stats.inside(claim_share, share) if comparable else None,
            }
        )
    return pd.DataFrame(rows)


def differences(runs: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of the schedulers, A minus B, under common random numbers.

    One row a level, pair and metric: ``difference, ci_low, ci_high, replications, share_of_replications_better`` (the
    share in which A is strictly better). Source: Student t interval of the paired differences.
    """
    import pandas as pd

    rows = []
    for level, group in runs.groupby("level", sort=False):
        for metric, better in METRICS.items():
            wide = group.pivot_table(index="replication", columns="scheduler", values=metric)
            for a, b in PAIRS:
                pair = stats.paired_difference(wide[a].to_numpy(), wide[b].to_numpy())
                share = pair.share_less if better == "lower" else pair.share_greater
                rows.append(
                    {"level": level, "scheduler_a": a, "scheduler_b": b, "metric": metric}
                    | {"difference": pair.mean, "ci_low": pair.ci_low, "ci_high": pair.ci_high}
                    | {"replications": len(wide), "share_of_replications_better": share}
                )
    return pd.DataFrame(rows)


def rankings(runs: pd.DataFrame, metric: str = "sla_violation_share") -> pd.DataFrame:
    """How often each ranking of the schedulers occurs over the replications, best first; ties share a place."""
    import pandas as pd

    rows = []
    for level, group in runs.groupby("level", sort=False):
        wide = group.pivot_table(index="replication", columns="scheduler", values=metric)[list(SCHEDULERS)]
        rankings = pd.Series([_ranking(row) for row in wide.to_dict("records")])
        for ranking, count in rankings.value_counts().items():
            rows.append({"level": level, "ranking": ranking, "share": count / len(wide), "replications": len(wide)})
    return pd.DataFrame(rows)


def times_of(levels: Iterable[int] = tuple(LEVELS), requests: int = 1000, seed: int = 42) -> pd.DataFrame:
    """The document's execution times beside ours: wall-clock time of one level at one seed, the workload included."""
    import pandas as pd

    claimed = claims().groupby("level")["execution_time_s"].first()
    rows = []
    for level in levels:
        start_s = time.perf_counter()
        runs_of(level, requests=requests, seed=seed, replications=1)
        ours_s = time.perf_counter() - start_s
        rows.append({"level": level, "claimed_time_s": claimed[level], "time_s": ours_s, "requests": requests})
    return pd.DataFrame(rows)


def progress(replications: int, what: str) -> Iterable[int]:
    """Count through replications, with a progress bar where there is a terminal."""
    return tqdm(range(replications), desc=what, unit="replication", disable=None, leave=False)


def of(level: int) -> Level:
    """The level of that number, or `InputError`."""
    if level not in LEVELS or isinstance(level, bool):
        raise InputError(f"level: {level!r} (expected one of {', '.join(map(str, LEVELS))})")
    return LEVELS[level]


def _ranking(values: Mapping[str, float]) -> str:
    """The schedulers from best to worst, joined by < or =."""
    ordered = sorted(values, key=lambda name: (values[name], SCHEDULERS.index(name)))
    signs = [" = " if values[a] == values[b] else " < " for a, b in pairwise(ordered)]
    return ordered[0] + "".join(sign + name for sign, name in zip(signs, ordered[1:], strict=True))
