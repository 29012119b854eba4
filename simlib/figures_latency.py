"""Plots of batch times: measured against fitted, errors on points left out, residuals, schedulers under presets."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from simlib.checks import reads_tables
from simlib.figures import COLORS, FAINT, INK, MARKERS, PERCENT
from simlib.schedulers import short_name

__all__ = ["batch_times", "held_out_errors", "measured_levels", "phases", "residuals"]

AXES = {"batch_size": "Batch size", "prompt_tokens": "Prompt (tokens)", "output_tokens": "Output (tokens)"}
FORM_COLORS = {"affine": "#D55E00", "power": "#E69F00", "phase4": "#56B4E9", "phase5": "#0072B2"}
FORM_STYLES = {"affine": "--", "power": "-.", "phase4": ":", "phase5": "-"}


@reads_tables
def residuals(table: pd.DataFrame, hue: str | None = None) -> Figure:
    """Relative residuals of points left out by batch size, prompt and output; one colour each value of `hue`."""
    figure, axes = plt.subplots(1, 3, figsize=(8.0, 2.6), sharey=True)
    groups = [("", table)] if hue is None else list(table.groupby(hue, sort=False))
    for axis, (column, label) in zip(axes, AXES.items(), strict=True):
        for _, rows in groups:
            axis.plot(rows[column], rows["residual"], "o", ms=3, alpha=0.6, mew=0)
        axis.axhline(0, color=INK, lw=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xlabel(label)
        axis.xaxis.set_major_formatter("{x:.0f}")
    axes[0].set_ylabel("Predicted / measured − 1")
    axes[0].yaxis.set_major_formatter(PERCENT)
    return figure


@reads_tables
def batch_times(table: pd.DataFrame) -> Figure:
    """Measured batch times by length, a panel a GPU, a line a batch size: held-out predictions of two forms beside.

    `table`: ``name, form, batch_size, prompt_tokens, total_s, predicted_s`` of forms affine and phase5.
    """
    names = list(dict.fromkeys(table["name"]))
    figure, axes = plt.subplots(1, len(names), figsize=(2.6 * len(names), 3.4), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        rows = table[table["name"] == name]
        measured = rows.drop_duplicates(["batch_size", "prompt_tokens"])
        axis.plot(measured["prompt_tokens"], measured["total_s"], "o", color=INK, ms=4)
        for form, lines in rows.groupby("form", sort=False):
            kind = form.removesuffix("_equal_lengths")
            for _, line in lines.sort_values("prompt_tokens").groupby("batch_size"):
                axis.plot(
                    line["prompt_tokens"], line["predicted_s"], FORM_STYLES[kind], color=FORM_COLORS[kind], lw=1.2
                )
        for size, line in measured.sort_values("prompt_tokens").groupby("batch_size"):
            last = line.iloc[-1]
            axis.annotate(f"{size}", (last["prompt_tokens"], last["total_s"]), (5, -3), textcoords="offset points")
        axis.set(xscale="log", yscale="log", title=name, xlabel="Prompt = output (tokens)")
        axis.set_xticks(sorted(rows["prompt_tokens"].unique()), minor=False)
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.tick_params(axis="x", rotation=60)
        axis.title.set_fontsize(9)
    axes[0][0].set_ylabel("Time of a batch (s)")
    handles = [
        plt.Line2D([], [], color=FORM_COLORS[k], ls=FORM_STYLES[k], label=f"{k}, points left out")
        for k in ("affine", "phase5")
    ]
    figure.legend(
        handles=[plt.Line2D([], [], color=INK, marker="o", ls="", label="measured (number: batch size)"), *handles],
        loc="outside lower center",
        ncols=3,
    )
    return figure


@reads_tables
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
        axis.set(xscale="log", title=source, xlabel="Mean error on points left out")
        axis.xaxis.set_major_formatter(PERCENT)
    axes[0][0].set_ylabel("Share of groups")
    axes[0][0].yaxis.set_major_formatter(PERCENT)
    axes[0][-1].legend()
    return figure


@reads_tables
def measured_levels(table: pd.DataFrame) -> Figure:
    """Late requests of three schedulers under each preset and split; bars are 95 % intervals."""
    levels = list(dict.fromkeys(table["level"]))
    figure, axes = plt.subplots(1, len(levels), figsize=(8.5, 4.2), sharey=True, squeeze=False)
    for axis, level in zip(axes[0], levels, strict=True):
        rows = table[table["level"] == level]
        places = list(dict.fromkeys(rows["latency"]))
        for shift, (name, own) in zip((-0.2, 0.0, 0.2), rows.groupby("scheduler", sort=False), strict=True):
            y = np.array([places.index(one) for one in own["latency"]]) + shift
            bars = [own["violation_share"] - own["ci_low"], own["ci_high"] - own["violation_share"]]
            axis.errorbar(
                own["violation_share"], y, xerr=bars, fmt=MARKERS[name], color=COLORS[name], label=short_name(name)
            )
        axis.set(title=f"Level {level}", xlabel="Late requests")
        axis.set_yticks(range(len(places)), places)
        axis.xaxis.set_major_formatter(PERCENT)
        axis.set_xlim(left=0)
    axes[0][0].invert_yaxis()
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@reads_tables
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
        axis.set(xscale="log", yscale="log", xlabel="Batch size", ylabel=label)
        axis.set_xticks(sorted(table["batch_size"].unique()), minor=False)
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.minorticks_off()
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.yaxis.set_major_formatter("{x:g}")
    axes[0].legend(title="Prompt")
    return figure
