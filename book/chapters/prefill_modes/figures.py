"""Figures of prompts beside decodes: what a shared step costs, what is served, and who is late."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from book.chapters.prefill_modes.kernels import DENSE, EXPERTS, MEASURED_DECODES, SMALL
from book.chapters.prefill_modes.steps import STEP_DECODES
from book.chapters.prefill_modes.study import ALONE, DEADLINE_CHUNKS, TPOTS_S
from book.kit.style import CYCLE, FAINT, INK, PERCENT, name_lines

TITLES = {SMALL: "8B,\nRTX 4090", DENSE: "32B,\n2 RTX PRO 6000", EXPERTS: "30B of experts,\n2 RTX PRO 6000"}
MIX_COLORS = dict(zip(("long outputs", "even", "long prompts"), CYCLE, strict=False))
MIX_MARKERS = dict(zip(MIX_COLORS, "os^", strict=True))
CHUNK_COLORS = {128: CYCLE[0], 512: CYCLE[2], 1792: CYCLE[1]}
CONTEXT = 1024  # tokens of a decode's, where steps are shown


def served(over: pd.DataFrame) -> Figure:
    """Throughput of exclusive steps over mixed ones by sequences that run, a panel a system (`study.over_mixed`)."""
    rows = over[(over["law"] == "measured") & (over["kind"] == "best exclusive")]
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.9), sharey=True, width_ratios=(2, 3, 4))
    for axis, (system, title) in zip(axes, TITLES.items(), strict=True):
        own = rows[rows["system"] == system]
        for mix, color in MIX_COLORS.items():
            line = own[own["mix"] == mix].sort_values("seats")
            axis.fill_between(line["seats"], line["ci_low"], line["ci_high"], color=color, alpha=0.2, lw=0)
            axis.plot(line["seats"], line["ratio"], color=color, marker=MIX_MARKERS[mix], ms=5, lw=2, label=mix)
            beyond = line[line["seats"] > MEASURED_DECODES]
            axis.plot(beyond["seats"], beyond["ratio"], MIX_MARKERS[mix], color="white", mec=color, ms=7, mew=1.6)
        seats = sorted(own["seats"].unique())
        _sizes(axis, seats, (seats[0] / 1.2, seats[-1] * 1.2))
        axis.axhline(1.0, color=INK, lw=1.0)
        axis.set_title(title, fontsize=11)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
    axes[0].set_ylabel("Served by steps of their own\n(times mixed steps')")
    axes[0].annotate("steps of their own\nserve more ↑", (0.05, 1.01), xycoords=("axes fraction", "data"), fontsize=9,
                     va="bottom", color=INK)  # fmt: skip
    figure.supxlabel("Sequences that run at once", fontsize=11)
    low, high = axes[-1].get_xlim()
    axes[-1].set_xlim(low, high * 2.6)
    name_lines(axes[-1])
    return figure


def steps(ratios: pd.DataFrame) -> Figure:
    """A mixed step over its two parts by how many decode, measured and undisturbed (`steps.step_ratios`)."""
    rows = ratios[ratios["context_tokens"] == CONTEXT]
    figure, axes = plt.subplots(1, 3, figsize=(8.4, 3.9), sharey=True, width_ratios=(1.3, 1.3, 1.9))
    for axis, (system, title) in zip(axes, TITLES.items(), strict=True):
        for chunk, color in CHUNK_COLORS.items():
            line = rows[(rows["system"] == system) & (rows["chunk_tokens"] == chunk)]
            axis.plot(line["decodes"], line["apart"], ":", color=color, lw=1.6)
            axis.plot(line["decodes"], line["ratio"], "o-", color=color, ms=4, lw=2, label=f"{chunk:,} tokens")
        _sizes(axis, STEP_DECODES, (6, 150))
        axis.axhline(1.0, color=INK, lw=1.0)
        axis.set_title(title, fontsize=11)
    axes[0].set_ylabel("A mixed step's time\n(times its two parts')")
    axes[0].annotate("its cache holds\nno more", (40, 0.62), fontsize=9, color=INK)
    figure.supxlabel(f"Sequences that decode in the step, of {CONTEXT:,} tokens each", fontsize=11)
    low, high = axes[-1].get_xlim()
    axes[-1].set_xlim(low, high * 5.0)
    name_lines(axes[-1])
    return figure


def late(table: pd.DataFrame, mix: str = "long prompts") -> Figure:
    """Late shares by the most tokens of a mixed step, and of steps of their own (`study.deadlines`)."""
    rows, names = table[table["mix"] == mix], [*map(str, DEADLINE_CHUNKS), ALONE]
    figure, axis = plt.subplots(figsize=(7.2, 3.9))
    for limit_s, color, marker in zip(TPOTS_S, (CYCLE[1], CYCLE[4], CYCLE[2], CYCLE[0]), "^sov", strict=True):
        own = rows[rows["tpot_s"] == limit_s].set_index("steps").loc[names]
        for first, last in ((0, -1), (len(names) - 1, len(names))):
            part = own.iloc[first:last] if last > 0 else own.iloc[first : len(names) - 1]
            at = range(first, first + len(part))
            error = (part["late"] - part["ci_low"], part["ci_high"] - part["late"])
            label = f"{1000 * limit_s:.0f} ms a token" if last > 0 else None
            axis.errorbar(at, part["late"], error, color=color, marker=marker, ms=6, lw=2, capsize=3, label=label)
    axis.axvline(len(names) - 1.5, color=FAINT, lw=1.0)
    axis.set_xticks(range(len(names)), [*(f"{chunk:,}" for chunk in DEADLINE_CHUNKS), "steps of\ntheir own"])
    axis.set_xlim(-0.3, len(names) + 0.2)
    axis.set_ylim(0, None)
    axis.yaxis.set_major_formatter(PERCENT)
    axis.set_xlabel("Largest mixed step (tokens)")
    axis.set_ylabel("Late requests")
    name_lines(axis)
    return figure


def _sizes(axis: Axes, ticks: list[int] | tuple[int, ...], limits: tuple[float, float]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlim(limits)
