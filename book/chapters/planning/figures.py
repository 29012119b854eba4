"""Figures of a plan in the book: how near each objective is to its limit, against the load; and by batches."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from book.chapters.planning.tables import more, objective
from book.kit.style import CYCLE, FAINT, INK, PERCENT
from simlib.planning.figure import BAND, by_batches

__all__ = ["by_batches", "by_load"]

MARKERS = ("o", "^", "s", "D")
MOST = 1.5  # of its limit: beyond, a curve has left the picture
OVER = 1.012, 1.042  # where GPU-hours over hindsight's stand, beside shares


def by_load(curve: pd.DataFrame) -> Figure:
    """Median of each objective's value over its limit, with the band of 95 % of draws, or windows (`Plan.curve`)."""
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    lowest = curve.sort_values(["load", "share_of_limit"])["objective"].iloc[0]  # named below its line
    for place, (name, rows) in enumerate(curve.groupby("objective", sort=False)):
        color, at = CYCLE[place % len(CYCLE)], rows.groupby("load")["share_of_limit"]
        middle = at.median()
        axis.plot(middle.index, middle, color=color, marker=MARKERS[place % len(MARKERS)], ms=5)
        axis.fill_between(middle.index, *(at.quantile(share) for share in BAND), color=color, alpha=0.2, lw=0)
        start, shift = (middle.index[0], middle.iloc[0]), -16 if name == lowest else 22
        axis.annotate(objective(name), start, (0, shift), textcoords="offset points", color=color, fontsize=10)
    axis.axhline(1, color=INK, lw=1)
    axis.annotate("limit", (curve["load"].min(), 1), (0, 4), textcoords="offset points", color=INK, fontsize=10)
    axis.axvline(1, color=FAINT, lw=1, ls="--")
    axis.annotate("the demand", (1, MOST), (4, -12), textcoords="offset points", color=INK, fontsize=10)
    axis.set_ylim(0, MOST)
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Load (multiples of the demand)")
    axis.set_ylabel("Value (share of its limit)")
    return figure


def held(table: pd.DataFrame) -> Figure:
    """How often plans held, a line each traffic, and GPU-hours over hindsight's, told twice (`coverage.judged`)."""
    figure, axis = plt.subplots(figsize=(7.0, 0.9 + 0.34 * len(table)))
    axis.axvspan(0.93, 0.97, color=FAINT, alpha=0.5, lw=0)
    axis.axvline(0.95, color=INK, lw=1)
    for line, row in enumerate(table.itertuples()):
        color = CYCLE[0] if row.kind == "generated" else CYCLE[1]
        axis.hlines(line, row.ci_low, row.ci_high, color=color, lw=1.5)
        axis.plot(row.held, line, "o" if row.kind == "generated" else "s", color=color, ms=6)
        for place, told in zip(OVER, more([row.over_one, row.over_each]), strict=True):
            axis.text(place, line, told, va="center", fontsize=10)
    for place, name in zip(OVER, ("GPU-hours over\none load", "each window"), strict=True):
        axis.text(place, -0.7, name, va="bottom", fontsize=10)
    names = [f"all {row.kind}" if row.traffic == "all" else row.traffic for row in table.itertuples()]
    axis.set_yticks(range(len(table)), names, fontsize=10)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlim(0.85, 1.005)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Next windows that bear what was allowed (promised: 95 %)")
    return figure
