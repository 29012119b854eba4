"""Levels under measured batch times: matched load, both ends of the split, paired differences."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import figures, measured_levels, tables
from simlib import levels

MODELS = measured_levels.models(["original-calibrated", "h100-vllm-llama3-8b", "h100x8-splitwise-llama2-70b"])


@pytest.fixture(scope="module")
def runs():
    return measured_levels.runs_of(3, MODELS, requests=200, replications=3)


def test_a_split_that_was_not_measured_is_shown_at_both_ends():
    assert [split for _, split, _ in MODELS.values()] == pytest.approx([np.nan, 0.25, 0.65, np.nan], nan_ok=True)


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
    tables.show_measured_differences(differences)
    assert len(figures.measured_levels(table).axes) == 1


@pytest.mark.filterwarnings("ignore:latency")
def test_plans_are_chosen_for_each_model_and_face_the_same_requests(runs):
    plans = measured_levels.plans_of(3, MODELS, requests=200, fitted=1000)
    assert plans.keys() == MODELS.keys() and all(list(found) == list(measured_levels.PLANS) for found in plans.values())
    table = measured_levels.plans_table(3, MODELS, plans)
    wide = table.pivot_table("capacity_rps", "latency", "plan")
    # The best of all bins carries more than bins of equal mass, but for cuts at the quantiles of a list: 2 %.
    assert (wide["joint_optimum"] > 0.98 * wide["equal_mass_bins"]).all()
    with_plans = measured_levels.runs_of(3, MODELS, requests=200, replications=3, plans=plans)
    same = with_plans[with_plans["scheduler"].isin(runs["scheduler"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, runs)
    differences = measured_levels.differences(with_plans)
    assert len(differences) == 5 * len(MODELS)
    figure = figures.measured_plans(differences)
    assert "Level 3, load 0.8" in (figure.axes[0].get_title(), figure.axes[0].get_title("left"))
    assert len(tables.show_plans(table).data) == len(MODELS)
    gains = wide["joint_optimum"] / wide["equal_mass_bins"]
    pd.testing.assert_series_equal(tables.over_equal_mass(table)[3], gains[list(MODELS)], check_names=False)


def test_a_deadline_that_no_plan_meets_leaves_its_model_without():
    plans = measured_levels.plans_of(3, {"mine": MODELS["original-calibrated"]}, requests=200, fitted=500, slack=0.1)
    assert plans == {"mine": {}}
    assert measured_levels.plans_table(3, MODELS, plans).empty


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: measured_levels.models([]), "presets"),
        (lambda: measured_levels.models(["h101"]), "h101"),
        (lambda: measured_levels.runs_of(3, MODELS, load=0), "load"),
        (lambda: measured_levels.runs_of(3, MODELS, slack=-1), "slack"),
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
