"""The plots, one style: a policy keeps its colour and marker through the whole book.

A function takes a tidy table and returns a matplotlib figure; it computes nothing that a table should say. Colours are
Okabe and Ito's, which colour-blind readers tell apart; markers repeat the distinction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from simlib.batching import BRANCHES
from simlib.checks import InputError, check_type, reads_tables
from simlib.lazy import getter
from simlib.schedulers import short_name

__all__ = [
    "COLORS",
    "burstiness",
    "capacities",
    "contest",
    "controller_window",
    "growth",
    "hours",
    "k_curves",
    "level_spread",
    "levels_overview",
    "likeness",
    "queue_after_burst",
    "save",
    "style",
    "tails",
]

__getattr__ = getter(__name__, ("latency", "multi_bin", "statistics", "traffic_bins", "validation"))

COLORS = {
    "static_fifo": "#7A7A7A",
    "dynamic_no_bins": "#0072B2",
    "multi_bin_dynamic": "#D55E00",
    "multi_bin_fixed": "#009E73",
}
MARKERS = {"static_fifo": "s", "dynamic_no_bins": "o", "multi_bin_dynamic": "^", "multi_bin_fixed": "D"}
SELECTION_COLORS = {"round_robin": "#D55E00", "longest_queue": "#0072B2", "oldest_head": "#009E73"}
SELECTION_MARKERS = {"round_robin": "^", "longest_queue": "o", "oldest_head": "s"}
INK, FAINT = "#222222", "#B8B8B8"
OWN = "#CC79A7"  # a policy that a user wrote
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")
SHARE_TICKS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
SOURCE_NAMES = {"synthetic": "Poisson", "trace": "BurstGPT", "population": "BurstGPT-like"}
ARRIVAL_NAMES = {"poisson": "Poisson", "on_off": "ON/OFF", "burstgpt": "BurstGPT sample"}


def style() -> None:
    """Set the book's style; call it once, before the first figure."""
    sns.set_theme(context="notebook", style="ticks", font_scale=1.0)
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 4.0),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#E6E6E6",
            "axes.edgecolor": "#666666",
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "svg.fonttype": "path",
            "svg.hashsalt": "simlib",  # the same figure is the same file
            "savefig.dpi": 160,
            "figure.dpi": 110,
        }
    )


