"""The picture of the ledger: how far off the simulated engine is, and a straight line, by what is foretold."""

from __future__ import annotations

from typing import NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from book.chapters.engines import rows
from book.kit.style import CYCLE, FAINT, INK


class Line(NamedTuple):
    """A line of the picture: which rows of the summary, and what they are called."""

    said: str
    kind: str
    metric: str
    statistic: str = "mean"
    circumstance: str = "all"


LINES = (  # what fails first
    Line("First token, closed loop", rows.CLOSED, "ttft"),
    Line("Longest gaps, full engine", rows.FULL, "itl", "p99"),
    Line("Between tokens, other lengths", rows.LENGTHS, "tpot"),
    Line("Between tokens, mixture", rows.CLOSED, "tpot", circumstance=rows.MIXTURE),
    Line("Between tokens, dense", rows.CLOSED, "tpot", circumstance=rows.DENSE),
    Line("Median gap, full engine", rows.FULL, "itl", "p50"),
    Line("Throughput, full engine", rows.FULL, "throughput"),
    Line("First token, overload", rows.LOG, "ttft"),
    Line("Between tokens, overload", rows.LOG, "tpot"),
    Line("End to end, overload", rows.LOG, "e2e"),
    *(
        Line(f"{said}, {where}", kind, metric, circumstance=rows.DENSE)
        for where, kind in (("clock here", rows.CLOCK), ("processor here", rows.CPU), ("given", rows.GIVEN))
        for said, metric in (("First token", "ttft"), ("Between tokens", "tpot"), ("End to end", "e2e"))
    ),
)
OURS, NULL = CYCLE[0], CYCLE[1]


def errors(summary: pd.DataFrame) -> Figure:
    """The median absolute error of each line that the summary has, simulated and straight, and what is between."""
    own = summary[~summary["blind"].astype(bool)].set_index(["kind", "metric", "statistic", "circumstance"])
    lines = [line for line in LINES if tuple(line[1:]) in own.index]
    figure, axis = plt.subplots(figsize=(5.0, 1.2 + 0.3 * len(lines)))
    for place, line in enumerate(lines):
        found = own.loc[tuple(line[1:])]
        ends = found["error_percent"], found["null_percent"]
        axis.hlines(place, *sorted(ends), color=OURS if ends[0] < ends[1] else NULL, lw=2.5, alpha=0.45)
        axis.plot(ends[1], place, "s", color=NULL, mfc="white", ms=7, mew=1.6)
        axis.plot(ends[0], place, "o", color=OURS, ms=7)
    axis.set_xscale("log")
    axis.set_xlim(0.09, 120)
    axis.set_xticks([0.1, 0.3, 1, 3, 10, 30, 100])
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.minorticks_off()
    axis.axvline(10, color=FAINT, lw=1, zorder=0)
    axis.set_yticks(range(len(lines)), [line.said for line in lines], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlabel("Error (%), median over series", color=INK)
    first = own.loc[tuple(lines[0][1:])]
    for value, said, side, color in (
        (first["error_percent"], "simulated", "center", OURS),
        (first["null_percent"], "straight line, or queue", "right", NULL),
    ):
        axis.annotate(said, (value, 0), (0, 9), textcoords="offset points", ha=side, color=color, fontsize=9)
    return figure
