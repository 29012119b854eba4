"""Figures of the rules for the size of a batch: overflow, cycles, fixed points, response, loads of collapse, gains.

Draws what `rules`, `stability` and `capacity` return; a rule keeps its colour and marker.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from book.chapters.sla_paper.rules import RULE_NAMES
from book.kit.style import INK, PERCENT, name_lines

RULES = {
    "paper": ("#0072B2", "o"),
    "printed": ("#E69F00", "^"),
    "original": ("#009E73", "D"),
    "aimd": ("#CC79A7", "v"),
    "regression": ("#D55E00", "s"),
}
LENGTHS = {
    "normal_like": ("#0072B2", "o", "normal-like"),
    "skewed": ("#D55E00", "^", "skewed"),
    "burstgpt": ("#009E73", "D", "BurstGPT"),
    "equal": ("#7A7A7A", "s", "all equal"),
}
FED_NAMES = {"step": "Fed with the times of steps", "service": "Fed with requests' service times",
             "latency": "Fed with requests' end-to-end times"}  # fmt: skip
STARTS = {"empty": ("#0072B2", None, "from empty"), "backlog": ("#E69F00", "////", "from a backlog")}
UNTIL_S = 60.0  # of a run, as far as it is drawn


def overflow(table: pd.DataFrame) -> Figure:
    """Measured overflow against the probability asked for: moments known, or estimated from 64 requests."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.8), sharey=True)
    large = table[table["mean_requests"] == table["mean_requests"].max()]
    for axis, (seen, title) in zip(axes, ((0, "Moments known"), (64, "Moments of 64 requests")), strict=True):
        for name, (color, marker, label) in LENGTHS.items():
            rows = large[(large["lengths"] == name) & (large["requests_seen"] == seen)].sort_values("epsilon_m")
            if rows.empty:
                continue
            error = [rows["overflow_share"] - rows["ci_low"].clip(lower=1e-4), rows["ci_high"] - rows["overflow_share"]]
            look = {"color": color, "marker": marker, "ms": 5, "lw": 1.3, "capsize": 2, "label": label}
            axis.errorbar(rows["epsilon_m"], rows["overflow_share"], yerr=error, **look)
        ends = [table["epsilon_m"].min(), table["epsilon_m"].max()]
        axis.plot(ends, ends, color=INK, lw=0.8)
        axis.set(xscale="log", yscale="log", xlabel=r"Asked for: $\epsilon_M$", ylim=(1e-3, 0.6))
        axis.xaxis.set_major_formatter(PERCENT)
        axis.yaxis.set_major_formatter(PERCENT)
        axis.set_title(title, fontsize=11)
    axes[0].set_ylabel("Batches that exceed the cache")
    axes[1].annotate("as asked", (0.015, 0.012), fontsize=9)
    name_lines(axes[1])
    return figure


def memory_cycles(series: Mapping[str, pd.DataFrame]) -> Figure:
    """How full the cache is over time, for each kind of lengths (`EngineRun.kv`)."""
    figure, axes = plt.subplots(len(series), 1, figsize=(7.0, 1.9 * len(series)), sharex=True, squeeze=False)
    for axis, (name, frame) in zip(axes[:, 0], series.items(), strict=True):
        color, _, label = LENGTHS[name]
        axis.plot(frame["start_s"], frame["kv_share"], color=color, lw=1.1)
        axis.set(ylim=(0, 1.05), xlim=(0, UNTIL_S))
        axis.yaxis.set_major_formatter(PERCENT)
        axis.set_title(f"Lengths: {label}", fontsize=11)
    axes[-1, 0].set_xlabel("Time (s)")
    figure.supylabel("Cache in use", fontsize=12)
    return figure


