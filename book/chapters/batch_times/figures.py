"""Plots of batch times: measured against fitted, errors on points left out, bins against the best without them."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from book.chapters.batch_times.measured_levels import GPU_NAMES, SPLITS, WITHOUT_BINS
from book.chapters.batch_times.study import FORM_NAMES
from book.kit.style import CYCLE, FAINT, INK, PERCENT, name_lines
from book.kit.tables import sign
from simlib.checks import InputError
from simlib.latency.forms import EQUAL

FORM_COLORS = {"affine": "#D55E00", "power": "#E69F00", "phase4": "#56B4E9", "phase5": "#0072B2"}
FORM_STYLES = {"affine": "--", "power": "-.", "phase4": ":", "phase5": "-"}
SHOWN_NAMES = {
    "a100-vllm-llama3-8b": "vLLM on A100,\nLlama 3 8B",
    "h100-vllm-llama3-8b": "vLLM on H100,\nLlama 3 8B",
    "h100-trtllm-llama3-8b": "TensorRT-LLM on\nH100, Llama 3 8B",
    "mi250x4-vllm-llama3-8b": "vLLM on 4 MI250,\nLlama 3 8B",
}
HELPS, HURTS, UNKNOWN = CYCLE[0], CYCLE[1], "#7A7A7A"
TRAFFIC = {3: "Synthetic", 4: "BurstGPT-like"}  # whose requests a level has


def error_bands(table: pd.DataFrame) -> Figure:
    """Relative errors of points left out by batch size: the median, the middle half, nine in ten.

    `table`: ``batch_size, residual``, predicted over measured, less 1.
    """
    if table.empty:
        raise InputError("residuals: none (expected measurements, not coefficients alone)")
    by_size = table.groupby("batch_size")["residual"]
    bands = {share: by_size.quantile(share) for share in (0.05, 0.25, 0.5, 0.75, 0.95)}
    figure, axis = plt.subplots(figsize=(7.0, 2.9))
    x = np.arange(len(by_size))
    axis.vlines(x, bands[0.05], bands[0.95], color=CYCLE[5], lw=2)
    axis.vlines(x, bands[0.25], bands[0.75], color=CYCLE[0], lw=8)
    axis.plot(x, bands[0.5], "_", color="white", ms=9, mew=2)
    axis.axhline(0, color=INK, lw=0.8)
    axis.set_xticks(x, [f"{size:g}" for size in bands[0.5].index])
    axis.set(xlabel="Batch size (requests)", ylabel="Relative error")
    axis.yaxis.set_major_formatter(PERCENT)
    axis.annotate("half of the points", (0, bands[0.75].iloc[0]), (8, 3), textcoords="offset points", color=CYCLE[0])
    axis.annotate("nine in ten", (0, bands[0.05].iloc[0]), (8, 3), textcoords="offset points", color=INK)
    axis.grid(axis="x", visible=False)
    return figure


def errors_by_form(table: pd.DataFrame) -> Figure:
    """Mean and largest error on points left out, a row a form; of a card's ``forms``."""
    if table.empty:
        raise InputError("forms: none (expected measurements, not coefficients alone)")
    kinds = table["form"].str.removesuffix(EQUAL)
    figure, axis = plt.subplots(figsize=(7.0, 2.3))
    for y, (kind, row) in enumerate(zip(kinds, table.itertuples(), strict=True)):
        axis.hlines(y, row.cv_mape, row.cv_worst, color=FORM_COLORS[kind], lw=2)
        axis.plot(row.cv_mape, y, "o", color=FORM_COLORS[kind], ms=8)
        axis.plot(row.cv_worst, y, "|", color=FORM_COLORS[kind], ms=12, mew=2)
    for value, name in ((table["cv_mape"].iloc[0], "mean"), (table["cv_worst"].iloc[0], "largest")):
        axis.annotate(name, (value, 0), (0, 9), textcoords="offset points", ha="center", fontsize=10)
    axis.set_yticks(range(len(kinds)), [FORM_NAMES[kind] for kind in kinds])
    axis.set_ylim(len(kinds) - 0.5, -0.8)
    axis.set_xlim(left=0)
    axis.set_xlabel("Error on batches left out (share of the time)")
    axis.xaxis.set_major_formatter(PERCENT)
    axis.grid(axis="y", visible=False)
    return figure


