"""The rankings of the three schedulers at matched load: the levels, measured GPUs, both kinds of requests.

The document compares levels near idle with levels in overload. Here a place (whose requests, which latency model) is
visited at each of several loads, by the rule of `measured_levels`: the rate is a share of what static batches of 8
serve there, the deadline a multiple of what such a batch takes. Beside the original's schedulers stand the best bins
and the best without bins, with settings chosen on other requests. Terminating; comparisons are of pairs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.batch_times import measured_levels
from book.chapters.levels.rankings import ranking as ranking_of
from book.kit.evidence import relative_change
from simlib import levels
from simlib.checks import check_choice, check_each, check_frame, check_number
from simlib.latency import presets
from simlib.latency.models import LatencyModel
from simlib.stats import intervals
from simlib.stats.shares import wilson_interval

if TYPE_CHECKING:
    import pandas as pd


LOADS = (0.05, 0.4, 0.8, 1.2, 1.6)
KEYS = ["level", "latency", "load"]
METRICS = measured_levels.METRICS


def places(names: Iterable[str] = measured_levels.PRESETS[1:]) -> list[tuple[int, str, LatencyModel]]:
    """Level, name of the latency model, model: the four levels as they are, then both kinds of requests on each preset.

    Examples
    --------
    >>> [(level, name) for level, name, _ in places(["h100-vllm-llama3-8b"])][-2:]
    [(3, 'h100-vllm-llama3-8b'), (4, 'h100-vllm-llama3-8b')]
    """
    found = [(number, level.latency, presets.load(level.latency)) for number, level in levels.LEVELS.items()]
    for name in check_each("names", names, str):
        model = presets.load(name)
        found += [(number, name, model) for number in (3, 4)]
    return found


def runs_of(
    where: Iterable[tuple[int, str, LatencyModel]],
    loads: Iterable[float] = LOADS,
    *,
    requests: int = 1000,
    gpus: int = 2,
    k_bins: int = 4,
    slack: float = 2.0,
    most_s: float = 60.0,
    seed: int = 42,
    replications: int = 50,
    tuned: int = measured_levels.TUNED,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate each place at each load: every scheduler on the same requests, replication r with seed + r.

    Parameters are those of `measured_levels.runs_of`, and how many replications choose the settings; what comes are its
    table for all places and loads, and that of `measured_levels.tuned`.
    """
    import pandas as pd

    common = {"requests": requests, "gpus": gpus, "k_bins": k_bins, "slack": slack, "most_s": most_s, "seed": seed}
    loads = check_each("loads", loads, lambda load: check_number("load", load, 0.0, open_low=True))
    parts, arms = [], []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "latency .*")  # short requests lie below what was measured: the page says it
        for level, name, model in where:
            for load in loads:
                given = {name: (name, np.nan, model)}
                tried, best = measured_levels.tuned(level, given, load=load, replications=tuned, **common)
                arms.append(tried)
                parts.append(
                    measured_levels.runs_of(level, given, load=load, replications=replications, others=best, **common)
                )
    return pd.concat(parts, ignore_index=True), pd.concat(arms, ignore_index=True).drop(columns=["preset", "split"])


def rankings(runs: pd.DataFrame, metric: str = "sla_violation_share") -> pd.DataFrame:
    """How likely each ranking of the original's three schedulers is, by place and load, with Wilson's 95 % interval.

    Returns
    -------
    pandas.DataFrame
        ``level, latency, load, ranking, share, ci_low, ci_high, replications``: one row a ranking that occurred, the
        most frequent first; schedulers with the same value share a place.
    """
    import pandas as pd

    check_frame("runs", runs, (*KEYS, "scheduler", "replication", *METRICS))
    check_choice("metric", metric, METRICS)
    rows = []
    for key, group in runs[runs["scheduler"].isin(levels.SCHEDULERS)].groupby(KEYS, sort=False):
        wide = group.pivot_table(index="replication", columns="scheduler", values=metric)
        counts = pd.Series([ranking_of(row) for row in wide.to_dict("records")]).value_counts()
        for ranking, count in counts.items():
            share = wilson_interval(int(count), len(wide))
            row = dict(zip(KEYS, key, strict=True)) | {"ranking": ranking, "share": share.value}
            rows.append(row | {"ci_low": share.ci_low, "ci_high": share.ci_high, "replications": len(wide)})
    return pd.DataFrame(rows)


def differences(runs: pd.DataFrame) -> pd.DataFrame:
    """Paired differences of late requests, A minus B, by place and load; ``p_holm`` over all of them."""
    return measured_levels.differences(runs, KEYS)


def causes(runs: pd.DataFrame, a: str = "multi_bin_dynamic", b: str = "dynamic_no_bins") -> pd.DataFrame:
    """What a ranking rests on: how much longer a's requests wait and are served than b's, and what GPU time they take.

    Returns
    -------
    pandas.DataFrame
        ``level, latency, load``, paired mean differences ``waiting, service`` (A minus B) with their limits, both over
        the deadline, so that places can be compared; ``work``, the relative change of the GPU time of a request, with
        its limits; ``batch_size_a, batch_size_b``, means; ``replications``.
    """
    import pandas as pd

    check_frame("runs", runs, (*KEYS, "scheduler", "replication", "d_sla_s", measured_levels.WORK, *METRICS))
    for name, value in (("a", a), ("b", b)):
        check_choice(name, value, set(runs["scheduler"]))
    rows = []
    for key, group in runs.groupby(KEYS, sort=False):
        by_name = {name: own.sort_values("replication") for name, own in group.groupby("scheduler")}
        row = dict(zip(KEYS, key, strict=True))
        for part, metric in (("waiting", "queueing_mean_s"), ("service", "service_mean_s")):
            one, other = (by_name[name][metric].to_numpy() / group["d_sla_s"].iloc[0] for name in (a, b))
            pair = intervals.paired_difference(one, other)
            row |= {part: pair.mean, f"{part}_low": pair.ci_low, f"{part}_high": pair.ci_high}
        work = relative_change(*(by_name[name][measured_levels.WORK].to_numpy() for name in (a, b)))
        row |= dict(zip(("work", "work_low", "work_high"), work, strict=False))
        sizes = {f"batch_size_{end}": by_name[name]["batch_size_mean"].mean() for end, name in (("a", a), ("b", b))}
        rows.append(row | sizes | {"replications": group["replication"].nunique()})
    return pd.DataFrame(rows)


def documented_loads(seed: int = levels.DOCUMENTED["seed"]) -> pd.DataFrame:
    """How loaded the document's own levels are, in the terms of this study.

    Returns
    -------
    pandas.DataFrame
        ``level, latency, rate_rps, saturated_rps, load, slack``: the rate at the document's settings, what static
        batches of 8 serve, the one over the other, and the deadline over the mean time of such a batch. Of levels 2
        and 4, for a draw of the population.
    """
    import pandas as pd

    rows = []
    for number, level in levels.LEVELS.items():
        table = levels.requests_of(number, seed=seed, requests_from=level.sources[-1])[0]
        saturated_rps, batch_s = measured_levels.saturation(
            table, presets.load(level.latency), levels.DOCUMENTED["gpus"]
        )
        rate_rps = (len(table) - 1) / float(table.arrival_s[-1] - table.arrival_s[0])
        rows.append(
            {"level": number, "latency": level.latency, "rate_rps": rate_rps, "saturated_rps": saturated_rps}
            | {"load": rate_rps / saturated_rps, "slack": levels.DOCUMENTED["d_sla"] / batch_s}
        )
    return pd.DataFrame(rows)
