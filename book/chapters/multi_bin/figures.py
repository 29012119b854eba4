"""The plots of the Multi-Bin paper's experiments: simulation as points with bars, theory as thin black lines.

Draws what `throughput` and `carried` return; a number of bins keeps its colour and marker.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from book.kit.names import BIN_RULE_NAMES
from book.kit.style import FAINT, INK, PERCENT

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#B07A00", "#2E91C9")
MARKERS = "o^Dsv<"
HATCHES = ("", "//", "..")
HIGHEST_S = 70.0  # of the latencies that are drawn
COUNTED_NAMES = {
    "with_flush": "all requests, flush included",
    "without_flush": "full batches only",
    "warm_up_removed": "full batches, warm-up removed",
}


def throughput_by_rate(table: pd.DataFrame) -> Figure:
    """Throughput against arrival rate, a line of points for each number of bins (`throughput.throughputs`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    for place, (k, rows) in enumerate(table.groupby("k")):
        _points(axis, rows, "rate_rps", "throughput_rps", place)
        axis.plot(rows["rate_rps"], rows["theory_rps"], color=INK, lw=0.8, zorder=3)
        _label(axis, rows["rate_rps"].iloc[-1], rows["theory_rps"].iloc[-1], f"k = {k}", place)
    axis.set_xlabel("Arrival rate (requests/s)")
    axis.set_ylabel("Throughput (requests/s)")
    return figure


def finite_run(table: pd.DataFrame) -> Figure:
    """How far throughput lies from Theorem 4.2, by number of bins and way of counting (`throughput.carried`)."""
    figure, axis = plt.subplots(figsize=(7.0, 3.8))
    ways = [way for way in COUNTED_NAMES if way in set(table["counted"])]
    for place, way in enumerate(ways):
        rows = table[table["counted"] == way]
        shares = rows[["throughput_rps", "ci_low", "ci_high"]].div(rows["theory_rps"], axis=0) - 1
        shifted = shares.assign(k=rows["k"] + 0.12 * (place - (len(ways) - 1) / 2))
        _points(axis, shifted, "k", "throughput_rps", place, label=COUNTED_NAMES[way])
    axis.axhline(0.0, color=INK, lw=0.8)
    axis.set_xticks(sorted(set(table["k"])))
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Bins k")
    axis.set_ylabel("Throughput over $c_k$, less one")
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    return figure


def latency_by_rate(table: pd.DataFrame, read: pd.DataFrame) -> Figure:
    """Mean latency against arrival rate: simulation, Lemma 5.1, and what was read off the paper's figure.

    `table` is `throughput.latencies`', `read` is `throughput.paper`'s; overloaded points lie off the scale.
    """
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    for place, (k, rows) in enumerate(table.groupby("k")):
        axis.plot(rows["rate_rps"], rows["lemma_s"], color=INK, lw=0.8, zorder=3)
        shown = rows[rows["ci_high"] < HIGHEST_S]
        _points(axis, shown, "rate_rps", "latency_mean_s", place)
        if len(shown):
            _label(axis, shown["rate_rps"].iloc[0], shown["latency_mean_s"].iloc[0], f"k = {k}", place, before=True)
    axis.plot(read["rate_rps"], read["value"], "x", color=INK, ms=8, mew=1.8, zorder=4, label="read off the paper")
    axis.plot([], [], color=INK, lw=0.8, label="Lemma 5.1")
    axis.set_xlim(left=table["rate_rps"].min() - 1.0)
    axis.set_ylim(20.0, HIGHEST_S)
    axis.set_xlabel("Arrival rate (requests/s)")
    axis.set_ylabel("Mean latency (s)")
    figure.legend(loc="outside upper center", ncols=2, fontsize=10)
    return figure


def waiting(parts: pd.DataFrame) -> Figure:
    """How long formed batches wait for a server, by rate, for few and many servers (`throughput.latency_parts`)."""
    rows = parts[parts["part"] == "waiting_s"].rename(columns={"mean_s": "waiting_s"})
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    few = rows["gpus"].min()
    for place, (k, line) in enumerate(rows.groupby("k")):
        one = line[line["gpus"] == few]
        _points(axis, one, "rate_rps", "waiting_s", place, ls="-")
        _label(axis, one["rate_rps"].iloc[-1], one["waiting_s"].iloc[-1], f"k = {k}", place)
    many = rows[rows["gpus"] != few]
    axis.plot(many["rate_rps"], many["waiting_s"], "o", color=FAINT, mfc="white", ms=5, zorder=1)
    if len(many):
        place = {"xycoords": "data", "textcoords": "offset points", "color": "#555555"}
        axis.annotate(
            f"{many['gpus'].max()} servers, any k", (many["rate_rps"].max(), 0.0), (-6, 8), ha="right", **place
        )
    axis.set_xlabel("Arrival rate (requests/s)")
    axis.set_ylabel("Wait of a formed batch (s)")
    return figure


def errors(table: pd.DataFrame, read: pd.DataFrame, read_batch_size: int = 128) -> Figure:
    """Throughput against the chance of a wrong bin, a panel a batch size (`carried.prediction_errors`).

    `read` is `throughput.paper`'s, of batches of `read_batch_size`.
    """
    sizes = sorted(set(table["batch_size"]))
    figure, axes = plt.subplots(1, len(sizes), figsize=(7.0, 3.8), squeeze=False)
    for axis, size in zip(axes[0], sizes, strict=True):
        for place, (k, rows) in enumerate(table[table["batch_size"] == size].groupby("k")):
            axis.plot(rows["p_e"], rows["theory_rps"], color=INK, lw=0.8, zorder=3)
            _points(axis, rows, "p_e", "throughput_rps", place)
            _label(axis, rows["p_e"].iloc[-1], rows["theory_rps"].iloc[-1], f"k = {k}", place)
        if size == read_batch_size:
            axis.plot(read["p_e"], read["value"], "x", color=INK, ms=7, mew=1.4, zorder=4, label="read off the paper")
            axis.legend(loc="upper right", fontsize=10)
        axis.set_title(f"Batches of {size}")
        axis.set_ylim(bottom=0.0)
    axes[0][0].set_ylabel("Throughput (requests/s)")
    figure.supxlabel("Probability of each neighbouring bin", fontsize=12)
    return figure


def exponential(table: pd.DataFrame) -> Figure:
    """Throughput by number of bins, a bar a rule for the edges, a tick the exact integral (`carried.exponential_bins`).

    One bin is the same under every rule: a line across.
    """
    figure, axis = plt.subplots(figsize=(7.0, 3.8))
    rows = table[table["k"] > 1]
    rules, k_values = list(dict.fromkeys(rows["rule"])), sorted(set(rows["k"]))
    for place, rule in enumerate(rules):
        mine = rows[rows["rule"] == rule].sort_values("k")
        at = [k_values.index(k) + 0.27 * (place - (len(rules) - 1) / 2) for k in mine["k"]]
        error = [mine["throughput_rps"] - mine["ci_low"], mine["ci_high"] - mine["throughput_rps"]]
        axis.bar(at, mine["throughput_rps"], 0.25, color=COLORS[place], hatch=HATCHES[place], edgecolor="white",
                 lw=0, label=BIN_RULE_NAMES.get(rule, rule))  # fmt: skip
        axis.errorbar(at, mine["throughput_rps"], yerr=error, fmt="none", ecolor=INK, lw=1.0, capsize=2)
        axis.hlines(mine["theory_rps"], [x - 0.12 for x in at], [x + 0.12 for x in at], color=INK, lw=1.5)
    alone = table.loc[table["k"] == 1, "theory_rps"]
    if len(alone):
        axis.axhline(alone.iloc[0], color=INK, lw=1.0, ls="--")
        axis.annotate("one bin", (len(k_values) - 0.5, alone.iloc[0]), (4, 0), textcoords="offset points", color=INK,
                      va="center", annotation_clip=False)  # fmt: skip
    axis.set_xlim(-0.5, len(k_values) - 0.5)
    axis.set_xticks(range(len(k_values)), [f"{k}" for k in k_values])
    axis.set_xlabel("Bins k")
    axis.set_ylabel("Throughput (requests/s)")
    axis.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=len(rules), fontsize=10)
    return figure