def fixed_points(table: pd.DataFrame) -> Figure:
    """Sequences that run beyond what the deadline allows, or short of it, by rule and deadline; far ones are named."""
    figure, axis = plt.subplots(figsize=(7.0, 3.8))
    table = table.assign(y=table["running"] - table["expected_batch"])
    names, most = list(table["sla_rule"].unique()), 8.0
    for place, name in enumerate(names):
        rows, (color, marker) = table[table["sla_rule"] == name], RULES[name]
        x = 1000 * rows["deadline_s"] + 1.2 * (place - (len(names) - 1) / 2)
        near = rows["y"].abs() < most
        error = np.array([rows["running"] - rows["ci_low"], rows["ci_high"] - rows["running"]])
        look = {"color": color, "marker": marker, "ms": 6, "ls": "", "capsize": 2, "label": RULE_NAMES[name]}
        axis.errorbar(x[near], rows["y"][near], yerr=error[:, near], **look)
        for left, far in zip(x[~near], rows["y"][~near], strict=True):
            axis.plot(left, most - 0.4, marker, color=color, ms=6)
            axis.annotate(f"{far:+.0f} (cut)", (left, most - 0.4), (7, 0), textcoords="offset points",
                          color=INK, fontsize=9, va="center")  # fmt: skip
    axis.axhline(0, color=INK, lw=0.8)
    for at, text in ((0.80, "too many: steps above the deadline"), (0.02, "too few: throughput given away")):
        axis.annotate(text, (0.99, at), xycoords="axes fraction", fontsize=9, ha="right", va="bottom")
    axis.set(xlabel="Deadline of a step (ms)", ylabel="Sequences beyond\nwhat it allows", ylim=(-most, most))
    axis.set_xticks(1000 * np.sort(table["deadline_s"].unique()))
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def response(decided: Mapping[str, pd.DataFrame], goal: float) -> Figure:
    """Sequences that run after a jump to full load, by rule (`rules.step_response`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.0))
    for name, frame in decided.items():
        rows = frame[frame["start_s"] <= UNTIL_S]
        axis.step(rows["start_s"], rows["running"], where="post", color=RULES[name][0], lw=1.3, label=RULE_NAMES[name])
    axis.axhline(goal, color=INK, lw=0.8)
    arrow = {"arrowstyle": "-", "color": INK, "lw": 0.6}
    axis.annotate("what the deadline allows", (0.5 * UNTIL_S, goal), (0, -70), textcoords="offset points", fontsize=10,
                  color=INK, ha="center", arrowprops=arrow)  # fmt: skip
    axis.set(xlabel="Time since all came (s)", ylabel="Sequences that run", ylim=(0, None))
    name_lines(axis)
    return figure


def collapse_loads(table: pd.DataFrame) -> Figure:
    """How far each rule keeps up, in three bands by what it is fed with (`stability.collapse_loads`)."""
    bands = dict(tuple(table.groupby("feedback", sort=False)))
    counts = [rows["sla"].nunique() for rows in bands.values()]
    figure, axes = plt.subplots(len(bands), 1, figsize=(7.0, 1.3 + 0.32 * sum(counts)), sharex=True, squeeze=False,
                                height_ratios=counts)  # fmt: skip
    for axis, (fed, rows) in zip(axes[:, 0], bands.items(), strict=True):
        names = list(rows["sla"].unique())
        for start, (color, hatch, label) in STARTS.items():
            some = rows[rows["start"] == start]
            y = some["sla"].map(names.index) + (-0.2 if start == "empty" else 0.2)
            known = some["collapse_load"].notna()
            ends = some["collapse_load"].where(known, some["ci_low"])
            axis.barh(y, ends, 0.38, color=color, alpha=0.75, hatch=hatch, edgecolor="none" if hatch is None else "w",
                      label=label)  # fmt: skip
            error = [ends - some["ci_low"], some["ci_high"].fillna(1.0) - ends]
            axis.errorbar(ends[known], y[known], xerr=np.array(error)[:, known], color=INK, ls="", lw=1.2, capsize=2)
        for name, some in rows[rows["collapse_load"].isna()].groupby("sla"):
            end, which = some["ci_low"].max(), "" if len(some) > 1 else f"{STARTS[some['start'].iloc[0]][2]}: "
            axis.annotate(f"{which}not up to {end:g}", (end, names.index(name)), (4, 0), textcoords="offset points",
                          fontsize=9, va="center", annotation_clip=False)  # fmt: skip
        axis.set_yticks(range(len(names)), [RULE_NAMES[name] for name in names])
        axis.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, 1))
        axis.set_title(FED_NAMES[fed], fontsize=11)
        axis.grid(visible=False, axis="y")
    axes[-1, 0].set_xlabel("Load at which half of the runs collapse (share of what could be carried)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10)
    return figure


def capacity_gains(table: pd.DataFrame, printed: Mapping[str, float]) -> Figure:
    """Capacity of the paper's rule over that of static caps, and where the printed gains lie (`capacities`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.2))
    static = table[table["engine"].str.startswith("static")]
    for place, (kind, rows) in enumerate(static.groupby("outputs", sort=False)):
        color, marker = (("#0072B2", "o"), ("#D55E00", "^"))[place]
        caps = rows["engine"].str.split().str[1].astype(int) * (1 + 0.03 * (2 * place - 1))
        error = [rows["gain"] - rows["gain_ci_low"], rows["gain_ci_high"] - rows["gain"]]
        axis.errorbar(caps, rows["gain"], yerr=error, color=color, marker=marker, ms=5, lw=1.3, capsize=2, label=kind)
    for place, (name, gain) in enumerate(sorted(printed.items(), key=lambda item: -item[1])):
        axis.axhline(gain, color=INK, lw=0.8, ls=":")
        axis.annotate(f"{name}: {gain:.2f}", (0.02, gain), xycoords=("axes fraction", "data"), fontsize=9,
                      va="top" if place % 2 else "bottom")  # fmt: skip
    axis.axhline(1.0, color=INK, lw=0.8)
    axis.annotate("dotted: the gains that the paper prints", (0.98, 1.28), xycoords=("axes fraction", "data"),
                  fontsize=9, ha="right", va="bottom")  # fmt: skip
    ticks = sorted(static["engine"].str.split().str[1].astype(int).unique())
    axis.set(xscale="log", xlabel="Static cap (sequences)", ylabel="Capacity over a static cap's (times)")
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xticks([], minor=True)
    figure.legend(loc="outside upper center", ncols=2, fontsize=10, title="Output lengths")
    return figure
