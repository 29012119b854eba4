"""The plots of how good a predictor must be: where bins begin to pay, and what they carry by what is found."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from book.chapters.predictor.study import scores
from book.kit.style import CYCLE, INK, PERCENT, name_lines

LOOKS = {"prompt only": "*", "BERT, 8 bins": "P", "noise 0.5": "X"}
OTHERS = {"prompt only": "prompt only", "BERT, 8 bins": "BERT, as measured", "noise 0.5": "errors of σ = 0.5"}
MARKERS = "osD^v"


def gpus_of(count: int) -> str:
    """How many GPUs, in words that a label has room for."""
    return "1 GPU" if count == 1 else f"{count} GPUs"


def by_found(ratios: pd.DataFrame, k_bins: int = 2) -> Figure:
    """Capacity of bins over the best without, by how many of the longest a predictor finds: a panel a deadline.

    Lines are scores of given rank correlation, single marks other predictors; `ratios` is `study.ratios_of`'s.
    """
    rows = ratios[ratios["k_bins"] == k_bins]
    deadlines_s = sorted(rows["deadline_s"].unique())
    figure, axes = plt.subplots(1, len(deadlines_s), figsize=(7.0, 4.1), sharex=True, sharey=True, squeeze=False)
    for axis, deadline_s in zip(axes[0], deadlines_s, strict=True):
        here = rows[rows["deadline_s"] == deadline_s]
        for place, (gpus, own) in enumerate(here.groupby("gpus")):
            color, line = CYCLE[place], scores(own).sort_values("found")
            axis.fill_between(line["found"], line["ci_low"], line["ci_high"], color=color, alpha=0.18, lw=0)
            axis.plot(line["found"], line["ratio"], color=color, marker=MARKERS[place], ms=4, label=gpus_of(gpus))
            for name, marker in LOOKS.items():
                other = own[own["predictor"] == name]
                axis.plot(other["found"], other["ratio"], marker, color=color, ms=9, mec=INK, mew=0.7, zorder=4)
        axis.axhline(1.0, color=INK, lw=1.0)
        _ratio_axis(axis)
        axis.xaxis.set_major_formatter(PERCENT)
        axis.set_title(f"Deadline {deadline_s:g} s")
        axis.set_xlim(0.0, 1.32)
        axis.set_xticks([0.1, 0.5, 1.0])
    axes[0][0].set_ylabel("Capacity, times the best without bins", fontsize=11)
    axes[0][0].annotate("bins pay ↑", (0.0, 1.0), (4, 4), textcoords="offset points", color=INK, fontsize=10)
    figure.supxlabel("Share of the longest tenth of the requests that the predictor finds", fontsize=11)
    marks = [
        plt.Line2D([], [], ls="", marker=marker, color="white", mec=INK, ms=9, label=OTHERS[name])
        for name, marker in LOOKS.items()
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), fontsize=10)
    for axis in axes[0]:
        name_lines(axis)
    return figure


def _ratio_axis(axis: Axes) -> None:
    axis.set_yscale("log")
    axis.set_yticks([0.7, 1.0, 1.4, 2.0])
    axis.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


def break_even(crossings: pd.DataFrame) -> Figure:
    """The rank correlation from which on bins carry more, with its interval, a row a deadline and number of GPUs.

    `crossings` is `study.break_even`'s.
    """
    deadlines_s, k_bins = (sorted(crossings[name].unique()) for name in ("deadline_s", "k_bins"))
    figure, axes = plt.subplots(1, len(deadlines_s), figsize=(7.0, 3.2), sharex=True, sharey=True, squeeze=False)
    gpus = sorted(crossings["gpus"].unique())
    for axis, deadline_s in zip(axes[0], deadlines_s, strict=True):
        for row in crossings[crossings["deadline_s"] == deadline_s].itertuples():
            place = k_bins.index(row.k_bins)
            y, color = gpus.index(row.gpus) + 0.18 * (2 * place - 1), CYCLE[place]
            if pd.isna(row.rank):
                axis.text(1.0, y, f"K = {row.k_bins}: at none", color=color, ha="right", va="center", fontsize=9)
                continue
            high = 1.0 if pd.isna(row.rank_high) else row.rank_high
            axis.hlines(y, row.rank_low, high, color=color, lw=4, alpha=0.6)
            axis.plot(row.rank, y, MARKERS[place], color=color, ms=6)
            shift, side, at = (6, "left", high) if high < 0.75 else (-6, "right", row.rank_low)
            axis.annotate(f"K = {row.k_bins}", (at, y), (shift, 0), textcoords="offset points",
                          color=color, ha=side, va="center", fontsize=9)  # fmt: skip
        axis.set_yticks(range(len(gpus)), [gpus_of(count) for count in gpus])
        axis.set_ylim(len(gpus) - 0.5, -0.5)
        axis.set_xlim(0.0, 1.02)
        axis.set_title(f"Deadline {deadline_s:g} s")
        axis.set_xlabel("Rank correlation (Spearman)")
    return figure
