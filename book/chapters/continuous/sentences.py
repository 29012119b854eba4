"""Sentences on continuous batching: what is a gain of binning, what is none, and why."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from book.chapters.continuous.executions import BATCHES, PAIRS, STEPS, SYSTEM
from book.chapters.continuous.gains import SAME
from book.chapters.continuous.tables import (
    METRIC_NAMES,
    POLICY_NAMES,
    SHOWN,
    SIGNED,
    UNITS,
    ratio,
    rows_of,
    share,
)
from book.kit.names import TRAFFIC_NAMES, system
from book.kit.tables import established
from simlib.text import percent


def binning_answer(gains: pd.DataFrame) -> str:
    """The three policies in three sentences."""
    return f"{bins_in_turn(gains)} {shortest(gains)} {dedicated(gains)}"


def headline(gains: pd.DataFrame) -> str:
    """In a sentence: the three policies' capacities over first come."""
    reach = {policy: (rows["ratio"].min(), rows["ratio"].max()) for policy, rows in gains.groupby("policy")}
    bins, shortest, dedicated = ("{:.2f} to {:.2f}".format(*reach[name]) for name in ("bins", "shortest", "dedicated"))
    return (
        f"An engine that batches continuously carries {bins} times as much with bins in turn as first come, first "
        f"served, {shortest} times with the shortest predicted first, and {dedicated} times with GPUs dedicated to "
        "classes of length."
    )


def bins_in_turn(gains: pd.DataFrame) -> str:
    """Of how many comparisons bins in turn are equivalent to first come, and how far the others are."""
    rows = gains[gains["policy"] == "bins"]
    same = int((rows["verdict"] == "same").sum())
    return (
        f"Admission from bins in turn: of {len(rows)} comparisons with first come {same} are equivalent within "
        f"±{SAME:.0%} of its capacity, {_more(rows)}; all intervals together reach from {rows['ci_low'].min():.3f} to "
        f"{rows['ci_high'].max():.3f} times."
    )


def shortest(gains: pd.DataFrame) -> str:
    """What shortest first carries by the quality of its predictions, without and with ageing."""
    pure, aged = (gains[gains["policy"] == policy] for policy in ("shortest", "aged"))
    best, worst = pure["rank_correlation"].max(), pure["rank_correlation"].min()
    return (
        f"Shortest predicted first carries {_range(pure, best)} times as much with perfect predictions and "
        f"{_range(pure, worst)} at a rank correlation of {worst:g} ({_more(pure)}); with ageing {_range(aged, best)} "
        f"and {_range(aged, worst)} ({_more(aged)})."
    )


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


def bound(saved: pd.DataFrame) -> str:
    """What any order could save, what the orders do save."""
    most, own = saved[saved["part"] == "most"], saved[(saved["part"] == "saved")]
    best = own.loc[own["share"].idxmax()]
    gains = own[own["ci_low"] > 0]
    told = "no order is shown to save any" if gains.empty else f"{len(gains)} of {len(own)} are shown to save any"
    return (
        f"Of a backlog any order could save at most {percent(most['share'].min())} to {percent(most['share'].max())} "
        f"of the busy time of first come, its part-filled steps at the end included; {told}, the most is "
        f"{share(best)} ({POLICY_NAMES[best['policy']]}, {TRAFFIC_NAMES[best['traffic']]})."
    )


def tails(table: pd.DataFrame) -> str:
    """What the longest requests hold of places and of memory: why shortest first gains more where memory is scarce."""
    told = [
        f"{percent(row.places_share, 0)} of the places and {percent(row.memory_share, 0)} of the memory "
        f"({TRAFFIC_NAMES[row.traffic]})"
        for row in table.itertuples()
    ]
    return f"The longest {table['share'].iloc[0]:.0%} of the requests hold, over their time, {'; '.join(told)}."


def chance(parts: pd.DataFrame) -> str:
    """What shortest first gains by predictions that say nothing, by traffic."""
    rows = parts[(parts["policy"] == "shortest") & (parts["part"] == "chance")]
    told = ", ".join(f"{TRAFFIC_NAMES[row.traffic]} {ratio(row)}" for row in rows.itertuples())
    waves = rows[rows["verdict"] == "more"]["traffic"].map(TRAFFIC_NAMES)
    why = (
        f" ({' and '.join(waves)}: in a wave first come makes everybody late, another order only some)"
        if len(waves)
        else ""
    )
    return f"With predictions that say nothing, places being scarce, it carries {told} times as much{why}."


