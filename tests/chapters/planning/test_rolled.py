"""Whole plans on traffic whose need is known: steady, and one that grows fourfold in its last window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.planning import rolled, tables
from book.chapters.planning.traffic import Record
from simlib import StepLaw
from simlib.planning import fleet
from simlib.requests.table import RequestTable

LAW = StepLaw(0.0, 0.01, 0.0, 0.0)  # a sequence's token takes 10 ms: a replica gives 100 tokens a second
LIMIT = "ttft_p99<=1.5"


def record(gaps_s):
    arrival_s = np.cumsum(gaps_s)
    return Record("mine", RequestTable(arrival_s, np.full(len(gaps_s), 10), np.full(len(gaps_s), 50)), 60.0)


def plans(one):
    return rolled.rolled(one, fleet.engine(LAW, kv_tokens=10_000), (1, 2), 64, LIMIT, 2, 1)


def test_steady_traffic_gets_the_fleet_that_it_needs():
    found = plans(record(np.full(360, 0.8)))  # half a second's work each 0.8 s
    assert found["windows"].tolist() == [2, 3] and found["met"].all()
    assert (found[["gpus", "one_fleet", "each_window"]] == 1).all().all()


def test_a_surge_that_the_past_does_not_know_is_missed_and_hindsight_has_more():
    found = plans(record(np.concatenate([np.full(300, 0.8), np.full(300, 0.2)])))
    last = found.iloc[-1]
    assert last["gpus"] < last["each_window"] == 3 and not last["met"]  # 2.5 replicas' work
    assert found["met"].iloc[:-1].all() and (found["one_fleet"] == 3).all()


def test_plans_are_counted_and_compared_where_there_is_one():
    each = pd.DataFrame(
        {
            "gpus": [2, 4, np.nan, 3],
            "met": [True, False, False, True],
            "one_fleet": [2, 2, 2, 3],
            "each_window": [1, 4, 2, np.nan],
            "series": [0, 0, 0, 1],
            "kind": "recorded",
            "traffic": "mine",
        }
    )
    found = rolled.judged(each, ["kind", "traffic"]).iloc[0]
    assert (found["plans"], found["records"], found["no_plan"]) == (3, 2, 1)
    assert found["held"] == pytest.approx(2 / 3)
    assert found["over_one"] == pytest.approx(9 / 7) and found["over_each"] == pytest.approx(6 / 5)
    assert "mine, recorded" in tables.show_rolled(rolled.judged(each, ["kind", "traffic"])).to_html()
