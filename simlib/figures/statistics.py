"""The plots about statistics themselves: whether intervals cover, and where a warm-up ends."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from simlib.checks import reads_tables
from simlib.figures import COLORS, FAINT, INK, PERCENT, name_lines

__all__ = ["coverage", "warm_up"]

PROMISED, BAND = 0.95, (0.93, 0.97)
GOOD, POOR = "#0072B2", "#D55E00"
QUEUE_MARKERS = {"mm1": "o", "batch_4": "s"}
LOAD_OFFSETS = 0.16


@reads_tables
def coverage(table: pd.DataFrame) -> Figure:
    """Measured coverage by quantity and method, one mark a queue and load: filled where the method is recommended.

    `table` is ``data/results/coverage.csv``, or rows of it.
    """
    lines = table[["quantity", "method"]].drop_duplicates().sort_values(["quantity", "method"], ignore_index=True)
    figure, axis = plt.subplots(figsize=(7.0, 0.8 + 0.36 * len(lines)))
    axis.axvspan(*BAND, color=FAINT, alpha=0.5, lw=0)
    axis.axvline(PROMISED, color=INK, lw=1)
    loads = sorted(table["rho"].unique())
    for place, line in lines.iterrows():
        rows = table[(table["quantity"] == line["quantity"]) & (table["method"] == line["method"])]
        for row in rows.dropna(subset=["coverage"]).itertuples():
            height = place + LOAD_OFFSETS * (loads.index(row.rho) - (len(loads) - 1) / 2)
            color = GOOD if row.recommended else POOR
            axis.hlines(height, row.ci_low, row.ci_high, color=color, lw=1)
            fill = color if row.recommended else "white"
            axis.plot(row.coverage, height, QUEUE_MARKERS[row.queue], color=color, mfc=fill, ms=4)
    axis.set_yticks(range(len(lines)), [f"{line.quantity}: {line.method}" for line in lines.itertuples()], fontsize=9)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.set_xlim(0, 1.01)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Intervals that contain the truth (promised: 95 %)")
    handles = [
        plt.Line2D([], [], marker="o", ls="", color=GOOD, ms=5, label="recommended there"),
        plt.Line2D([], [], marker="o", ls="", color=POOR, mfc="white", ms=5, label="not recommended there"),
        *(
            plt.Line2D([], [], marker=marker, ls="", color=INK, mfc="white", ms=5, label=name)
            for name, marker in QUEUE_MARKERS.items()
        ),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    return figure


@reads_tables
def warm_up(averages: Mapping[str, np.ndarray], cut: int, quantity: str) -> Figure:
    """Welch's moving average of each system (`steady.welch`) by request, and the common truncation point."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for name, values in averages.items():
        axis.plot(np.arange(len(values)), values, color=COLORS[name], lw=1.5, label=name)
    axis.axvline(cut, color=INK, lw=1, ls="--")
    axis.annotate(f"cut: {cut}", (cut, 1), (4, -12), xycoords=("data", "axes fraction"), textcoords="offset points")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("Request (in order of arrival)")
    axis.set_ylabel(quantity)
    name_lines(axis)
    return figure
