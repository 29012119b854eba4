"""Sentences on capacities: how much load each scheduler carries, and what speaks against the figure."""

from __future__ import annotations

from typing import Any

import pandas as pd

from book.chapters.capacity.sensitivity import FACTORS, OUTCOMES, PER_GPU
from book.chapters.capacity.tables import rate_of, times
from book.chapters.continuous.executions import BATCHES, STEPS
from book.kit.names import system
from book.kit.tables import established
from simlib.planning.capacity import SCORED
from simlib.policies.plan import short_name
from simlib.text import interval, percent, signed


def capacity_answer(table: pd.DataFrame, ratios: pd.DataFrame) -> str:
    """Each scheduler's capacity by level, and how multi-bin compares with dynamic batching."""
    sentences = []
    for level, rows in table.groupby("level", sort=False):
        found = ", ".join(f"{short_name(row.policy)} {rate_of(row)}" for row in rows.itertuples())
        pair = ratios.query("level == @level and policy == 'multi_bin_dynamic' and over == 'dynamic_no_bins'")
        sentences.append(f"Level {level}: {found} requests per second.")
        for row in pair.itertuples():
            times = f"{row.ratio:.3f} times ({row.ci_low:.3f} to {row.ci_high:.3f}) the load of dynamic batching"
            verdict = "carries" if established(row) else "is not shown to carry anything but"
            sentences.append(f"Multi-bin batching {verdict} {times}.")
    return " ".join(sentences)


def capacity_checks(table: pd.DataFrame, curves: pd.DataFrame) -> str:
    """Does a capacity hang on how long runs are, does the warm-up outlast its cut, does a share fall with the rate?"""
    by = dict(iter(table.groupby("verdict")))
    texts = {"stable": "stay within 2 %", "moves": "move", "unclear": "cannot be told apart from either"}
    counts = [
        f"{len(by[verdict])} {text} ({', '.join(_places(by[verdict]))})"
        for verdict, text in texts.items()
        if verdict in by
    ]
    cut, given = table["warmup_requests"], round(SCORED[0] * table["requests"].max())
    warm_up = (
        f"MSER-5 would cut at most {cut.max():.0f} requests at these rates; {given:,} are cut of every run."
        if (cut <= given).all()
        else f"A warm-up may last longer than the {given:,} requests cut: {', '.join(_places(table[~(cut <= given)]))}."
    )
    falls = curves[curves["falls"]]
    shape = (
        "Nowhere does the share of late requests fall as the rate grows, beyond what chance explains."
        if falls.empty
        else f"The share falls as the rate grows, so that there is more than one root, for {', '.join(_places(falls))}."
    )
    return f"Of {len(table)} capacities, in runs twice as long, {'; '.join(counts)}. {warm_up} {shape}"


def _places(rows: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(f"{short_name(row.policy)} at level {row.level}" for row in rows.itertuples()))


SAME = 0.02  # capacities that differ by less are taken for the same


def bins_answer(ratios: pd.DataFrame) -> str:
    """By number of GPUs, whether some number of bins carries more than none, and what the wrong one costs."""
    sentences = []
    for gpus, rows in _bins(ratios, BATCHES).groupby("gpus", sort=True):
        gains = rows[[established(row) and row.ratio > 1 for row in rows.itertuples()]]
        losses = rows[[established(row) and row.ratio < 1 for row in rows.itertuples()]]
        name = f"{gpus} GPU{'s' if gpus > 1 else ''}"
        told = [f"{word} with {_extreme(found, best)}" for word, found, best in _words(gains, losses) if len(found)]
        sentences.append(f"On {name} bins {' and '.join(told) or 'are not shown to matter'}.")
    return " ".join(sentences)


