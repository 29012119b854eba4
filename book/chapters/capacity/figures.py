"""Figures of capacities: late requests by rate, bins by number of GPUs, what drives the result."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from book.chapters.capacity.sensitivity import FACTORS
from book.chapters.capacity.sized import UNCAPPED
from book.kit.names import SCHEDULER_NAMES
from book.kit.style import COLORS, FAINT, INK, MARKERS, PERCENT, name_lines, root_axis
from simlib.text import signed


def capacities(curves: pd.DataFrame, table: pd.DataFrame, late_share: float) -> Figure:
    """Late requests by rate, a panel a level, each scheduler named where its line crosses what is allowed.

    `curves` and `table` are `capacity.curve`'s and `capacity.Study.table`, with a column ``level``, the table with
    ``at_most`` and ``best``. Of what does without bins, the best and dynamic batching without a cap are drawn.
    """
    drawn = table[table["best"] | table["policy"].isin(("multi_bin_dynamic", UNCAPPED))]
    numbers = list(dict.fromkeys(drawn["level"]))
    figure, axes = plt.subplots(len(numbers), 1, figsize=(7.0, 3.1 * len(numbers)), squeeze=False)
    for axis, level in zip(axes[:, 0], numbers, strict=True):
        ranked = drawn[drawn["level"] == level].sort_values("capacity_rps").reset_index(drop=True)
        for row in ranked.itertuples():
            scheduler = "dynamic_no_bins" if row.policy == UNCAPPED else row.policy
            color, line = COLORS[scheduler], curves[(curves["level"] == level) & (curves["policy"] == row.policy)]
            axis.plot(line["rate_rps"], line["late_share"], color=color, marker=MARKERS[scheduler], ms=4, lw=1.5)
            axis.fill_between(line["rate_rps"], line["ci_low"].clip(0), line["ci_high"], color=color, alpha=0.2, lw=0)
            axis.hlines(late_share, row.ci_low, row.ci_high, color=color, lw=5, zorder=3)
            # Below its own line the fastest, above theirs the others, those that are close on a stair.
            last, slower = row.Index == len(ranked) - 1, ranked["capacity_rps"].iloc[: row.Index]
            stair = 16 * int((slower > row.capacity_rps / 2).sum())
            sized = {UNCAPPED: ", no cap", "static_fifo": f" of {row.at_most}"}.get(row.policy, "")
            axis.annotate(
                f"{SCHEDULER_NAMES[scheduler]}{sized}: {row.capacity_rps:.3g}/s",
                (row.capacity_rps, late_share),
                (0, -10) if last else (-14, 14 + stair),
                textcoords="offset points",
                color=color,
                fontsize=11,
                ha="center" if last else "right",
                va="top" if last else "center",
                arrowprops=None if last else {"arrowstyle": "-", "color": color, "lw": 0.8, "relpos": (1, 0.5)},
            )
        axis.axhline(late_share, color=INK, lw=0.8, ls="--", zorder=0)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
        axis.xaxis.set_minor_formatter(FuncFormatter(lambda rate, _: f"{rate:g}" if f"{rate:g}"[0] in "235" else ""))
        axis.set_title(f"Level {level}")
        root_axis(axis, "y", 1.0)
        axis.set_ylim(-0.0003, 1.03)
        axis.set_ylabel("Late requests (√ scale)")
    axes[-1, 0].set_xlabel("Arrival rate (requests/s)")
    return figure


SHADES = ("#E8935A", "#D55E00", "#7A3600", "#3D1B00")  # of the bins' colour, by number of bins
KINDS = {"multi_bin_dynamic": "Bins of equal mass", "joint_optimum": "Bins with batch sizes of their own"}
MARKS = "^sDo"


def bins_by_gpus(ratios: pd.DataFrame, late_share: float = 0.05) -> Figure:
    """Capacity with bins over the best without, by number of GPUs: a panel a way to cut, a line a number of bins.

    `ratios` is `deadline.ratios_of`'s.
    """
    bins = ratios[(ratios["over"] == "best") & (ratios["k_bins"] > 1) & (ratios["late_share"] == late_share)]
    kinds, gpus = [kind for kind in KINDS if kind in set(bins["scheduler"])], sorted(bins["gpus"].unique())
    figure, axes = plt.subplots(1, len(kinds), figsize=(7.0, 3.6), sharey=True, squeeze=False)
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.axhspan(1e-3, 1, color=FAINT, alpha=0.25, lw=0)
        axis.axhline(1, color=INK, lw=1)
        for place, (k, own) in enumerate(bins[bins["scheduler"] == kind].groupby("k_bins")):
            bars = [own["ratio"] - own["ci_low"], own["ci_high"] - own["ratio"]]
            color = SHADES[place % len(SHADES)]
            axis.errorbar(own["gpus"], own["ratio"], yerr=bars, ms=5, capsize=2, color=color, marker=MARKS[place % 4],
                          label=f"{k} bins")  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks(gpus, [f"{count:g}" for count in gpus])
        axis.set_xlim(gpus[0] / 1.2, gpus[-1] * 1.15)
        axis.set_ylim(0.33, 1.75)
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_yticks([0.4, 0.6, 0.8, 1.0, 1.25, 1.5], ["0.4", "0.6", "0.8", "1", "1.25", "1.5"])
        axis.set_title(KINDS[kind], fontsize=11)
        axis.set_xlabel("GPUs")
        name_lines(axis)
    for text, height, va in (("bins carry more", 0.985, "top"), ("bins carry less", 0.02, "bottom")):
        axes[0][0].text(0.03, height, text, transform=axes[0][0].transAxes, va=va, style="italic", color=INK)
    axes[0][0].set_ylabel("Capacity (× the best without bins)")
    return figure


COLOR = COLORS["multi_bin_dynamic"]


def indices(table: pd.DataFrame, outcome: str = "difference") -> Figure:
    """One row a factor: its total and its first-order index for an outcome, with 95 % intervals.

    `table` is `sensitivity.indices`'s. Factors are ordered by their total index.
    """
    rows = table[table["outcome"] == outcome].set_index(["index", "factor"])
    names = list(rows.loc["total"].sort_values("value").index)
    figure, axis = plt.subplots(figsize=(7.0, 4.4))
    for place, name in enumerate(names):
        for index, shift, face in (("total", 0.15, COLOR), ("first", -0.15, "none")):
            row = rows.loc[(index, name)]
            axis.plot([row["ci_low"], row["ci_high"]], [place + shift] * 2, color=COLOR, lw=1.4, zorder=1)
            axis.plot(row["value"], place + shift, "o", ms=7, color=COLOR, mfc=face, mew=1.5)
            if place == len(names) - 1:
                said = {"total": "with all its interactions", "first": "alone"}[index]
                at = (max(row["ci_high"], 0), place + shift)
                axis.annotate(said, at, (6, 0), textcoords="offset points", fontsize=10, color=INK, va="center")
    axis.axvline(0.1, color=INK, lw=0.8, ls="--", zorder=0)
    axis.annotate("decides →", (0.1, -0.5), (4, 0), textcoords="offset points", fontsize=10, style="italic", color=INK)
    axis.set_xlabel("Share of the variance (%)")
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_ylim(-0.7, len(names) - 0.4)
    axis.set_xlim(right=1.05)
    axis.set_yticks(range(len(names)), [FACTORS[name].label for name in names], fontsize=10)
    return figure


TICKS = {"k_bins": (2, 4, 8, 16), "gpus": (1, 2, 4, 8), "length_sigma": (0.2, 0.6, 1.0, 1.4), "slack": (1, 2, 3, 6)}
DECIDE = {
    "k_bins": "More bins: worse",
    "gpus": "More GPUs: better",
    "length_sigma": "Lengths that spread: better",
    "slack": "Longer deadlines: better",
}  # the factors that decide, each with what its panel shows


def effects(table: pd.DataFrame, outcome: str = "difference") -> Figure:
    """A panel each of the `DECIDE` factors: an outcome's mean over the rest of the box along it, with 95 % limits."""
    figure, axes = plt.subplots(2, 2, sharey=True, figsize=(7.0, 5.2))
    rows = table[table["outcome"] == outcome]
    for axis, (name, said) in zip(axes.flat, DECIDE.items(), strict=True):
        own = rows[rows["factor"] == name]
        errors = [own["value"] - own["ci_low"], own["ci_high"] - own["value"]]
        axis.axhspan(0, 1, color=FAINT, alpha=0.25, lw=0)
        axis.axhline(0, color=INK, lw=1)
        axis.errorbar(own["middle"], own["value"], errors, fmt="^-", color=COLOR, ms=6, lw=1.5, capsize=2)
        ticks = TICKS[name]
        if FACTORS[name].log:
            axis.set_xscale("log")
            axis.minorticks_off()
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_xlim(ticks[0] / 1.12, ticks[-1] * 1.12)
        axis.set_title(said, fontsize=11)
        axis.set_xlabel(FACTORS[name].label[0].upper() + FACTORS[name].label[1:])
        axis.yaxis.set_major_formatter(FuncFormatter(_points))
    axes[0][0].set_ylim(-0.13, 0.33)
    axes[0][0].text(0.03, 0.97, "bins hurt", transform=axes[0][0].transAxes, va="top", style="italic", color=INK)
    axes[0][0].text(0.03, 0.03, "bins help", transform=axes[0][0].transAxes, style="italic", color=INK)
    figure.supylabel("Late requests: bins minus the best without (points)", fontsize=11)
    return figure


def _points(share: float, _: int) -> str:
    return signed(100 * share, 0) if round(100 * share) else "0"
