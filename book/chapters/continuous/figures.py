"""Plots of the two execution models: late requests and latency by rate, and what the GPUs did when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from book.chapters.continuous.gains import SAME
from book.chapters.continuous.tables import PART_NAMES, POLICY_NAMES, TRAFFIC_NAMES
from book.kit.style import COLORS, FAINT, INK, MARKERS, PERCENT, SHARE_TICKS

# First come, first served from one line: what dynamic batching without bins is among the schedulers.
OWN_COLORS = COLORS | {"fcfs": COLORS["dynamic_no_bins"]}
OWN_MARKERS = MARKERS | {"fcfs": MARKERS["dynamic_no_bins"]}
LINES = {"run_to_completion": "-", "continuous": "--"}
NAMES = {
    ("run_to_completion", "static_fifo"): "static",
    ("run_to_completion", "dynamic_no_bins"): "dynamic",
    ("run_to_completion", "multi_bin_dynamic"): "multi-bin",
    ("continuous", "static_fifo"): "continuous, static's places",
    ("continuous", "fcfs"): "continuous, fcfs",
    ("continuous", "multi_bin_dynamic"): "continuous, bins' order",
}
PANELS = {"sla_violation_share": "Late requests (√ scale)", "latency_p99_s": "End-to-end latency, P99 (s)"}
WORK, KEPT = "#1D6FA5", "#F6C667"  # a dark and a light one, which grey print keeps apart


def by_rate(table: pd.DataFrame) -> Figure:
    """Late requests and P99 of latency by arrival rate (`executions.table_of`); a cross where it gets unstable."""
    figure, axes = plt.subplots(1, 2, figsize=(8.5, 4.2))
    for axis, (metric, label) in zip(axes, PANELS.items(), strict=True):
        rows, failing = table[table["metric"] == metric], Counter()
        for (execution, scheduler), name in NAMES.items():
            own = rows[(rows["execution"] == execution) & (rows["scheduler"] == scheduler)].sort_values("rate_rps")
            known, lost = own[own["mean"].notna()], own[own["mean"].isna()]
            color = OWN_COLORS[scheduler]
            bars = [known["mean"] - known["ci_low"], known["ci_high"] - known["mean"]]
            style = {"color": color, "marker": OWN_MARKERS[scheduler], "ms": 5, "lw": 1.5, "capsize": 2}
            face = color if execution == "run_to_completion" else "white"
            style |= {"ls": LINES[execution], "mfc": face, "label": name}
            axis.errorbar(known["rate_rps"], known["mean"], yerr=bars, **style)
            if len(lost):  # above one another, where several fail at one rate
                rate_rps = lost["rate_rps"].iloc[0]
                at = {"transform": axis.get_xaxis_transform(), "clip_on": False}
                axis.plot(rate_rps, 1.03 + 0.05 * failing[rate_rps], "x", color=color, ms=6, mew=2, **at)
                failing[rate_rps] += 1
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axis.set_xlabel("Arrival rate (requests/s)")
        axis.set_ylabel(label)
    axes[0].set_yscale("function", functions=(lambda share: np.sign(share) * np.sqrt(np.abs(share)), np.square))
    axes[0].set_yticks(SHARE_TICKS)
    axes[0].yaxis.set_major_formatter(PERCENT)
    axes[0].set_ylim(-0.0003, 1.03)
    axes[1].set_yscale("log")
    axes[1].yaxis.set_major_formatter(FuncFormatter(lambda time_s, _: f"{time_s:g}"))
    axes[1].yaxis.set_minor_formatter(
        FuncFormatter(lambda time_s, _: f"{time_s:g}" if f"{time_s:g}"[0] in "235" else "")
    )
    handles, labels = axes[0].get_legend_handles_labels()
    handles.append(plt.Line2D([], [], marker="x", ls="", color=INK, mew=2, label="unstable from here on"))
    figure.legend(handles, [*labels, "unstable from here on"], loc="outside lower center", ncols=3, fontsize=9)
    return figure


def gantt(panels: Mapping[str, pd.DataFrame], until_s: float) -> Figure:
    """What each GPU did (`BatchRun.occupancy`), a panel a run, a row a GPU; the height is the number of requests."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.5, 0.6 + 1.7 * len(panels)), sharex=True, squeeze=False)
    tallest = max(frame["size"].max() for frame in panels.values())
    for axis, (title, frame) in zip(axes[:, 0], panels.items(), strict=True):
        gpus = sorted(frame["gpu"].unique())
        for gpu in gpus:
            _row(axis, frame[(frame["gpu"] == gpu) & (frame["start_s"] < until_s)], gpu, 0.85 / tallest)
        axis.set_yticks([gpu + 0.42 for gpu in gpus], [f"GPU {gpu}" for gpu in gpus])
        axis.set_ylim(-0.05, len(gpus))
        axis.set_xlim(0, until_s)
        axis.set_title(title, fontsize=11)
        axis.grid(axis="y", visible=False)
    axes[-1][0].set_xlabel("Time (s)")
    parts = (("requests at work", WORK), ("places kept by requests that are done", KEPT))
    handles = [plt.Rectangle((0, 0), 1, 1, color=color, label=label) for label, color in parts]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=10)
    return figure


def _row(axis: Axes, rows: pd.DataFrame, gpu: int, unit: float) -> None:
    """One GPU's row: who works, from below; above, places that are kept; and where a batch begins."""
    # Steps of equal membership that follow each other are one rectangle, of which a page can bear many.
    ends = (rows["start_s"] + rows["time_s"]).to_numpy()
    follows = abs(rows["start_s"].to_numpy()[1:] - ends[:-1]) < 1e-9
    equal = (rows[["size", "finished"]].diff().iloc[1:] == 0).all(axis=1).to_numpy()
    group = pd.Series([True, *~(follows & equal)], index=rows.index).cumsum()
    merged = rows.groupby(group).agg(start_s=("start_s", "first"), time_s=("time_s", "sum"), size=("size", "first"),
                                     finished=("finished", "first"))  # fmt: skip
    working = merged["size"] - merged["finished"]
    axis.bar(merged["start_s"], unit * working, merged["time_s"], gpu, align="edge", color=WORK, ec=WORK, lw=0.3)
    kept = merged[merged["finished"] > 0]
    bottom = gpu + unit * working[kept.index]
    axis.bar(
        kept["start_s"], unit * kept["finished"], kept["time_s"], bottom, align="edge", color=KEPT, ec=KEPT, lw=0.3
    )
    if len(kept):
        begins = merged[merged["finished"] == 0]
        axis.vlines(begins["start_s"], gpu, gpu + unit * begins["size"], color="white", lw=1.2)
    axis.axhline(gpu, color=FAINT, lw=0.8)


LOOKS = {
    "bins": (COLORS["multi_bin_dynamic"], MARKERS["multi_bin_dynamic"], "-"),
    "shortest": (COLORS["shortest_predicted_first"], MARKERS["shortest_predicted_first"], "-"),
    "aged": (COLORS["shortest_predicted_first"], "d", "--"),
    "dedicated": ("#56B4E9", "P", "-"),
}
TRAFFIC_LOOKS = {"poisson": ("#0072B2", "o"), "burstgpt": ("#D55E00", "^"), "azure": ("#009E73", "s")}
CHANGES = {-0.1: "−10 %", 0.0: "0", 0.1: "+10 %"}


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
