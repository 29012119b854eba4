"""What binning gains under continuous batching: from single roots and runs to ratios, their parts, and where they turn.

Reads what `binning` finds; every ratio is of the same requests, its interval Student's on the logarithm.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.continuous.binning import DIVIDED, PADDED, TRAFFIC
from simlib.checks import check_frame
from simlib.stats import estimates, intervals

if TYPE_CHECKING:
    import pandas as pd


SAME = 0.01  # capacities that differ by less are taken for the same
PARTS = ("line", "chance", "lengths", "memory", "padding", "all")
CELL = ["traffic", "memory", "padding", "rank_correlation", "policy"]


def verdict(low: float, high: float) -> str:
    """``same`` where an interval of a ratio lies within 1 % of 1; else ``more`` or ``less`` without 1, or ``unclear``.

    With intervals at 95 % a ``same`` is two one-sided tests at 2.5 % each.

    Examples
    --------
    >>> verdict(0.995, 1.003), verdict(1.002, 1.02), verdict(0.98, 1.004)
    ('same', 'more', 'unclear')
    """
    if low > 1 - SAME and high < 1 + SAME:
        return "same"
    return "more" if low > 1 else "less" if high < 1 else "unclear"


def gains(roots: pd.DataFrame) -> pd.DataFrame:
    """Capacity of each policy over first come, with limited memory and without padding.

    Parameters
    ----------
    roots : pandas.DataFrame
        As `binning.capacities` gives them.

    Returns
    -------
    pandas.DataFrame
        ``traffic, policy, rank_correlation, capacity_rps, ratio, ci_low, ci_high, p_holm, replications, share_of_limit,
        limit_ratio, verdict``: `share_of_limit` is the capacity over the rate that the policy can serve for long
        (`binning.limit_rps`; beyond it a short peak is carried, or long requests wait without end),
        `limit_ratio` that rate over the one of first come.
    """
    import pandas as pd

    check_frame("roots", roots, (*CELL, "replication", "capacity_rps", "limit_rps"))
    cells, rows = _cells(roots), []
    for (traffic, memory, padding, rank, policy), own in cells.items():
        if not memory or padding > 0:
            continue
        first = cells[traffic, memory, padding, None, "fcfs"].head(len(own))
        row = {"traffic": traffic, "policy": policy, "rank_correlation": np.nan if rank is None else rank}
        row |= {"capacity_rps": own["capacity_rps"].mean()} | _ratio(_logs(own), _logs(first))
        row["share_of_limit"] = (own["capacity_rps"] / own["limit_rps"]).mean()
        rows.append(row | {"limit_ratio": (own["limit_rps"] / first["limit_rps"]).mean()})
    return _judged(pd.DataFrame(rows), "policy", "fcfs")


def parts(roots: pd.DataFrame) -> pd.DataFrame:
    """What the gain of each policy with perfect predictions consists of: factors whose product is ``all``.

    ``line``: a line a GPU in the place of one for all (dedicated GPUs only). ``chance``: the policy with predictions
    that say nothing, places being all that is scarce; of dedicated GPUs the loss of pooling. ``lengths``: predictions
    that are right. ``memory``: that the cache is limited. ``padding``: that unequal contexts cost, `PADDED`.

    Returns
    -------
    pandas.DataFrame
        ``traffic, policy, part, ratio, ci_low, ci_high, p_holm, replications, verdict``.
    """
    import pandas as pd

    check_frame("roots", roots, (*CELL, "replication", "capacity_rps"))
    cells, rows = _cells(roots), []
    for traffic in roots["traffic"].unique():
        for policy in DIVIDED:
            chance = over(cells, traffic, policy, 0.0, memory=False)
            places = over(cells, traffic, policy, 1.0, memory=False)
            memory = over(cells, traffic, policy, 1.0)
            padded = over(cells, traffic, policy, 1.0, padding=PADDED.padding)
            line = over(cells, traffic, "routed", None, memory=False) if policy == "dedicated" else 0.0 * chance
            memory = memory[: len(places)]
            factors = (line, chance - line, places - chance, memory - places, padded - memory, padded)
            for part, factor in zip(PARTS, factors, strict=True):
                if part != "line" or policy == "dedicated":
                    rows.append({"traffic": traffic, "policy": policy, "part": part} | _ratio(factor, 0.0 * factor))
    return _judged(pd.DataFrame(rows))


def over(
    cells: dict[tuple, pd.DataFrame],
    traffic: str,
    policy: str,
    rank: float | None,
    memory: bool = True,
    padding: float = 0.0,
) -> np.ndarray:
    """Logarithms of a policy's capacity over that of first come under the same engine, by replication."""
    own, first = cells[traffic, memory, padding, rank, policy], cells[traffic, memory, padding, None, "fcfs"]
    shared = min(len(own), len(first))  # the first replications are those that all have
    return _logs(own)[:shared] - _logs(first)[:shared]


def by_padding(roots: pd.DataFrame) -> pd.DataFrame:
    """Capacity of dedicated GPUs over first come by the padding of the engine, with perfect predictions.

    ``traffic, memory, padding, ratio, ci_low, ci_high, p_holm, replications, verdict``; `memory` says whether the cache
    is limited.
    """
    import pandas as pd

    check_frame("roots", roots, (*CELL, "replication", "capacity_rps"))
    cells, rows = _cells(roots), []
    for traffic, memory, padding, rank, policy in cells:
        if policy == "dedicated" and rank == 1.0:
            logs = over(cells, traffic, policy, rank, memory, padding)
            rows.append({"traffic": traffic, "memory": memory, "padding": padding} | _ratio(logs, 0.0 * logs))
    table = pd.DataFrame(rows).sort_values(["memory", "padding"], kind="stable", ignore_index=True)
    return _judged(table.sort_values("traffic", key=lambda names: names.map(list(TRAFFIC).index), kind="stable"))


