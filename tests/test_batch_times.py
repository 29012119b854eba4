"""The chapter on batch times: committed tables where data is absent, sentences and figures of them."""

import pandas as pd
import pytest

import simlib
from simlib import datasets, figures, presets, reading
from simlib.studies import batch_times

COMMITTED = [pd.read_csv(datasets.committed(name)) for name in batch_times.TABLES]


def test_without_the_data_the_committed_tables_are_shown_and_marked(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    found = batch_times.study()
    assert "Not re-executed: data absent" in found.note and "SIMLIB_DATA_DIR" in found.note
    for table, committed in zip(found, COMMITTED, strict=False):
        pd.testing.assert_frame_equal(table, committed)


def test_what_the_chapter_says_is_of_its_tables():
    errors, _, left_out, evidence = COMMITTED
    answer = reading.latency.errors_answer(errors)
    assert "147 groups" in answer and "8 groups" in answer
    numbers = reading.latency.errors_numbers(errors, left_out)
    assert numbers["groups"] == 155 and numbers["unfitted"] == 9
    assert evidence.loc[evidence["computed"], "grid"].str.contains("original|power-capped").tolist() == [True, True]
    assert "the original's, regenerated" in reading.latency.computed_answer(evidence)


def test_the_committed_errors_are_those_of_the_presets():
    both = COMMITTED[0].merge(presets.table(), on=["name", "form"], suffixes=("", "_preset"))
    assert len(both) == len(COMMITTED[0])
    assert both["cv_mape"].to_numpy() == pytest.approx(both["cv_mape_preset"].to_numpy(), rel=1e-5)


def test_its_figures_and_tables_are_drawn():
    errors, residuals, left_out, evidence = COMMITTED
    shown = residuals[residuals["name"].isin(batch_times.SHOWN)]
    assert len(figures.latency.batch_times(shown).axes) == 4
    assert len(figures.latency.held_out_errors(errors).axes) == 2
    assert len(figures.latency.residuals(shown, hue="name").axes) == 3
    for show, table in (
        (reading.latency.show_errors, errors),
        (reading.latency.show_unfitted, errors),
        (reading.latency.show_left_out, left_out),
        (reading.latency.show_evidence, evidence),
    ):
        assert "<table" in show(table).to_html()


@pytest.mark.parametrize("wrong", [None, 5, pd.DataFrame({"a": [1]})], ids=repr)
def test_what_is_no_such_table_is_refused(wrong):
    for function in (batch_times.by_form, reading.latency.errors_answer, figures.latency.batch_times):
        with pytest.raises(simlib.InputError):
            function(wrong)
    with pytest.raises(simlib.InputError):
        batch_times.deviation(wrong, presets.table())
