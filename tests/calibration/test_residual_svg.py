"""The residual figure of a card: points where they belong, limits that hold them, and what it says without eyes."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib.calibration.cards import residual_svg

TABLE = pd.DataFrame(
    {
        "batch_size": [1, 4, 16],
        "prompt_tokens": [64, 64, 64],
        "output_tokens": [8, 16, 16],
        "residual": [0.0, 0.12, -0.2],
    }
)


def drawn(table) -> ElementTree.Element:
    return ElementTree.fromstring(residual_svg(table))


def test_a_point_stands_at_the_logarithm_of_its_batch_and_at_its_residual():
    x, y = np.array([[float(c.get("cx")), float(c.get("cy"))] for c in drawn(TABLE).iter("circle")]).T
    assert len(x) == 9
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.11)  # 1, 4 and 16
    assert len(set(x[3:6])) == 1 and x[7] == x[8] > x[6]
    assert (y[1] - y[0]) / (y[2] - y[0]) == pytest.approx(-0.12 / 0.2, abs=0.01) and y[1] < y[0] < y[2]


def test_all_points_lie_in_their_panel():
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.integers(1, 5000, (50, 3)), columns=["batch_size", "prompt_tokens", "output_tokens"])
    svg = drawn(table.assign(residual=rng.normal(size=50)))
    frames = [[float(r.get(k)) for k in ("x", "y", "width", "height")] for r in svg.iter("rect")]
    for (left, top, width, height), group in zip(frames, svg.iter("g"), strict=True):
        for dot in group:
            assert left < float(dot.get("cx")) < left + width and top < float(dot.get("cy")) < top + height


@pytest.mark.parametrize(("largest", "limit"), [(0.2, "20 %"), (0.21, "50 %"), (0.0, "0.1 %"), (3.0, "500 %")])
def test_the_axis_ends_at_a_round_number_that_holds_the_largest(largest, limit):
    table = TABLE.assign(residual=[0.0, largest / 2, -largest])
    assert [f"-{limit}", limit] == [t for t in re.findall(r">(-?[0-9.]+ %)<", residual_svg(table)) if t != "0 %"]


def test_it_says_in_words_what_it_shows():
    assert "the largest is 20.0 %" in drawn(TABLE).get("aria-label")
    labels = {text.text for text in drawn(TABLE).iter("text")}
    assert {"Batch size", "Prompt (tokens)", "Output (tokens)", "Relative residual", "1", "16", "64"} <= labels


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (None, "residuals"),
        (TABLE.drop(columns="residual"), "residual: missing"),
        (TABLE[:0], "no rows"),
        (TABLE.assign(residual=[0.1, np.nan, 0.2]), "row 1, residual: nan"),
    ],
)
def test_residuals_that_cannot_be_drawn_are_named(table, says):
    with pytest.raises(simlib.InputError, match=says):
        residual_svg(table)
