"""Figures of a plan: how near each objective is to its limit, against the load; and by how batches are formed."""

from __future__ import annotations

import io
from collections.abc import Mapping

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from simlib.planning.plan import Configuration, Plan
from simlib.planning.whatif.frontier import of_way, told

INK, FAINT = "#222222", "#B8B8B8"
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
MOST = 2.0  # of its limit: beyond, a curve has left the picture
BAND = 0.025, 0.975  # of the windows, or draws
HOLDS = LinearSegmentedColormap.from_list("holds", ["#D6E9F8", "#6FB1E0"])  # from a load of 1 to the most
SHORT = {"ttft": "wait", "tpot": "pace", "latency": "whole"}  # what gives way, in a cell
MEANT = {"ttft": "the wait for the first token", "tpot": "the time between tokens", "latency": "the whole latency"}


def by_load(curve: pd.DataFrame) -> Figure:
    """Median of each objective's value over its limit, with the band of 95 % of windows, or draws (`Plan.curve`)."""
    figure, axis = plt.subplots(figsize=(7, 3.4), layout="constrained")
    for place, (name, rows) in enumerate(curve.groupby("objective", sort=False)):
        color = COLORS[place % len(COLORS)]
        at = rows.groupby("load")["share_of_limit"]
        middle = at.median()
        axis.plot(middle.index, middle, color=color, marker="o", markersize=4)
        axis.fill_between(middle.index, *(at.quantile(share) for share in BAND), color=color, alpha=0.2, linewidth=0)
        inside = middle[middle <= MOST]
        end = inside.index[-1] if len(inside) else middle.index[0]
        axis.annotate(name, (end, min(middle[end], MOST)), (-4, 5), textcoords="offset points", color=color, ha="right")
    axis.axhline(1, color=INK, linewidth=1)
    axis.axvline(1, color=FAINT, linewidth=1, linestyle="--")
    axis.annotate("limit", (curve["load"].min(), 1), (2, 3), textcoords="offset points", color=INK)
    axis.set(ylim=(0, MOST + 0.1), xlabel="Load, as a multiple of the demand", ylabel="Value, as a share of its limit")
    return figure


def by_batches(frontier: pd.DataFrame, chosen: Configuration | None = None) -> Figure:
    """Where the limits hold, by token budget and sequences (`planning.whatif.frontier.frontier`).

    In each cell stand the load that it may be given and, in a word, what gives way first; cells in which the limits
    hold are coloured, in bold and within a line.

    Parameters
    ----------
    frontier : pandas.DataFrame
        Of several ways, the chosen one's is drawn, or the first.
    chosen : Configuration, optional
        What is deployed: its cell has a frame.
    """
    rows = of_way(frontier, chosen)
    columns, lines = (sorted(rows[name].unique()) for name in ("max_seqs", "token_budget"))
    figure, axis = plt.subplots(figsize=(4.6, 0.42 * len(lines) + 2.2), layout="constrained")
    held = {(line, column): False for line in range(-1, len(lines) + 1) for column in range(-1, len(columns) + 1)}
    for row in rows.itertuples():
        place = lines.index(row.token_budget), columns.index(row.max_seqs)
        held[place] = row.holds
        _cell(axis, place, row, rows["load"].max())
    _around(axis, held)
    if chosen is not None:
        at = columns.index(chosen.max_seqs) - 0.42, lines.index(chosen.token_budget) - 0.4
        axis.add_patch(Rectangle(at, 0.84, 0.8, fill=False, edgecolor=COLORS[1], linewidth=2.2))
    axis.set_xticks(range(len(columns)), [f"{each:,}" for each in columns])
    axis.set_yticks(range(len(lines)), [f"{each:,}" for each in lines])
    axis.set(xlim=(-0.5, len(columns) - 0.5), ylim=(-0.5, len(lines) - 0.5))
    axis.set(xlabel="Sequences at once, at most (a replica)", ylabel="Token budget (tokens a step)")
    for one in (axis.xaxis, axis.yaxis):
        one.label.set_fontsize(10)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.spines[:].set_visible(False)
    figure.suptitle(told(rows), fontsize=10, x=0.02, ha="left", fontweight="bold", color=INK)
    if (beyond := rows.loc[~rows["measured"], "max_seqs"]).size:
        ends, top = (columns.index(beyond.min()) - 0.42, len(columns) - 0.58), len(lines) - 0.4
        axis.plot(ends, [top, top], color=INK, linewidth=1.2, clip_on=False)
        axis.text(ends[1], top + 0.08, "more than was measured", fontsize=8.5, color=INK, ha="right")
    figure.supxlabel(_legend(rows, chosen), fontsize=8.5, x=0.02, ha="left", color=INK)
    return figure


def _legend(rows: pd.DataFrame, chosen: Configuration | None) -> str:
    """What numbers, words and the frame mean."""
    words = dict(map(_meant, rows["limit"].dropna()))
    told = ["Bold, in the line: limits hold. Number: load it may be given (demand: 1)."]
    told += [f"{word}: {meant} gives way first." for word, meant in words.items()]
    return "\n".join([*told, *(["Orange frame: the plan."] if chosen else [])])


def _meant(name: str) -> tuple[str, str]:
    """The word for an objective that gives way, and what it means; of a class with its value, as in ``wait 0``."""
    group, _, plain = name.rpartition(": ")
    metric, value = plain.partition("_")[0], group.rpartition("=")[2]
    return f"{SHORT[metric]} {value}".rstrip(), f"{MEANT[metric]} of {group}" if group else MEANT[metric]


def _cell(axis: Axes, place: tuple[int, int], row: object, most: float) -> None:
    """One pair: its load, and what gives way first."""
    line, column = place
    color = HOLDS((row.load - 1) / max(most - 1, 1e-9)) if row.holds else "#F4F4F4"
    axis.add_patch(Rectangle((column - 0.5, line - 0.5), 1, 1, facecolor=color, edgecolor="white", linewidth=1.5))
    sign = "" if row.sought else "≥" if row.holds else "≤"
    weight = "bold" if row.holds else "normal"
    load = f"{sign}{row.load:.2f}"
    axis.text(column, line + 0.02, load, ha="center", va="bottom", fontsize=10, weight=weight, color=INK)
    if isinstance(row.limit, str):
        axis.text(column, line - 0.06, _meant(row.limit)[0], ha="center", va="top", fontsize=8.5, color="#444444")


def _around(axis: Axes, held: Mapping[tuple[int, int], bool]) -> None:
    """A line between cells in which the limits hold and those in which they do not."""
    for (line, column), holds in held.items():
        right, above = held.get((line, column + 1), holds), held.get((line + 1, column), holds)
        if right != holds:
            axis.plot([column + 0.5] * 2, [line - 0.5, line + 0.5], color=INK, linewidth=2, clip_on=False)
        if above != holds:
            axis.plot([column - 0.5, column + 0.5], [line + 0.5] * 2, color=INK, linewidth=2, clip_on=False)


def svg(plan: Plan) -> str:
    """`by_load` of a plan as an ``<svg>`` element, for `report.page`."""
    return as_svg(by_load(plan.curve()))


def as_svg(figure: Figure) -> str:
    """A figure as an ``<svg>`` element; it is closed."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return out.getvalue()[out.getvalue().index("<svg") :]