def break_even(table: pd.DataFrame) -> pd.DataFrame:
    """The padding from which dedicated GPUs carry more than first come, where the ratio's curve and interval cross 1.

    Parameters
    ----------
    table : pandas.DataFrame
        As `by_padding` gives it; between its paddings ratio and limits are taken for straight on the log scale.

    Returns
    -------
    pandas.DataFrame
        ``traffic, memory, padding, low, high``: the interval has the paddings at which the ratio may be 1; infinite
        where the curve stays below 1 up to the largest padding, 0 where it begins above.
    """
    import pandas as pd

    check_frame("table", table, ("traffic", "memory", "padding", "ratio", "ci_low", "ci_high"))
    rows = []
    for (traffic, memory), own in table.groupby(["traffic", "memory"], sort=False):
        own = own.sort_values("padding")
        columns = {"padding": "ratio", "low": "ci_high", "high": "ci_low"}
        found = {name: _crossing(own["padding"].to_numpy(), np.log(own[column])) for name, column in columns.items()}
        rows.append({"traffic": traffic, "memory": memory} | found)
    return pd.DataFrame(rows)


def _crossing(x: np.ndarray, y: Any) -> float:
    """Where a broken line first comes up to zero."""
    y = np.asarray(y)
    if y[0] >= 0:
        return 0.0
    for place in range(1, len(x)):
        if y[place] >= 0:
            return float(x[place - 1] + (x[place] - x[place - 1]) * y[place - 1] / (y[place - 1] - y[place]))
    return math.inf


def delay_ratios(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean time to first token and mean latency of each policy over those of first come at the same rate.

    Parameters
    ----------
    runs : pandas.DataFrame
        As `binning.delays` gives them.

    Returns
    -------
    pandas.DataFrame
        ``traffic, load, rank_correlation, policy, metric, ratio, ci_low, ci_high, p_holm, replications, verdict``.
    """
    import pandas as pd

    key = ["traffic", "load", "rank_correlation"]
    check_frame("runs", runs, (*key, "policy", "replication", "ttft_mean_s", "latency_mean_s"))
    rows = []
    for place, group in runs.groupby(key, sort=False):
        own = {policy: one.sort_values("replication") for policy, one in group.groupby("policy", sort=False)}
        for policy in own:
            for metric in ("ttft_mean_s", "latency_mean_s"):
                known = dict(zip(key, place, strict=True)) | {"policy": policy, "metric": metric}
                logs = [np.log(own[name][metric].to_numpy()) for name in (policy, "fcfs")]
                rows.append(known | _ratio(*logs))
    return _judged(pd.DataFrame(rows), "policy", "fcfs")


def saved(runs: pd.DataFrame) -> pd.DataFrame:
    """Busy time that each order saves over first come, by part, beside the most that any order could.

    Parameters
    ----------
    runs : pandas.DataFrame
        As `binning.savings` gives them.

    Returns
    -------
    pandas.DataFrame
        ``traffic, memory, padding, policy, part, share, ci_low, ci_high, replications``; the part ``most`` is of first
        come.
    """
    import pandas as pd

    key = ["traffic", "memory", "padding", "policy"]
    check_frame("runs", runs, (*key, "most", "saved", "steps", "recompute", "spread"))
    rows = []
    for place, group in runs.groupby(key, sort=False):
        for part in ("most",) if place[-1] == "fcfs" else ("saved", "steps", "recompute", "spread"):
            share = estimates.as_row(intervals.mean_interval(group[part]), "share")
            rows.append(dict(zip(key, place, strict=True)) | {"part": part} | share | {"replications": len(group)})
    return pd.DataFrame(rows)


def late(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean share of the late requests that belongs to the longest, by traffic and policy (`binning.late`)."""
    import pandas as pd

    check_frame("runs", runs, ("traffic", "policy", "of_longest"))
    rows = []
    for (traffic, policy), own in runs.groupby(["traffic", "policy"], sort=False):
        share = estimates.as_row(intervals.mean_interval(own["of_longest"]), "share")
        rows.append({"traffic": traffic, "policy": policy} | share | {"replications": len(own)})
    return pd.DataFrame(rows)


def _cells(roots: pd.DataFrame) -> dict[tuple, pd.DataFrame]:
    """The rows of each cell by its key, in order of replication; no rank correlation is None."""
    found = {}
    for (*place, rank, policy), own in roots.groupby(CELL, sort=False, dropna=False):
        rank = None if math.isnan(rank) else rank
        found[*place, rank, policy] = own.sort_values("replication").reset_index(drop=True)
    return found


def _logs(cell: pd.DataFrame) -> np.ndarray:
    return np.log(cell["capacity_rps"].to_numpy())


def _ratio(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """exp of the mean difference of logarithms, with its paired interval."""
    pair = intervals.paired_difference(a, b)
    p_value = 1.0 if pair.p_value is None or math.isnan(pair.p_value) else pair.p_value
    found = estimates.as_row(estimates.ratio(pair), "ratio")
    return found | {"p_holm": p_value, "replications": pair.replications}


def _judged(table: pd.DataFrame, column: str = "", reference: str = "") -> pd.DataFrame:
    """With Holm's correction over what is compared, and a verdict a row; the reference's own rows have neither."""
    compared = table[column] != reference if column else table["ratio"].notna()
    p_holm = table["p_holm"].where(compared)
    p_holm[compared] = intervals.holm(table.loc[compared, "p_holm"])
    verdicts = [verdict(*limits) for limits in zip(table["ci_low"], table["ci_high"], strict=True)]
    return table.assign(p_holm=p_holm, verdict=np.where(compared, verdicts, ""))
