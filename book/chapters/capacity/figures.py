"""Figures of capacities: late requests by rate, bins by number of GPUs, what drives the result."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from book.chapters.capacity.sensitivity import FACTORS, OUTCOMES
from book.kit.style import COLORS, FAINT, INK, MARKERS, PERCENT, root_axis
from simlib.policies.plan import short_name


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
    root_axis(axes[0][0], "y", 1.0)
    axes[0][0].set_ylim(-0.0003, 1.03)
    axes[0][0].set_ylabel("Late requests (√ scale)")
    return figure


SHADES = ("#E8935A", "#D55E00", "#7A3600", "#3D1B00")  # of multi-bin's colour, by number of bins


KINDS = {"multi_bin_dynamic": "Equal mass", "joint_optimum": "Joint optimum"}


def bins_by_gpus(ratios: pd.DataFrame) -> Figure:
    """Capacity with bins over capacity without, by number of GPUs: a column a share of late requests, a row a cut."""
    bins = ratios[ratios["k_bins"] > ratios["over_k_bins"]]
    shares, kinds = sorted(bins["late_share"].unique()), [kind for kind in KINDS if kind in set(bins["scheduler"])]
    size = (4.2 * len(shares), 0.8 + 2.9 * len(kinds))
    figure, axes = plt.subplots(len(kinds), len(shares), figsize=size, sharex=True, sharey=True, squeeze=False)
    gpus = sorted(bins["gpus"].unique())
    for row, kind in zip(axes, kinds, strict=True):
        for axis, share in zip(row, shares, strict=True):
            _panel(axis, bins[(bins["late_share"] == share) & (bins["scheduler"] == kind)])
            axis.axhline(1, color=INK, lw=1)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_xticks(gpus, [f"{count:g}" for count in gpus])
            axis.set_xlim(gpus[0] / 1.7, gpus[-1] * 1.2)
            axis.yaxis.set_minor_locator(NullLocator())
            axis.set_yticks([0.4, 0.6, 1.0, 1.5, 2.0])
            axis.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
            axis.set_title(f"{KINDS[kind]}, {100 * share:g} % late")
        row[0].set_ylabel("Capacity over that of no bins")
    for axis in axes[-1]:
        axis.set_xlabel("GPUs")
    handles = [
        plt.Line2D([], [], color=SHADES[1], marker="^", label="batches run to completion"),
        plt.Line2D([], [], color=FAINT, marker="o", ls="--", label="continuous batching, any K"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _panel(axis: Axes, bins: pd.DataFrame) -> None:
    for execution, rows in bins.groupby("execution", sort=False):
        batches = execution == "run_to_completion"
        for place, (k, own) in enumerate(rows.groupby("k_bins")):
            color = SHADES[place % len(SHADES)] if batches else FAINT
            bars = [own["ratio"] - own["ci_low"], own["ci_high"] - own["ratio"]]
            style = {"color": color, "ls": "-" if batches else "--", "marker": "^" if batches else "o"}
            axis.errorbar(own["gpus"], own["ratio"], yerr=bars, ms=5, capsize=2, **style)
            if batches:
                at = (own["gpus"].iloc[0], own["ratio"].iloc[0])  # where the lines are furthest apart
                style = {"color": color, "ha": "right", "va": "center"}
                axis.annotate(f"K = {k}", at, (-6, 0), textcoords="offset points", **style)


COLOR = COLORS["multi_bin_dynamic"]


def indices(table: pd.DataFrame) -> Figure:
    """One panel an outcome, one row a factor: its total and its first-order index, with 95 % intervals.

    `table` is `sensitivity.indices`'s. Factors are ordered by their total index for the first outcome.
    """
    first = next(iter(OUTCOMES))
    totals = table[(table["outcome"] == first) & (table["index"] == "total")].sort_values("value")
    names = list(totals["factor"])
    figure, axes = plt.subplots(1, len(OUTCOMES), sharey=True, figsize=(9.0, 4.6))
    for axis, (outcome, title) in zip(axes, OUTCOMES.items(), strict=True):
        rows = table[table["outcome"] == outcome].set_index(["index", "factor"])
        for place, name in enumerate(names):
            for index, shift, face in (("total", 0.13, COLOR), ("first", -0.13, "white")):
                row = rows.loc[(index, name)]
                axis.plot([row["ci_low"], row["ci_high"]], [place + shift] * 2, color=COLOR, lw=1.4)
                axis.plot(row["value"], place + shift, "o", ms=6, color=COLOR, mfc=face)
                if place == len(names) - 1:
                    said = {"total": "with interactions", "first": "alone"}[index]
                    axis.annotate(said, (row["value"], place + shift), xytext=(0, np.sign(shift) * 13 - 3),
                                  textcoords="offset points", fontsize=8, color=INK, ha="center")  # fmt: skip
        chance = rows.loc[("chance", "")]
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(f"Share of the variance (chance of a run: {100 * chance['value']:.0f} %)", fontsize=9)
        axis.axvline(0, color=FAINT, lw=1)
        axis.xaxis.set_major_formatter(PERCENT)
        axis.set_ylim(-0.6, len(names) - 0.2)
    axes[0].set_yticks(range(len(names)), [FACTORS[name].label for name in names], fontsize=9)
    return figure


def effects(table: pd.DataFrame, outcome: str = "difference") -> Figure:
    """One panel a factor: an outcome's mean over the rest of the box along the factor's range, with 95 % intervals."""
    figure, axes = plt.subplots(2, 4, sharey=True, figsize=(9.0, 4.8))
    rows = table[table["outcome"] == outcome]
    for axis, (name, factor) in zip(axes.flat, FACTORS.items(), strict=True):
        own = rows[rows["factor"] == name]
        errors = [own["value"] - own["ci_low"], own["ci_high"] - own["value"]]
        axis.errorbar(own["middle"], own["value"], errors, fmt="o-", color=COLOR, ms=4, lw=1.2)
        axis.axhline(0, color=INK, lw=0.8)
        _scale(axis, factor.log, own["middle"])
        axis.set_title(factor.label, fontsize=8, fontweight="normal")
        axis.tick_params(labelsize=8)
        axis.yaxis.set_major_formatter(PERCENT)
    figure.supylabel(OUTCOMES[outcome], fontsize=9)
    return figure


def _scale(axis: Axes, log: bool, middles: pd.Series) -> None:
    """Labels at the points themselves; of a range in logarithms, evenly spaced."""
    if log:
        axis.set_xscale("log")
        axis.minorticks_off()
    axis.set_xticks(list(middles), [f"{middle:.2g}" for middle in middles])
