"""Figures of the chapter on a full memory: what evictions cost, the dip of a log, and where the formula holds."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from book.kit.style import FAINT, INK, PERCENT, name_lines

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#7A7A7A"
COSTS = {
    "keeps_tokens": ("evicted, tokens kept", BLUE, "o", "-"),
    "reserves": ("memory reserved", GREY, "s", "-"),
    "starts_over": ("evicted, starts over", ORANGE, "^", "--"),
}
BOUND = {"memory": BLUE, "places": GREY, "tokens": ORANGE}
NAMES = {"memory": "memory", "places": "places", "tokens": "tokens of a step"}


def costs(table: pd.DataFrame) -> Figure:
    """Served over what fits without evictions, by the share of a request that is output (`cycles.by_share`)."""
    figure, axis = plt.subplots(figsize=(7.4, 3.9))
    for name, (label, color, marker, line) in COSTS.items():
        axis.plot(table["output_share"], table[name], line, color=color, marker=marker, ms=5, lw=2, label=label)
    axis.axhline(1, color=INK, lw=0.8)
    axis.annotate("no evictions, memory always full", (0.0, 1), (2, 4), textcoords="offset points", fontsize=10,
                  color=INK)  # fmt: skip
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.1)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Share of a request's tokens that is output")
    axis.set_ylabel("Requests served")
    name_lines(axis, apart=1.4)
    return figure


def dip(table: pd.DataFrame, until_s: float = 130.0) -> Figure:
    """Sequences that run, second by second, in log and replay, and if all requests were equal (`cycles.dip`)."""
    figure, axes = plt.subplots(2, 1, figsize=(7.4, 4.6), sharex=True, sharey=True)
    own = table[table["time_s"] <= until_s]
    top, low = axes
    top.plot(own["time_s"], own["logged"], color=INK, lw=2, label="logged")
    top.plot(own["time_s"], own["replayed"], "--", color=BLUE, lw=1.5, label="replayed")
    low.plot(own["time_s"], own["equal"], color=ORANGE, lw=2, label="equal requests")
    low.plot(own["time_s"], own["reserved"], "-.", color=GREY, lw=1.5, label="memory reserved")
    first = own[own["time_s"].between(5, 17)]
    top.axvspan(first["time_s"].min(), first["time_s"].max(), color=FAINT, alpha=0.4, lw=0)
    top.annotate("the dip", (first["time_s"].mean(), 8), ha="center", fontsize=10, color=INK)
    for axis in axes:
        axis.set_ylim(0, 55)
        axis.set_ylabel("Running (sequences)")
        name_lines(axis)
    low.set_xlabel("Time (s)")
    return figure


def formula(table: pd.DataFrame) -> Figure:
    """Served over the formula's rate with 95 % intervals, a row a case (`study.capacity`)."""
    figure, axis = plt.subplots(figsize=(7.4, 3.6))
    rows = table.sort_values("of_rate").reset_index(drop=True)
    axis.axvspan(0.9, 1.1, color=FAINT, alpha=0.35, lw=0)
    axis.axvline(1, color=INK, lw=0.8)
    for place, row in rows.iterrows():
        color = BOUND[row["scarcest"]]
        bars = [[row["of_rate"] - row["ci_low"]], [row["ci_high"] - row["of_rate"]]]
        marker = {"memory": "o", "places": "s", "tokens": "^"}[row["scarcest"]]
        axis.errorbar(row["of_rate"], place, xerr=bars, color=color, marker=marker, ms=7, capsize=3)
    for scarce, own in rows.groupby("scarcest"):
        last = own.iloc[0]
        axis.annotate(f"scarce: {NAMES[scarce]}", (last["ci_high"], own.index[0]), (10, 0), textcoords="offset points",
                      va="center", fontsize=10, color=BOUND[scarce])  # fmt: skip
    axis.annotate("± 10 %", (1.0, -0.45), ha="center", fontsize=10, color=INK)
    axis.set_yticks(range(len(rows)), rows["case"])
    axis.set_xlim(0, 1.15)
    axis.set_ylim(-0.7, len(rows) - 0.4)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Served, of the formula's rate")
    return figure
