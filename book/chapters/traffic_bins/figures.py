"""The plots of bins for real lengths: what a rule is worth, what batch sizes of their own add, where it pays.

Draws what `held_out`, `deadline` and `by_rate` return; a predictor keeps its colour and marker.
"""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from book.kit.names import TRAFFIC_NAMES
from book.kit.style import INK

LOOKS = {
    "oracle": ("#0072B2", "o"),
    "noise 0.5": ("#D55E00", "^"),
    "rank 0.7": ("#009E73", "D"),
    "rank 0.4": ("#CC79A7", "s"),
}
PREDICTOR_NAMES = {
    "oracle": "perfect",
    "noise 0.5": "errors of σ = 0.5",
    "rank 0.7": "rank correlation 0.7",
    "rank 0.4": "rank correlation 0.4",
}
RULE_NAMES = {"equal_mass": "Bins of equal mass", "optimal": "Bins with batch sizes of their own"}


def joint_by_deadline(table: pd.DataFrame, k_bins: int = 2, names: tuple[str, ...] = ("oracle", "rank 0.7")) -> Figure:
    """Requests a GPU carries in bins with sizes of their own over one bin, by deadline: a panel a kind of lengths.

    An arrow shows the highest of all: where only the longest requests miss the deadline.
    """
    rows = table[(table["choice"] == "joint") & (table["k_bins"] == k_bins) & (table["refused"].fillna("") == "")]
    rows = rows[rows["predictor"].isin(names)].rename(columns={"ratio_low": "low", "ratio_high": "high"})
    rows = rows.reset_index(drop=True)
    sources = list(rows["source"].unique())
    size = (7.0, 5.2 if len(sources) > 2 else 3.2)
    figure, axes = plt.subplots(-(-len(sources) // 2), 2, figsize=size, sharex=True, sharey=True, squeeze=False)
    top = rows.loc[rows["ratio"].idxmax()]
    for axis, source in zip(axes.flat, sources, strict=False):
        _lines(axis, rows[rows["source"] == source], "deadline_s", "ratio", names)
        axis.set_title(TRAFFIC_NAMES[source], fontsize=11)
        _log_axis(axis, sorted(rows["deadline_s"].unique()))
        if source == top["source"]:
            at = (top["deadline_s"], top["ratio"])
            axis.annotate("isolates the tail", at, (-112, -2), textcoords="offset points",
                          fontsize=10, color=INK, va="center",
                          arrowprops={"arrowstyle": "->", "color": INK})  # fmt: skip
    for axis in axes.flat[len(sources) :]:
        axis.set_visible(False)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=10)
    figure.supxlabel("Deadline of a batch (s)", fontsize=12)
    figure.supylabel("Capacity, times one bin", fontsize=12)
    return figure


def rules_by_batch(table: pd.DataFrame, k_bins: int = 4) -> Figure:
    """Throughput of optimal over equal-mass bins, by batch size, on lengths unseen: a panel a kind of lengths."""
    rows = table[(table["rule"] == "optimal") & (table["k_bins"] == k_bins) & (table["refused"] == "")]
    rows = rows.rename(columns={"over_low": "low", "over_high": "high"})
    sources = list(rows["source"].unique())
    figure, axes = plt.subplots(1, len(sources), figsize=(7.0, 3.6), sharey=True, squeeze=False)
    names = tuple(name for name in LOOKS if name in set(rows["predictor"]))
    for axis, source in zip(axes[0], sources, strict=True):
        _lines(axis, rows[rows["source"] == source], "batch_size", "over_equal_mass", names)
        axis.set_title(TRAFFIC_NAMES[source], fontsize=11)
        _log_axis(axis, sorted(rows["batch_size"].unique()))
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=10)
    figure.supxlabel("Batch size B (requests)", fontsize=12)
    axes[0][0].set_ylabel("Throughput, times equal mass")
    return figure


def _lines(axis: Axes, rows: pd.DataFrame, x: str, y: str, names: tuple[str, ...]) -> None:
    """A line with bars a predictor."""
    for place, name in enumerate(names):
        mine = rows[rows["predictor"] == name].sort_values(x)
        color, marker = LOOKS[name]
        shifted = mine[x] * (1 + 0.03 * (place - (len(names) - 1) / 2))  # so that bars do not hide each other
        error = [(mine[y] - mine["low"]).clip(0), (mine["high"] - mine[y]).clip(0)]
        axis.errorbar(shifted, mine[y], yerr=error, color=color, marker=marker, ms=5, lw=1.3, capsize=2,
                      label=PREDICTOR_NAMES[name])  # fmt: skip
    axis.axhline(1.0, color=INK, lw=0.8)


def _log_axis(axis: Axes, ticks: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(ticks[0] / 1.25, ticks[-1] * 1.25)
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if f"{value:g}"[-1] in "246" else ""))


def bins_by_rate(table: pd.DataFrame) -> Figure:
    """K* by rate and deadline, and the gain over one bin beside it: a panel a rule (`by_rate`)."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.6), sharey=True)
    for axis, (rule, name) in zip(axes, RULE_NAMES.items(), strict=True):
        rows = table[table["rule"] == rule]
        wide = rows.pivot_table("gain", "deadline_s", "rate_rps")
        axis.imshow(wide, origin="lower", aspect="auto", cmap="Blues", vmin=1.0, vmax=2.5)
        for row in rows.itertuples():
            place = wide.columns.get_loc(row.rate_rps), wide.index.get_loc(row.deadline_s)
            text = f"K* {row.k_star}\n{row.gain:.2f}\n± {(row.ci_high - row.ci_low) / 2:.2f}"
            axis.text(*place, text, ha="center", va="center", fontsize=9, color="white" if row.gain > 1.9 else INK)
        axis.set_xticks(range(len(wide.columns)), [f"{rate:g}" for rate in wide.columns])
        axis.set_yticks(range(len(wide.index)), [f"{deadline:g}" for deadline in wide.index])
        axis.set_xlabel("Arrival rate λ (requests/s)")
        axis.set_title(name, fontsize=11)
        axis.grid(visible=False)
    axes[0].set_ylabel("Deadline D (s)")
    return figure
