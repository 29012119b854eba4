"""Whether plans held is counted by hand on small tables, and what windows bear is what a plan finds that they bear."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.planning import coverage, figures, tables, traffic
from simlib import StepLaw
from simlib.planning import fleet, objectives
from simlib.planning.demand import of_table
from simlib.planning.plan import Case, Configuration
from simlib.planning.trials import Trials

LEAST = np.log(coverage.LOADS[0])


def rows(series, allowed, borne, windows=2):
    """Plans of one record, with intervals that hold every window."""
    logs = {"allowed": np.log(allowed), "forecast": np.log(allowed), "next": np.log(borne)}
    ends = {"low": -9.0, "high": 9.0, "plain_low": -18.0, "plain_high": 18.0}
    return pd.DataFrame(logs | ends | {"windows": windows, "series": series, "kind": "recorded", "traffic": "mine"})


def test_hindsight_is_told_as_one_load_and_window_by_window():
    table = pd.concat([rows(0, [0.5, 0.5, 0.5], [1.0, 1.0, 2.0]), rows(1, [1.0, 1.0], [2.0, 2.0], windows=30)])
    found = coverage.judged(table, ["kind"], confidence=0.5).iloc[0]  # one load: the medians, 1 and 2
    assert (found["pairs"], found["records"], found["no_plan"], found["held"]) == (5, 2, 0, 1.0)
    assert found["score_ratio"] == pytest.approx(0.5)
    assert found["over_one"] == pytest.approx((6 + 2) / (3 + 1))
    assert found["promise"] == pytest.approx((3 + 1) / (2.5 + 1))
    assert found["over_each"] == pytest.approx(found["over_one"] * found["promise"])
    assert found["over_one_long"] == pytest.approx(2.0)


def test_below_the_least_load_no_plan_is_made_and_a_window_there_is_not_held():
    least = np.exp(LEAST)
    table = rows(0, [least, 0.01, 0.5, 0.5], [1.0, 1.0, least, 1.0])
    found = coverage.judged(table, ["kind"], confidence=0.999).iloc[0]
    assert (found["pairs"], found["no_plan"], found["held"]) == (2, 2, 0.5)
    assert found["over_one"] == pytest.approx(4 / (2 / least), rel=0.01)
    assert found["over_one_all"] == pytest.approx((2 / least + 4) / (4 / least), rel=0.01)


def test_an_interval_by_records_counts_each_record_once():
    assert coverage.clustered(np.array([9, 9]), np.array([10, 10])) == pytest.approx((0.9, 0.9, 0.9))
    share, low, high = coverage.clustered(np.array([10, 8]), np.array([10, 10]))
    assert share == 0.9 and low == 0.0 and high == 1.0  # a standard error of 0.1, times 12.7
    assert np.isnan(coverage.clustered(np.array([3]), np.array([4]))[1])
    more, low, high = coverage.over(np.array([12, 8]), np.array([10, 10]))
    assert (more, high - low) == pytest.approx((1.0, 2 * 12.706 * 0.2), rel=1e-3)  # of ratios nothing is cut


def test_windows_bear_what_a_plan_finds_that_they_bear():
    law = fleet.engine(StepLaw(0.008, 0.0002, 0.00004, 5e-8), kv_tokens=40_000)
    table = traffic.drawn(traffic.WORLDS[1], 12, 30.0, 2.0, seed=3)
    record, chosen = traffic.Record("bursts", table, 30.0), Configuration(law, 1, 8, 512)
    found = coverage.served(record, chosen, "ttft_p99<=2")
    trials = Trials(of_table(table, "bursts", 30.0), objectives.parse("ttft_p99<=2"), 0.4)
    borne = trials.borne(Case(chosen, 0))
    assert found.borne == pytest.approx(borne[:-1], abs=0.06) and np.ptp(found.borne) > 0.1
    assert found.whole[-1] == pytest.approx(borne[-1], abs=0.06)
    each = coverage.origins(found)
    assert (
        each["windows"].tolist() == list(range(2, len(borne) - 1)) and each["next"].tolist() == found.borne[2:].tolist()
    )
    assert (each["allowed"] <= found.whole[1:-1]).all() and (each["allowed"] <= each["forecast"]).all()
    assert (each["allowed"] > LEAST).any()
    table = coverage.judged(each.assign(kind="generated", traffic="bursts", series=0), ["kind", "traffic"])
    shown = tables.show_held(table).to_html()
    assert "bursts, generated" in shown and "price of the promise" in shown
    assert any("%" in text.get_text() for text in figures.held(table).axes[0].texts)