def ratios(table: pd.DataFrame, service: pd.DataFrame) -> Figure:
    """How many times one bin's throughput each number of bins has, ours and the paper's (`carried.llm_like_ratios`)."""
    figure, axis = plt.subplots(figsize=(7.0, 3.8))
    alone = service[service["k"] == 1].iloc[0]
    axis.plot(service["k"], service["theory_rps"] / alone["theory_rps"], color=INK, lw=0.8, label="exact integral")
    axis.plot(service["k"], service["paper_rps"] / alone["paper_rps"], "x", color=INK, ms=8, mew=1.6, label="paper")
    _points(axis, table, "k", "ratio", 0, label="simulated")
    axis.set_xscale("log", base=2)
    axis.set_xticks(table["k"], table["k"])
    axis.minorticks_off()
    axis.set_xlabel("Bins k")
    axis.set_ylabel("Throughput, times that of one bin")
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure


def _points(axis: Axes, rows: pd.DataFrame, x: str, y: str, place: int, ls: str = "", label: str = "") -> None:
    """Means with their 95 % intervals."""
    error = [rows[y] - rows["ci_low"], rows["ci_high"] - rows[y]]
    look = {"color": COLORS[place % len(COLORS)], "marker": MARKERS[place % len(MARKERS)], "ls": ls, "ms": 3.5}
    axis.errorbar(rows[x], rows[y], yerr=error, capsize=2, lw=1.2, label=label or None, **look)


def _label(axis: Axes, x: float, y: float, text: str, place: int, before: bool = False) -> None:
    """A line's name behind its last point, or before its first."""
    shift, side = (-10, "right") if before else (8, "left")
    look = {"color": COLORS[place % len(COLORS)], "ha": side, "va": "center", "annotation_clip": False}
    axis.annotate(text, (x, y), (shift, 0), textcoords="offset points", **look)
