"""The picture of a replayed log: each error by its sign."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from book.kit.style import COLORS, CYCLE, FAINT, INK, PERCENT, name_lines

NAMES = {"ttft": "TTFT", "tpot": "TPOT", "e2e": "end to end"}
MARKERS = {"mean": "o", "p50": "s", "p90": "^", "p99": "D"}
LANE = 0.18


def errors(table: pd.DataFrame, drawn: pd.DataFrame) -> Figure:
    """Signed errors of a replay (`replay.COLUMNS`): a panel a step model, a line a metric, a mark a statistic.

    The law from the log has its limits over `refits` of `replayed_log` and, dotted, over its `prefix_hits` with
    shared blocks.
    """
    import matplotlib.pyplot as plt

    models = list(dict.fromkeys(table["step_model"]))
    figure, axes = plt.subplots(
        1, len(models), figsize=(3.2 * len(models), 2.4), sharex=True, sharey=True, squeeze=False
    )
    for axis, model in zip(axes[0], models, strict=True):
        for lane, (statistic, marker) in enumerate(MARKERS.items()):
            rows = table[(table["step_model"] == model) & (table["statistic"] == statistic)].set_index("metric")
            places = [place + LANE * (lane - (len(MARKERS) - 1) / 2) for place in range(len(NAMES))]
            (mark,) = axis.plot(rows["error_percent"].reindex(NAMES), places, marker, mfc="none", label=statistic)
            if model == "affine-from-log":
                limits = drawn[drawn["statistic"] == statistic].set_index("metric").reindex(NAMES)
                axis.hlines(places, limits["ci_low"], limits["ci_high"], color=mark.get_color(), linewidth=1)
                axis.hlines(places, limits["shared_low"], limits["shared_high"], color="0.5", lw=1, ls=":")
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set_title(model)
        axis.set_xlabel("Error (%)")
    axes[0, 0].set_yticks(range(len(NAMES)), NAMES.values())
    axes[0, 0].invert_yaxis()
    axes[0, 0].legend(fontsize="small", loc="lower left")
    return figure


DASHES = ("-", "--", ":", "-.")


def growth(table: pd.DataFrame) -> Figure:
    """CPU time against the number of requests, both logarithmic, one line a way (rows of `benchmarks`).

    A way whose name begins with a policy's has the policy's colour; ways of one colour differ in dash and marker.
    """
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    used: list[str] = []
    for (name, rows), free, marker in zip(table.groupby("engine", sort=False), CYCLE, "osD^v<>P", strict=False):
        seconds = rows["requests"] * rows["ns_per_request"] / 1e9
        color = COLORS.get(name.partition(",")[0], free)
        style = {"color": color, "marker": marker, "ls": DASHES[used.count(color) % len(DASHES)]}
        axis.plot(rows["requests"], seconds, ms=6, lw=1.5, label=name, **style)
        used.append(color)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("Requests")
    axis.set_ylabel("CPU time (s)")
    name_lines(axis)
    return figure


PROMISED, BAND = 0.95, (0.93, 0.97)
GOOD, POOR = "#0072B2", "#D55E00"
QUEUE_MARKERS = {"mm1": "o", "batch_4": "s"}
LOAD_OFFSETS = 0.16


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
