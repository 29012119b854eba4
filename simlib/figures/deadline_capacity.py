"""Figure of capacities under a deadline: what bins are worth by number of GPUs, in both execution models."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from simlib.checks import reads_tables
from simlib.figures import FAINT, INK

__all__ = ["bins_by_gpus"]

SHADES = ("#E8935A", "#D55E00", "#7A3600", "#3D1B00")  # of multi-bin's colour, by number of bins


@reads_tables
def bins_by_gpus(ratios: pd.DataFrame) -> Figure:
    """Capacity with bins over capacity without, by number of GPUs; a panel a share of late requests."""
    bins = ratios[ratios["k_bins"] > ratios["over_k_bins"]]
    shares = sorted(bins["late_share"].unique())
    figure, axes = plt.subplots(1, len(shares), figsize=(4.2 * len(shares), 3.8), sharey=True, squeeze=False)
    for axis, share in zip(axes[0], shares, strict=True):
        panel = bins[bins["late_share"] == share]
        for execution, rows in panel.groupby("execution", sort=False):
            for place, (k, own) in enumerate(rows.groupby("k_bins")):
                batches = execution == "run_to_completion"
                color = SHADES[place % len(SHADES)] if batches else FAINT
                bars = [own["ratio"] - own["ci_low"], own["ci_high"] - own["ratio"]]
                style = {
                    "color": color,
                    "capsize": 2,
                    "ls": "-" if batches else "--",
                    "marker": "^" if batches else "o",
                }
                axis.errorbar(own["gpus"], own["ratio"], yerr=bars, ms=5, **style)
                if batches:
                    at = (own["gpus"].iloc[0], own["ratio"].iloc[0])  # where the lines are furthest apart
                    style = {"color": color, "ha": "right", "va": "center"}
                    axis.annotate(f"K = {k}", at, (-6, 0), textcoords="offset points", **style)
        axis.axhline(1, color=INK, lw=1)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        gpus = sorted(panel["gpus"].unique())
        axis.set_xticks(gpus, [f"{count:g}" for count in gpus])
        axis.set_xlim(gpus[0] / 1.7, gpus[-1] * 1.2)
        axis.yaxis.set_minor_locator(NullLocator())
        axis.set_yticks([0.4, 0.6, 0.8, 1.0, 1.3])
        axis.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
        axis.set_title(f"{100 * share:g} % may be late")
        axis.set_xlabel("GPUs")
    axes[0][0].set_ylabel("Capacity with bins over without")
    handles = [
        plt.Line2D([], [], color=SHADES[1], marker="^", label="batches run to completion"),
        plt.Line2D([], [], color=FAINT, marker="o", ls="--", label="continuous batching, any K"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
