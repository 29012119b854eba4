"""The studies of the rules: what must come out whatever the seed."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.sla_paper import figures, rules, tables


@pytest.fixture(scope="module")
def overflow():
    return rules.overflow(epsilons=(0.05, 0.2), batches=(64,), replications=2)


def test_equation_12_keeps_its_promise_for_normal_sums_and_estimates_break_it(overflow):
    """4,000 batches a cell: an overflow of 5 % has a standard error of 0.35 points, so that 7 % is 6 of them."""
    rows = overflow[(overflow["lengths"] == "normal_like") & (overflow["epsilon_m"] == 0.05)].set_index("requests_seen")
    assert rows.loc[0, "overflow_share"] < 0.07
    assert rows.loc[64, "overflow_share"] > rows.loc[0, "overflow_share"]


def test_an_equal_workload_is_evicted_in_cycles_and_the_released_patch_evicts_less():
    table = rules.memory_in_engine(rules=("released", "original"), replications=2, requests=200)
    equal = table[table["lengths"] == "equal"].set_index("memory_rule")
    assert equal.loc["original", "preemptions_per_request"] == 0
    assert 0 < equal.loc["released", "preemptions_per_request"] < equal.loc["none", "preemptions_per_request"]
    kept = rules.memory_run("equal", None, 800).kv["kv_share"].to_numpy()
    cycles = np.count_nonzero((kept[1:] < 0.9) & (kept[:-1] >= 0.9))
    assert cycles >= 3


def test_the_regression_settles_sooner_and_nearer_than_the_papers_rule():
    table = rules.settling(("paper", "regression"), starts=(256,), windows=(16,), intervals=(16,), replications=2)
    steps, distance = (table.set_index("sla_rule")[name] for name in ("steps", "distance"))
    assert steps["regression"] < steps["paper"] and distance["regression"] < distance["paper"]


def test_no_rule_beats_the_static_cap_without_slower_steps():
    table = rules.against_hindsight(("regression",), (16,), requests=1500, replications=2)
    ratio = table.set_index("sla_rule")["throughput_ratio"]
    assert ratio["static"] == 1 and ratio["regression"] < 1.0


def test_figures_show_what_is_there_and_cut_what_lies_far(overflow):
    assert len(figures.overflow(overflow).axes) == 2
    response = figures.response(rules.step_response(("paper",), requests=300), 90.9)
    assert response.axes[0].lines
    points = {"sla_rule": ["paper", "printed"], "deadline_s": 0.04, "expected_batch": 45.0, "running": [42.0, 96.0]}
    table = pd.DataFrame(points).assign(ci_low=lambda t: t["running"] - 1, ci_high=lambda t: t["running"] + 1)
    axis = figures.fixed_points(table).axes[0]
    assert "+51 (cut)" in [text.get_text() for text in axis.texts]
    assert axis.get_ylim() == (-8, 8)


def test_a_rule_is_shown_at_its_slowest():
    rows = {"sla_rule": ["paper", "paper", "aimd"], "b_start": [1, 32, 1], "window_steps": 16, "interval_steps": 1}
    table = pd.DataFrame(rows | {"steps": [10.0, 200.0, 30.0]})
    for name in ("steps_ci_low", "steps_ci_high", "away_share", "away_ci_low", "away_ci_high",
                 "distance", "ci_low", "ci_high"):  # fmt: skip
        table[name] = 1.0
    shown = tables.show_settling(table).data
    assert shown["rule"].tolist() == ["paper's rule", "additive increase"] and shown["first cap"].tolist() == [32, 1]


def test_an_unknown_kind_of_lengths_is_named():
    with pytest.raises(simlib.InputError, match="burstgpt"):
        rules.overflow(sources=("burst",), replications=2)
