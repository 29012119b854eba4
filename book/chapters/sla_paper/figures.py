"""The plots of the rules for the size of a batch: overflow, cycles, fixed points, response, regimes.

Draws what `rules` returns; a rule keeps its colour and marker.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

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
REGIMES = {"stable": ("#0072B2", "o"), "bistable": ("#D55E00", "X"), "by chance": ("#E69F00", "D"),
           "collapsed": ("#222222", "v")}  # fmt: skip
FEEDBACK_NAMES = {"step": "step", "decode": "decode steps", "service": "service time", "latency": "end to end"}
UNTIL_S = 60.0  # of a run, as far as it is drawn


def overflow(table: pd.DataFrame) -> Figure:
    """Measured overflow against the probability asked for: moments known, or estimated from 64 requests."""
    figure, axes = plt.subplots(1, 2, figsize=(7.6, 4.0), sharey=True)
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
    """Where each rule settles, less (D - a) / beta, by deadline."""
    figure, axis = plt.subplots(figsize=(7.0, 4.0))
    names = list(table["sla_rule"].unique())
    for place, name in enumerate(names):
        rows, (color, marker) = table[table["sla_rule"] == name], RULES[name]
        x = 1000 * rows["deadline_s"] + 0.5 * (place - (len(names) - 1) / 2)
        y = rows["running"] - rows["expected_batch"]
        error = [rows["running"] - rows["ci_low"], rows["ci_high"] - rows["running"]]
        axis.errorbar(x, y, yerr=error, color=color, marker=marker, ms=5, ls="", capsize=2, label=name)
    axis.axhline(0, color=INK, lw=0.8)
    axis.set(xlabel="Deadline of a decode step (ms)", ylabel="Sequences, less (D − 30)/0.22")
    figure.legend(loc="outside upper center", ncols=len(names), fontsize=9)
    return figure


def response(decided: Mapping[str, pd.DataFrame], goal: float) -> Figure:
    """Sequences that run after a jump to full load, by rule (`rules.step_response`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.0))
    for name, frame in decided.items():
        rows = frame[frame["start_s"] <= UNTIL_S]
        axis.step(rows["start_s"], rows["running"], where="post", color=RULES[name][0], lw=1.3, label=name)
    axis.axhline(goal, color=INK, lw=0.8)
    arrow = {"arrowstyle": "-", "color": INK, "lw": 0.6}
    axis.annotate("what the deadline allows", (0.5 * UNTIL_S, goal), (0, -70), textcoords="offset points", fontsize=10,
                  color=INK, ha="center", arrowprops=arrow)  # fmt: skip
    axis.set(xlabel="Time since all came (s)", ylabel="Sequences that run", ylim=(0, None))
    name_lines(axis)
    return figure


def regimes(table: pd.DataFrame) -> Figure:
    """Regime of each controller by load; a bar where the fallen rule's throughput lies."""
    rows = table[table["start"] == "empty"].assign(
        name=lambda t: t["sla"] + ", " + t["feedback"].map(FEEDBACK_NAMES) + t["changed"].map(lambda c: c and f" ({c})")
    )
    names = list(dict.fromkeys(rows["name"]))
    figure, axis = plt.subplots(figsize=(7.2, 1.2 + 0.3 * len(names)))
    for regime, (color, marker) in REGIMES.items():
        some = rows[rows["regime"] == regime]
        axis.plot(some["load"], some["name"].map(names.index), marker, color=color, ms=8, ls="", label=regime)
    floors = rows.drop_duplicates("name")
    axis.plot(
        floors["floor_rps"] * floors["load"] / floors["rate_rps"], range(len(floors)), "|", color=INK, ms=16, mew=2
    )
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="Arrival rate (share of the allowed)", ylim=(len(names) - 0.5, -0.5), xlim=(0, 1))
    figure.legend(loc="outside upper center", ncols=4, fontsize=10)
    return figure


def capacity_gains(table: pd.DataFrame, printed: Mapping[str, float]) -> Figure:
    """Capacity of the paper's rule over that of static caps, and where the printed gains lie (`sla_paper.capacity`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.2))
    static = table[table["engine"].str.startswith("static")]
    for place, (kind, rows) in enumerate(static.groupby("outputs", sort=False)):
        color, marker = (("#0072B2", "o"), ("#D55E00", "^"))[place]
        caps = rows["engine"].str.split().str[1].astype(int) * (1 + 0.03 * (2 * place - 1))
        error = [rows["gain"] - rows["gain_ci_low"], rows["gain_ci_high"] - rows["gain"]]
        axis.errorbar(caps, rows["gain"], yerr=error, color=color, marker=marker, ms=5, lw=1.3, capsize=2, label=kind)
    for place, (name, gain) in enumerate(sorted(printed.items(), key=lambda item: -item[1])):
        axis.axhline(gain, color=INK, lw=0.8, ls=":")
        axis.annotate(f"{name}: {gain:.2f}", (0.02, gain), xycoords=("axes fraction", "data"), fontsize=8,
                      va="top" if place % 2 else "bottom")  # fmt: skip
    axis.axhline(1.0, color=INK, lw=0.8)
    ticks = sorted(static["engine"].str.split().str[1].astype(int).unique())
    axis.set(xscale="log", xlabel="Static cap (sequences)", ylabel="Capacity, dynamic over static (times)")
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.set_xticks([], minor=True)
    figure.legend(loc="outside upper center", ncols=2, fontsize=10, title="Output lengths")
    return figure
