"""Figures of what can be trusted: a replayed log's errors by their sign, coverage, growth of the cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from book.chapters.trust.tables import DEVICES, METHODS, METRICS, QUEUES, RARE, STATISTICS, method_name
from book.kit.names import SCHEDULER_NAMES
from book.kit.style import COLORS, CYCLE, FAINT, INK, PERCENT, name_lines

MARKERS = {"mean": "o", "p50": "s", "p90": "^", "p99": "D"}
PANELS = {"profile": "Kernel profile", "affine-from-log": "Law from the log's first half"}


def errors(table: pd.DataFrame, drawn: pd.DataFrame) -> Figure:
    """Signed errors of a replay (`replay.COLUMNS`): a panel each for the profile and the law from the log.

    The latter has its limits over the refits of `replayed_log` and, dotted, over those with shared blocks.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.0, 4.2), sharex=True, sharey=True)
    lines = [(metric, statistic) for metric in METRICS for statistic in MARKERS]
    places = {line: place + 0.8 * list(METRICS).index(line[0]) for place, line in enumerate(lines)}
    for axis, (model, title), color in zip(axes, PANELS.items(), CYCLE, strict=False):
        rows = table[table["step_model"] == model].set_index(["metric", "statistic"])["error_percent"]
        axis.axvline(0, color=INK, lw=0.8)
        for line, place in places.items():
            axis.plot(rows[line], place, MARKERS[line[1]], color=color, ms=6)
        axis.set_title(title, fontsize=9.5, loc="center")
        axis.set_xlabel("Error (%)")
    for row in drawn.itertuples():
        place = places[row.metric, row.statistic]
        axes[1].hlines(place, row.ci_low, row.ci_high, color=CYCLE[1], lw=1.5)
        axes[1].hlines(place + 0.3, row.shared_low, row.shared_high, color=INK, lw=1, ls=":")
    told = drawn.set_index(["metric", "statistic"]).loc[("tpot", "p99")]
    at = (told["shared_high"], places["tpot", "p99"] + 0.3)
    axes[1].annotate("dotted:\nif prompts\nbegin alike", at, (-6, -8), textcoords="offset points", ha="right", va="top",
                     fontsize=9)  # fmt: skip
    axes[0].set_yticks(list(places.values()), [f"{METRICS[m]}, {STATISTICS[s]}" for m, s in lines], fontsize=9)
    axes[0].invert_yaxis()
    return figure


DASHES = ("-", "--", ":", "-.")


def growth(table: pd.DataFrame) -> Figure:
    """CPU time of a request against how many there are, both logarithmic, one line a way (rows of `benchmarks`).

    A way whose name begins with a policy's has the policy's colour; ways of one colour differ in dash and marker.
    """
    figure, axis = plt.subplots(figsize=(7.0, 4.2))
    used: list[str] = []
    for (way, rows), free, marker in zip(table.groupby("engine", sort=False), CYCLE, "osD^v<>P", strict=False):
        color = COLORS.get(way.partition(",")[0], free)
        style = {"color": color, "marker": marker, "ls": DASHES[used.count(color) % len(DASHES)]}
        axis.plot(rows["requests"], rows["ns_per_request"], ms=6, lw=1.5, label=_way(way), **style)
        used.append(color)
    axis.set_xscale("log")
    axis.set_yscale("log")
    low, high = table["ns_per_request"].min(), table["ns_per_request"].max()
    ticks = [n * 10**power for power in (0, 1, 2, 3) for n in (1, 2, 3, 5, 7)]
    shown = [tick for tick in ticks if low / 2 <= tick <= 2 * high]
    axis.set_yticks(shown, [f"{tick:,}" for tick in shown])
    axis.minorticks_off()
    axis.set_ylim(0.8 * low, 1.25 * high)
    axis.set_xlabel("Requests in a run")
    axis.set_ylabel("CPU time of a request (ns)")
    name_lines(axis)
    return figure