def batch_times(table: pd.DataFrame) -> Figure:
    """Measured times of batches over that of a batch of one, by length, a panel a GPU; predictions of two forms beside.

    `table`: ``name, form, batch_size, prompt_tokens, total_s, predicted_s`` of forms affine and phase5.
    """
    names = list(dict.fromkeys(table["name"]))
    alone = table[table["batch_size"] == 1].drop_duplicates(["name", "prompt_tokens"])
    table = table.merge(alone[["name", "prompt_tokens", "total_s"]], on=["name", "prompt_tokens"], suffixes=("", "_1"))
    table = table.sort_values("prompt_tokens").assign(
        measured=table["total_s"] / table["total_s_1"], predicted=table["predicted_s"] / table["total_s_1"]
    )
    figure, axes = plt.subplots(1, len(names), figsize=(7.0, 3.4), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["name"] == name]
        for (form, size), line in rows.groupby(["form", "batch_size"]):
            kind = form.removesuffix(EQUAL)
            x = line["prompt_tokens"]
            axis.plot(
                x,
                line["predicted"],
                FORM_STYLES[kind],
                color=FORM_COLORS[kind],
                lw=1.2,
                label=f"predicted: {FORM_NAMES[kind]}",
            )
            axis.plot(x, line["measured"], "o", color=INK, ms=4, label="measured (number: batch size)")
            last = (x.iloc[-1], line["measured"].iloc[-1])
            axis.annotate(f"{size}", last, (5, -3), textcoords="offset points", fontsize=9)
        axis.set(xscale="log", xlabel="Prompt = output\n(tokens)")
        axis.set_title(SHOWN_NAMES.get(name, name), fontsize=9)
        axis.set_xticks(sorted(rows["prompt_tokens"].unique()), minor=False)
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.tick_params(axis="x", rotation=60, labelsize=9)
        axis.xaxis.label.set_fontsize(10)
    axes[0][0].set_ylabel("Time ÷ that of one request", fontsize=10)
    legend = dict(zip(*axes[0][0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=2, fontsize=9)
    return figure


def held_out_errors(table: pd.DataFrame) -> Figure:
    """Cumulative share of groups by error on points left out, a line a form, a panel a source."""
    sources = list(dict.fromkeys(table["source"]))
    figure, axes = plt.subplots(1, len(sources), figsize=(7.0, 3.4), sharey=True, squeeze=False)
    for axis, source in zip(axes[0], sources, strict=True):
        for form, color in FORM_COLORS.items():
            kind = table["form"].str.removesuffix(EQUAL) == form
            errors = np.sort(table.loc[kind & (table["source"] == source), "cv_mape"])
            share = np.arange(1, len(errors) + 1) / len(errors)
            axis.step(errors, share, FORM_STYLES[form], where="post", color=color, label=FORM_NAMES[form])
        axis.axvline(0.25, color=FAINT, lw=1)
        axis.annotate("25 %", (0.25, 0.02), (2, 0), textcoords="offset points", fontsize=9, color=INK)
        axis.set(xscale="log", title=source, xlabel="Mean error on points left out")
        axis.set_xticks((0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0))
        axis.minorticks_off()
        axis.set_xlim(0.005, 3.0)
        axis.tick_params(axis="x", rotation=60)
        axis.xaxis.set_major_formatter(PERCENT)
    axes[0][0].set_ylabel("Share of groups")
    axes[0][0].yaxis.set_major_formatter(PERCENT)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=10)
    return figure


def measured_levels(table: pd.DataFrame) -> Figure:
    """Late requests with the best bins less those with the best without, a row a GPU, a panel a level and load.

    `table`: the rows of `measured_levels.differences` that compare these two.
    """
    levels, loads = sorted(set(table["level"])), sorted(set(table["load"]))
    shape = {"nrows": len(levels), "ncols": len(loads), "sharex": True, "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(figsize=(7.0, 0.8 + 2.5 * len(levels)), **shape)
    for (level, load), rows in table.groupby(["level", "load"]):
        axis = axes[levels.index(level)][loads.index(load)]
        _by_gpu(axis, rows)
        axis.set_title(f"{TRAFFIC[level]}, load {load:g}", fontsize=11)
    axes[0][0].set_ylim(table["preset"].nunique() - 0.6, -1.1)
    for axis in axes[0]:
        _which_side(axis)
    for axis in axes[-1]:
        axis.set_xlabel("Late requests, bins − without (points)", fontsize=10)
    _markers(figure)
    return figure


def measured_plans(table: pd.DataFrame) -> Figure:
    """Late requests under the joint optimum less those under two rivals, a panel each, a row a GPU.

    `table`: as `measured_levels.differences` gives it, of one level and load, with plans.
    """
    rivals = {"equal_mass_bins": "bins of equal mass", WITHOUT_BINS: "best without bins"}
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.3), sharex=True, sharey=True)
    for axis, (rival, name) in zip(axes, rivals.items(), strict=True):
        own = (table["scheduler_a"] == "joint_optimum") & (table["scheduler_b"] == rival)
        _by_gpu(axis, table[own])
        axis.set_title(f"Joint optimum − {name}", fontsize=9.5)
        axis.set_xlabel("Late requests, difference (points)", fontsize=10)
    axes[0].invert_yaxis()
    _markers(figure)
    return figure