def turning(crossings: pd.DataFrame) -> str:
    """From which padding on dedicated GPUs pay, by traffic."""
    sentences = []
    for memory, rows in crossings.groupby("memory"):
        told = ", ".join(f"{TRAFFIC_NAMES[row.traffic]} {_crossing(row)}" for row in rows.itertuples())
        sentences.append(f"{'memory' if memory else 'places'} being scarce, {told}")
    return f"The h/d from which dedicated GPUs carry more than first come: {'; '.join(sentences)}."


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


def executions_answer(ratios: pd.DataFrame) -> str:
    """What continuous batching carries beside each scheduler, and what bins are worth in both worlds."""
    same, line, bins, among_batches, among_steps = (_ratio(ratios, *pair) for pair in PAIRS)
    return (
        f"At the same step times an engine carries {_times(same)} the rate of static batches with no more than their "
        f"places, {_times(line)} that of dynamic batches and {_times(bins)} that of multi-bin batches with as many "
        f"sequences as those may have. With bins, batches that run to completion carry {_times(among_batches)} what "
        f"they carry without; the engine, in the bins' order, {_times(among_steps)}: {_worth(among_steps)}."
    )


def _worth(row: Any) -> str:
    if row.ci_low > 1:
        return "their order hardly matters" if row.ci_high < 1.05 else "their order helps"
    return "their order costs" if row.ci_high < 1 else "no gain is established"


def changes(differences: pd.DataFrame) -> str:
    """By how much the engine's order differs from its counterpart, at the highest rate that both bear."""
    sentences = []
    for a, b in PAIRS[:3]:
        rows = rows_of(differences, a, b)
        if rows.empty:
            continue
        own = rows[rows["load"] == rows["load"].max()].set_index("metric")
        texts = [f"{SHOWN[metric][0]} {_change(own.loc[metric], metric)}" for metric in ("ttft_p99_s", "latency_p99_s")]
        rate = f"{own['rate_rps'].iloc[0]:.2f} requests/s"
        sentences.append(f"{system(*a).capitalize()} against {b[1]}, at {rate}: {' and '.join(texts)}.")
    return " ".join(sentences)


def _change(row: Any, metric: str) -> str:
    number = SIGNED[metric]
    text = f"{number(row['difference'])} {UNITS[metric]} ({number(row['ci_low'])} to {number(row['ci_high'])})"
    return text if established(row) else f"{text}, not established"


def bins_against_none(differences: pd.DataFrame) -> str:
    """What bins do to late requests in both worlds, by rate."""
    sentences = []
    for (a, b), where in ((PAIRS[3], "run to completion"), (PAIRS[4], "the engine")):
        rows = rows_of(differences, a, b)
        rows = rows[rows["metric"] == "sla_violation_share"]
        fewer, more = ([row for _, row in rows.iterrows() if established(row) and sign * row["difference"] < 0]
                       for sign in (1, -1))  # fmt: skip
        texts = [f"{word} at {_rates(found)}" for word, found in (("more", more), ("fewer", fewer)) if found]
        if not texts:
            largest = rows["difference"].abs().max() if len(rows) else 0.0
            texts = [f"no established difference at any rate (the largest mean one is {100 * largest:.2f} points)"]
        sentences.append(f"In {where}, late requests with bins against none: {'; '.join(texts)}.")
    return " ".join(sentences).replace("In run to completion", "Run to completion")


def _rates(rows: list[Any]) -> str:
    rates = ", ".join(f"{row['rate_rps']:.2f}" for row in rows)
    return f"{rates} requests/s"


def numbers(table: pd.DataFrame) -> dict[str, str]:
    """Means that the prose quotes, at the lowest rate and at the highest that static batches bear."""
    static = table[(table["execution"] == BATCHES) & (table["scheduler"] == "static_fifo") & table["mean"].notna()]
    texts = {}
    for word, load in (("idle", static["load"].min()), ("busy", static["load"].max())):
        own = table[table["load"] == load].set_index([*SYSTEM, "metric"])["mean"]
        texts[f"{word}_rate"] = f"{static.loc[static['load'] == load, 'rate_rps'].iloc[0]:.2f}"
        for execution, scheduler, short in ((BATCHES, "static_fifo", "static"), (STEPS, "static_fifo", "places")):
            for metric, (_, shown) in SHOWN.items():
                texts[f"{word}_{short}_{metric.rsplit('_', 1)[0]}"] = shown(own[execution, scheduler, metric])
    return texts


def _ratio(ratios: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> Any:
    return rows_of(ratios, a, b).iloc[0]


def _times(row: Any) -> str:
    digits = 3 if row.value < 1.1 else 2
    return f"{row.value:.{digits}f} times ({row.ci_low:.{digits}f} to {row.ci_high:.{digits}f})"
