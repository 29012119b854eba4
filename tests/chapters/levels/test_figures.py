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


def test_signs_say_each_difference_in_points_and_which_is_not_established():
    own = pd.DataFrame(
        {
            "level": [1, 2, 3, 4],
            "difference": [0.0003, 0.05, -0.2, -0.03],
            "ci_low": [-0.001, 0.04, -0.3, -0.05],
            "ci_high": [0.002, 0.06, -0.1, -0.01],
            "p_holm": [1.0, 0.001, 0.001, 0.2],
        }
    )
    loads = pd.Series({1: 1.09, 2: 0.07, 3: 1.74, 4: 0.12})
    other = own.assign(difference=-own["difference"], ci_low=-own["ci_high"], ci_high=-own["ci_low"], p_holm=0.01)
    left, right = figures.signs(own, other, loads).axes
    said, turned = ([text.get_text() for text in axis.texts] for axis in (left, right))
    assert said[:4] == ["0.0,\nnot established", "+5.0", "−20.0", "−3.0,\nnot established"]
    assert turned[:4] == ["0.0", "−5.0", "+20.0", "+3.0"]
    assert left.get_yticklabels()[2].get_text() == "Level 3: Poisson\n(load 1.7)"
    markers = [line.get_marker() for line in left.lines if line.get_marker() in "^oD"]
    assert markers == ["D", "o", "^", "D"]


def test_the_spread_shows_every_replication(runs):
    one = runs[runs["level"] == 1]
    figure = figures.level_spread(levels.table_of(one), one)
    drawn = sum(len(c.get_offsets()) for c in figure.axes[0].collections if len(c.get_offsets()) == 3)
    assert drawn == 9


def test_the_spread_shows_the_population_where_requests_vary():
    both = levels.runs_of(4, requests=60, replications=3)
    figure = figures.level_spread(levels.table_of(both), both)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["bins", "dynamic batching", "static batches"]
    of_replications = [c.get_offsets().data for c in figure.axes[0].collections if len(c.get_offsets()) == 3]
    static = both.query("scheduler == 'static_fifo' and requests_from == 'population'")["sla_violation_share"]
    assert sorted(of_replications[0][:, 0]) == sorted(static)


def test_the_spread_writes_claim_and_mean_beside_their_marks(runs):
    one = runs[runs["level"] == 3]
    said = texts(figures.level_spread(levels.table_of(one), one))
    assert "claimed 96.5 %" in said and "claimed 22.4 %" in said and said.count("mean ") == 3


def test_k_curves_draw_every_selection_with_its_interval():
    table = k_sensitivity.k_sensitivity(k_values=(1, 2), arrivals=("poisson",), requests=100, replications=2)
    figure = figures.k_curves(table)
    assert len(figure.axes[0].containers) == 3
    assert "Bins K" in texts(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "as with one bin"
