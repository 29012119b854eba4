"""Figures of the fidelity levels, of K and of contests between policies."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from book.chapters.levels.tables import FORMULAS, REQUESTS, SELECTION_NAMES, pair_of, place_name
from book.kit.names import SCHEDULER_NAMES, TRAFFIC_NAMES
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
from book.kit.tables import sign
from simlib import levels
from simlib.text import percent, signed

PROFILE_NAMES = TRAFFIC_NAMES | {"burstgpt": "BurstGPT's rows"}
# Who has fewer late requests, by the sign of bins minus dynamic batching; what is said of it.
WINNERS = {-1: "multi_bin_dynamic", 1: "dynamic_no_bins", 0: ""}
SAID = {-1: "bins have fewer late", 1: "bins have more late", 0: "not established"}


def points(share: float) -> str:
    """A difference of shares in points, without the sign of what rounds to nothing."""
    return signed(100 * share, 1) if abs(share) >= 0.0005 else "0.0"


def signs(own: pd.DataFrame, matched: pd.DataFrame, loads: pd.Series) -> Figure:
    """Late requests, bins minus dynamic batching, by level: at the original's loads, and all at one.

    Parameters
    ----------
    own, matched : pandas.DataFrame
        One row a level: ``level, difference, ci_low, ci_high, p_holm``.
    loads : pandas.Series
        The original's load, by level.
    """
    figure, axes = plt.subplots(1, 2, sharex=True, sharey=True, figsize=(7.0, 3.3))
    titles = ("Each at the original's load", "All at load 0.8")
    for axis, rows, title in zip(axes, (own, matched), titles, strict=True):
        for row in rows.itertuples():
            winner = WINNERS[sign(row)]
            color, marker = COLORS.get(winner, INK), MARKERS.get(winner, "D")
            ends = [[100 * (row.difference - row.ci_low)], [100 * (row.ci_high - row.difference)]]
            fill = color if winner else "none"
            axis.errorbar(
                100 * row.difference, row.level, xerr=ends, color=color, marker=marker, mfc=fill, ms=8, capsize=4
            )
            right, said = row.difference >= 0, points(row.difference) + ("" if winner else ",\nnot established")
            end, shift, side = (row.ci_high, 9, "left") if right else (row.ci_low, -9, "right")
            told = axis.annotate(said, (100 * end, row.level), (shift, 0), textcoords="offset points",
                                 ha=side, va="center", color=color, fontsize=10)  # fmt: skip
            told.set_in_layout(False)  # there is room for it inside
        axis.axvline(0, color=INK, lw=1)
        axis.set_title(title)
        axis.grid(axis="y", visible=False)
    for axis in axes:
        for side, where, said in ((-1, 0.02, "← fewer late"), (1, 1.0, "more late →")):
            axis.text(where, 0.0, said, transform=axis.transAxes, color=COLORS[WINNERS[side]],
                      ha="left" if side < 0 else "right", va="bottom", fontsize=10)  # fmt: skip
    names = [f"Level {level}: {REQUESTS[level]}\n(load {loads[level]:.1f})" for level in own["level"]]
    axes[0].set_yticks(own["level"], names)
    axes[0].set_ylim(4.9, 0.5)
    both = pd.concat([own, matched])[["difference", "ci_low", "ci_high"]]
    low, high = 100 * both.min().min(), 100 * both.max().max()
    room = 0.65 * max(high - low, 1.0)  # for what is written beside the marks
    axes[0].set_xlim(low - room, high + room)
    figure.supxlabel("Late requests, bins minus dynamic batching (points)", fontsize=11)
    return figure


def level_spread(table: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """One level: each scheduler's late requests over the replications, their mean with interval, and the claim.

    Of a level that is studied on a trace and in its population, the population: there the requests vary.
    """
    rows = table.drop_duplicates("scheduler", keep="last").reset_index(drop=True)
    largest = min(1.0, max(0.05, *_shares_of(runs, rows), rows["claimed_violation_share"].max()) * 1.1)
    figure, axis = plt.subplots(figsize=(7.0, 0.8 + 1.0 * len(rows)))
    for place, row in rows.iterrows():
        color, mean = COLORS[row["scheduler"]], row["mean_violation_share"]
        shares = np.sort(_shares(runs, row))
        height = len(rows) - 1 - place
        jitter = 0.2 * np.sin(7.0 * np.arange(len(shares)))  # spread for the eye, the same in every build
        axis.scatter(shares, height + jitter, s=12, color=color, alpha=0.4, linewidths=0)
        error = [[mean - row["ci_low"]], [row["ci_high"] - mean]]
        axis.errorbar(mean, height, xerr=error, color=INK, marker="|", ms=26, mew=2.5, capsize=5, lw=2)
        notes = [(mean, f"mean {percent(mean, 1 + (mean < 0.01))}", -26)]
        if pd.notna(claimed := row["claimed_violation_share"]):
            axis.plot(claimed, height, marker="x", color=INK, ms=10, mew=2.5, zorder=5)
            notes.append((claimed, f"claimed {percent(claimed)}", 21))
        for share, said, above in notes:
            right = share > 0.7 * largest
            axis.annotate(said, (share, height), (4 if right else -4, above), textcoords="offset points",
                          ha="right" if right else "left", va="center", fontsize=10)  # fmt: skip
    axis.set_yticks(range(len(rows)), [SCHEDULER_NAMES[name] for name in rows["scheduler"]][::-1])
    for tick, name in zip(axis.get_yticklabels(), rows["scheduler"][::-1], strict=True):
        tick.set_color(COLORS[name])
    axis.set_ylim(-0.6, len(rows) - 0.4)
    root_axis(axis, "x", largest)
    axis.set_xlim(-0.0003, largest)
    axis.set_xlabel("Late requests (square-root scale)")
    axis.grid(axis="y", visible=False)
    return figure


def k_curves(table: pd.DataFrame) -> Figure:
    """Late requests against the number of bins, by bin selection and arrivals (`k_sensitivity.k_sensitivity`)."""
    profiles = list(dict.fromkeys(table["arrivals"]))
    figure, axes = plt.subplots(1, len(profiles), figsize=(7.0, 3.6), squeeze=False)
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
                label=SELECTION_NAMES[select],
            )
        alone = rows.loc[rows["k_bins"] == 1, "violation_share"].iloc[0]
        axis.axhline(alone, color=INK, lw=1, ls=":", zorder=0, label="as with one bin")
        axis.set_xscale("log", base=2)
        ticks = sorted(set(rows["k_bins"]))
        axis.set_xticks(ticks, ticks)
        axis.minorticks_off()
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(PERCENT)
        axis.set_title(PROFILE_NAMES[profile], fontsize=11)
        axis.set_xlabel("Bins K")
        axis.tick_params(labelsize=10)
    axes[0][0].set_ylabel("Late requests")
    handles, labels = axes[0][0].get_legend_handles_labels()
    named = {"handles": handles[1:] + handles[:1], "labels": labels[1:] + labels[:1]}  # the line of one bin last
    figure.legend(**named, loc="outside upper center", ncols=4, fontsize=10, title="which bin is served next")
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
    axis.set_yticks(range(len(table)), [SCHEDULER_NAMES.get(name, name) for name in table["scheduler"]][::-1])
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


def _shares_of(runs: pd.DataFrame, rows: pd.DataFrame) -> list[float]:
    return [_shares(runs, row).max() for _, row in rows.iterrows()]


def tiles(differences: pd.DataFrame, pair: tuple[str, str] = levels.PAIRS[2]) -> Figure:
    """Late requests of a pair's first minus its second's, in points: a row a place, a column a load.

    `differences` is `matched.differences`'s; the first has bins, the second none.
    """
    rows = pair_of(differences, pair)
    loads = sorted(set(rows["load"]))
    places = sorted(set(zip(rows["level"], rows["latency"], strict=True)), key=_by_requests)
    kinds = [REQUESTS[level] for level, _ in places]
    # A gap and a heading before each kind of requests.
    heights = {place: y + 1.2 * (1 + len(set(kinds[:y])) - (kinds[y] in kinds[:y])) for y, place in enumerate(places)}
    figure, axis = plt.subplots(figsize=(7.0, 0.9 + 0.32 * (max(heights.values()) + 1)))
    for row in rows.itertuples():
        column, height, side = loads.index(row.load), heights[row.level, row.latency], sign(row)
        tile = {"facecolor": COLORS.get(WINNERS[side], "none"), "alpha": 0.45} if side else {"facecolor": "none"}
        axis.add_patch(plt.Rectangle((column - 0.47, height - 0.45), 0.94, 0.9, lw=0, **tile))
        axis.text(column, height, points(row.difference), ha="center", va="center", fontsize=10,
                  color=INK if side else "#777777")  # fmt: skip
    named = {height: place_name(*place) for place, height in heights.items()}
    headed = {heights[places[kinds.index(kind)]] - 0.95: f"{kind} requests" for kind in kinds}
    axis.set_yticks([*named, *headed], [*named.values(), *headed.values()], fontsize=10)
    for tick in axis.get_yticklabels()[len(named) :]:
        tick.set_fontweight("bold")
    axis.set_xticks(range(len(loads)), [f"{load:g}" for load in loads])
    axis.set_xlim(-0.5, len(loads) - 0.5)
    axis.set_ylim(max(heights.values()) + 0.55, 0)
    axis.xaxis.tick_top()
    axis.xaxis.set_label_position("top")
    axis.set_xlabel("Load (times what static batches of 8 serve)", fontsize=11)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    handles = [
        plt.Rectangle((0, 0), 1, 1, facecolor=COLORS[WINNERS[side]], alpha=0.45, label=SAID[side]) for side in (-1, 1)
    ]
    handles.append(plt.Rectangle((0, 0), 1, 1, facecolor="none", edgecolor=FAINT, label=SAID[0]))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10)
    return figure


def _by_requests(place: tuple[int, str]) -> tuple[bool, bool, int, str]:
    level, latency = place
    return (REQUESTS[level] != "Poisson", latency not in FORMULAS, level, latency)