def save(figure: Figure, name: str, folder: str | Path) -> None:
    """Write ``NAME.svg`` and ``NAME.png`` into a folder (aside, then renamed)."""
    check_type("figure", figure, plt.Figure, "a figure")
    check_type("name", name, str, "a file's name without its ending")
    folder = Path(check_type("folder", folder, (str, Path), "a folder"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder}: the folder cannot be made ({problem})") from None
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        aside, path = folder / f"{name}.part.{kind}", folder / f"{name}.{kind}"
        try:
            figure.savefig(aside, metadata=metadata)
            os.replace(aside, path)
        except OSError as problem:
            aside.unlink(missing_ok=True)
            raise InputError(f"{path}: the figure cannot be written ({problem})") from None


@reads_tables
def levels_overview(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Violations by level and scheduler: what was claimed, and where the replications lie.

    `table` is `levels.table_of`'s, `runs` is `levels.runs_of`'s, of several levels, with one source of requests each.
    """
    levels = list(dict.fromkeys(table["level"]))
    columns = min(2, len(levels))  # two abreast can still be read on a phone
    lines = math.ceil(len(levels) / columns)
    figure, axes = plt.subplots(lines, columns, sharey=True, figsize=(6.4, 0.6 + 2.7 * lines), squeeze=False)
    for axis, level in zip(axes.flat, levels, strict=False):
        rows = table[table["level"] == level].reset_index(drop=True)
        for place, row in rows.iterrows():
            _spread(axis, place, _shares(runs, row), row)
        axis.set_title(f"Level {level}: {SOURCE_NAMES[rows['requests_from'].iloc[0]]}", fontsize=11)
        axis.set_xticks(range(len(rows)), [short_name(name) for name in rows["scheduler"]])
        for tick, name in zip(axis.get_xticklabels(), rows["scheduler"], strict=True):
            tick.set_color(COLORS[name])
        axis.set_xlim(-0.6, len(rows) - 0.4)
        axis.grid(axis="x", visible=False)
    for axis in axes.flat[len(levels) :]:
        axis.set_visible(False)
    _root_axis(axes[0][0], "y", 1.0)
    axes[0][0].set_ylim(-0.0003, 1.03)
    for axis in axes[:, 0]:
        axis.set_ylabel("Late requests (√ scale)")
    claimed = "claimed (grey: of other rows)" if table["claim_inside"].isna().any() else "claimed"
    handles = [
        plt.Line2D([], [], marker="x", ls="", color=INK, mew=2, ms=8, label=claimed),
        plt.Line2D([], [], marker="o", ls="", color=FAINT, ms=5, alpha=0.6, label="one replication"),
        plt.Line2D([], [], marker="_", ls="", color=INK, ms=16, mew=2.5, label="mean, with its 95 % interval"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=10)
    return figure


def _shares(runs: pd.DataFrame, row: pd.Series) -> np.ndarray:
    """The violation shares of a row of `levels.table_of`, one a replication."""
    study = ["level", "requests_from", "scheduler"]
    return runs[(runs[study] == row[study]).all(axis=1)]["sla_violation_share"].to_numpy()


def _spread(axis: Axes, place: int, shares: np.ndarray, row: pd.Series) -> None:
    color = COLORS[row["scheduler"]]
    jitter = np.linspace(-0.22, 0.22, len(shares)) if len(shares) > 1 else np.zeros(1)
    axis.scatter(place + jitter, shares, s=9, color=color, alpha=0.35, linewidths=0)
    axis.hlines(row["mean_violation_share"], place - 0.3, place + 0.3, color=INK, lw=2.5)
    axis.vlines(place, row["ci_low"], row["ci_high"], color=INK, lw=2.5)
    if pd.notna(row["claimed_violation_share"]):
        color = FAINT if pd.isna(row["claim_inside"]) else INK
        axis.plot(place, row["claimed_violation_share"], marker="x", color=color, mew=2, ms=9, zorder=5)


@reads_tables
def level_spread(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """One level: each scheduler's violation share over the replications, its mean with interval, and the claim."""
    rows = table.reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(7.0, 0.8 * (1 + len(rows))))
    for place, row in rows.iterrows():
        color = COLORS[row["scheduler"]]
        shares = np.sort(_shares(runs, row))
        height = len(rows) - 1 - place
        jitter = 0.25 * np.sin(7.0 * np.arange(len(shares)))  # spread for the eye, the same in every build
        axis.scatter(shares, height + jitter, s=12, color=color, alpha=0.4, linewidths=0)
        error = [[row["mean_violation_share"] - row["ci_low"]], [row["ci_high"] - row["mean_violation_share"]]]
        axis.errorbar(
            row["mean_violation_share"], height, xerr=error, color=INK, marker="|", ms=26, mew=2.5, capsize=5, lw=2
        )
        if pd.notna(row["claimed_violation_share"]):
            ink = FAINT if pd.isna(row["claim_inside"]) else INK
            axis.plot(row["claimed_violation_share"], height, marker="x", color=ink, ms=10, mew=2.5, zorder=5)
            axis.annotate(
                "claimed", (row["claimed_violation_share"], height), (0, 16), textcoords="offset points", ha="center"
            )
    several = len(set(rows["requests_from"])) > 1
    names = rows["scheduler"] + ("\n" + rows["requests_from"] if several else "")
    axis.set_yticks(range(len(rows)), names[::-1])
    for tick, name in zip(axis.get_yticklabels(), rows["scheduler"][::-1], strict=True):
        tick.set_color(COLORS[name])
    axis.set_ylim(-0.6, len(rows) - 0.35)
    largest = min(1.0, max(0.05, runs["sla_violation_share"].max(), table["claimed_violation_share"].max()) * 1.1)
    _root_axis(axis, "x", largest)
    axis.set_xlim(-0.0003, largest)
    axis.set_xlabel("Late requests (square-root scale)")
    axis.grid(axis="y", visible=False)
    return figure


@reads_tables
def k_curves(table: pd.DataFrame) -> Figure:
    """Violations against the number of bins, by bin selection and arrivals (`studies.k_sensitivity`)."""
    profiles = list(dict.fromkeys(table["arrivals"]))
    figure, axes = plt.subplots(1, len(profiles), figsize=(9.0, 3.6), squeeze=False)
    for axis, profile in zip(axes[0], profiles, strict=True):
        rows = table[table["arrivals"] == profile]
        selections = list(dict.fromkeys(rows["bin_select"]))
        for place, select in enumerate(selections):
            line = rows[rows["bin_select"] == select]
            shift = 2.0 ** (0.09 * (place - (len(selections) - 1) / 2))  # side by side, so that bars do not hide
            error = [line["violation_share"] - line["ci_low"], line["ci_high"] - line["violation_share"]]
            axis.errorbar(
                line["k_bins"] * shift,
                line["violation_share"],
                yerr=error,
                color=SELECTION_COLORS[select],
                marker=SELECTION_MARKERS[select],
                capsize=3,
                label=select.replace("_", " "),
            )
        axis.set_xscale("log", base=2)
        ticks = sorted(set(rows["k_bins"]))
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(PERCENT)
        axis.set_title(ARRIVAL_NAMES[profile])
        axis.set_xlabel("Bins K")
    axes[0][0].set_ylabel("Late requests")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=10, title="which bin is served next")
    return figure


