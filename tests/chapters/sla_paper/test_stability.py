"""The load at which a controller starves itself: its bisection by hand, and what must come out whatever the seed."""

import math

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.sla_paper import figures, stability, tables


@pytest.fixture(scope="module")
def table():
    controls = [{"sla": "paper", "feedback": fed} for fed in ("step", "latency")]
    return stability.collapse_loads(controls, loads=(0.1, 0.7), requests=2000, replications=3)


def test_end_to_end_feedback_falls_to_its_floor_and_step_feedback_never_falls(table):
    by = table.set_index(["feedback", "start"])
    assert by.loc["step", "collapse_load"].isna().all() and (by.loc["step", "ci_low"] == 0.7).all()
    fallen = by.loc[("latency", "backlog")]
    assert fallen["fallen_share"] == 1.0 and fallen["of_floor"] == pytest.approx(1.0, rel=0.1)
    # Below the floor's rate, 0.19 of the load, a fallen rule keeps up; from empty it falls later.
    assert 0.18 < fallen["collapse_load"] < by.loc[("latency", "empty"), "collapse_load"] < 0.7
    assert by.loc[("step", "empty"), "kept_up"] > 0.95 > by.loc[("latency", "backlog"), "kept_up"]


def test_the_interval_is_halved_where_half_of_the_runs_begin_to_collapse():
    asked = []

    def kept(load):
        asked.append(load)
        return np.where(load < np.array([0.05, 0.30, 0.45]), 1.0, 0.5)

    found = stability.bisected(kept, (0.2, 0.4, 0.8))
    assert asked[3:] == pytest.approx([0.3, 0.25, 0.275, 0.2875])
    fallen = {load: share < stability.COLLAPSED for load, share in found.items()}
    told = stability.half_fallen(fallen, seed=1)
    assert told["collapse_load"] == pytest.approx(0.2875 + 0.0125 / 2)  # a third, then two thirds: half lies between
    assert told["ci_low"] < 0.2 and 0.4 < told["ci_high"] <= 0.8


def test_where_too_few_fall_the_load_is_missing_and_its_interval_begins_at_the_largest():
    told = stability.half_fallen({0.5: np.zeros(20, bool), 0.9: np.arange(20) < 2}, seed=1)
    assert math.isnan(told["collapse_load"]) and math.isnan(told["ci_high"]) and told["ci_low"] == 0.9
    assert stability.half_fallen({0.5: np.ones(20, bool)}, seed=1)["collapse_load"] == 0.25


def test_the_figure_has_a_band_a_feedback_and_the_table_says_what_was_not_found(table):
    figure = figures.collapse_loads(table)
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == [
        figures.FED_NAMES[f] for f in ("step", "latency")
    ]
    assert [text.get_text() for text in figure.axes[0].texts] == ["not up to 0.7"]
    shown = tables.show_collapse(table).data
    assert shown["fed with"].tolist() == ["steps", "end-to-end times"]
    assert shown["from empty"].iloc[0] == "not up to 0.7" and shown["from a backlog"].iloc[1].startswith("0.2")
    changed = tables.show_collapse(pd.concat([table, table.assign(changed="α = 4")], ignore_index=True)).data
    assert changed["changed"].tolist() == ["runs of 2,000 requests"] * 2 + ["α = 4"] * 2


def test_bad_input_is_named():
    with pytest.raises(simlib.InputError, match="requests: 5"):
        stability.collapse_loads(requests=5)
    with pytest.raises(simlib.InputError, match="replications: 1"):
        stability.collapse_loads(replications=1)