def _by_gpu(axis: Axes, rows: pd.DataFrame) -> None:
    """Differences with their intervals, a row a preset; a colour says which way, a marker what prefill costs."""
    places = list(dict.fromkeys(rows["preset"]))
    for pair in rows.itertuples():
        end = "" if np.isnan(pair.split) else "low" if pair.split < 0.5 else "high"
        y = places.index(pair.preset) + {"": 0.0, "low": -0.17, "high": 0.17}[end]
        points, low, high = 100 * pair.difference, 100 * pair.ci_low, 100 * pair.ci_high
        color = {-1: HELPS, 0: UNKNOWN, 1: HURTS}[sign(pair)]
        bars = [[points - low], [high - points]]
        axis.errorbar(points, y, xerr=bars, fmt=MARKERS[end], color=color, ms=5.5, elinewidth=1.5)
    axis.axvline(0, color=INK, lw=0.9)
    axis.set_yticks(range(len(places)), [GPU_NAMES.get(one, one).replace(", ", ",\n") for one in places], fontsize=9)
    axis.tick_params(axis="x", labelsize=10)
    axis.grid(axis="y", visible=False)


MARKERS = {"": "D", "low": "o", "high": "^"}
MARKER_NAMES = {end: f"prefill's share {share:g}" for end, share in zip(("low", "high"), SPLITS, strict=True)}
MARKER_NAMES[""] = "known"


def _markers(figure: Figure) -> None:
    ink = {"color": INK, "ls": "", "ms": 5.5}
    handles = [Line2D([], [], marker=MARKERS[end], label=name, **ink) for end, name in MARKER_NAMES.items()]
    handles.append(Line2D([], [], marker="s", label="not established", **ink | {"color": UNKNOWN}))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, handletextpad=0.1, columnspacing=1)


def _which_side(axis: Axes) -> None:
    for x, text, color, side in ((-6, "← bins help", HELPS, "right"), (6, "bins hurt →", HURTS, "left")):
        axis.annotate(text, (0, 1), (x, 0), ("data", "axes fraction"), "offset points", color=color, ha=side, va="top")


def phases(table: pd.DataFrame) -> Figure:
    """Prefill by batch size and prompt, and decode a token by batch size and prompt; bars reach as far as repetitions.

    `table`: rows with times of `measurements.Measurements.frame`, phases apart; decode is of the longest output.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.0, 3.0), sharex=True)
    longest = table[table["output_tokens"] == table["output_tokens"].max()]
    times = (longest["prefill_s"], longest["decode_s"] / (longest["output_tokens"] - 1).clip(lower=1))
    for axis, label, time_s in zip(axes, ("Prefill (s)", "Decode (s a token)"), times, strict=True):
        for marker, (prompt, rows) in zip("osD^v<>P" * len(table), longest.groupby("prompt_tokens"), strict=False):
            own = time_s[rows.index].groupby(rows["batch_size"])
            bars = [own.median() - own.min(), own.max() - own.median()]
            axis.errorbar(own.median().index, own.median(), yerr=bars, fmt=f"{marker}-", label=f"{prompt} tokens")
        axis.set(xscale="log", yscale="log", xlabel="Batch size (requests)", ylabel=label)
        axis.set_xticks(sorted(table["batch_size"].unique()), minor=False)
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.yaxis.set_major_formatter("{x:g}")
    axes[1].set_title("Prompts of …", loc="right", fontsize=10, fontweight="normal")
    name_lines(axes[1])
    return figure
