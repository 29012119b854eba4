"""Figures of the comparison of policies: where bins help and where they hurt, and each policy on each traffic."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from book.chapters.policies import sign_map, study
from book.chapters.policies.tables import FIRST_COME, LATE, NAMES, PREDICTOR_NAMES, points
from book.kit.names import TRAFFIC_NAMES
from book.kit.style import INK
from book.kit.tables import sign

FEWER, MORE, NEITHER = "#7CCBB0", "#F2A46F", "#E4E4E4"  # light enough for dark figures on them
WORDS = {FEWER: "fewer late", MORE: "more late", NEITHER: "not established"}
EXECUTIONS = {study.BATCHES: "Batches that run to completion", study.STEPS: "Continuous engine"}


def where_bins_help(table: pd.DataFrame) -> Figure:
    """The map (`sign_map.table_of`): a tile a cell, by load and deadline; a panel a predictor and number of GPUs."""
    gpus, predictors = (list(dict.fromkeys(table[name])) for name in ("gpus", "predictor"))
    loads, deadlines_s = sorted(set(table["load"])), sorted(set(table["deadline_s"]))
    figure, axes = plt.subplots(
        len(gpus), len(predictors), sharex=True, sharey=True, squeeze=False,
        figsize=(7.0, 0.9 + len(gpus) * (0.12 + 0.2 * len(deadlines_s))),
    )  # fmt: skip
    for line, count in zip(axes, gpus, strict=True):
        for axis, predictor in zip(line, predictors, strict=True):
            _blank(axis, len(loads), len(deadlines_s))
            for row in table[(table["gpus"] == count) & (table["predictor"] == predictor)].itertuples():
                lost = min(row.bins_late, row.rival_late) > sign_map.BEYOND
                _tile(axis, loads.index(row.load), deadlines_s.index(row.deadline_s), row, "///" if lost else "")
        line[-1].text(1.02, 0.5, f"{count} GPU{'s' * (count > 1)}", transform=line[-1].transAxes, rotation=270,
                      va="center", fontsize=9)  # fmt: skip
        line[0].set_yticks(range(len(deadlines_s)), [f"{value:g}" for value in deadlines_s], fontsize=9)
    for axis, predictor in zip(axes[0], predictors, strict=True):
        axis.set_title(PREDICTOR_NAMES[predictor], fontsize=10)
    for axis in axes[-1]:
        axis.set_xticks(range(len(loads)), [f"{100 * load:g}" for load in loads], fontsize=9)
    figure.supxlabel("Load (% of what batches carry when all wait)", fontsize=10)
    figure.supylabel("Deadline (s)", fontsize=10)
    lost = Rectangle((0, 0), 1, 1, facecolor="none", edgecolor="#999999", hatch="///", lw=0)
    handles, names = _legend()
    figure.legend([*handles, lost], [*names, "most late either way"], loc="outside upper center", ncols=4, fontsize=9)
    return figure


def by_traffic(table: pd.DataFrame) -> Figure:
    """Each policy's late requests minus first come's, by traffic and load; the best of a column outlined."""
    rows = table[(table["metric"] == LATE) & (table["predictor"] == study.MAIN)]
    columns = [(traffic, load) for traffic in study.TRAFFIC for load in sorted(set(rows["load"]))]
    policies = {
        execution: [
            name for name in dict.fromkeys(rows.loc[rows["execution"] == execution, "policy"]) if name not in FIRST_COME
        ]
        for execution in EXECUTIONS
    }
    figure, axes = plt.subplots(
        2, 1, sharex=True, figsize=(7.0, 1.5 + 0.27 * sum(map(len, policies.values()))),
        height_ratios=[len(names) for names in policies.values()],
    )  # fmt: skip
    for axis, (execution, names) in zip(axes, policies.items(), strict=True):
        _blank(axis, len(columns), len(names))
        axis.invert_yaxis()
        own = rows[rows["execution"] == execution]
        for place, (traffic, load) in enumerate(columns):
            column = own[(own["traffic"] == traffic) & (own["load"] == load)]
            fewer = [row for row in column.itertuples() if sign(row) < 0]
            for row in column.itertuples():
                if row.policy == study.BASELINE:
                    axis.text(place, 0, f"{100 * row.value:.0f} %", ha="center", va="center", fontsize=9)
                elif row.policy in names:
                    _tile(axis, place, names.index(row.policy), row)
            if fewer:
                best = min(fewer, key=lambda row: row.difference)
                corner = place - 0.5, names.index(best.policy) - 0.5
                axis.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=INK, lw=2, zorder=4))
        axis.set_yticks(range(len(names)), [NAMES[name] for name in names], fontsize=9)
        axis.set_title(EXECUTIONS[execution], fontsize=10)
        axis.set_xlim(right=len(columns) - 0.44)  # room for the outline of the last column
        for edge in range(1, len(study.TRAFFIC)):
            axis.axvline(edge * len(columns) / len(study.TRAFFIC) - 0.5, color=INK, lw=1)
    axes[1].set_xticks(range(len(columns)), [f"{100 * load:g}" for _, load in columns], fontsize=9)
    named = [TRAFFIC_NAMES[traffic] for traffic in study.TRAFFIC]
    middles = (np.arange(len(named)) + 0.5) * len(columns) / len(named) - 0.5
    for middle, name in zip(middles, named, strict=True):
        axes[1].annotate(name, (middle, 0), (0, -20), xycoords=("data", "axes fraction"),
                         textcoords="offset points", ha="center", va="top", fontsize=9)  # fmt: skip
    axes[1].set_xlabel("Load (%)", fontsize=9, labelpad=20)
    figure.legend(*_legend(), loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _blank(axis: Axes, width: int, height: int) -> None:
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(-0.5, height - 0.5)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _tile(axis: Axes, x: int, y: int, row: object, hatch: str = "") -> None:
    """A difference's tile: its colour says the sign, and so does its number; none where it is not established."""
    found = sign(row)
    color = {-1: FEWER, 0: NEITHER, 1: MORE}[found]
    corner = x - 0.47, y - 0.46
    axis.add_patch(Rectangle(corner, 0.94, 0.92, facecolor=color, lw=0))
    if hatch:
        axis.add_patch(Rectangle(corner, 0.94, 0.92, facecolor="none", edgecolor="#BDBDBD", hatch=hatch, lw=0))
    if found:
        axis.text(x, y, points(row.difference), ha="center", va="center", fontsize=9, color=INK)


def _legend() -> tuple[list[Rectangle], list[str]]:
    return [Rectangle((0, 0), 1, 1, facecolor=color) for color in WORDS], list(WORDS.values())
