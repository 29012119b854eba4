"""Figures of the sensitivity study: what share of the variance goes with each factor, and which way it pulls."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simlib.checks import reads_tables
from simlib.figures import COLORS, FAINT, INK, PERCENT
from simlib.studies.sensitivity import FACTORS, OUTCOMES

__all__ = ["effects", "indices"]

COLOR = COLORS["multi_bin_dynamic"]


@reads_tables
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


@reads_tables
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
