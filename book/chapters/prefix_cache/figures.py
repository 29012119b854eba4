"""Figures of the chapter on prefix caches: capacity by memory, what fails first, how much memory, which engine."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from book.chapters.prefix_cache.study import COST, ENGINE_TOKENS, LATE, LEAST, LIVE, MOST, NONE, RECORDED, STAYS
from book.kit.style import INK, PERCENT, name_lines

CACHES = {NONE: "no cache", LIVE: "live cache", RECORDED: "hits as recorded"}
ROUTERS = {LEAST: "fewest requests", STAYS: "conversations stay", COST: "cached against load", MOST: "most cached"}
SHORT = ROUTERS | {STAYS: "stays"}
LOOKS = {
    NONE: ("#7A7A7A", "s", "-"), LIVE: ("#0072B2", "o", "-"), RECORDED: ("#D55E00", "^", "--"),
    LEAST: ("#7A7A7A", "s", "-"), STAYS: ("#0072B2", "o", "-"), COST: ("#009E73", "D", "-."),
    MOST: ("#D55E00", "^", "--"),
}  # fmt: skip
TITLES = {"chat": "Chat", "documents": "Long documents"}
TOKENS = FuncFormatter(lambda tokens, _: f"{tokens / 1e6:g} M" if tokens >= 1e6 else f"{tokens / 1e3:g} k")


def capacities(table: pd.DataFrame) -> Figure:
    """Capacity by memory, a panel a kind of traffic, a line a way to know what is cached (`study.means`)."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.8))
    for axis, (workload, own) in zip(axes, table.groupby("workload", sort=False), strict=False):
        _lines(axis, own, "cache", "memory_tokens", "capacity_rps", CACHES)
        axis.set_title(TITLES[workload])
        _log(axis, sorted(own["memory_tokens"].unique()))
        axis.set_ylim(0)
        axis.set_xlabel("Memory of an engine (tokens)")
        if own["memory_tokens"].min() <= ENGINE_TOKENS <= own["memory_tokens"].max():
            axis.axvline(ENGINE_TOKENS, color=INK, lw=0.8, ls=":", zorder=0)
            axis.annotate("eight\nH100", (ENGINE_TOKENS, 0.02), (4, 0), xycoords=("data", "axes fraction"),
                          textcoords="offset points", fontsize=9, color=INK)  # fmt: skip
        name_lines(axis)
    axes[0].set_ylabel("Requests/s with 5 % late")
    return figure


def failing(table: pd.DataFrame) -> Figure:
    """What is found, and who is late, by load, with scarce memory (`study.means` of both)."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.6))
    for axis, metric in zip(axes, ("hit_share", "late_share"), strict=True):
        own = table[table["metric"] == metric]
        _lines(axis, own, "cache", "rate_rps", "value", CACHES)
        axis.yaxis.set_major_formatter(PERCENT)
        axis.set_xlabel("Load (requests/s)")
        name_lines(axis)
    axes[0].set_ylim(0, 1)
    axes[0].set_title("Found of the prompts")
    axes[1].set_title("Late first tokens")
    return figure


def needed(table: pd.DataFrame) -> Figure:
    """Hits over those with memory for all, by memory over the waiting conversations, a line a time to think."""
    figure, axis = plt.subplots(figsize=(7.0, 3.6))
    for (think_s, own), color, marker in zip(
        table.groupby("think_s"), ("#56B4E9", "#0072B2", "#003B5C"), "osD", strict=False
    ):
        bars = [own["found_share"] - own["ci_low"], own["ci_high"] - own["found_share"]]
        axis.errorbar(own["times_waiting"], own["found_share"], yerr=bars, color=color, marker=marker, ms=5, capsize=2,
                      label=f"{think_s:g} s")  # fmt: skip
        at = own[own["times_waiting"] == 0.75].iloc[0]
        shortest = think_s == table["think_s"].min()
        above = think_s == table["think_s"].max()
        axis.annotate(f"{think_s:g} s" + (" between turns" if shortest else ""), (0.75, at["found_share"]),
                      (-8, 5) if above else (9, -9), textcoords="offset points", fontsize=10, color=color,
                      ha="right" if above else "left")  # fmt: skip
    axis.axhline(1, color=INK, lw=0.8)
    axis.set_ylim(0, 1.08)
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_ylabel("Hits, of those with\nmemory for all (%)")
    axis.set_xlabel("Memory ÷ tokens of the conversations between two turns")
    return figure


def routed(table: pd.DataFrame) -> Figure:
    """What is found by number of engines, a panel a kind of traffic, a line a router where it is in time."""
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.6), sharey=True)
    for axis, (workload, own) in zip(axes, table.groupby("workload", sort=False), strict=False):
        _lines(axis, own[own["late_share"] <= LATE], "routing", "engines", "hit_share", SHORT)
        axis.set_title(TITLES[workload])
        engines = sorted(own["engines"].unique())
        axis.set_xscale("log", base=2)
        axis.set_xticks(engines, [f"{count:g}" for count in engines])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlabel("Engines (of eight GPUs)")
        axis.yaxis.set_major_formatter(PERCENT)
        axis.set_ylim(0, 1)
        name_lines(axis)
    axes[0].set_ylabel("Found of the prompts")
    return figure


def _lines(axis: Axes, own: pd.DataFrame, arm: str, x: str, y: str, names: dict[str, str]) -> None:
    """A line an arm, with its intervals where there are any."""
    for name in names:
        rows = own[own[arm] == name]
        if len(rows) < 2:
            continue
        color, marker, dash = LOOKS[name]
        bars = [(rows[y] - rows["ci_low"]).fillna(0), (rows["ci_high"] - rows[y]).fillna(0)]
        axis.errorbar(rows[x], rows[y], yerr=bars, color=color, marker=marker, ls=dash, ms=5, capsize=2,
                      label=names[name])  # fmt: skip


def _log(axis: Axes, ticks: list[float]) -> None:
    axis.set_xscale("log")
    axis.set_xticks(ticks[:: 1 if len(ticks) < 5 else 2])
    axis.xaxis.set_major_formatter(TOKENS)
    axis.xaxis.set_minor_locator(NullLocator())
