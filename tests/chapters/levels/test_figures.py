"""Figures of the levels and of K draw what their table says."""

import matplotlib
import pandas as pd
import pytest
from drawn import texts

from book.chapters.levels import figures, k_sensitivity
from book.kit import style
from simlib import levels

matplotlib.use("Agg")


@pytest.fixture(scope="module", autouse=True)
def book_style():
    style.style()


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.concat([levels.runs_of(level, replications=3) for level in (1, 3)], ignore_index=True)


def test_the_overview_has_a_panel_a_level_and_says_what_marks_mean(runs):
    figure = figures.levels_overview(levels.table_of(runs), runs)
    said = texts(figure)
    for word in ("Level 1", "Level 3", "claimed", "replication", "Late requests", "static"):
        assert word in said
    claimed = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert claimed == [0.433, 0.015, 0.007]


def test_the_spread_shows_every_replication(runs):
    one = runs[runs["level"] == 1]
    figure = figures.level_spread(levels.table_of(one), one)
    drawn = sum(len(c.get_offsets()) for c in figure.axes[0].collections if len(c.get_offsets()) == 3)
    assert drawn == 9


def test_the_spread_tells_the_trace_from_the_population():
    both = levels.runs_of(2, requests=60, replications=3)
    figure = figures.level_spread(levels.table_of(both), both)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 6 and labels[0] == "multi_bin_dynamic\npopulation" and labels[-1] == "static_fifo\ntrace"
    of_replications = [c.get_offsets().data for c in figure.axes[0].collections if len(c.get_offsets()) == 3]
    static = both.query("scheduler == 'static_fifo' and requests_from == 'trace'")["sla_violation_share"]
    assert sorted(of_replications[0][:, 0]) == sorted(static)


def test_k_curves_draw_every_selection_with_its_interval():
    table = k_sensitivity.k_sensitivity(k_values=(1, 2), arrivals=("poisson",), requests=100, replications=2)
    figure = figures.k_curves(table)
    assert len(figure.axes[0].containers) == 3
    assert "Bins K" in texts(figure)
