"""Figure of speed: time against the number of requests."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from simlib.checks import reads_tables

__all__ = ["growth"]


@reads_tables
def growth(table: pd.DataFrame) -> Figure:
    """CPU time against the number of requests, both logarithmic, one line a way (rows of `benchmarks`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.6))
    styles = zip(sns.color_palette("colorblind"), "osD^v<>P", strict=False)
    for (name, rows), (color, marker) in zip(table.groupby("engine", sort=False), styles, strict=False):
        seconds = rows["requests"] * rows["ns_per_request"] / 1e9
        axis.plot(rows["requests"], seconds, color=color, marker=marker, ms=6, lw=1.5, label=name)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("Requests")
    axis.set_ylabel("CPU time (s)")
    axis.legend(fontsize=9, loc="upper left")
    return figure
