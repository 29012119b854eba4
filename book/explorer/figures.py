"""The explorer's views for print: a picture of one position, and a cut through the grid.

The browser draws its own, from the same numbers; these are for pages without scripts, for paper and for the README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from book.explorer.views import OCTAVE
from book.kit.names import SCHEDULER_NAMES
from book.kit.style import COLORS, INK, MARKERS, PERCENT, SHARE_TICKS
from simlib import levels

if TYPE_CHECKING:
    import pandas as pd


def views(view: dict[str, Any]) -> Figure:
    """Latency distributions with the deadline, and late requests by deadline: of an `explorer.views.view` and its rest.

    Parameters
    ----------
    view : dict
        With ``curve``, as `explorer.views.following` gives it.
    """
    runs, d_sla = view["runs"], view["d_sla"]
    figure = plt.figure(figsize=(9.0, 3.8))
    grid = figure.add_gridspec(len(runs), 2, width_ratios=[5, 4])
    most = max(run["counts"].max() / run["counts"].sum() for run in runs)
    low = d_sla * 2 ** (min(-6, *(run["first"] for run in runs)) / OCTAVE)
    high = d_sla * 2 ** (max(6, *(run["first"] + len(run["counts"]) for run in runs)) / OCTAVE)
    for place, run in enumerate(runs):
        axis, color = figure.add_subplot(grid[place, 0]), COLORS[run["scheduler"]]
        edges = d_sla * 2.0 ** ((run["first"] + np.arange(len(run["counts"]) + 1)) / OCTAVE)
        late = edges[:-1] >= d_sla * (1 - 1e-9)
        share = run["counts"] / run["counts"].sum()
        for which, alpha in ((late, 1.0), (~late, 0.4)):
            axis.bar(edges[:-1][which], share[which], np.diff(edges)[which], align="edge", color=color, alpha=alpha)
        axis.axvline(d_sla, color=INK, lw=1.2, ls="--")
        label = f"{run['name']}: {100 * run['summary']['sla_violation_share']:.2f} % late"
        axis.text(0.01, 0.95, label, transform=axis.transAxes, va="top", color=color, fontweight="bold")
        axis.set(xscale="log", xlim=(low, high), ylim=(0, 1.25 * most), yticks=[])
        axis.spines["left"].set_visible(False)
        if place < len(runs) - 1:
            axis.set_xticklabels([])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("E2E latency (s); full colour: late")
    axis = figure.add_subplot(grid[:, 1])
    for line in view["curve"]:
        _line(axis, line["scheduler"], line["x"], line["share"], line["low"], line["high"])
    axis.axvline(d_sla, color=INK, lw=1.2, ls="--")
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _shares(axis)
    axis.set(xlabel="Deadline D_SLA (s)", ylabel="Late requests (√ scale)")
    return figure


def bins(grid: pd.DataFrame, level: int, gpus: int, load: float) -> Figure:
    """Late requests by number of bins, a panel a deadline, of one level, number of GPUs and load of the grid."""
    rows = grid[(grid["level"] == level) & (grid["gpus"] == gpus) & (grid["load"] == load)]
    deadlines = sorted(rows["d_sla"].unique())
    figure, axes = plt.subplots(1, len(deadlines), sharey=True, figsize=(9.0, 3.2), squeeze=False)
    for axis, d_sla in zip(axes[0], deadlines, strict=True):
        panel = rows[rows["d_sla"] == d_sla]
        multi = panel[panel["k_bins"].notna()].sort_values("k_bins")
        k_bins = multi["k_bins"].astype(float).to_numpy()
        for scheduler in ("static_fifo", "dynamic_no_bins"):
            flat = panel[panel["scheduler"] == scheduler].iloc[[0] * len(k_bins)]
            _line(axis, scheduler, k_bins, flat["violation_share"], flat["ci_low"], flat["ci_high"], marked=False)
        _line(axis, "multi_bin_dynamic", k_bins, multi["violation_share"], multi["ci_low"], multi["ci_high"])
        axis.set_xscale("log", base=2)
        axis.set_xticks(k_bins[::2], [f"{k:g}" for k in k_bins[::2]])
        axis.set_title(f"{d_sla:g} s", fontsize=11)
        _shares(axis)
    axes[0][len(deadlines) // 2].set_xlabel("Bins K")
    axes[0][0].set_ylabel("Late requests (√ scale)")
    styles = {name: {"color": COLORS[name], "ls": _dash(name)} for name in levels.SCHEDULERS}
    handles = [plt.Line2D([], [], label=SCHEDULER_NAMES[name], lw=2, **style) for name, style in styles.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, fontsize=10, title="one panel a deadline D_SLA")
    return figure


def _dash(scheduler: str) -> str:
    return {"static_fifo": ":", "dynamic_no_bins": "--"}.get(scheduler, "-")


def _line(axis: Any, scheduler: str, x: Any, share: Any, low: Any, high: Any, marked: bool = True) -> None:
    x, share, low, high = (np.array(values, dtype=float) for values in (x, share, low, high))
    color, marker = COLORS[scheduler], MARKERS[scheduler] if marked else ""
    rare = (share == 0) | (share == 1)  # there the bound comes from the number of replications alone: a bar, no band
    axis.fill_between(x, np.where(rare, np.nan, low), high, color=color, alpha=0.2, lw=0)
    axis.vlines(x[rare], low[rare], high[rare], color=color, alpha=0.5, lw=1)
    axis.plot(x, share, color=color, marker=marker, ms=4, lw=1.8, ls=_dash(scheduler), label=SCHEDULER_NAMES[scheduler])


def _shares(axis: Any) -> None:
    root = (lambda share: np.sign(share) * np.sqrt(np.abs(share)), lambda value: np.sign(value) * np.square(value))
    axis.set_yscale("function", functions=root)
    axis.set_yticks(SHARE_TICKS)
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_ylim(-0.0003, 1.03)
