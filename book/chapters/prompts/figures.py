"""The plots of what a predictor should say: who gains and pays, by the weight of waiting and by what can be known."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from book.chapters.prompts.study import MAIN_LOAD, MAIN_SPREAD, SAYS
from book.kit.style import CYCLE, INK, name_lines

COLORS = dict(zip(SAYS, (CYCLE[6], CYCLE[0], CYCLE[2], CYCLE[1], CYCLE[3], CYCLE[7]), strict=True))
MARKERS = dict(zip(SAYS, "sovD^*", strict=True))
SHOWN = ("one answer", "median", "quantile", "the length")  # the mean lies between; mean and tail beside the quantile
TITLES = {"batches": "Batches, 2 GPUs", "engine": "Engine"}
ROWS = {"mean_s": "Mean latency", "p99_s": "P99 of latency"}


def by_weight(ratios: pd.DataFrame) -> Figure:
    """P99 against the mean, both over first come's, along the weight of waiting: a panel an execution.

    `ratios` is `study.ratios_of`'s, over first come.
    """
    rows = ratios[(ratios["load"] == MAIN_LOAD) & (ratios["spread"] == MAIN_SPREAD)]
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 4.0), sharex=True, sharey=True)
    for axis, (execution, own) in zip(axes, rows.groupby("execution"), strict=True):
        wide = own.pivot_table(index=["says", "weight_s"], columns="metric", values="ratio")
        for says in SHOWN:
            line = wide.loc[says].sort_index()
            axis.plot(line["mean_s"], line["p99_s"], color=COLORS[says], marker=MARKERS[says], ms=5, label=says)
            last = line.iloc[-1]
            axis.plot(last["mean_s"], last["p99_s"], MARKERS[says], color="white", mec=COLORS[says], ms=9, mew=1.8)
        axis.plot(1.0, 1.0, "P", color=INK, ms=9, zorder=5)
        axis.annotate("first come", (1.0, 1.0), (6, -14), textcoords="offset points", fontsize=10)
        axis.axhline(1.0, color=INK, lw=0.8)
        axis.axvline(1.0, color=INK, lw=0.8)
        axis.set_title(TITLES[execution])
        axis.set_xlabel("Mean latency (times first come's)")
    _ratios(axes[0], "xy")
    axes[0].set_ylabel("P99 of latency (times first come's)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=10)
    return figure


def by_spread(chosen: pd.DataFrame) -> Figure:
    """Mean and P99 over first come's by how uncertain a prompt is, at the weight that was picked.

    `chosen` is `study.ratios_of`'s at the weights of `study.picked`.
    """
    rows = chosen[(chosen["load"] == MAIN_LOAD) & chosen["metric"].isin(ROWS)]
    figure, axes = plt.subplots(2, 2, figsize=(7.0, 6.0), sharex=True, sharey="row")
    for column, (execution, own) in enumerate(rows.groupby("execution")):
        for place, (metric, title) in enumerate(ROWS.items()):
            axis, here = axes[place][column], own[own["metric"] == metric]
            for says in SHOWN:
                line = here[here["says"] == says].sort_values("spread")
                axis.fill_between(line["spread"], line["ci_low"], line["ci_high"], color=COLORS[says], alpha=0.15, lw=0)
                axis.plot(line["spread"], line["ratio"], color=COLORS[says], marker=MARKERS[says], ms=5, label=says)
            axis.hlines(1.0, -0.03, 0.95, color=INK, lw=1.0)  # not through the names of the lines
            axis.set_xlim(-0.03, 1.55)
            axis.set_xticks([0.0, 0.3, 0.6, 0.9])
            axes[place][0].set_ylabel(f"{title}\n(times first come's)")
        axes[0][column].set_title(TITLES[execution])
    for axis in axes[:, 0]:
        _ratios(axis, "y")
    figure.supxlabel("Spread of one prompt's answers (log-sd, of 1 in all)", fontsize=11)
    for axis in axes.flat:
        name_lines(axis)
    return figure


def _ratios(axis: Axes, which: str) -> None:
    for name in which:
        getattr(axis, f"set_{name}scale")("log")
        own = getattr(axis, f"{name}axis")
        own.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
        own.set_minor_formatter(NullFormatter())
        low, high = getattr(axis, f"get_{name}lim")()
        ticks = [tick for tick in (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 4.0, 8.0) if low <= tick <= high]
        wide = high / low > 2.5
        getattr(axis, f"set_{name}ticks")(
            [tick for tick in ticks if not wide or tick in (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)]
        )
