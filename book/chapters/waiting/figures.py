"""The picture of the subject: what the places of a GPU do in static batches, in bins and on an engine."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from book.chapters.waiting.study import BINS, ENGINE, STATIC
from book.kit.style import INK

WORK, KEPT, LATE = "#1D6FA5", "#F2A93B", "#B3261E"
TITLES = {STATIC: "Static batches", BINS: "Two bins, by length", ENGINE: "Engine, in and out at every step"}


def places(served: pd.DataFrame, deadline_s: float) -> Figure:
    """One case of `study.eight` on one GPU: a panel a system, a row a place."""
    systems = list(served["system"].unique())
    figure, axes = plt.subplots(len(systems), 1, figsize=(7.0, 0.8 + 1.5 * len(systems)), sharex=True, squeeze=False)
    end_s = served["completion_s"].max()
    for axis, system in zip(axes[:, 0], systems, strict=True):
        own = served[served["system"] == system]
        _panel(axis, own, end_s)
        axis.axvline(deadline_s, color=LATE, ls=(0, (4, 3)), lw=1.2)
        late = int(own["late"].sum())
        axis.set_title(
            f"{TITLES[system]}: {own['completion_s'].max():.2f} s, {late or 'none'} late", loc="left", fontsize=12
        )
    style = {"textcoords": "offset points", "color": LATE, "fontsize": 10, "va": "center"}
    axes[-1][0].annotate("deadline", (deadline_s, own["place"].max()), (5, 0), **style)
    axes[-1][0].set_xlabel("Time (s)")
    axes[-1][0].set_xlim(0, 1.06 * end_s)
    parts = ((WORK, "work"), (KEPT, "place kept by a request that is done"))
    handles = [plt.Rectangle((0, 0), 1, 1, color=color, label=label) for color, label in parts]
    handles.append(plt.Line2D([], [], marker="X", ls="", color=LATE, label="late"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=10.5)
    return figure


def _panel(axis: Axes, own: pd.DataFrame, end_s: float) -> None:
    count = own["place"].max()
    for row in own.itertuples():
        worked_s, kept_s = row.worked_until_s - row.start_s, row.completion_s - row.worked_until_s
        axis.barh(row.place, worked_s, 0.8, row.start_s, color=WORK, ec="white", lw=0.8)
        axis.barh(row.place, kept_s, 0.8, row.worked_until_s, color=KEPT, ec="white", lw=0.8)
        wide = worked_s > 0.2 * end_s
        said = f"{row.request}:  {row.output_tokens} tokens" if wide else f"{row.request}"
        middle = {"ha": "center", "va": "center_baseline", "fontsize": 10}
        axis.text(row.start_s + worked_s / 2, row.place, said, color="white", **middle)
        if kept_s > 0.2 * end_s:
            axis.text(row.worked_until_s + kept_s / 2, row.place, f"{row.output_tokens} tokens", color=INK, **middle)
        if row.late:
            axis.plot(row.completion_s + 0.018 * end_s, row.place, "X", color=LATE, ms=7, mew=0)
    axis.set_yticks(range(1, count + 1), [f"place {place}" for place in range(1, count + 1)], fontsize=10)
    axis.set_ylim(count + 0.5, 0.5)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