@reads_tables
def contest(table: pd.DataFrame) -> Figure:
    """Mean violation share of each policy with its interval (`studies.contest`), the first on top."""
    figure, axis = plt.subplots(figsize=(7.0, 0.9 + 0.5 * len(table)))
    for height, row in enumerate(table[::-1].itertuples()):
        color = COLORS.get(row.scheduler, OWN)
        error = [[row.violation_share - row.ci_low], [row.ci_high - row.violation_share]]
        axis.errorbar(
            row.violation_share,
            height,
            xerr=error,
            color=color,
            marker=MARKERS.get(row.scheduler, "*"),
            ms=8,
            capsize=5,
        )
    axis.set_yticks(range(len(table)), table["scheduler"][::-1])
    for tick, name in zip(axis.get_yticklabels(), table["scheduler"][::-1], strict=True):
        tick.set_color(COLORS.get(name, OWN))
    axis.set_ylim(-0.6, len(table) - 0.4)
    axis.set_xlim(left=0)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Late requests, mean with 95 % interval")
    axis.grid(axis="y", visible=False)
    return figure


@reads_tables
def capacities(curves: pd.DataFrame, table: pd.DataFrame, late_share: float) -> Figure:
    """Late requests by rate, a panel a level, with each scheduler's capacity where its line crosses what is allowed.

    `curves` and `table` are `capacity.curve`'s and `capacity.Study.table`, with a column ``level``.
    """
    numbers = list(dict.fromkeys(table["level"]))
    figure, axes = plt.subplots(1, len(numbers), sharey=True, figsize=(4.3 * len(numbers), 4.0), squeeze=False)
    for axis, level in zip(axes[0], numbers, strict=True):
        for row in table[table["level"] == level].itertuples():
            color, line = COLORS[row.policy], curves[(curves["level"] == level) & (curves["policy"] == row.policy)]
            axis.plot(line["rate_rps"], line["late_share"], color=color, marker=MARKERS[row.policy], ms=4, lw=1.5)
            axis.fill_between(line["rate_rps"], line["ci_low"].clip(0), line["ci_high"], color=color, alpha=0.2, lw=0)
            axis.hlines(late_share, row.ci_low, row.ci_high, color=color, lw=6, zorder=3)
        ranked = table[table["level"] == level].sort_values("capacity_rps").reset_index(drop=True)
        for place, row in ranked.iterrows():
            text = f"{short_name(row['policy'])}\n{row['capacity_rps']:.3g}/s"
            # Beside the line, above one another, so that close capacities can be told apart.
            where = {"xytext": (0.03, 0.93 - 0.14 * place), "textcoords": "axes fraction"}
            axis.annotate(text, (row["capacity_rps"], late_share), va="top", color=COLORS[row["policy"]], **where)
        axis.axhline(late_share, color=INK, lw=0.8, ls="--", zorder=0)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axis.xaxis.set_minor_formatter(FuncFormatter(lambda rate, _: f"{rate:g}" if f"{rate:g}"[0] in "235" else ""))
        axis.set_title(f"Level {level}")
        axis.set_xlabel("Arrival rate (requests/s)")
    _root_axis(axes[0][0], "y", 1.0)
    axes[0][0].set_ylim(-0.0003, 1.03)
    axes[0][0].set_ylabel("Late requests (√ scale)")
    return figure


