"""The plots, one style: a policy keeps its colour and marker through the whole book.

A function takes a tidy table and returns a matplotlib figure; it computes nothing that a table should say. Colours are
Okabe and Ito's, which colour-blind readers tell apart; markers repeat the distinction.
"""

from __future__ import annotations

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from simlib.checks import InputError, check_type
from simlib.lazy import getter

__all__ = [
    "COLORS",
    "save",
    "style",
]

__getattr__ = getter(__name__)

COLORS = {
    "static_fifo": "#7A7A7A",
    "dynamic_no_bins": "#0072B2",
    "multi_bin_dynamic": "#D55E00",
    "multi_bin_fixed": "#009E73",
    "shortest_predicted_first": "#E69F00",
}
MARKERS = {"static_fifo": "s", "dynamic_no_bins": "o", "multi_bin_dynamic": "^", "multi_bin_fixed": "D"}
MARKERS["shortest_predicted_first"] = "v"
SELECTION_COLORS = {"round_robin": "#D55E00", "longest_queue": "#0072B2", "oldest_head": "#009E73"}
SELECTION_MARKERS = {"round_robin": "^", "longest_queue": "o", "oldest_head": "s"}
INK, FAINT = "#222222", "#B8B8B8"
OWN = "#CC79A7"  # a policy that a user wrote
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:g} %")
SHARE_TICKS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0)
SOURCE_NAMES = {"synthetic": "Poisson", "trace": "BurstGPT", "population": "BurstGPT-like"}
ARRIVAL_NAMES = {"poisson": "Poisson", "on_off": "ON/OFF", "burstgpt": "BurstGPT sample"}


def style() -> None:
    """Set the book's style; call it once, before the first figure."""
    sns.set_theme(context="notebook", style="ticks", font_scale=1.0)
    plt.rcParams.update(
        {
            "figure.figsize": (7.0, 4.0),
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#E6E6E6",
            "axes.edgecolor": "#666666",
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "legend.frameon": False,
            "svg.fonttype": "path",
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
