"""Figures of bins that are cut anew: late requests by load, who pays, and how many fixed bins a waiting queue wants."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from book.chapters.policies.study import MAIN
from book.chapters.recut import rules, study
from book.kit.style import CYCLE, INK, PERCENT, name_lines

COLORS = {study.RIVAL: INK, rules.OLDEST: CYCLE[6], rules.WORK: CYCLE[0], rules.IN_TIME: CYCLE[1]}
MARKERS = {study.RIVAL: "s", rules.OLDEST: "D", rules.WORK: "o", rules.IN_TIME: "^"}
NAMES = {study.RIVAL: "best without"}
QUEUE_COLORS = (CYCLE[2], CYCLE[3])


def by_load(table: pd.DataFrame) -> Figure:
    """Late shares by load, a panel a number of GPUs (`study.table_of`)."""
    rows = table[(table["metric"] == "late") & (table["traffic"] == "poisson") & (table["predictor"] == MAIN)]
    rows = rows[rows["batches"] == study.BATCHES]
    figure, axes = plt.subplots(2, 2, figsize=(7.0, 6.0), sharex=True, sharey=True)
    for axis, (gpus, own) in zip(axes.flat, rows.groupby("gpus"), strict=False):
        for name, color in COLORS.items():
            arm = own[own["arm"] == (own[study.RIVAL] if name == study.RIVAL else name)].sort_values("load")
            axis.fill_between(arm["load"], arm["ci_low"], arm["ci_high"], color=color, alpha=0.15, lw=0)
            axis.plot(arm["load"], arm["value"], color=color, marker=MARKERS[name], ms=5, label=NAMES.get(name, name))
        axis.set_title(f"{gpus} GPU{'s' * (gpus > 1)}")
        axis.set_xlim(0.4, 2.45)
        axis.set_xticks([0.5, 0.8, 1.1, 1.5])
        axis.tick_params(axis="x", labelsize=9)
        axis.set_ylim(0, 0.85)
        axis.xaxis.set_major_formatter(PERCENT)
        axis.yaxis.set_major_formatter(PERCENT)
    figure.supxlabel("Load (% of what dynamic batches carry when all wait)", fontsize=11)
    figure.supylabel("Late requests (%)", fontsize=11)
    for axis in axes.flat:
        if axis.lines:
            name_lines(axis)
    return figure


def who_pays(table: pd.DataFrame) -> Figure:
    """Each setting by its late requests and its P99, less those of the best without (`study.table_of`)."""
    wide = table[table["arm"].isin(study.CUTS)].set_index([*study.CELL, "arm", "metric"])
    late, p99 = (wide.xs(metric, level="metric") for metric in ("late", "p99_s"))
    figure, axis = plt.subplots(figsize=(7.0, 4.2))
    for arm in study.CUTS:
        x = late.xs(arm, level="arm")["difference"]
        own = p99.xs(arm, level="arm")
        y = own["difference"] / own["d_sla"]
        axis.plot(x, y, MARKERS[arm], color=COLORS[arm], ms=6, alpha=0.8)
    axis.axhline(0, color=INK, lw=0.8)
    axis.axvline(0, color=INK, lw=0.8)
    axis.xaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Late requests, less the best without (% of all)")
    axis.set_ylabel("P99 of latency, less the best\nthat serves all (deadlines)")
    _say(axis, "▲ most in time", (0.02, 0.94), rules.IN_TIME)
    _say(axis, "● most work", (0.72, 0.08), rules.WORK)
    return figure


def _say(axis: Axes, text: str, at: tuple[float, float], arm: str) -> None:
    axis.text(*at, text, transform=axis.transAxes, color=COLORS[arm], fontsize=11, va="center")


def queue(backlog: pd.DataFrame) -> Figure:
    """What a GPU serves of a waiting queue over the most possible, by the number of fixed bins (`study.backlog_of`)."""
    figure, axis = plt.subplots(figsize=(7.0, 4.0))
    for color, (waiting, own) in zip(QUEUE_COLORS, backlog.groupby("waiting"), strict=False):
        fixed = own[own["arm"] == study.BINS].sort_values("k_bins")
        axis.fill_between(fixed["k_bins"], fixed["ci_low"], fixed["ci_high"], color=color, alpha=0.15, lw=0)
        axis.plot(fixed["k_bins"], fixed["of_bound"], "o-", color=color, ms=5, label=f"fixed bins, {waiting:,} wait")
        cut = own[own["arm"] == rules.WORK].iloc[0]
        axis.plot([1, 64], [cut["of_bound"]] * 2, "--", color=color, lw=2, label=f"cut anew, {waiting:,} wait")
    axis.set_xscale("log", base=2)
    axis.set_xlim(0.9, 400)
    axis.xaxis.set_major_locator(FixedLocator(list(study.K_SCAN)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_ylim(0, 0.75)
    axis.set_xlabel("Fixed bins (number)")
    axis.set_ylabel("Served (% of the most possible)")
    name_lines(axis)
    return figure
