"""Levels under measured batch times: matched load, what is chosen on other requests, both ends of prefill's share."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import figures, measured_levels, tables
from simlib import levels

MODELS = measured_levels.models(["original-calibrated", "h100-vllm-llama3-8b", "h100x8-splitwise-llama2-70b"])

FORMULA = next(iter(MODELS.values()))


@pytest.fixture(scope="module")
def runs():
    return measured_levels.runs_of(3, MODELS, requests=200, replications=3)


def test_a_split_that_was_not_measured_is_shown_at_both_ends():
    assert [split for _, split, _ in MODELS.values()] == pytest.approx([np.nan, 0.25, 1.0, np.nan], nan_ok=True)


@pytest.mark.filterwarnings("ignore:latency")
def test_load_and_deadline_are_the_models_own(runs):
    first = runs[runs["replication"] == 0].groupby("latency", sort=False).first()
    table = levels.requests_of(3, 200, 42)[0]
    for label, (_, _, model) in MODELS.items():
        at_once = simlib.simulate(table.at_rate(1e9), "static_fifo", model, 2)
        saturated_rps = 200 / at_once.times.completion_s.max()
        assert first.loc[label, "rate_rps"] == pytest.approx(0.8 * saturated_rps)
        assert first.loc[label, "d_sla_s"] == pytest.approx(2 * at_once.served.service_s.mean())


def test_one_row_a_model_and_scheduler_and_three_pairs_each(runs):
    table, differences = measured_levels.table_of(runs), measured_levels.differences(runs)
    assert len(table) == 3 * len(MODELS) and len(differences) == 3 * len(MODELS)
    shares = table.set_index(["latency", "scheduler"])["violation_share"]
    for row in differences.itertuples():
        expected = shares[row.latency, row.scheduler_a] - shares[row.latency, row.scheduler_b]
        assert row.difference == pytest.approx(expected)
    assert (differences["p_holm"].dropna() <= 1).all()


def test_no_deadline_is_longer_than_the_longest(runs):
    shorter = measured_levels.runs_of(3, MODELS, requests=200, replications=2, most_s=3.0)
    expected = runs.groupby("latency")["d_sla_s"].first().clip(upper=3.0)
    pd.testing.assert_series_equal(shorter.groupby("latency")["d_sla_s"].first(), expected)
    assert set(expected == 3.0) == {False, True}


@pytest.fixture(scope="module")
def chosen():
    model = {"mine": FORMULA}
    common = {"load": 1.5, "requests": 150}
    plans = measured_levels.greedy(measured_levels.plans_of(3, model, requests=150, fitted=500))
    arms, best = measured_levels.tuned(3, model, replications=2, plans=plans, **common)
    others = {"mine": plans["mine"] | best["mine"]}
    return arms, best["mine"], measured_levels.runs_of(3, model, replications=3, others=others, **common)


def test_each_side_has_the_arm_with_the_fewest_late_requests_on_other_seeds(chosen):
    arms, best, _ = chosen
    assert set(arms["arm"]) == {
        *measured_levels.ARMS[measured_levels.BINS],
        *measured_levels.ARMS[measured_levels.WITHOUT_BINS],
    }
    for group, mine in measured_levels.ARMS.items():
        rows = arms[arms["arm"].isin(mine)]
        assert rows.loc[rows[group], "tuned_share"].tolist() == [rows["tuned_share"].min()]
    assert best.keys() == measured_levels.ARMS.keys()
    assert best[measured_levels.WITHOUT_BINS].name in measured_levels.ARMS[measured_levels.WITHOUT_BINS]


def test_what_is_chosen_is_compared_on_the_same_requests(chosen):
    arms, _, judged = chosen
    differences = measured_levels.differences(judged)
    pairs = set(zip(differences["scheduler_a"], differences["scheduler_b"], strict=True))
    assert set(measured_levels.PAIRS) < pairs
    assert len(differences.query(measured_levels.BEST)) == 1
    shares = measured_levels.table_of(judged)
    named = differences.assign(preset="h100-vllm-llama3-8b")
    counts = tables.counted(named).set_index("rival")
    assert set(counts["models"]) == {1} and (counts["fewer"] + counts["more"] <= 1).all()
    for shown in (
        tables.show_counts(named),
        tables.show_arms(arms),
        tables.show_measured_differences(differences, arms, shares),
    ):
        assert "<table" in shown.to_html()


def test_opposite_signs_of_one_gpu_are_counted():
    row = {"level": 3, "load": 0.8, "preset": "p", "scheduler_a": measured_levels.BINS, "p_holm": 0.001}
    row |= {"scheduler_b": measured_levels.WITHOUT_BINS}
    pair = pd.DataFrame([row | {"split": 0.25, "difference": 0.1}, row | {"split": 1.0, "difference": -0.1}])
    assert tables.opposite(pair) == 1
    assert tables.opposite(pair.assign(p_holm=[0.001, 0.2])) == 0


def test_a_difference_has_the_colour_of_its_sign():
    row = {"level": 3, "load": 0.8, "preset": "h100-vllm-llama3-8b", "split": np.nan, "latency": "x"}
    rows = [
        row | {"difference": d, "ci_low": d - 0.01, "ci_high": d + 0.01, "p_holm": p}
        for d, p in ((-0.1, 0.01), (0.1, 0.5))
    ]
    axis = figures.measured_levels(pd.DataFrame(rows)).axes[0]
    points = [line for line in axis.lines if line.get_marker() == "D"]
    assert [line.get_color() for line in points] == [figures.HELPS, figures.UNKNOWN]


@pytest.mark.filterwarnings("ignore:latency")
def test_plans_are_chosen_for_each_model_and_face_the_same_requests(runs):
    plans = measured_levels.plans_of(3, MODELS, requests=200, fitted=1000)
    assert plans.keys() == MODELS.keys() and all(list(found) == list(measured_levels.PLANS) for found in plans.values())
    table = measured_levels.plans_table(3, MODELS, plans)
    wide = table.pivot_table("capacity_rps", "latency", "plan")
    # The best of all bins carries more than bins of equal mass, but for cuts at the quantiles of a list: 2 %.
    assert (wide["joint_optimum"] > 0.98 * wide["equal_mass_bins"]).all()
    others = measured_levels.greedy(plans)
    with_plans = measured_levels.runs_of(3, MODELS, requests=200, replications=3, others=others)
    same = with_plans[with_plans["scheduler"].isin(runs["scheduler"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, runs)
    differences = measured_levels.differences(with_plans)
    assert len(differences) == 4 * len(MODELS)
    assert len(figures.measured_plans(differences).axes) == 2
    assert len(tables.show_plans(table).data) == len(MODELS)
    gains = wide["joint_optimum"] / wide["equal_mass_bins"]
    pd.testing.assert_series_equal(tables.over_equal_mass(table)[3], gains[list(MODELS)], check_names=False)


def test_a_deadline_that_no_plan_meets_leaves_its_model_without():
    plans = measured_levels.plans_of(3, {"mine": FORMULA}, requests=200, fitted=500, slack=0.1)
    assert plans == {"mine": {}}
    assert measured_levels.plans_table(3, MODELS, plans).empty


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: measured_levels.models([]), "presets"),
        (lambda: measured_levels.models(["h101"]), "h101"),
        (lambda: measured_levels.runs_of(3, MODELS, load=0), "load"),
        (lambda: measured_levels.runs_of(3, MODELS, slack=-1), "slack"),
        (lambda: measured_levels.runs_of(3, MODELS, most_s=0), "most_s"),
        (lambda: measured_levels.tuned(3, MODELS, load=0.8, replications=0), "replications"),
        (lambda: measured_levels.runs_of(3, MODELS, replications=1), "replications"),
        (lambda: measured_levels.runs_of(9, MODELS), "level"),
        (lambda: measured_levels.plans_of(9, MODELS), "level"),
        (lambda: measured_levels.plans_of(3, MODELS, late_share=1.0), "late_share"),
        (lambda: measured_levels.plans_of(3, MODELS, slack=0), "slack"),
        (lambda: measured_levels.plans_of(3, MODELS, k_bins=0), "k_bins"),
        (lambda: measured_levels.table_of(None), "runs"),
        (lambda: measured_levels.differences(None), "runs"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(simlib.InputError, match=word):
        call()
