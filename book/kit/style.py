"""The plots, one style: a policy keeps its colour and marker through the whole book.

A function takes a tidy table and returns a matplotlib figure; it computes nothing that a table should say. Colours are
Okabe and Ito's, which colour-blind readers tell apart; markers repeat the distinction.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from simlib.checks import InputError, check_type

COLORS = {
    "static_fifo": "#7A7A7A",
    "dynamic_no_bins": "#0072B2",
    "multi_bin_dynamic": "#D55E00",
    "multi_bin_fixed": "#009E73",
    "shortest_predicted_first": "#E69F00",
}
MARKERS = {
    "static_fifo": "s",
    "dynamic_no_bins": "o",
    "multi_bin_dynamic": "^",
    "multi_bin_fixed": "D",
    "shortest_predicted_first": "v",
}
SELECTION_COLORS = {"round_robin": "#D55E00", "longest_queue": "#0072B2", "oldest_head": "#009E73"}
SELECTION_MARKERS = {"round_robin": "^", "longest_queue": "o", "oldest_head": "s"}
INK, FAINT = "#222222", "#B8B8B8"
OWN = "#CC79A7"  # a policy that a user wrote
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A", "#000000")  # what is no policy
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")
SHARE_TICKS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)


def style() -> None:
    """Set the book's style; call it once, before the first figure."""
    plt.style.use("seaborn-v0_8-ticks")
    plt.rcParams.update(
        {
            "font.size": 12,
            "axes.labelsize": 12,
            "legend.fontsize": 11,
            "legend.title_fontsize": 12,
            "grid.linewidth": 1.0,
            "patch.edgecolor": "w",
            "patch.force_edgecolor": True,
            **{f"{axis}tick.labelsize": 11 for axis in "xy"},
            **{f"{axis}tick.major.width": 1.25 for axis in "xy"},
            **{f"{axis}tick.minor.size": 4 for axis in "xy"},
            **{f"{axis}tick.minor.width": 1.0 for axis in "xy"},
            "figure.figsize": (7.0, 4.0),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=CYCLE),
            "grid.color": "#E6E6E6",
            "axes.edgecolor": "#666666",
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "svg.fonttype": "none",  # text is text: it can be searched, and read aloud
            "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],  # where the first is missing, one as wide
            "svg.hashsalt": "simlib",  # the same figure is the same file
            "savefig.dpi": 160,
            "figure.dpi": 110,
        }
    )


def save(figure: Figure, name: str, folder: str | Path) -> None:
    """Write ``NAME.svg`` and ``NAME.png`` into a folder (aside, then renamed)."""
    check_type("figure", figure, plt.Figure, "a figure")
    check_type("name", name, str, "a file's name without its ending")
    folder = Path(check_type("folder", folder, (str, Path), "a folder"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{folder}: the folder cannot be made ({problem})") from None
    for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
        aside, path = folder / f"{name}.part.{kind}", folder / f"{name}.{kind}"
        try:
            figure.savefig(aside, metadata=metadata)
            os.replace(aside, path)
        except OSError as problem:
            aside.unlink(missing_ok=True)
            raise InputError(f"{path}: the figure cannot be written ({problem})") from None


def name_lines(axis: Axes, names: Mapping[str, str] | None = None, apart: float = 1.25) -> None:
    """Write each line's label at its right end, in its colour, instead of a legend.

    Names that would lie upon one another are moved apart, upwards and downwards alike. Call it last, once scales and
    limits are what they will be.

    Parameters
    ----------
    axis : Axes
        With labelled lines, or lines with error bars.
    names : mapping of str to str, optional
        What is written in place of a label.
    apart : float
        The least distance of two names, in heights of a letter.
    """
    figure, size = axis.figure, 10.0
    figure.draw_without_rendering()  # a layout gives the axes its height
    ends = []
    for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
        line = handle[0] if isinstance(handle, tuple) else handle
        points = axis.transData.transform(np.column_stack(line.get_data(orig=False)).astype(float))
        x, y = points[np.isfinite(points).all(axis=1)][-1]
        ends.append((y, x, label, line.get_color()))
    ends.sort(key=lambda end: end[0])
    step = apart * size * figure.dpi / 72
    heights = _apart(np.array([end[0] for end in ends]), step)
    for (y, x, label, color), height in zip(ends, heights, strict=True):
        shift = (height - y) * 72 / figure.dpi
        at = axis.transData.inverted().transform((x, y))
        arrow = {"arrowstyle": "-", "color": color, "lw": 0.6} if abs(shift) > size / 2 else None
        axis.annotate((names or {}).get(label, label), at, (8, shift), textcoords="offset points",
                      color=color, fontsize=size, va="center", annotation_clip=False, arrowprops=arrow)  # fmt: skip


def _apart(places: np.ndarray, step: float) -> np.ndarray:
    """Sorted places moved so that neighbours are a step apart, as little as that takes (isotonic least squares)."""
    blocks: list[list[float]] = []  # mean of what is to be placed less its own steps, and how many
    for number, place in enumerate(places):
        blocks.append([place - step * number, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            before = blocks[-1]
            before[0] = (before[0] * before[1] + mean * count) / (before[1] + count)
            before[1] += count
    means = [mean for mean, count in blocks for _ in range(int(count))]
    return np.array(means) + step * np.arange(len(places))


def root_axis(axis: Axes, which: str, largest: float) -> None:
    """Shares on a square-root scale, which keeps a few per mille and a half apart on one axis."""
    ticks = [tick for tick in SHARE_TICKS if tick <= largest]
    if which == "x":
        axis.set_xscale("function", functions=(_signed_root, np.square))
        axis.set_xticks(ticks, [f"{100 * t:g} %" for t in ticks])
    else:
        axis.set_yscale("function", functions=(_signed_root, np.square))
        axis.set_yticks(ticks, [f"{100 * t:g} %" for t in ticks])


def _signed_root(share: np.ndarray) -> np.ndarray:
    return np.sign(share) * np.sqrt(np.abs(share))