def _way(name: str) -> str:
    """How a benchmark's way is called, by the names of its policy and of what is changed."""
    policy, _, changed = name.removeprefix("continuous, ").partition(", ")
    if changed == "K = 64":
        return "64 bins"
    said = {"light": "light load"}.get(changed, changed)
    return ", ".join(filter(None, (SCHEDULER_NAMES.get(policy, policy), said)))


PROMISED, BAND = 0.95, (0.93, 0.97)
GOOD, POOR = "#0072B2", "#D55E00"
QUEUE_MARKERS = {"mm1": "o", "batch_4": "s"}
LOAD_OFFSETS = 0.16


def coverage(table: pd.DataFrame) -> Figure:
    """Measured coverage by method, one mark a queue and load: what is recommended, and what people do instead.

    `table` is ``data/results/coverage.csv``, or rows of it.
    """
    table = table.dropna(subset=["coverage"])
    named = table.assign(line=[method_name(row) for row in table.itertuples()])
    panels = [named[named["recommended"]], named[~named["recommended"] & named["line"].isin(METHODS["instead"])]]
    lines = [
        [line for line in names if line in set(rows["line"])]
        for rows, names in zip(panels, METHODS.values(), strict=True)
    ]
    heights = [len(names) + 0.6 for names in lines]
    figure, axes = plt.subplots(2, 1, figsize=(7.0, 1.4 + 0.22 * sum(heights)), height_ratios=heights)
    for axis, rows, names, color, low in zip(axes, panels, lines, (GOOD, POOR), (0.9, 0.0), strict=True):
        _cover(axis, rows, names, color)
        axis.set_xlim(low, 1.0)
        axis.xaxis.set_major_formatter(PERCENT)
    axes[0].set_title("Recommended", fontsize=11)
    axes[1].set_title("Often done instead (mind the axis)", fontsize=11)
    for axis in axes:
        axis.set_xlabel("Intervals that contain the truth (promised: 95 %)", fontsize=10)
        axis.tick_params(axis="x", labelsize=10)
    return figure


def _cover(axis: Axes, rows: pd.DataFrame, names: list[str], color: str) -> None:
    """One line a method, its marks one above the other by load."""
    axis.axvspan(*BAND, color=FAINT, alpha=0.5, lw=0)
    axis.axvline(PROMISED, color=INK, lw=1)
    loads = sorted(rows["rho"].unique())
    for row in rows.itertuples():
        height = names.index(row.line) + LOAD_OFFSETS * (loads.index(row.rho) - (len(loads) - 1) / 2)
        axis.hlines(height, row.ci_low, row.ci_high, color=color, lw=1)
        axis.plot(row.coverage, height, QUEUE_MARKERS[row.queue], color=color, mfc="none", ms=4)
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_ylim(len(names) - 0.5, -0.5)


def edge(table: pd.DataFrame) -> Figure:
    """Coverage near saturation (rows of ``coverage_edge``): a line a capacity, and a run's P99 by its length.

    What is recommended beside what is often done instead; in words where so short a run is given no interval.
    """
    rows = table[table["quantity"].str.startswith("capacity") | table["quantity"].eq("p99")]
    lines = [QUEUES[row.queue] + _asked(row) for row in rows.itertuples()]
    names = list(dict.fromkeys(lines))
    names.sort(key=lambda name: "P99" in name)
    figure, axis = plt.subplots(figsize=(7.0, 1.2 + 0.27 * len(names)))
    axis.axvspan(*BAND, color=FAINT, alpha=0.5, lw=0)
    axis.axvline(PROMISED, color=INK, lw=1)
    for row, line in zip(rows.itertuples(), lines, strict=True):
        height, color = names.index(line), GOOD if row.recommended else POOR
        if row.given_share < RARE:
            axis.annotate("refused", (PROMISED, height), (-8, 0), textcoords="offset points", color=color, fontsize=9,
                          ha="right", va="center")  # fmt: skip
            continue
        axis.hlines(height, row.ci_low, row.ci_high, color=color, lw=1.5)
        axis.plot(row.coverage, height, "o" if row.recommended else "s", color=color, ms=5)
    axis.set_yticks(range(len(names)), names, fontsize=9)
    axis.set_ylim(len(names) - 0.5, -1.6)
    for label, color, at in (("often done instead", POOR, 0.7), ("recommended", GOOD, BAND[0])):
        axis.annotate(label, (at, -1.0), (-4, 0), textcoords="offset points", color=color, fontsize=10, ha="right",
                      va="center")  # fmt: skip
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Intervals that contain the truth (promised: 95 %)", fontsize=10)
    return figure


