"""The plots of GPUs of one's own: GPUs by how memory is given out, what pools save, and who is late."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from book.chapters.specialised.study import AZURE, FIRST, LINE, LINES, MAIN_LOAD, PAGED, PLACES, POOLS, POOLS_LINES
from book.kit.style import CYCLE, INK, PERCENT, name_lines, root_axis

BLUE, ORANGE, GREEN, GREY = CYCLE[0], CYCLE[1], CYCLE[2], CYCLE[6]
FLEETS = {
    (PLACES, "shared"): ("one fleet,\nplaces", ORANGE, "s"),
    (PLACES, "pools"): ("two pools,\nplaces", BLUE, "o"),
    (PAGED, "pools"): ("two pools,\npaged", GREEN, "^"),
}
ARMS = {
    LINES: ("one fleet, a line a GPU", ORANGE, "s"),
    LINE: ("one fleet, one line", GREY, "D"),
    FIRST: ("one fleet, shortest prompt first", GREEN, "^"),
    POOLS_LINES: ("two pools, a line a GPU", BLUE, "s"),
    POOLS: ("two pools, a line each", BLUE, "D"),
}


def fleets(needs: pd.DataFrame) -> Figure:
    """GPUs over those of one fleet with paged memory, by the spread of prompts (`study.needs`, measured steps)."""
    own = needs[(needs["engine"] == "measured") & (needs["lengths"] != AZURE)]
    figure, axis = plt.subplots(figsize=(7.0, 3.9))
    for (memory, fleet), (label, color, marker) in FLEETS.items():
        line = own[own["memory"] == memory]
        axis.plot(line["lengths"].astype(float), line[fleet], color=color, marker=marker, ms=6, lw=2, label=label)
    axis.hlines(1.0, 0.2, 2.05, color=INK, lw=1.0)
    axis.annotate("one fleet, paged", (0.22, 1.0), (0, -13), textcoords="offset points", fontsize=10, color=INK)
    axis.set_xlim(0.2, 2.55)
    axis.set_xticks(sorted(own["lengths"].astype(float).unique()))
    axis.set_ylim(0.7, 3.2)
    axis.set_xlabel("Spread of prompts (log-sd)")
    axis.set_ylabel("GPUs (times one paged fleet's)")
    name_lines(axis, apart=2.4)
    return figure


def slowed(table: pd.DataFrame) -> Figure:
    """What pools save by what a token costs by which a context is short of the longest (`study.slowed`)."""
    figure, axis = plt.subplots(figsize=(7.0, 3.9))
    looks = zip(table.groupby("lengths"), (GREY, GREEN, BLUE, ORANGE), "Ds^o", strict=False)
    for (lengths, own), color, marker in looks:
        axis.fill_between(own["mixed"], own["ci_low"], own["ci_high"], color=color, alpha=0.15, lw=0)
        axis.plot(own["mixed"], own["saved"], color=color, marker=marker, ms=5, label=f"spread {lengths:g}")
    axis.hlines(0.0, 0.0, 1.02, color=INK, lw=1.0)
    root_axis(axis, "x", 1.0)
    axis.set_xlim(0.0, 1.45)
    axis.set_ylim(-0.05, 0.72)
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Cost of a token short of the step's longest context (% of a token read)")
    axis.set_ylabel("GPUs that two pools save")
    name_lines(axis)
    return figure


def late(table: pd.DataFrame) -> Figure:
    """Late requests of every arm at the main load, with intervals: a panel a kind of traffic (`study.against`)."""
    rows = table[(table["load"] == MAIN_LOAD) & (table["base"] == LINE)]
    cells = list(rows.groupby("mixed", sort=False))
    figure, axes = plt.subplots(1, len(cells), figsize=(7.4, 3.4), sharey=True, squeeze=False)
    for axis, (mixed, own) in zip(axes[0], cells, strict=True):
        for place, (arm, (_, color, marker)) in enumerate(ARMS.items()):
            row = own[own["arm"] == arm].iloc[0]
            bars = [[row["late"] - max(row["ci_low"], 0.0)], [row["ci_high"] - row["late"]]]
            axis.errorbar(row["late"], -place, xerr=bars, color=color, marker=marker, ms=6, capsize=3)
        axis.set_title("Unequal contexts\ncost nothing" if mixed == 0 else f"A token short\ncosts {100 * mixed:.0f} %")
        root_axis(axis, "x", 0.5)
        axis.set_xlim(-0.0005, 0.75)
        axis.set_xticks([0.0, 0.05, 0.25, 0.5], ["0 %", "5 %", "25 %", "50 %"])
        axis.grid(axis="y", visible=False)
    axes[0][0].set_yticks([-place for place in range(len(ARMS))], [label for label, _, _ in ARMS.values()])
    figure.supxlabel("Late requests", fontsize=11)
    return figure
