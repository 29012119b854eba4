"""Figures of traffic: when requests arrive, how long they are, and how like the real ones a model's are."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from book.chapters.workloads.tables import figure_name
from book.kit.style import FAINT, INK, PERCENT


def hours(table: pd.DataFrame) -> Figure:
    """Requests by hour (`traffic.arrivals_by_hour`) against the range of a Poisson stream of the same mean rate."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    axis.fill_between(
        np.append(table["hour"], table["hour"].iloc[-1] + 1),
        np.append(table["poisson_low"], table["poisson_low"].iloc[-1]),
        np.append(table["poisson_high"], table["poisson_high"].iloc[-1]),
        step="post",
        color=FAINT,
        alpha=0.5,
        lw=0,
    )
    axis.bar(table["hour"] + 0.5, table["requests"], width=0.8, color="#0072B2")
    axis.annotate("Poisson, 95 % range", (table["hour"].iloc[0] + 0.1, table["poisson_high"].iloc[0]), (0, 4),
                  textcoords="offset points", color="#555555")  # fmt: skip
    axis.set_xlabel("Hour of day 1 of the trace (local time)")
    axis.set_ylabel("Requests in that hour")
    axis.set_xticks(range(table["hour"].iloc[0], table["hour"].iloc[-1] + 2))
    axis.grid(axis="x", visible=False)
    return figure


def burstiness(table: pd.DataFrame) -> Figure:
    """Dispersion index by window (`traffic.burstiness`): the trace against Poisson's range."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    axis.fill_between(table["window_s"], table["poisson_low"], table["poisson_high"], color=FAINT, alpha=0.5, lw=0)
    axis.plot(table["window_s"], table["dispersion_index"], marker="o", color="#0072B2", lw=2)
    last = table.iloc[-1]
    axis.annotate("BurstGPT sample", (last["window_s"], last["dispersion_index"]), (-6, 8),
                  textcoords="offset points", ha="right", color="#0072B2")  # fmt: skip
    axis.annotate("Poisson, 95 % range", (last["window_s"], 1.0), (-6, -16), textcoords="offset points", ha="right",
                  color="#555555")  # fmt: skip
    axis.axhline(1.0, color=INK, lw=1)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xticks(table["window_s"], [f"{w:g}" for w in table["window_s"]])
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_xlabel("Window (s)")
    axis.set_ylabel("Variance / mean of arrivals")
    return figure


def likeness(table: pd.DataFrame) -> Figure:
    """Where each real figure lies in the range of the draws, that range being one for all (`likeness.compared`)."""
    rows = table.reset_index(drop=True)
    figure, axis = plt.subplots(figsize=(7.0, 1.1 + 0.16 * len(rows)))
    width = (rows["high"] - rows["low"]).to_numpy()
    place = ((rows["real"] - rows["low"]) / width).clip(-0.75, 1.75)  # farther off is as bad
    height = len(rows) - 1 - np.arange(len(rows))
    axis.axvspan(0.0, 1.0, color="#E6E6E6", lw=0)
    axis.scatter((rows["mean"] - rows["low"]) / width, height, marker="|", color=INK, s=45, label="mean of the draws")
    for fits, color, marker, label in ((True, "#0072B2", "o", "real, fits"), (False, "#D55E00", "X", "does not fit")):
        chosen = rows["fits"] == fits
        axis.scatter(place[chosen], height[chosen], color=color, marker=marker, s=36, label=label, zorder=3)
    names = [figure_name(row).removesuffix(", tokens") for row in rows.itertuples()]
    axis.set_yticks(height, names, fontsize=9)
    axis.set_xticks([0.0, 1.0], ["2.5 %", "97.5 %"])
    axis.set_xlim(-0.85, 1.85)
    axis.set_xlabel("Place in the distribution of the draws")
    axis.grid(visible=False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=10)
    return figure


def tails(samples: Mapping[str, np.ndarray], quantity: str, colors: Mapping[str, str]) -> Figure:
    """Share of requests longer than a length, by workload, both axes logarithmic."""
    figure, axis = plt.subplots(figsize=(7.0, 3.4))
    for place, (name, values) in enumerate(samples.items()):
        ordered = np.sort(values[values > 0])
        share = 1.0 - np.arange(len(ordered)) / len(ordered)
        axis.step(ordered, share, where="post", color=colors[name], lw=2)
        low = int(0.97 * len(ordered))
        side, shift = ("left", 8) if place == 0 else ("right", -8)  # the first to the right of its curve
        label = {"textcoords": "offset points", "ha": side, "va": "center", "color": colors[name]}
        axis.annotate(name, (ordered[low], share[low]), (shift, 0), **label)
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel(f"{quantity} (tokens)")
    axis.set_ylabel("Requests that long or longer")
    return figure
