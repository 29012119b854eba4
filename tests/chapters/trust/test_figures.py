"""The statistics figures draw what their table says."""

import matplotlib
import numpy as np
import pandas as pd

from book.chapters.trust import figures

matplotlib.use("Agg")

ROW = {"queue": "mm1", "rho": 0.5, "quantity": "mean", "method": "batch_means", "coverage": 0.95, "ci_low": 0.93}
ROW |= {"ci_high": 0.96, "recommended": True}
OTHER = ROW | {
    "queue": "batch_4",
    "quantity": "p99",
    "method": "order statistics",
    "coverage": 0.2,
    "recommended": False,
}


def test_coverage_has_a_line_a_method_and_fills_what_is_recommended():
    axis = figures.coverage(pd.DataFrame([ROW, OTHER, OTHER | {"coverage": np.nan}])).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["mean: batch_means", "p99: order statistics"]
    marks = {line.get_xdata()[0]: line for line in axis.lines if line.get_marker() in "os"}
    assert set(marks) == {0.95, 0.2}
    assert marks[0.95].get_markerfacecolor() == marks[0.95].get_color()
    assert marks[0.2].get_markerfacecolor() == "white"
    assert (marks[0.95].get_marker(), marks[0.2].get_marker()) == ("o", "s")


def test_the_warm_up_shows_each_system_and_the_cut():
    averages = {"static_fifo": np.array([0.0, 1.0, 2.0]), "dynamic_no_bins": np.array([0.0, 0.5, 0.5])}
    figure = figures.warm_up(averages, 2, "Latency (s)")
    axis = figure.axes[0]
    assert [line.get_ydata()[-1] for line in axis.lines[:2]] == [2.0, 0.5]
    assert axis.lines[2].get_xdata()[0] == 2
    assert axis.texts[0].get_text() == "cut: 2"
    assert {text.get_text() for text in axis.texts[1:]} == set(averages) and not figure.legends