def _asked(row: Any) -> str:
    """Of which quantity a row near saturation is, behind its queue."""
    if row.quantity.startswith("capacity"):
        return f": capacity at a deadline of {row.quantity.removeprefix('capacity, ')}"
    return f": P99 of a run of {row.memories} memories"


def warm_up(averages: Mapping[str, np.ndarray], cut: int, quantity: str) -> Figure:
    """Welch's moving average of each system (`warm_up.welch`) by request, and the common truncation point."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for name, values in averages.items():
        axis.plot(np.arange(len(values)), values, color=COLORS[name], lw=1.5, label=SCHEDULER_NAMES[name])
    axis.axvline(cut, color=INK, lw=1, ls="--")
    axis.annotate(f"cut: {cut}", (cut, 1), (4, -12), xycoords=("data", "axes fraction"), textcoords="offset points")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("Request (in order of arrival)")
    axis.set_ylabel(quantity)
    name_lines(axis)
    return figure


SHOWN = {"e2e": "Mean, end to end (s)", "tpot": "Mean, between tokens (ms)", "ttft": "Mean, first token (s)"}
HALF, BAR = 0.14, 7.0


def real_engine(found: pd.DataFrame) -> Figure:
    """Means over load, predicted and measured (rows of `real_engine.ledger`): a column each for the devices.

    Wide bars are 95 % for requests that nobody knew, thin ones for those that the seed drew.
    """
    plain = found[~found["load"].str[0].str.isalpha() & (found["statistic"] == "mean")]
    devices = [device for device in DEVICES if (plain["gpu"] == device).any()]
    size = (3.0 * len(devices), 2.1 * len(SHOWN))
    figure, axes = plt.subplots(len(SHOWN), len(devices), figsize=size, sharex="col", squeeze=False)
    for column, device in zip(axes.T, devices, strict=True):
        column[0].set_title(DEVICES[device], fontsize=11, loc="center")
        column[-1].set_xlabel("Requests/s")
        for axis, metric in zip(column, SHOWN, strict=True):
            rows = plain[(plain["gpu"] == device) & (plain["metric"] == metric)].sort_values("rate_rps", kind="stable")
            unit = 1000 if "(ms)" in SHOWN[metric] else 1
            several = rows.groupby("rate_rps")
            x = rows["rate_rps"] + HALF * (several.cumcount() - (several["load"].transform("size") - 1) / 2)
            ends = {name: unit * rows[name] for name in ("ahead_low", "ahead_high", "low", "high")}
            axis.vlines(x, ends["ahead_low"], ends["ahead_high"], color=INK, lw=BAR, alpha=0.3)
            axis.vlines(x, ends["low"], ends["high"], color=CYCLE[0], lw=1.5)
            axis.plot(x, unit * rows["predicted"], "_", color=CYCLE[0], ms=9, label="predicted")
            axis.plot(x, unit * rows["measured"], "o", color=CYCLE[1], ms=4.5, label="measured")
            if unit == 1:
                _logarithmic(axis)
    for axis, label in zip(axes[:, 0], SHOWN.values(), strict=True):
        axis.set_ylabel(label, fontsize=10)
    axes[0, 0].legend(fontsize=9, frameon=False, loc="upper left")
    return figure


def _logarithmic(axis: Axes) -> None:
    """Times over several orders, with ticks at 1, 2 and 5, or at more where these are too few."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    for steps in ((1, 2, 5), range(1, 10)):
        ticks = [n * 10.0**power for power in range(-3, 4) for n in steps if low <= n * 10.0**power <= high]
        if len(ticks) > 2:
            break
    axis.set_yticks(ticks)
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
