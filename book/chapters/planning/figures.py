"""Figure of a plan in the book: how near each objective is to its limit, against the load."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from book.chapters.planning.tables import objective
from book.kit.style import CYCLE, FAINT, INK, PERCENT

MARKERS = ("o", "^", "s", "D")
MOST = 1.5  # of its limit: beyond, a curve has left the picture


def by_load(curve: pd.DataFrame) -> Figure:
    """Mean over draws of each objective's value over its limit, with the range of the draws (`plan.Plan.curve`)."""
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    lowest = curve.sort_values(["load", "share_of_limit"])["objective"].iloc[0]  # named below its line
    for place, (name, rows) in enumerate(curve.groupby("objective", sort=False)):
        color, at = CYCLE[place % len(CYCLE)], rows.groupby("load")["share_of_limit"]
        mean = at.mean()
        axis.plot(mean.index, mean, color=color, marker=MARKERS[place % len(MARKERS)], ms=5)
        axis.fill_between(mean.index, at.min(), at.max(), color=color, alpha=0.2, lw=0)
        start, shift = (mean.index[0], mean.iloc[0]), -16 if name == lowest else 22
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
