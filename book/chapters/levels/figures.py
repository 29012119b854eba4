"""Figures of the fidelity levels, of K and of contests between policies."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from book.kit.names import TRAFFIC_NAMES
from book.kit.style import (
    COLORS,
    FAINT,
    INK,
    MARKERS,
    OWN,
    PERCENT,
    SELECTION_COLORS,
    SELECTION_MARKERS,
    root_axis,
)
from simlib.levels import LEVELS
from simlib.policies.plan import short_name

PROFILE_NAMES = TRAFFIC_NAMES | {"burstgpt": "BurstGPT sample"}  # here the real rows


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
        axis.set_title(f"Level {level}: {TRAFFIC_NAMES[rows['requests_from'].iloc[0]]}", fontsize=11)
        axis.set_xticks(range(len(rows)), [short_name(name) for name in rows["scheduler"]])
        for tick, name in zip(axis.get_xticklabels(), rows["scheduler"], strict=True):
            tick.set_color(COLORS[name])
        axis.set_xlim(-0.6, len(rows) - 0.4)
        axis.grid(axis="x", visible=False)
    for axis in axes.flat[len(levels) :]:
        axis.set_visible(False)
    root_axis(axes[0][0], "y", 1.0)
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
    root_axis(axis, "x", largest)
    axis.set_xlim(-0.0003, largest)
    axis.set_xlabel("Late requests (square-root scale)")
    axis.grid(axis="y", visible=False)
    return figure


def k_curves(table: pd.DataFrame) -> Figure:
    """Violations against the number of bins, by bin selection and arrivals (`k_sensitivity.k_sensitivity`)."""
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
        axis.set_title(PROFILE_NAMES[profile])
        axis.set_xlabel("Bins K")
    axes[0][0].set_ylabel("Late requests")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=10, title="which bin is served next")
    return figure


def contest(table: pd.DataFrame) -> Figure:
    """Mean violation share of each policy with its interval (`k_sensitivity.contest`), the first on top."""
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


TIE = "#EDEDED"
HATCHES = {"multi_bin_dynamic": "//", "dynamic_no_bins": "", "static_fifo": "xx"}
REQUESTS = {number: TRAFFIC_NAMES[level.sources[-1]] for number, level in LEVELS.items()}


def best(rankings: pd.DataFrame) -> Figure:
    """One panel a load, one bar a place: the probability that each scheduler alone has the fewest late requests.

    `rankings` is `matched.rankings`'s. Places are ordered by their requests, then as in the table.
    """
    loads = list(dict.fromkeys(rankings["load"]))
    places = rankings[["level", "latency"]].drop_duplicates()
    places = places.assign(requests=places["level"].map(REQUESTS)).sort_values(
        "requests", ascending=False, kind="stable"
    )
    keys = list(places[["level", "latency"]].itertuples(index=False, name=None))
    figure, axes = plt.subplots(1, len(loads), sharey=True, figsize=(9.0, 1.6 + 0.36 * len(keys)), squeeze=False)
    for axis, load in zip(axes[0], loads, strict=True):
        rows = rankings[rankings["load"] == load]
        for height, (level, latency) in enumerate(keys):
            left, own = 0.0, rows[(rows["level"] == level) & (rows["latency"] == latency)]
            first = (
                own["ranking"].str.split(r" ([<=]) ", regex=True).map(lambda parts: parts[0] if parts[1] == "<" else "")
            )
            for name in ("multi_bin_dynamic", "dynamic_no_bins", "static_fifo", ""):
                share = own.loc[first == name, "share"].sum()
                style = {"color": COLORS.get(name, TIE), "hatch": HATCHES.get(name, ""), "edgecolor": INK, "lw": 0.4}
                label = f"{short_name(name)} alone" if name else "a tie for the first place"
                axis.barh(height, share, left=left, height=0.74, label=label if height == 0 else None, **style)
                left += share
        axis.set_title(f"load {load:g}", fontsize=10)
        axis.set_xlim(0, 1)
        axis.set_xticks((0, 0.5, 1), ("0", "50", "100 %"))
        axis.set_ylim(-0.6, len(keys) - 0.4)
        axis.axhline(sum(REQUESTS[level] == "Poisson" for level, _ in keys) - 0.5, color=INK, lw=1.2)
        axis.tick_params(labelsize=8)
        axis.grid(visible=False)
    own_level = [latency == LEVELS[level].latency for level, latency in keys]
    starts = [f"Level {level}: " if own else "" for (level, _), own in zip(keys, own_level, strict=True)]
    names = [f"{start}{REQUESTS[level]}, {latency}" for start, (level, latency) in zip(starts, keys, strict=True)]
    axes[0][0].set_yticks(range(len(keys)), names, fontsize=8)
    axes[0][0].invert_yaxis()
    figure.supxlabel("Probability of having the fewest late requests", fontsize=10)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=9)
    return figure
