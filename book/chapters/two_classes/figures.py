"""The plots of two classes: who gains and pays, which step suits whom, and what shared engines carry."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from book.chapters.two_classes.engines import OWN_ENGINES, SHARED, SHARED_FIRST, TRAFFIC
from book.chapters.two_classes.study import EARLIEST, FIRST, FIRST_REFUSES, MAIN_LOAD, PRIORITY, REFUSES, UNTOLD
from book.kit.style import CYCLE, FAINT, INK, PERCENT, name_lines

BLUE, ORANGE, GREEN, GREY = CYCLE[0], CYCLE[1], CYCLE[2], CYCLE[6]
SHOWN = {  # its name, colour, marker, and where the name stands, by setting and order
    ("own", FIRST): ("first come", GREY, "s", (10, 6)),
    ("own", FIRST_REFUSES): ("first come,\nlate refused", GREY, "s", (-68, 10)),
    ("own", EARLIEST): ("earliest deadline", CYCLE[4], "v", (10, 6)),
    ("own", PRIORITY): ("interactive first", BLUE, "o", (-40, -18)),
    ("own", UNTOLD): ("interactive first, late\nrefused, lengths not told", GREEN, "^", (-62, -32)),
    ("own", REFUSES): ("interactive first,\nlate refused", GREEN, "^", (-44, -32)),
    ("default", PRIORITY): ("interactive first,\nusual step", BLUE, "o", (-60, 14)),
    ("default", REFUSES): ("interactive first,\nlate refused, usual step", GREEN, "^", (-60, 12)),
}
WAYS = {
    SHARED: ("shared, interactive first", BLUE, "o"),
    SHARED_FIRST: ("shared, first come", GREY, "s"),
    OWN_ENGINES: ("one for each class", ORANGE, "^"),
}
TITLES = {"both": "Both classes", "interactive": "Interactive alone", "batch": "Batch alone"}


def who_pays(table: pd.DataFrame, jobs_beside: float) -> Figure:
    """Interactive requests in time against batch jobs in time, an order a point (`study.summary` of orders).

    `jobs_beside` is the bound on batch jobs beside all interactive requests.
    """
    figure, axis = plt.subplots(figsize=(7.2, 4.8))
    rows = table[table["load"] == MAIN_LOAD].set_index(["setting", "order", "metric"])
    for (setting, order), (name, color, marker, place) in SHOWN.items():
        x, y = (rows.loc[(setting, order, metric)] for metric in ("batch", "interactive"))
        bars = {"xerr": [[x["share"] - x["ci_low"]], [x["ci_high"] - x["share"]]],
                "yerr": [[y["share"] - y["ci_low"]], [y["ci_high"] - y["share"]]]}  # fmt: skip
        face = color if setting == "own" else "white"
        axis.errorbar(x["share"], y["share"], **bars, color=color, marker=marker, ms=8, mfc=face, mew=1.6, lw=1)
        axis.annotate(name, (x["share"], y["share"]), place, textcoords="offset points", fontsize=9.5, color=color)
    axis.plot([jobs_beside] * 2, [0.93, 1.03], color=INK, lw=1.5)
    axis.annotate("no order\nserves\nmore jobs", (jobs_beside, 0.93), (-4, -4), textcoords="offset points",
                  fontsize=9.5, color=INK, va="top", ha="center")  # fmt: skip
    axis.set_xlim(0, 1.06)
    axis.set_ylim(-0.04, 1.06)
    for own in (axis.xaxis, axis.yaxis):
        own.set_major_formatter(PERCENT)
    axis.set_xlabel("Batch jobs in time")
    axis.set_ylabel("Interactive requests in time")
    return figure


def steps(frontier: pd.DataFrame) -> Figure:
    """Who is in time by places and tokens of a step, a panel a traffic, the best framed (`engines.frontier`)."""
    figure, axes = plt.subplots(1, 3, figsize=(7.6, 3.3), sharey=True)
    shades = LinearSegmentedColormap.from_list("shades", ["#eff1f3", BLUE])
    for axis, name in zip(axes, TRAFFIC, strict=True):
        own = frontier[frontier["traffic"] == name]
        wide = own.pivot_table(index="places", columns="budget_tokens", values="share")
        axis.imshow(wide, cmap=shades, vmin=0, vmax=1, aspect="auto", origin="lower")
        for row, column in np.ndindex(wide.shape):
            share = wide.iloc[row, column]
            axis.text(column, row, f"{100 * share:.0f} %", ha="center", va="center", fontsize=9,
                      color="white" if share > 0.6 else INK)  # fmt: skip
        row, column = np.unravel_index(np.argmax(wide.to_numpy()), wide.shape)
        axis.add_patch(Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec=ORANGE, lw=2.5))
        axis.set_xticks(range(len(wide.columns)), wide.columns, fontsize=10)
        axis.set_yticks(range(len(wide)), wide.index)
        axis.set_title(TITLES[name])
        axis.grid(visible=False)
    axes[0].set_ylabel("Places (sequences)")
    axes[1].set_xlabel("Step (tokens)")
    return figure


def carried(table: pd.DataFrame) -> Figure:
    """What two engines carry by the share of interactive requests, shared or one for each (`study.summary`)."""
    figure, axis = plt.subplots(figsize=(7.2, 3.6))
    for way, (name, color, marker) in WAYS.items():
        own = table[table["way"] == way].sort_values("mix")
        axis.fill_between(own["mix"], own["ci_low"], own["ci_high"], color=color, alpha=0.15, lw=0)
        axis.plot(own["mix"], own["carried_rps"], color=color, marker=marker, ms=6, label=name)
    axis.set_ylim(0, None)
    axis.set_xlim(0.25, 0.9)
    axis.axhline(0, color=FAINT, lw=0.8)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Interactive requests among all")
    axis.set_ylabel("Carried (requests/s)")
    name_lines(axis, apart=1.4)
    return figure
