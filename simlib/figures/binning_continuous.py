"""The plots of binning under continuous batching: capacity by quality of the predictions, its parts, and padding."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simlib.checks import reads_tables
from simlib.figures import COLORS, FAINT, INK, MARKERS
from simlib.reading.binning_continuous import PART_NAMES, POLICY_NAMES, TRAFFIC_NAMES
from simlib.studies.binning_gains import SAME

__all__ = ["gains_by_rank", "padding", "parts"]

LOOKS = {
    "bins": (COLORS["multi_bin_dynamic"], MARKERS["multi_bin_dynamic"], "-"),
    "shortest": (COLORS["shortest_predicted_first"], MARKERS["shortest_predicted_first"], "-"),
    "aged": (COLORS["shortest_predicted_first"], "d", "--"),
    "dedicated": ("#56B4E9", "P", "-"),
}
TRAFFIC_LOOKS = {"poisson": ("#0072B2", "o"), "burstgpt": ("#D55E00", "^"), "azure": ("#009E73", "s")}
CHANGES = {-0.1: "−10 %", 0.0: "0", 0.1: "+10 %"}


@reads_tables
def gains_by_rank(gains: pd.DataFrame) -> Figure:
    """Capacity over first come by rank correlation of the predictions: a panel a kind of traffic."""
    kinds = list(gains["traffic"].unique())
    figure, axes = plt.subplots(1, len(kinds), figsize=(3.4 * len(kinds), 4.0), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        rows = gains[gains["traffic"] == kind]
        for place, (policy, (color, marker, line)) in enumerate(LOOKS.items()):
            own = rows[rows["policy"] == policy].sort_values("rank_correlation")
            at = own["rank_correlation"] + 0.012 * (place - 1.5)
            bars = [own["ratio"] - own["ci_low"], own["ci_high"] - own["ratio"]]
            label = POLICY_NAMES[policy]
            axis.errorbar(at, own["ratio"], yerr=bars, color=color, marker=marker, ls=line, capsize=2, label=label)
        _same(axis, "h")
        axis.set_title(TRAFFIC_NAMES[kind])
        axis.set_xticks(sorted(rows["rank_correlation"].dropna().unique()))
        axis.set_xlabel("Rank correlation")
    shown = gains[gains["policy"].isin(LOOKS)]
    axes[0][0].set_ylim(shown["ci_low"].min() - 0.02, shown["ci_high"].max() + 0.05)
    for axis, kind in zip(axes[0], kinds, strict=True):
        _limit(
            axis, float(1.0 / gains[(gains["traffic"] == kind) & (gains["policy"] == "fcfs")]["share_of_limit"].iloc[0])
        )
    axes[0][0].set_ylabel("Capacity over first come's")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=len(LOOKS))
    return figure


def _limit(axis: Axes, headroom: float) -> None:
    """How much more than first come any order could carry for long: a line, or words where it is out of sight."""
    top = axis.get_ylim()[1]
    if headroom < top:
        axis.axhline(headroom, color=INK, lw=1.2, ls=":")
        style = {"textcoords": "offset points", "fontsize": 9, "color": INK, "ha": "left"}
        axis.annotate("most of any order", (0.0, headroom), (4, 3), xycoords=axis.get_yaxis_transform(), **style)
    else:
        axis.annotate(
            f"most of any order: {headroom:.2f} ↑", (1.0, 1.0), (0, -10), xycoords="axes fraction",
            textcoords="offset points", fontsize=9, color=INK, ha="right",
        )  # fmt: skip


def _same(axis: Axes, way: str) -> None:
    """The band in which capacities are taken for the same."""
    span, line = (axis.axhspan, axis.axhline) if way == "h" else (axis.axvspan, axis.axvline)
    center = 1.0 if way == "h" else 0.0
    span(center - SAME, center + SAME, color=FAINT, alpha=0.4, lw=0)
    line(center, color=INK, lw=0.8)


@reads_tables
def parts(table: pd.DataFrame) -> Figure:
    """The factors that each policy's gain consists of, and their product: a panel a kind of traffic."""
    kinds = list(table["traffic"].unique())
    figure, axes = plt.subplots(1, len(kinds), figsize=(3.6 * len(kinds), 4.4), sharey=True, sharex=True, squeeze=False)
    names = list(PART_NAMES)
    for axis, kind in zip(axes[0], kinds, strict=True):
        _same(axis, "v")
        for place, policy in enumerate(table["policy"].unique()):
            own = table[(table["traffic"] == kind) & (table["policy"] == policy)]
            at = [names.index(part) + 0.22 * (place - 1) for part in own["part"]]
            logs = np.log(own[["ratio", "ci_low", "ci_high"]])
            bars = [logs["ratio"] - logs["ci_low"], logs["ci_high"] - logs["ratio"]]
            color, marker, _ = LOOKS[policy]
            axis.errorbar(
                logs["ratio"], at, xerr=bars, color=color, marker=marker, ls="", capsize=2, label=POLICY_NAMES[policy]
            )
        axis.axhline(len(names) - 1.5, color=FAINT, lw=1)
        axis.set_title(TRAFFIC_NAMES[kind])
        axis.set_yticks(range(len(names)), [PART_NAMES[name] for name in names])
        axis.set_xticks(np.log1p(list(CHANGES)), CHANGES.values())
        axis.set_xlabel("Change of capacity")
    axes[0][0].set_ylim(len(names) - 0.5, -0.5)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@reads_tables
def padding(table: pd.DataFrame) -> Figure:
    """Capacity of dedicated GPUs over first come, by padding: a panel an engine, a line a kind of traffic."""
    figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.8), sharey=True)
    for axis, (memory, title) in zip(axes, ((False, "Places are scarce"), (True, "Memory is scarce")), strict=True):
        _same(axis, "h")
        for place, (kind, own) in enumerate(table[table["memory"] == memory].groupby("traffic", sort=False)):
            color, marker = TRAFFIC_LOOKS[str(kind)]
            bars = [own["ratio"] - own["ci_low"], own["ci_high"] - own["ratio"]]
            at = own["padding"] + 0.02 * (place - 1)
            label = TRAFFIC_NAMES[str(kind)]
            axis.errorbar(at, own["ratio"], yerr=bars, color=color, marker=marker, capsize=2, label=label)
        axis.set_title(title)
        axis.set_xticks(sorted(table["padding"].unique()))
        axis.set_xlabel("Padding h/d")
    axes[0].set_ylabel("Dedicated over first come")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(TRAFFIC_LOOKS))
    return figure