@reads_tables
def growth(table: pd.DataFrame) -> Figure:
    """CPU time against the number of requests, both logarithmic, one line a way (rows of `benchmarks`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    styles = zip(sns.color_palette("colorblind"), "osD^v<>P", strict=False)
    for (name, rows), (color, marker) in zip(table.groupby("engine", sort=False), styles, strict=False):
        seconds = rows["requests"] * rows["ns_per_request"] / 1e9
        axis.plot(rows["requests"], seconds, color=color, marker=marker, ms=6, lw=1.5, label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("Requests")
    axis.set_ylabel("CPU time (s)")
    axis.legend(fontsize=9, loc="upper left")
    return figure


@reads_tables
def controller_window(controller: pd.DataFrame, sizes: np.ndarray, deadline_s: float) -> Figure:
    """The SLA controller's window, its target and the sizes taken; below, what it hears, and which branch it takes."""
    figure, (top, low) = plt.subplots(2, 1, sharex=True, figsize=(7.0, 5.2), height_ratios=[3, 2])
    time_s = controller["start_s"]
    top.fill_between(
        time_s,
        controller["b_low"],
        controller["b_high"],
        color=COLORS["dynamic_no_bins"],
        alpha=0.18,
        lw=0,
        step="post",
    )
    top.step(time_s, controller["b_sla"], where="post", color=COLORS["dynamic_no_bins"], lw=2)
    top.plot(time_s, sizes, ".", color=INK, ms=3)
    _label_end(top, time_s, controller["b_sla"], "target b_sla", COLORS["dynamic_no_bins"])
    top.set_ylabel("Batch size (requests)")
    top.set_title("Window [b_low, b_high], target, and sizes taken (dots)")
    low.plot(time_s, controller["service_mean_s"], color=INK, lw=1.2)
    colors = {"no batch yet": FAINT, "too slow": "#D55E00", "fast enough": "#009E73", "within tolerance": "#0072B2"}
    markers = {"no batch yet": "x", "too slow": "^", "fast enough": "v", "within tolerance": "o"}
    for number, branch in enumerate(BRANCHES):
        taken = controller["branch"] == number
        if taken.any():
            low.plot(
                time_s[taken],
                controller["service_mean_s"][taken],
                markers[branch],
                color=colors[branch],
                ms=4,
                label=branch,
            )
    low.axhline(deadline_s, color=INK, lw=1, ls="--")
    low.annotate("deadline", (time_s.iloc[0], deadline_s), (2, 3), textcoords="offset points", fontsize=10)
    low.set_ylabel("Mean service time (s)")
    low.set_xlabel("Time (s)")
    low.set_ylim(bottom=0, top=max(1.25 * deadline_s, 1.15 * controller["service_mean_s"].max()))
    figure.legend(
        *low.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=10, title="branch taken"
    )
    return figure


def _label_end(axis: Axes, x: pd.Series, y: pd.Series, text: str, color: str) -> None:
    axis.annotate(text, (x.iloc[-1], y.iloc[-1]), (-4, 6), textcoords="offset points", ha="right", color=color)


