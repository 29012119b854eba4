"""Figure of capacities: shares of late requests against the rate, and the largest rate that each policy bears."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from simlib.checks import reads_tables
from simlib.figures import COLORS, INK, MARKERS, root_axis
from simlib.schedulers import short_name

__all__ = ["capacities"]


@reads_tables
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
