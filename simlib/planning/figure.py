"""Figure of a plan: how near each objective is to its limit, against the load."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from book.kit.style import FAINT, INK

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MOST = 2.0  # of its limit: beyond, a curve has left the picture


def by_load(curve: pd.DataFrame) -> Figure:
    """Mean over draws of each objective's value over its limit, with the range of the draws (`plan.Plan.curve`)."""
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for place, (name, rows) in enumerate(curve.groupby("objective", sort=False)):
        color = COLORS[place % len(COLORS)]
        at = rows.groupby("load")["share_of_limit"]
        mean = at.mean()
        axis.plot(mean.index, mean, color=color, marker="o", markersize=4)
        axis.fill_between(mean.index, at.min(), at.max(), color=color, alpha=0.2, linewidth=0)
        inside = mean[mean <= MOST]
        end = inside.index[-1] if len(inside) else mean.index[0]
        axis.annotate(name, (end, min(mean[end], MOST)), (-4, 5), textcoords="offset points", color=color, ha="right")
    axis.axhline(1, color=INK, linewidth=1)
    axis.axvline(1, color=FAINT, linewidth=1, linestyle="--")
    axis.annotate("limit", (curve["load"].min(), 1), (2, 3), textcoords="offset points", color=INK)
    axis.set(ylim=(0, MOST + 0.1), xlabel="Load, as a multiple of the demand", ylabel="Value, as a share of its limit")
    return figure
