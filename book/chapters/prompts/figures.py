"""The plots of what a predictor should say: who gains and pays, by waiting, by what can be known, by what is wrong."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from book.chapters.prompts.quality import AGAIN, ONCE, RENEWED, WITHOUT
from book.chapters.prompts.quality import SHOWN as PLACES
from book.chapters.prompts.study import MAIN_LOAD, SAYS
from book.kit.style import CYCLE, INK, name_lines

COLORS = dict(zip(SAYS, (CYCLE[6], CYCLE[0], CYCLE[2], CYCLE[1], CYCLE[3], CYCLE[7]), strict=True))
MARKERS = dict(zip(SAYS, "sovD^*", strict=True))
SHOWN = ("one answer", "median", "quantile", "the length")  # the mean lies between; mean and tail beside the quantile
RULES = {
    "batches": {"median": ("median", CYCLE[0], "o"), "quantile": ("quantile", CYCLE[1], "D")},
    "engine": {
        ONCE: (ONCE, CYCLE[0], "o"),
        RENEWED: (RENEWED, CYCLE[2], "s"),
        AGAIN: (AGAIN, CYCLE[3], "v"),
        WITHOUT: (WITHOUT, CYCLE[6], "P"),
    },
}
TITLES = {"batches": "Batches, 2 GPUs", "engine": "Engine"}
ROWS = {"mean_s": "Mean latency", "p99_s": "P99 of latency"}


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
                _line(axis, line, "spread", COLORS[says], MARKERS[says], says)
            axis.hlines(1.0, -0.03, 0.95, color=INK, lw=1.0)  # not through the names of the lines
            axis.set_xlim(-0.03, 1.55)
            axis.set_xticks([0.0, 0.3, 0.6, 0.9])
            axes[place][0].set_ylabel(f"{title}\n(times first come's)")
        axes[0][column].set_title(TITLES[execution])
    return _finished(figure, axes, "Spread of one prompt's answers (log-sd, of 1 in all)")


def by_quality(chosen: pd.DataFrame, ranks: pd.DataFrame) -> Figure:
    """Mean latency, and that of the long third, over first come's, against the quality of what is told.

    `chosen` is `quality.chosen_of`'s, `ranks` is `quality.ranks_of`'s.
    """
    rank, rows = ranks.set_index("told")["rank"], {"mean_s": "Mean latency", "long_s": "Long third's latency"}
    figure, axes = plt.subplots(2, 2, figsize=(7.6, 6.4), sharex=True, sharey="row")
    for column, (execution, load, spread) in enumerate(PLACES):
        here = chosen[(chosen["execution"] == execution) & (chosen["load"] == load) & (chosen["spread"] == spread)]
        for place, (metric, title) in enumerate(rows.items()):
            axis = axes[place][column]
            for says, (name, color, marker) in RULES[execution].items():
                line = here[(here["says"] == says) & (here["metric"] == metric)]
                line = line.assign(rank=line["told"].map(rank)).sort_values("rank")
                _line(axis, line, "rank", color, marker, name)
            axis.hlines(1.0, -0.9, 1.03, color=INK, lw=1.0)
            axis.set_xlim(-0.9, 2.1)
            axis.set_xticks([-0.8, -0.4, 0.0, 0.4, 0.8], ["−0.8", "−0.4", "0", "0.4", "0.8"])
            axes[place][0].set_ylabel(f"{title}\n(times first come's)")
        axes[0][column].set_title(f"{TITLES[execution]}, load {load:g}")
    return _finished(figure, axes, "Rank correlation of what is told with the length that comes")


def _line(axis: Axes, line: pd.DataFrame, along: str, color: str, marker: str, name: str) -> None:
    axis.fill_between(line[along], line["ci_low"], line["ci_high"], color=color, alpha=0.15, lw=0)
    axis.plot(line[along], line["ratio"], color=color, marker=marker, ms=5, label=name)


def _finished(figure: Figure, axes: np.ndarray, along: str) -> Figure:
    """Ratios up the side of each row, one name below, and lines named at their ends, once all is to scale."""
    for axis in axes[:, 0]:
        _ratios(axis, "y")
    figure.supxlabel(along, fontsize=11)
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
