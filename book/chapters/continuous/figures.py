"""Figures of continuous batching: an engine against batches, what the GPUs did when, what sorting gains."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from book.chapters.continuous.executions import AGAINST, BATCHES, BEST, STEPS, SYSTEM
from book.chapters.continuous.gains import SAME
from book.chapters.continuous.loops import CLOSED, OPEN
from book.chapters.continuous.tables import PART_NAMES, POLICY_NAMES
from book.kit.names import SCHEDULER_NAMES, TRAFFIC_NAMES
from book.kit.style import COLORS, FAINT, INK, MARKERS

# How systems are called where engine and batches stand beside each other.
NAMES = {
    (BATCHES, "static_fifo"): "static batches",
    (STEPS, "static_fifo"): "engine, as many places",
    (BATCHES, BEST): BEST,
    (BATCHES, "dynamic_no_bins"): SCHEDULER_NAMES["dynamic_no_bins"],
    (STEPS, "fcfs"): "engine",
    (BATCHES, "multi_bin_dynamic"): SCHEDULER_NAMES["multi_bin_dynamic"],
    (STEPS, "multi_bin_dynamic"): "engine, bins in turn",
}
WORK, KEPT = "#1D6FA5", "#F2A93B"  # a dark and a light one, which grey print keeps apart
BATCHED = "#A9A9A9"


def engine_against_batches(rates: pd.DataFrame, table: pd.DataFrame, load: float) -> Figure:
    """Each way of forming batches above its engine: what they serve with a backlog, and P99 of latency at one load.

    Parameters
    ----------
    rates, table : pandas.DataFrame
        As `executions.ratios` and `executions.table_of` give them.
    load : float
        At which the latencies are shown, of the table's.
    """
    p99 = table[(table["load"] == load) & (table["metric"] == "latency_p99_s")].set_index(SYSTEM)
    served = rates[rates["execution_b"].isna() | (rates["execution_b"] == "")]
    served = served.set_index(["execution_a", "scheduler_a"])[["value", "ci_low", "ci_high"]]
    rate_rps = p99["rate_rps"].iloc[0]
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 4.4), sharey=True, width_ratios=(3, 2))
    places, names = [], []
    for pair, (engine, batches) in enumerate(AGAINST):
        for row, (system, color) in enumerate(((batches, BATCHED), (engine, WORK))):
            place = 2.6 * pair + row
            places.append(place)
            names.append(NAMES[system])
            _bar(axes[0], place, served.loc[system], color)
            _bar(axes[1], place, p99.loc[system, ["mean", "ci_low", "ci_high"]], color)
        times = served.loc[engine, "value"] / served.loc[batches, "value"]
        style = {"textcoords": "offset points", "va": "center", "fontsize": 11, "fontweight": "bold", "color": WORK}
        axes[0].annotate(f"{times:.1f} times", (served.loc[engine, "ci_high"], places[-1]), (5, 0), **style)
    axes[0].set_yticks(places, names, fontsize=10)
    axes[0].set_ylim(places[-1] + 0.7, -0.7)
    axes[0].set_xlim(0, 1.36 * served["value"].max())
    axes[0].set_xlabel("Served with a backlog (requests/s)")
    axes[1].set_xlabel(f"P99 of latency (s)\nat {rate_rps:.1f} requests/s")
    for axis in axes:
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
        axis.xaxis.label.set_fontsize(10.5)
    return figure


def _bar(axis: Axes, place: float, row: pd.Series, color: str) -> None:
    """A bar with its interval."""
    value, low, high = row
    axis.barh(place, value, 0.9, color=color, xerr=[[value - low], [high - value]], ecolor=INK, capsize=2)


def gantt(panels: Mapping[str, pd.DataFrame], until_s: float) -> Figure:
    """What each GPU did (`BatchRun.occupancy`), a panel a run, a row a GPU; the height is the number of requests."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(7.0, 0.6 + 1.7 * len(panels)), sharex=True, squeeze=False)
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
    figure, axes = plt.subplots(1, len(kinds), figsize=(7.0, 4.0), sharey=True, squeeze=False)
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
    axes[0][0].set_ylabel("Capacity over first come, first served", fontsize=10)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
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
    figure, axes = plt.subplots(1, len(kinds), figsize=(7.0, 4.4), sharey=True, sharex=True, squeeze=False)
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
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=10)
    return figure


def padding(table: pd.DataFrame) -> Figure:
    """Capacity of dedicated GPUs over first come, by padding: a panel an engine, a line a kind of traffic."""
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.8), sharey=True)
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
    axes[0].set_ylabel("Dedicated over first come, first served", fontsize=10)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(TRAFFIC_LOOKS))
    return figure


LOOPS = {
    CLOSED: ("a fixed number of clients", "#0072B2", "o", "-"),
    OPEN: ("the same rate, openly", "#D55E00", "^", "--"),
}


def open_against_closed(table: pd.DataFrame, deadline_s: float) -> Figure:
    """P99 of the time to first token by throughput, a line a loop; some clients are counted (`loops.table_of`)."""
    limits = table.set_index(["loop", "metric", "clients"]).sort_index()[["value", "ci_low", "ci_high"]]
    values = limits["value"]
    figure, axis = plt.subplots(figsize=(7.0, 3.9))
    rates = values.loc[CLOSED, "rate_rps"]
    for loop, (name, color, marker, dash) in LOOPS.items():
        times_s, bars = values.loc[loop, "ttft_p99_s"], limits.loc[loop, "ttft_p99_s"]
        low = bars["ci_low"].clip(lower=0.5 * times_s)
        axis.errorbar(rates[times_s.index], times_s, yerr=[times_s - low, bars["ci_high"] - times_s], color=color,
                      marker=marker, ls=dash, ms=5, capsize=2, label=name)  # fmt: skip
    for clients, shift in ((8, (-6, -15)), (16, (0, -15)), (32, (0, -15)), (64, (4, -15)), (96, (7, -3))):
        at = rates[clients], values.loc[CLOSED, "ttft_p99_s", clients]
        axis.annotate(f"{clients} clients" if clients == 8 else f"{clients}", at, shift, textcoords="offset points",
                      fontsize=10, color=LOOPS[CLOSED][1], ha="center" if shift[0] in (0, 4) else "left")  # fmt: skip
    axis.axhline(deadline_s, color=INK, lw=1.2, ls=":")
    axis.annotate("deadline", (rates.min(), deadline_s), (0, 4), textcoords="offset points", fontsize=10, color=INK)
    for loop, clients, shift, align in ((CLOSED, 48, (4, -17), "center"), (OPEN, 56, (-10, 6), "right")):
        at = rates[clients], values.loc[loop, "ttft_p99_s", clients]
        axis.annotate(
            LOOPS[loop][0], at, shift, textcoords="offset points", fontsize=11, color=LOOPS[loop][1], ha=align
        )
    axis.set_yscale("log")
    axis.set_ylim(0.1, 40)
    axis.set_yticks([0.1, 0.3, 1, 3, 10, 30], ["0.1", "0.3", "1", "3", "10", "30"])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylabel("Time to first token, P99 (s)")
    axis.set_xlabel("Served, the same in both (requests/s)")
    return figure