@reads_tables
def queue_after_burst(waiting: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Requests in the system over time, by scheduler: ``{name: (time_s, number)}``."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for name, (time_s, number) in waiting.items():
        axis.step(time_s, number, where="post", color=COLORS[name], lw=2)
        half = int(np.searchsorted(-number[np.argmax(number) :], -number.max() / 2)) + int(np.argmax(number))
        axis.annotate(name, (time_s[half], number[half]), (6, 2), textcoords="offset points", color=COLORS[name])
    axis.set_xlabel("Time since the burst (s)")
    axis.set_ylabel("Requests in the system")
    axis.set_ylim(bottom=0)
    return figure


@reads_tables
def hours(table: pd.DataFrame) -> Figure:
    """Requests by hour (`traffic.arrivals_by_hour`) against the range of a Poisson stream of the same mean rate."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    axis.fill_between(
        np.append(table["hour"], table["hour"].iloc[-1] + 1),
        np.append(table["poisson_low"], table["poisson_low"].iloc[-1]),
        np.append(table["poisson_high"], table["poisson_high"].iloc[-1]),
        step="post",
        color=FAINT,
        alpha=0.5,
        lw=0,
    )
    axis.bar(table["hour"] + 0.5, table["requests"], width=0.8, color="#0072B2")
    axis.annotate("Poisson, 95 % range", (table["hour"].iloc[0] + 0.1, table["poisson_high"].iloc[0]), (0, 4),
                  textcoords="offset points", color="#555555")  # fmt: skip
    axis.set_xlabel("Hour of day 1 of the trace (local time)")
    axis.set_ylabel("Requests in that hour")
    axis.set_xticks(range(table["hour"].iloc[0], table["hour"].iloc[-1] + 2))
    axis.grid(axis="x", visible=False)
    return figure


@reads_tables
def burstiness(table: pd.DataFrame) -> Figure:
    """Dispersion index by window (`traffic.burstiness`): the trace against Poisson's range."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    axis.fill_between(table["window_s"], table["poisson_low"], table["poisson_high"], color=FAINT, alpha=0.5, lw=0)
    axis.plot(table["window_s"], table["dispersion_index"], marker="o", color="#0072B2", lw=2)
    last = table.iloc[-1]
    axis.annotate("BurstGPT sample", (last["window_s"], last["dispersion_index"]), (-6, 8),
                  textcoords="offset points", ha="right", color="#0072B2")  # fmt: skip
    axis.annotate("Poisson, 95 % range", (last["window_s"], 1.0), (-6, -16), textcoords="offset points", ha="right",
                  color="#555555")  # fmt: skip
    axis.axhline(1.0, color=INK, lw=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(table["window_s"], [f"{w:g}" for w in table["window_s"]])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_xlabel("Window (s)")
    axis.set_ylabel("Variance / mean of arrivals")
    return figure


@reads_tables
def likeness(table: pd.DataFrame) -> Figure:
    """Where each real figure lies in the range of the draws, that range being one for all (`likeness.compared`)."""
    rows = table.reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(7.0, 0.6 + 0.24 * len(rows)))
    width = (rows["high"] - rows["low"]).to_numpy()
    place = ((rows["real"] - rows["low"]) / width).clip(-0.75, 1.75)  # farther off is as bad
    height = len(rows) - 1 - np.arange(len(rows))
    axis.axvspan(0.0, 1.0, color="#E6E6E6", lw=0)
    axis.scatter((rows["mean"] - rows["low"]) / width, height, marker="|", color=INK, s=60, label="mean of the draws")
    for fits, color, marker, label in ((True, "#0072B2", "o", "real, fits"), (False, "#D55E00", "X", "does not fit")):
        chosen = rows["fits"] == fits
        axis.scatter(place[chosen], height[chosen], color=color, marker=marker, s=45, label=label, zorder=3)
    names = [f"{row.figure.removesuffix('_tokens').replace('_', ' ')}" for row in rows.itertuples()]
    axis.set_yticks(height, names, fontsize=9)
    axis.set_xticks([0.0, 1.0], ["2.5 %", "97.5 %"])
    axis.set_xlim(-0.85, 1.85)
    axis.set_xlabel("Place in the distribution of the draws")
    axis.grid(visible=False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure


@reads_tables
def tails(samples: Mapping[str, np.ndarray], quantity: str, colors: Mapping[str, str]) -> Figure:
    """Share of requests longer than a length, by workload, both axes logarithmic."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for place, (name, values) in enumerate(samples.items()):
        ordered = np.sort(values[values > 0])
        share = 1.0 - np.arange(len(ordered)) / len(ordered)
        axis.step(ordered, share, where="post", color=colors[name], lw=2)
        low = int(0.97 * len(ordered))
        side, shift = ("left", 8) if place == 0 else ("right", -8)  # the first to the right of its curve
        label = {"textcoords": "offset points", "ha": side, "va": "center", "color": colors[name]}
        axis.annotate(name, (ordered[low], share[low]), (shift, 0), **label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel(f"{quantity} (tokens)")
    axis.set_ylabel("Requests that long or longer")
    return figure


def _root_axis(axis: Axes, which: str, largest: float) -> None:
    """Shares on a square-root scale, which keeps a few per mille and a half apart on one axis."""
    ticks = [tick for tick in SHARE_TICKS if tick <= largest]
    if which == "x":
        axis.set_xscale("function", functions=(_signed_root, np.square))
        axis.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
    else:
        axis.set_yscale("function", functions=(_signed_root, np.square))
        axis.set_yticks(ticks, [f"{100 * t:g} %" for t in ticks])


def _signed_root(share: np.ndarray) -> np.ndarray:
    return np.sign(share) * np.sqrt(np.abs(share))