def headline(ratios: pd.DataFrame) -> str:
    """What a middling number of bins is worth on the fewest and on the most GPUs, and what the best of all are."""
    batches, joint = _bins(ratios, BATCHES), _bins(ratios, BATCHES, "joint_optimum")
    share, k = ratios["late_share"].max(), sorted(batches["k_bins"].unique())[batches["k_bins"].nunique() // 2]
    own = batches[(batches["late_share"] == share) & (batches["k_bins"] == k)].sort_values("gpus")
    few, many = own.iloc[0], own.iloc[-1]
    best = joint.loc[joint["ratio"].idxmax()]
    return (
        f"Bins need GPUs: with {100 * share:g} % late, {k} bins carry {times(few)}, of the load of none on "
        f"{few['gpus']} GPU{'s' if few['gpus'] > 1 else ''} and {times(many)}, on {many['gpus']}; at most "
        f"{best['k_bins']}, chosen with their batch sizes, carry {times(best)}, on {best['gpus']}."
    )


def joint(ratios: pd.DataFrame) -> str:
    """Bins and batch sizes chosen together, by number of GPUs: the best over none, in batches and on an engine."""
    rows, told = _bins(ratios, BATCHES, "joint_optimum"), []
    for gpus, own in rows.groupby("gpus", sort=True):
        best = own.loc[own["ratio"].idxmax()]
        told.append(f"{gpus} GPU{'s' if gpus > 1 else ''}: at most K = {best['k_bins']} ({times(best)})")
    steps = _bins(ratios, STEPS, "joint_optimum")
    worst, best = (steps.loc[pick(steps["ratio"])] for pick in (pd.Series.idxmin, pd.Series.idxmax))
    return (
        f"Bins and batch sizes chosen together, over none, by number of GPUs: {'; '.join(told)}. An engine that takes "
        f"the requests in the order of such bins, one after the other, carries {times(worst)}, to {times(best)}, of "
        "what it carries first come, first served."
    )


def _words(gains: pd.DataFrame, losses: pd.DataFrame) -> list[tuple[str, pd.DataFrame, bool]]:
    return [("carry more, most", gains, True), ("carry less, least", losses, False)]


def _extreme(rows: pd.DataFrame, largest: bool) -> str:
    row = rows.loc[rows["ratio"].idxmax() if largest else rows["ratio"].idxmin()]
    return f"K = {row['k_bins']} at {100 * row['late_share']:g} % late ({times(row)})"


def equivalence(ratios: pd.DataFrame) -> str:
    """On an engine: of how many comparisons the interval lies within 2 % of no change, or leaves it out."""
    rows = _bins(ratios, STEPS)
    same = int(((rows["ci_low"] > 1 - SAME) & (rows["ci_high"] < 1 + SAME)).sum())
    other = rows[[established(row) for row in rows.itertuples()]]
    furthest = rows.loc[(rows["ratio"] - 1).abs().idxmax()]
    shown = "none is shown to differ" if other.empty else f"{len(other)} differ by pairs, after Holm's correction"
    return (
        f"Under continuous batching the order of the bins changes little: of {len(rows)} comparisons with first come, "
        f"first served {same} are equivalent within {SAME:.0%}, {shown}, and the furthest mean ratio is "
        f"{times(furthest)}."
    )


def engine(ratios: pd.DataFrame) -> str:
    """How much more an engine carries than its counterpart among the schedulers."""
    rows = ratios[(ratios["execution"] == STEPS) & (ratios["over_execution"] == BATCHES)]
    told = []
    for (scheduler, over), own in rows.groupby(["scheduler", "over_scheduler"], sort=False):
        low, high = own["ratio"].min(), own["ratio"].max()
        told.append(f"{system(STEPS, scheduler)} {low:.1f} to {high:.1f} times the load of {over}")
    return f"The engine carries more at every number of GPUs: {'; '.join(told)}."


def _bins(ratios: pd.DataFrame, execution: str, scheduler: str = "multi_bin_dynamic") -> pd.DataFrame:
    """What that many bins are worth over none."""
    binned = (ratios["scheduler"] == scheduler) & (ratios["k_bins"] > ratios["over_k_bins"])
    return ratios[binned & (ratios["execution"] == execution)]


MATTERS = 0.1  # of the variance: what a factor must surely have, or surely not have, to be called one or the other


def drivers_answer(indices: pd.DataFrame, outcome: str = "difference") -> str:
    """Which factors surely carry a tenth of an outcome's variance, which surely do not, how much is interplay."""
    rows = indices[indices["outcome"] == outcome]
    totals = rows[rows["index"] == "total"].sort_values("value", ascending=False)
    sure = [_with_interval(row) for row in totals[totals["ci_low"] > MATTERS].itertuples()]
    minor = [_label(row.factor) for row in totals[totals["ci_high"] < MATTERS].itertuples()]
    open_ = [_label(row.factor) for row in totals.itertuples() if row.ci_low <= MATTERS <= row.ci_high]
    alone = float(rows.loc[rows["index"] == "first", "value"].sum())
    chance = rows[rows["index"] == "chance"].iloc[0]
    parts = [f"{_list(sure)} each carry more than {percent(MATTERS, 0)} of its variance, interactions included"]
    parts = parts if sure else [f"no factor surely carries more than {percent(MATTERS, 0)} of its variance"]
    if minor:
        parts.append(f"{_list(minor)} surely less")
    if open_:
        parts.append(f"of {_list(open_)} it is not established")
    return (
        f"{OUTCOMES[outcome]}: {'; '.join(parts)}. Single factors explain {percent(min(alone, 1.0), 0)} of it, the "
        f"rest is interplay; given the point, chance makes {percent(chance['value'], 0)} of the variance of single "
        f"runs ({interval(chance['ci_low'], chance['ci_high'], 0)})."
    )


def box_answer(effects: pd.DataFrame) -> str:
    """What bins do on average over the whole box, and in how much of it they do good."""
    row = effects[(effects["outcome"] == "difference") & (effects["factor"] == "")].iloc[0]
    kind = "more" if row["ci_low"] > 0 else "fewer" if row["ci_high"] < 0 else "neither more nor fewer"
    return (
        f"Over the whole box multi-bin batching has {kind} late requests than dynamic batching: "
        f"{signed(100 * row['value'], 1)} points ({interval(row['ci_low'], row['ci_high'], 1, points=True)}); it has "
        f"fewer at {percent(row['negative'], 0)} of the points."
    )


def directions_answer(effects: pd.DataFrame) -> str:
    """Which way each factor pulls, from its lowest part to its highest, where the two intervals are apart."""
    rows, down, up = effects[effects["outcome"] == "difference"], [], []
    for name in FACTORS:
        own = rows[rows["factor"] == name].sort_values("middle")
        low, high = own.iloc[0], own.iloc[-1]
        said = f"{_label(name)} ({signed(100 * low['value'], 1)} to {signed(100 * high['value'], 1)} points)"
        if high["ci_high"] < low["ci_low"]:
            down.append(said)
        elif high["ci_low"] > low["ci_high"]:
            up.append(said)
    parts = [f"Bins do better with more of: {_list(down)}"] if down else []
    parts += [f"{'worse' if parts else 'Bins do worse'} with more of: {_list(up)}"] if up else []
    return "; ".join(parts or ["No factor's ends differ beyond their intervals"]) + "."


def per_gpu_answer(effects: pd.DataFrame) -> str:
    """What bins do where there are few and where there are many of them for each GPU."""
    rows = effects[(effects["outcome"] == "difference") & (effects["factor"] == PER_GPU)].sort_values("middle")
    said = [
        f"with about {row.middle:.2g} bins a GPU {signed(100 * row.value, 1)} points "
        f"({interval(row.ci_low, row.ci_high, 1, points=True)}; fewer late requests at {percent(row.negative, 0)} of "
        "the points)"
        for row in rows.iloc[[0, -1]].itertuples()
    ]
    return f"Bins and GPUs act through their ratio: {said[0]}, {said[1]}."


def _label(name: str) -> str:
    return FACTORS[name].label.split(" (")[0].split(",")[0]


def _with_interval(row: Any) -> str:
    return f"{_label(row.factor)} ({percent(row.value, 0)}, {interval(row.ci_low, row.ci_high, 0)})"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
