"""Levels under measured batch times: matched load, both ends of the split, paired differences."""

import numpy as np
import pytest

import simlib
from simlib import figures, reading
from simlib.studies import measured_levels

MODELS = measured_levels.models(["original-calibrated", "h100-vllm-llama3-8b", "h100x8-splitwise-llama2-70b"])


@pytest.fixture(scope="module")
def runs():
    return measured_levels.runs_of(3, MODELS, requests=200, replications=3)


def test_a_split_that_was_not_measured_is_shown_at_both_ends():
    assert [split for _, split, _ in MODELS.values()] == pytest.approx([np.nan, 0.25, 0.65, np.nan], nan_ok=True)


@pytest.mark.filterwarnings("ignore:latency")
def test_load_and_deadline_are_the_models_own(runs):
    first = runs[runs["replication"] == 0].groupby("latency", sort=False).first()
    table = simlib.studies.levels.requests_of(3, 200, 42)[0]
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
    text = reading.latency.levels_answer(differences)
    assert "Level 3, load 0.8" in text and "of 3 measured models" in text
    reading.latency.show_measured_differences(differences)
    assert len(figures.latency.measured_levels(table).axes) == 1


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: measured_levels.models([]), "presets"),
        (lambda: measured_levels.models(["h101"]), "h101"),
        (lambda: measured_levels.runs_of(3, MODELS, load=0), "load"),
        (lambda: measured_levels.runs_of(3, MODELS, slack=-1), "slack"),
        (lambda: measured_levels.runs_of(3, MODELS, replications=1), "replications"),
        (lambda: measured_levels.runs_of(9, MODELS), "level"),
        (lambda: measured_levels.table_of(None), "runs"),
        (lambda: measured_levels.differences(None), "runs"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(simlib.InputError, match=word):
        call()
