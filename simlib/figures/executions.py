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

from simlib.checks import reads_tables
from simlib.figures import COLORS, FAINT, INK, MARKERS, PERCENT, SHARE_TICKS

__all__ = ["by_rate", "gantt"]

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


@reads_tables
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


@reads_tables
def gantt(panels: Mapping[str, pd.DataFrame], until_s: float) -> Figure:
    """What each GPU did (`timeline.occupancy`), a panel a run, a row a GPU; the height is the number of requests."""
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
