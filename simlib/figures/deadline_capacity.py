"""Figure of capacities under a deadline: what bins are worth by number of GPUs, in both execution models."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from simlib.checks import reads_tables
from simlib.figures import FAINT, INK

__all__ = ["bins_by_gpus"]

SHADES = ("#E8935A", "#D55E00", "#7A3600", "#3D1B00")  # of multi-bin's colour, by number of bins


KINDS = {"multi_bin_dynamic": "Equal mass", "joint_optimum": "Joint optimum"}


@reads_tables
def bins_by_gpus(ratios: pd.DataFrame) -> Figure:
    """Capacity with bins over capacity without, by number of GPUs: a column a share of late requests, a row a cut."""
    bins = ratios[ratios["k_bins"] > ratios["over_k_bins"]]
    shares, kinds = sorted(bins["late_share"].unique()), [kind for kind in KINDS if kind in set(bins["scheduler"])]
    size = (4.2 * len(shares), 0.8 + 2.9 * len(kinds))
    figure, axes = plt.subplots(len(kinds), len(shares), figsize=size, sharex=True, sharey=True, squeeze=False)
    gpus = sorted(bins["gpus"].unique())
    for row, kind in zip(axes, kinds, strict=True):
        for axis, share in zip(row, shares, strict=True):
            _panel(axis, bins[(bins["late_share"] == share) & (bins["scheduler"] == kind)])
            axis.axhline(1, color=INK, lw=1)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log")
            axis.set_xticks(gpus, [f"{count:g}" for count in gpus])
            axis.set_xlim(gpus[0] / 1.7, gpus[-1] * 1.2)
            axis.yaxis.set_minor_locator(NullLocator())
            axis.set_yticks([0.4, 0.6, 1.0, 1.5, 2.0])
            axis.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
            axis.set_title(f"{KINDS[kind]}, {100 * share:g} % late")
        row[0].set_ylabel("Capacity over that of no bins")
    for axis in axes[-1]:
        axis.set_xlabel("GPUs")
    handles = [
        plt.Line2D([], [], color=SHADES[1], marker="^", label="batches run to completion"),
        plt.Line2D([], [], color=FAINT, marker="o", ls="--", label="continuous batching, any K"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _panel(axis: Axes, bins: pd.DataFrame) -> None:
    for execution, rows in bins.groupby("execution", sort=False):
        batches = execution == "run_to_completion"
        for place, (k, own) in enumerate(rows.groupby("k_bins")):
            color = SHADES[place % len(SHADES)] if batches else FAINT
            bars = [own["ratio"] - own["ci_low"], own["ci_high"] - own["ratio"]]
            style = {"color": color, "ls": "-" if batches else "--", "marker": "^" if batches else "o"}
            axis.errorbar(own["gpus"], own["ratio"], yerr=bars, ms=5, capsize=2, **style)
            if batches:
                at = (own["gpus"].iloc[0], own["ratio"].iloc[0])  # where the lines are furthest apart
                style = {"color": color, "ha": "right", "va": "center"}
                axis.annotate(f"K = {k}", at, (-6, 0), textcoords="offset points", **style)
