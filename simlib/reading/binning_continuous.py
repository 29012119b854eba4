"""From gains of binning under continuous batching to sentences and tables: what is a gain, what is none, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import percent
from simlib.studies.binning_gains import PARTS, SAME

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "answer",
    "bins",
    "bound",
    "chance",
    "dedicated",
    "delays",
    "peaks",
    "shortest",
    "show_delays",
    "show_gains",
    "show_parts",
    "show_saved",
    "tails",
    "turning",
]

TRAFFIC_NAMES = {"poisson": "Poisson", "burstgpt": "BurstGPT-like", "azure": "Azure-like"}
POLICY_NAMES = {
    "fcfs": "first come",
    "routed": "first come, a line a GPU",
    "bins": "bins in turn",
    "shortest": "shortest first",
    "aged": "shortest first, ageing",
    "dedicated": "dedicated GPUs",
}
PART_NAMES = {
    "line": "A line a GPU",
    "chance": "Order or classes\nby chance",
    "lengths": "Right lengths",
    "memory": "Memory is scarce",
    "padding": "Padding",
    "all": "All together",
}
METRIC_NAMES = {"ttft_mean_s": "mean time to first token", "latency_mean_s": "mean latency"}


@reads_tables
def answer(gains: pd.DataFrame) -> str:
    """The three policies in three sentences."""
    return f"{bins(gains)} {shortest(gains)} {dedicated(gains)}"


@reads_tables
def bins(gains: pd.DataFrame) -> str:
    """Of how many comparisons bins in turn are equivalent to first come, and how far the others are."""
    rows = gains[gains["policy"] == "bins"]
    same = int((rows["verdict"] == "same").sum())
    return (
        f"Admission from bins in turn: of {len(rows)} comparisons with first come {same} are equivalent within "
        f"±{SAME:.0%} of its capacity, {_more(rows)}; all intervals together reach from {rows['ci_low'].min():.3f} to "
        f"{rows['ci_high'].max():.3f} times."
    )


@reads_tables
def shortest(gains: pd.DataFrame) -> str:
    """What shortest first carries by the quality of its predictions, without and with ageing."""
    pure, aged = (gains[gains["policy"] == policy] for policy in ("shortest", "aged"))
    best, worst = pure["rank_correlation"].max(), pure["rank_correlation"].min()
    return (
        f"Shortest predicted first carries {_range(pure, best)} times as much with perfect predictions and "
        f"{_range(pure, worst)} at a rank correlation of {worst:g} ({_more(pure)}); with ageing {_range(aged, best)} "
        f"and {_range(aged, worst)} ({_more(aged)})."
    )


@reads_tables
def dedicated(gains: pd.DataFrame) -> str:
    """What GPUs dedicated to classes carry, and what of it their limit says."""
    rows = gains[gains["policy"] == "dedicated"]
    best, worst = rows["rank_correlation"].max(), rows["rank_correlation"].min()
    perfect = rows[rows["rank_correlation"] == best]
    least = perfect.loc[perfect["limit_ratio"].idxmin()]
    return (
        f"GPUs dedicated to classes of length carry {_range(rows, best)} times as much with perfect predictions and "
        f"{_range(rows, worst)} at {worst:g} ({_more(rows)}). Even with full steps their limit is down to "
        f"{least['limit_ratio']:.3f} of the pooled one ({TRAFFIC_NAMES[least['traffic']]}): short requests run out of "
        "places, long ones out of memory, and neither class can lend the other what it has left."
    )


@reads_tables
def peaks(gains: pd.DataFrame) -> str:
    """Which capacities lie beyond what can be served for long."""
    rows = gains[(gains["share_of_limit"] > 1) & (gains["policy"] != "fcfs")]
    if rows.empty:
        return "No capacity found lies beyond the rate that the policy's GPUs can serve for long."
    row = rows.loc[rows["share_of_limit"].idxmax()]
    return (
        f"{len(rows)} of {len(gains)} capacities lie beyond the rate that the GPUs can serve for long, the furthest at "
        f"{row['share_of_limit']:.2f} times it ({POLICY_NAMES[row['policy']]}, {TRAFFIC_NAMES[row['traffic']]}): there "
        "the long requests, few enough to be allowed late, wait for as long as the peak lasts."
    )


@reads_tables
def bound(saved: pd.DataFrame) -> str:
    """What any order could save, what the orders do save."""
    most, own = saved[saved["part"] == "most"], saved[(saved["part"] == "saved")]
    best = own.loc[own["share"].idxmax()]
    gains = own[own["ci_low"] > 0]
    told = "no order is shown to save any" if gains.empty else f"{len(gains)} of {len(own)} are shown to save any"
    return (
        f"Of a backlog any order could save at most {percent(most['share'].min())} to {percent(most['share'].max())} "
        f"of the busy time of first come, its part-filled steps at the end included; {told}, the most is "
        f"{_share(best)} ({POLICY_NAMES[best['policy']]}, {TRAFFIC_NAMES[best['traffic']]})."
    )


@reads_tables
def tails(table: pd.DataFrame) -> str:
    """What the longest requests hold of places and of memory: why shortest first gains more where memory is scarce."""
    told = [
        f"{percent(row.places_share, 0)} of the places and {percent(row.memory_share, 0)} of the memory "
        f"({TRAFFIC_NAMES[row.traffic]})"
        for row in table.itertuples()
    ]
    return f"The longest {table['share'].iloc[0]:.0%} of the requests hold, over their time, {'; '.join(told)}."


@reads_tables
def chance(parts: pd.DataFrame) -> str:
    """What shortest first gains by predictions that say nothing, by traffic."""
    rows = parts[(parts["policy"] == "shortest") & (parts["part"] == "chance")]
    told = ", ".join(f"{TRAFFIC_NAMES[row.traffic]} {_ratio(row)}" for row in rows.itertuples())
    waves = rows[rows["verdict"] == "more"]["traffic"].map(TRAFFIC_NAMES)
    why = (
        f" ({' and '.join(waves)}: in a wave first come makes everybody late, another order only some)"
        if len(waves)
        else ""
    )
    return f"With predictions that say nothing, places being scarce, it carries {told} times as much{why}."


@reads_tables
def turning(crossings: pd.DataFrame) -> str:
    """From which padding on dedicated GPUs pay, by traffic."""
    sentences = []
    for memory, rows in crossings.groupby("memory"):
        told = ", ".join(f"{TRAFFIC_NAMES[row.traffic]} {_crossing(row)}" for row in rows.itertuples())
        sentences.append(f"{'memory' if memory else 'places'} being scarce, {told}")
    return f"The h/d from which dedicated GPUs carry more than first come: {'; '.join(sentences)}."


@reads_tables
def delays(ratios: pd.DataFrame) -> str:
    """What orders do to delays below capacity."""
    load = ratios["load"].max()
    sentences = []
    for policy in ("bins", "shortest", "dedicated"):
        for metric, name in METRIC_NAMES.items():
            own = ratios[(ratios["policy"] == policy) & (ratios["metric"] == metric) & (ratios["load"] == load)]
            sentences.append(f"{POLICY_NAMES[policy]} {name} {own['ratio'].min():.2f} to {own['ratio'].max():.2f}")
    rest = ratios[(ratios["policy"].isin(["bins", "shortest", "aged"])) & (ratios["load"] < load)]
    same = int((rest["verdict"] == "same").sum())
    return (
        f"At {load:.0%} of the capacity of first come, over first come: {', '.join(sentences)} times. At lower loads "
        f"nobody waits and there is no order to choose: {same} of {len(rest)} means of orders are equivalent to those "
        f"of first come within ±{SAME:.0%}."
    )


@reads_tables
def show_gains(gains: pd.DataFrame) -> Styler:
    """Ratios of capacity with intervals and verdicts: a row a policy and correlation, a column a kind of traffic."""
    rows = gains[gains["policy"] != "fcfs"]
    shown = pd.DataFrame(
        {
            "policy": rows["policy"].map(POLICY_NAMES),
            "rank correlation": ["" if math.isnan(rank) else f"{rank:g}" for rank in rows["rank_correlation"]],
            "traffic": rows["traffic"].map(TRAFFIC_NAMES),
            "ratio": [f"{_ratio(row)}, {row.verdict}" for row in rows.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["policy", "rank correlation"], columns="traffic", values="ratio", aggfunc="first", sort=False
    )
    return wide.reset_index().style.hide(axis="index")


@reads_tables
def show_parts(parts: pd.DataFrame) -> Styler:
    """Factors of each gain with intervals."""
    shown = pd.DataFrame(
        {
            "policy": parts["policy"].map(POLICY_NAMES),
            "traffic": parts["traffic"].map(TRAFFIC_NAMES),
            "part": [PART_NAMES[part].replace("\n", " ") for part in parts["part"]],
            "ratio": [_ratio(row) for row in parts.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["traffic", "policy"], columns="part", values="ratio", aggfunc="first", sort=False
    ).reindex(columns=[PART_NAMES[part].replace("\n", " ") for part in PARTS])
    return wide.fillna("").reset_index().style.hide(axis="index")


@reads_tables
def show_saved(saved: pd.DataFrame) -> Styler:
    """Shares of busy time saved, beside the most that any order could save."""
    most = saved[saved["part"] == "most"].set_index(["traffic", "memory", "padding"])
    rows = saved[saved["part"] != "most"]
    shown = pd.DataFrame(
        {
            "traffic": rows["traffic"].map(TRAFFIC_NAMES),
            "scarce": [_engine(row) for row in rows.itertuples()],
            "policy": rows["policy"].map(POLICY_NAMES),
            "at most": [
                percent(most.loc[(row.traffic, row.memory, row.padding), "share"]) for row in rows.itertuples()
            ],
            "part": rows["part"],
            "share": [_share(row._asdict()) for row in rows.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["traffic", "scarce", "at most", "policy"], columns="part", values="share", aggfunc="first", sort=False
    )
    return wide.reset_index().style.hide(axis="index")


@reads_tables
def show_delays(ratios: pd.DataFrame) -> Styler:
    """Ratios of mean delays with intervals: a row a policy and load, a column a kind of traffic and metric."""
    rows = ratios[ratios["policy"] != "fcfs"]
    shown = pd.DataFrame(
        {
            "load": [f"{load:.0%}" for load in rows["load"]],
            "policy": rows["policy"].map(POLICY_NAMES),
            "traffic": rows["traffic"].map(TRAFFIC_NAMES),
            "of": rows["metric"].map(METRIC_NAMES),
            "ratio": [_ratio(row) for row in rows.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["of", "load", "policy"], columns="traffic", values="ratio", aggfunc="first", sort=False
    )
    return wide.reset_index().style.hide(axis="index")


def _engine(row: Any) -> str:
    if row.padding:
        return f"memory, h = {row.padding:g} d"
    return "memory" if row.memory else "places"


def _range(rows: pd.DataFrame, rank: float) -> str:
    own = rows[rows["rank_correlation"] == rank]["ratio"]
    return f"{own.min():.3f} to {own.max():.3f}"


def _more(rows: pd.DataFrame) -> str:
    more, less = (int((rows["verdict"] == word).sum()) for word in ("more", "less"))
    return f"{more or 'none'} of {len(rows)} shown to carry more, {less or 'none'} less"


def _crossing(row: Any) -> str:
    if math.isinf(row.padding):
        return "none" if math.isinf(row.low) else f"none (from {row.low:.2f} on not excluded)"
    high = "beyond 1" if math.isinf(row.high) else f"{row.high:.2f}"
    return f"{row.padding:.2f} (95 % interval {row.low:.2f} to {high})"


def _ratio(row: Any) -> str:
    return f"{row.ratio:.3f} ({row.ci_low:.3f} to {row.ci_high:.3f})"


def _share(row: Any) -> str:
    limits = f"{100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}".replace("-", "−")
    return f"{100 * row['share']:.1f} % ({limits})".replace("-", "−")
