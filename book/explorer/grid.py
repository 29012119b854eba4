"""The explorer's positions as a table: levels simulated on a grid of them.

`table` simulates the grid, every scheduler on the same requests in each replication; `cell` repeats a single position.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from book.explorer import views
from simlib import levels
from simlib.checks import InputError, check_choice, check_each, check_integer, check_number
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.static import StaticFIFO
from simlib.simulation import simulate
from simlib.stats import intervals, shares

if TYPE_CHECKING:
    import pandas as pd


AXES: dict[str, tuple[float, ...]] = {
    "level": (1, 2, 3, 4),
    "gpus": (1, 2, 4),
    "load": (0.5, 1.0, 1.5, 2.0),
    "d_sla": (0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0),
    "k_bins": (2, 4, 8, 16, 32),
}
METRICS = ("latency_mean_s", "latency_p99_s", "throughput_rps", "gpu_utilization", "batch_size_mean")
FIRST, LAST = -16, 12  # bins of the latency distribution: from 1/16 to 8 deadlines, what lies beyond in the outermost
DIGITS = 6  # of the table: more than its replications bear


def table(
    axes: Mapping[str, Sequence[float]] = AXES,
    *,
    requests: int = 1000,
    replications: int = 20,
    seed: int = 42,
    workers: int = 1,
) -> pd.DataFrame:
    """Simulate the grid.

    Parameters
    ----------
    axes : mapping of str to sequence of float
        Values of ``level, gpus, load, d_sla, k_bins``, ascending. Load is a factor on the level's own rate; requests of
        levels 2 and 4 are draws from the population of BurstGPT's conversations.
    requests, replications, seed : int
        Requests of a run; runs of a position, replication r with seed + r.
    workers : int
        Processes; the result does not depend on them.

    Returns
    -------
    pandas.DataFrame
        One row a position and scheduler (``k_bins`` is missing for schedulers without): ``violation_share`` with its
        interval (`shares.share_interval`), the means of `METRICS`, ``vs_dynamic_low, vs_dynamic_high, vs_static_low,
        vs_static_high`` (95 % intervals of the paired difference of violation shares), and ``latency_counts``: requests
        of all replications by latency, as in `explorer.views.counts`, from bin `FIRST` on.

    Raises
    ------
    InputError
        If an axis is missing, or a value out of range.
    """
    import pandas as pd

    axes = _checked(axes)
    check_integer("requests", requests, 1, 100_000)
    check_integer("replications", replications, 2, 10_000)
    check_integer("seed", seed, 0, 2**31)
    check_integer("workers", workers, 1, 1024)
    places = list(itertools.product(axes["level"], axes["gpus"], axes["load"]))
    if workers == 1:
        parts = [_positions(*place, axes, requests, replications, seed) for place in places]
    else:
        from joblib import Parallel, delayed

        parts = Parallel(workers)(delayed(_positions)(*place, axes, requests, replications, seed) for place in places)
    frame = pd.DataFrame(list(itertools.chain(*parts))).assign(requests=requests, replications=replications, seed=seed)
    return frame.astype({"k_bins": "Int64"})


def cell(
    level: int,
    scheduler: str,
    *,
    gpus: int = 2,
    load: float = 1.0,
    d_sla: float = 1.0,
    k_bins: int = 4,
    requests: int = 1000,
    replications: int = 20,
    seed: int = 42,
) -> dict[str, Any]:
    """One row of `table`, simulated alone; its differences need all schedulers, and are of these.

    Raises
    ------
    InputError
        As `table`, or if the scheduler is unknown.
    """
    check_choice("scheduler", scheduler, levels.SCHEDULERS)
    one = {"level": level, "gpus": gpus, "load": load, "d_sla": d_sla, "k_bins": k_bins}
    given = {"requests": requests, "replications": replications, "seed": seed}
    frame = table({name: (value,) for name, value in one.items()}, **given)
    return frame[frame["scheduler"] == scheduler].iloc[0].to_dict()


def _checked(axes: Mapping[str, Sequence[float]]) -> dict[str, list[Any]]:
    checks = {
        "level": lambda value: levels.of(value).number,
        "gpus": lambda value: check_integer("gpus", value, 1, 64),
        "load": lambda value: check_number("load", value, 0.0, open_low=True),
        "d_sla": lambda value: check_number("d_sla", value, 0.0, open_low=True),
        "k_bins": lambda value: check_integer("k_bins", value, 1, 256),
    }
    for name in checks:
        if name not in axes:
            raise InputError(f"axes: {', '.join(axes)} (expected {', '.join(checks)})")
    found = {name: check_each(name, axes[name], check) for name, check in checks.items()}
    for name, values in found.items():
        if values != sorted(set(values)):
            raise InputError(f"axes, {name}: {values} (expected ascending values)")
    return found


def _positions(
    level: int, gpus: int, load: float, axes: dict[str, list[Any]], requests: int, replications: int, seed: int
) -> list[dict[str, Any]]:
    """The rows of one level, number of GPUs and load."""
    drawn = [levels.draw_of(level)(requests, seed + replication) for replication in range(replications)]
    tables, latency = [one.at_rate(load) for one in drawn], levels.LEVELS[level].latency
    rows = []

    def add(scheduler: str, d_sla: float, k_bins: int | None, found: dict[str, Any], *others: Any) -> None:
        place = {"level": level, "gpus": gpus, "load": load, "d_sla": d_sla, "scheduler": scheduler, "k_bins": k_bins}
        rows.append(place | _row(found, *others))

    def runs_of(policy: Any) -> list[Any]:
        with warnings.catch_warnings():  # where lengths are tied there are fewer bins than asked for, down to one
            warnings.simplefilter("ignore")
            return [simulate(table, policy, latency, gpus) for table in tables]

    static = runs_of(StaticFIFO())  # knows no deadline
    for d_sla in axes["d_sla"]:
        fixed, dynamic = _gathered(static, d_sla), _gathered(runs_of(DynamicNoBins(d_sla)), d_sla)
        add("static_fifo", d_sla, None, fixed, None, None)
        add("dynamic_no_bins", d_sla, None, dynamic, None, fixed)
        for k_bins in axes["k_bins"]:
            multi = _gathered(runs_of(MultiBinDynamic(k_bins, d_sla)), d_sla)
            add("multi_bin_dynamic", d_sla, k_bins, multi, dynamic, fixed)
    return rows


def _gathered(runs: list[Any], d_sla: float) -> dict[str, Any]:
    """The replications of one position, and their latencies counted together."""
    summaries = [run.summary(d_sla) for run in runs]
    number = np.zeros(LAST - FIRST, dtype=np.int64)
    for run in runs:
        first, counted = views.counts(run, d_sla)
        np.add.at(number, np.clip(first + np.arange(len(counted)), FIRST, LAST - 1) - FIRST, counted)
    means = {metric: float(np.mean([summary[metric] for summary in summaries])) for metric in METRICS}
    share = np.array([summary["sla_violation_share"] for summary in summaries])
    return {"share": share, "trials": len(runs[0].table), "means": means, "counts": number}


def _row(one: dict[str, Any], dynamic: dict[str, Any] | None, static: dict[str, Any] | None) -> dict[str, Any]:
    mean = shares.share_interval(np.rint(one["share"] * one["trials"]), one["trials"])
    row = {"violation_share": mean.value, "ci_low": mean.ci_low, "ci_high": mean.ci_high} | one["means"]
    for name, other in (("dynamic", dynamic), ("static", static)):
        pair = None if other is None else intervals.paired_difference(one["share"], other["share"])
        row |= {f"vs_{name}_low": pair and pair.ci_low, f"vs_{name}_high": pair and pair.ci_high}
    rounded = {name: None if value is None else float(f"{value:.{DIGITS}g}") for name, value in row.items()}
    return rounded | {"latency_counts": " ".join(map(str, one["counts"]))}
