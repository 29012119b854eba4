"""Figures of the controller at work: what it aims at, and what a burst does to it."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from book.kit.names import SCHEDULER_NAMES
from book.kit.style import COLORS, FAINT, INK
from simlib.policies.batch_size import BRANCHES


def controller_window(controller: pd.DataFrame, sizes: np.ndarray, deadline_s: float) -> Figure:
    """The SLA controller's window, its target and the sizes taken; below, what it hears, and which branch it takes."""
    figure, (top, low) = plt.subplots(2, 1, sharex=True, figsize=(7.0, 5.2), height_ratios=[3, 2])
    time_s = controller["start_s"]
    top.fill_between(
        time_s,
        controller["b_low"],
        controller["b_high"],
        color=COLORS["dynamic_no_bins"],
        alpha=0.18,
        lw=0,
        step="post",
    )
    top.step(time_s, controller["b_sla"], where="post", color=COLORS["dynamic_no_bins"], lw=2)
    top.plot(time_s, sizes, ".", color=INK, ms=3)
    _label_end(top, time_s, controller["b_sla"], "target", COLORS["dynamic_no_bins"])
    top.set_ylabel("Batch size (requests)")
    top.set_title("Window, target, and sizes taken (dots)")
    low.plot(time_s, controller["service_mean_s"], color=INK, lw=1.2)
    colors = {"no batch yet": FAINT, "too slow": "#D55E00", "fast enough": "#009E73", "within tolerance": "#0072B2"}
    markers = {"no batch yet": "x", "too slow": "^", "fast enough": "v", "within tolerance": "o"}
    for number, branch in enumerate(BRANCHES):
        taken = controller["branch"] == number
        if taken.any():
            low.plot(
                time_s[taken],
                controller["service_mean_s"][taken],
                markers[branch],
                color=colors[branch],
                ms=4,
                label=branch,
            )
    low.axhline(deadline_s, color=INK, lw=1, ls="--")
    low.annotate("deadline", (1, deadline_s), (3, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                 fontsize=10, va="center")  # fmt: skip
    low.set_ylabel("Mean service\ntime (s)")
    low.set_xlabel("Time (s)")
    low.set_ylim(bottom=0, top=max(1.25 * deadline_s, 1.15 * controller["service_mean_s"].max()))
    figure.legend(
        *low.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=10, title="branch taken"
    )
    return figure


def queue_after_burst(waiting: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Requests in the system over time, by scheduler: ``{name: (time_s, number)}``."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for name, (time_s, number) in waiting.items():
        axis.step(time_s, number, where="post", color=COLORS[name], lw=2)
        half = int(np.searchsorted(-number[np.argmax(number) :], -number.max() / 2)) + int(np.argmax(number))
        axis.annotate(
            SCHEDULER_NAMES[name], (time_s[half], number[half]), (6, 2), textcoords="offset points", color=COLORS[name]
        )
    axis.set_xlabel("Time since the burst (s)")
    axis.set_ylabel("Requests in the system")
    axis.set_ylim(bottom=0)
    return figure


def _label_end(axis: Axes, x: pd.Series, y: pd.Series, text: str, color: str) -> None:
    axis.annotate(text, (x.iloc[-1], y.iloc[-1]), (-4, 6), textcoords="offset points", ha="right", color=color)
