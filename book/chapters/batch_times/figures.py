"""Plots of batch times: measured against fitted, errors on points left out, residuals, schedulers under presets."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from book.kit.style import COLORS, FAINT, INK, MARKERS, PERCENT, name_lines
from simlib.checks import InputError
from simlib.policies.plan import short_name

MANY = 50  # points that are drawn as pixels, or the page weighs megabytes
AXES = {"batch_size": "Batch size (requests)", "prompt_tokens": "Prompt (tokens)", "output_tokens": "Output (tokens)"}
FORM_COLORS = {"affine": "#D55E00", "power": "#E69F00", "phase4": "#56B4E9", "phase5": "#0072B2"}
PLAN_NAMES = {"equal_mass_bins": "equal-mass bins with sizes of their own", "dynamic_no_bins": "dynamic batching"}
PLAN_COLORS = {"equal_mass_bins": "#CC79A7", "dynamic_no_bins": COLORS["dynamic_no_bins"]}
PLAN_MARKERS = {"equal_mass_bins": "v", "dynamic_no_bins": MARKERS["dynamic_no_bins"]}
FORM_STYLES = {"affine": "--", "power": "-.", "phase4": ":", "phase5": "-"}


def residuals(table: pd.DataFrame, hue: str | None = None) -> Figure:
    """Relative residuals of points left out by batch size, prompt and output; one colour each value of `hue`.

    Of a table as `fit.Validation` and a card have it.
    """
    if table.empty:
        raise InputError("residuals: none (expected measurements, not coefficients alone)")
    figure, axes = plt.subplots(1, 3, figsize=(8.0, 2.6), sharey=True)
    groups = [("", table)] if hue is None else list(table.groupby(hue, sort=False))
    for axis, (column, label) in zip(axes, AXES.items(), strict=True):
        for _, rows in groups:
            axis.plot(rows[column], rows["residual"], "o", ms=3, alpha=0.6, mew=0, rasterized=len(rows) > MANY)
        axis.axhline(0, color=INK, lw=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter("{x:.0f}")
    axes[0].set_ylabel("Relative residual")
    axes[0].yaxis.set_major_formatter(PERCENT)
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
    figure, axes = plt.subplots(1, len(names), figsize=(8.5, 3.4), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["name"] == name]
        for (form, size), line in rows.groupby(["form", "batch_size"]):
            kind = form.removesuffix("_equal_lengths")
            x = line["prompt_tokens"]
            axis.plot(x, line["predicted"], FORM_STYLES[kind], color=FORM_COLORS[kind], lw=1.2, label=_legend(kind))
            axis.plot(x, line["measured"], "o", color=INK, ms=4, label="measured, by batch size")
            last = (x.iloc[-1], line["measured"].iloc[-1])
            axis.annotate(f"{size}", last, (5, -3), textcoords="offset points", fontsize=9)
        axis.set(xscale="log", xlabel="Prompt = output (tokens)")
        axis.set_title(name, fontsize=9)
        axis.set_xticks(sorted(rows["prompt_tokens"].unique()), minor=False)
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.tick_params(axis="x", rotation=60, labelsize=9)
        axis.xaxis.label.set_fontsize(10)
    axes[0][0].set_ylabel("Time ÷ that of one request")
    legend = dict(zip(*axes[0][0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3)
    return figure


def _legend(form: str) -> str:
    return f"{form}, points left out"


def held_out_errors(table: pd.DataFrame) -> Figure:
    """Cumulative share of groups by error on points left out, a line a form, a panel a source."""
    sources = list(dict.fromkeys(table["source"]))
    figure, axes = plt.subplots(1, len(sources), figsize=(7.5, 3.4), sharey=True, squeeze=False)
    for axis, source in zip(axes[0], sources, strict=True):
        for form, color in FORM_COLORS.items():
            kind = table["form"].str.removesuffix("_equal_lengths") == form
            errors = np.sort(table.loc[kind & (table["source"] == source), "cv_mape"])
            share = np.arange(1, len(errors) + 1) / len(errors)
            axis.step(errors, share, FORM_STYLES[form], where="post", color=color, label=form)
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
    axes[0][-1].legend()
    return figure


def measured_levels(table: pd.DataFrame) -> Figure:
    """Late requests of three schedulers under each model, a row of panels a level, a column a load."""
    table = table[table["scheduler"].isin(COLORS)]
    levels, loads = (list(dict.fromkeys(table[name])) for name in ("level", "load"))
    places = list(dict.fromkeys(table["latency"]))
    shape = {"nrows": len(levels), "ncols": len(loads), "sharex": True, "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(figsize=(8.0, 0.5 + 3.3 * len(levels)), **shape)
    for (level, load), rows in table.groupby(["level", "load"], sort=False):
        axis = axes[levels.index(level)][loads.index(load)]
        for shift, (name, own) in zip((-0.2, 0.0, 0.2), rows.groupby("scheduler", sort=False), strict=True):
            share = own["violation_share"].to_numpy()
            bars = [share - own["ci_low"], own["ci_high"] - share]
            y = [places.index(one) + shift for one in own["latency"]]
            axis.errorbar(share, y, xerr=bars, fmt=MARKERS[name], color=COLORS[name], ms=5, label=short_name(name))
        axis.set_title(f"Level {level}, load {load:g}")
        axis.set_yticks(range(len(places)), places, fontsize=9)
        axis.xaxis.set_major_formatter(PERCENT)
    axes[0][0].invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("Late requests")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def measured_plans(table: pd.DataFrame) -> Figure:
    """Late requests under the joint optimum less those under two rivals, by model: a row of panels a level.

    `table`: as `measured_levels.differences` gives it, with plans.
    """
    rows = table[table["scheduler_a"] == "joint_optimum"]
    levels, loads, places = (list(dict.fromkeys(rows[name])) for name in ("level", "load", "latency"))
    shape = {"nrows": len(levels), "ncols": len(loads), "sharex": True, "sharey": True, "squeeze": False}
    figure, axes = plt.subplots(figsize=(8.0, 0.6 + 3.0 * len(levels)), **shape)
    for (level, load), panel in rows.groupby(["level", "load"], sort=False):
        axis = axes[levels.index(level)][loads.index(load)]
        for rival, shift in (("equal_mass_bins", -0.14), ("dynamic_no_bins", 0.14)):
            own = panel[panel["scheduler_b"] == rival]
            points = 100 * own["difference"]
            bars = [points - 100 * own["ci_low"], 100 * own["ci_high"] - points]
            y = [places.index(one) + shift for one in own["latency"]]
            axis.errorbar(points, y, xerr=bars, fmt=PLAN_MARKERS[rival], color=PLAN_COLORS[rival], ms=5,
                          label=f"less {PLAN_NAMES[rival]}")  # fmt: skip
        axis.axvline(0, color=INK, lw=0.8)
        axis.set_title(f"Level {level}, load {load:g}")
        axis.set_yticks(range(len(places)), places, fontsize=9)
    axes[0][0].invert_yaxis()
    for axis in axes[-1]:
        axis.set_xlabel("Late requests, difference (points)", fontsize=10)
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def phases(table: pd.DataFrame) -> Figure:
    """Prefill by batch size and prompt, and decode a token by batch size and prompt; bars reach as far as repetitions.

    `table`: rows with times of `measurements.Measurements.frame`, phases apart; decode is of the longest output.
    """
    figure, axes = plt.subplots(1, 2, figsize=(8.0, 3.2), sharex=True)
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
