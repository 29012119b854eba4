"""The plots of bins for real lengths: what a rule is worth, what batch sizes of their own add, where it pays.

Draws what `held_out`, `deadline` and `by_rate` return; a predictor keeps its colour and marker.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from book.chapters.traffic_bins.tables import SOURCE_NAMES
from book.kit.style import INK

LOOKS = {
    "oracle": ("#0072B2", "o"),
    "noise 0.5": ("#D55E00", "^"),
    "rank 0.7": ("#009E73", "D"),
    "rank 0.4": ("#CC79A7", "s"),
}
RULE_NAMES = {"equal_mass": "Equal-mass bins", "optimal": "Joint optimum"}


def joint_by_deadline(table: pd.DataFrame, k_bins: int = 2) -> Figure:
    """Requests a GPU carries under the joint optimum over equal mass, by deadline: a panel a kind of lengths."""
    rows = table[(table["choice"] == "joint") & (table["k_bins"] == k_bins) & (table["refused"] == "")]
    rows = rows.rename(columns={"ratio_low": "low", "ratio_high": "high"})
    figure = _panels(rows, "deadline_s", "ratio", "Deadline of a batch (s)")
    figure.axes[0].set_ylabel("Capacity, times equal mass")
    return figure


def rules_by_batch(table: pd.DataFrame, k_bins: int = 4) -> Figure:
    """Throughput of optimal over equal-mass bins, by batch size, on lengths unseen: a panel a kind of lengths."""
    rows = table[(table["rule"] == "optimal") & (table["k_bins"] == k_bins) & (table["refused"] == "")]
    rows = rows.rename(columns={"over_low": "low", "over_high": "high"})
    figure = _panels(rows, "batch_size", "over_equal_mass", "Batch size B (requests)")
    figure.axes[0].set_ylabel("Throughput, times equal mass")
    return figure


def _panels(rows: pd.DataFrame, x: str, y: str, label: str) -> Figure:
    sources = list(rows["source"].unique())
    figure, axes = plt.subplots(1, len(sources), figsize=(3.2 * len(sources), 3.8), sharey=True, squeeze=False)
    names = [name for name in LOOKS if name in set(rows["predictor"])]
    for axis, source in zip(axes[0], sources, strict=True):
        for place, name in enumerate(names):
            mine = rows[(rows["source"] == source) & (rows["predictor"] == name)].sort_values(x)
            color, marker = LOOKS[name]
            shifted = mine[x] * (1 + 0.03 * (place - (len(names) - 1) / 2))  # so that bars do not hide each other
            error = [(mine[y] - mine["low"]).clip(0), (mine["high"] - mine[y]).clip(0)]
            axis.errorbar(shifted, mine[y], yerr=error, color=color, marker=marker, ms=5, lw=1.3, capsize=2, label=name)
        axis.axhline(1.0, color=INK, lw=0.8)
        axis.set_title(SOURCE_NAMES[source], fontsize=11)
        axis.set_xlabel(label)
        _log_axis(axis, sorted(rows[x].unique()))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=10)
    return figure


def _log_axis(axis: Axes, ticks: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(ticks[0] / 1.25, ticks[-1] * 1.25)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[-1] in "246" else ""))


def bins_by_rate(table: pd.DataFrame) -> Figure:
    """K* by rate and deadline, and the gain over one bin beside it: a panel a rule (`by_rate.by_rate`)."""
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.8), sharey=True)
    for axis, (rule, name) in zip(axes, RULE_NAMES.items(), strict=True):
        rows = table[table["rule"] == rule]
        wide = rows.pivot_table("gain", "deadline_s", "rate_rps")
        axis.imshow(wide, origin="lower", aspect="auto", cmap="Blues", vmin=1.0, vmax=2.5)
        for row in rows.itertuples():
            place = wide.columns.get_loc(row.rate_rps), wide.index.get_loc(row.deadline_s)
            text = f"K* {row.k_star}\n{row.gain:.2f} ± {(row.ci_high - row.ci_low) / 2:.2f}"
            axis.text(*place, text, ha="center", va="center", fontsize=8, color="white" if row.gain > 1.9 else INK)
        axis.set_xticks(range(len(wide.columns)), [f"{rate:g}" for rate in wide.columns])
        axis.set_yticks(range(len(wide.index)), [f"{deadline:g}" for deadline in wide.index])
        axis.set_xlabel("Arrival rate λ (requests/s)")
        axis.set_title(name)
        axis.grid(visible=False)
    axes[0].set_ylabel("Deadline D (s)")
    return figure
