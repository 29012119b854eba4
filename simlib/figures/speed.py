"""Figure of speed: time against the number of requests."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from simlib.checks import reads_tables
from simlib.figures import COLORS, CYCLE, name_lines

__all__ = ["growth"]

DASHES = ("-", "--", ":", "-.")


@reads_tables
def growth(table: pd.DataFrame) -> Figure:
    """CPU time against the number of requests, both logarithmic, one line a way (rows of `benchmarks`).

    A way whose name begins with a policy's has the policy's colour; ways of one colour differ in dash and marker.
    """
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    used: list[str] = []
    for (name, rows), free, marker in zip(table.groupby("engine", sort=False), CYCLE, "osD^v<>P", strict=False):
        seconds = rows["requests"] * rows["ns_per_request"] / 1e9
        color = COLORS.get(name.partition(",")[0], free)
        style = {"color": color, "marker": marker, "ls": DASHES[used.count(color) % len(DASHES)]}
        axis.plot(rows["requests"], seconds, ms=6, lw=1.5, label=name, **style)
        used.append(color)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("Requests")
    axis.set_ylabel("CPU time (s)")
    name_lines(axis)
    return figure
