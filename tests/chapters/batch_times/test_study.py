"""The chapter on batch times: committed tables where data is absent, what is said of them and of a measurement."""

import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import figures, sentences, study, tables
from simlib import datasets
from simlib.calibration import cards
from simlib.latency import measurements, presets

FORMS = pd.DataFrame({"form": ["affine", "phase5"], "cv_mape": [0.2, 0.05]})
CARD = cards.Card("mine", {"form": "phase5"}, FORMS, pd.DataFrame(), pd.DataFrame())
HEADER = ",".join(measurements.COLUMNS)
COMMITTED = [pd.read_csv(datasets.committed(name)) for name in study.TABLES]


def test_without_the_data_the_committed_tables_are_shown_and_marked(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    found = study.study()
    assert "Not re-executed: data absent" in found.note and "SIMLIB_DATA_DIR" in found.note
    for table, committed in zip(found, COMMITTED, strict=False):
        pd.testing.assert_frame_equal(table, committed)


def test_what_the_chapter_says_is_of_its_tables():
    errors, _, left_out, evidence = COMMITTED
    answer = sentences.errors_answer(errors)
    assert "147 groups" in answer and "8 groups" in answer
    numbers = sentences.errors_numbers(errors, left_out)
    assert numbers["groups"] == 155 and numbers["unfitted"] == 9
    assert evidence.loc[evidence["computed"], "grid"].str.contains("original|power-capped").tolist() == [True, True]
    assert "the original's, regenerated" in sentences.computed_answer(evidence)


def test_the_committed_errors_are_those_of_the_presets():
    both = COMMITTED[0].merge(presets.table(), on=["name", "form"], suffixes=("", "_preset"))
    assert len(both) == len(COMMITTED[0])
    assert both["cv_mape"].to_numpy() == pytest.approx(both["cv_mape_preset"].to_numpy(), rel=1e-5)


def test_its_figures_and_tables_are_drawn():
    errors, residuals, left_out, evidence = COMMITTED
    shown = residuals[residuals["name"].isin(study.SHOWN)]
    assert len(figures.batch_times(shown).axes) == 4
    assert len(figures.held_out_errors(errors).axes) == 2
    assert len(figures.residuals(shown, hue="name").axes) == 3
    for show, table in (
        (tables.show_errors, errors),
        (tables.show_unfitted, errors),
        (tables.show_left_out, left_out),
        (tables.show_evidence, evidence),
    ):
        assert "<table" in show(table).to_html()


def test_the_answer_has_both_phases_and_every_forms_error():
    text = f"{HEADER}\n1,16,8,0,0.02,0.08,0.1,ok\n4,16,8,0,0.06,0.12,0.18,ok\n"
    said = sentences.calibration_answer(measurements.parse(text, "mine.csv"), CARD)
    assert "4 sequences take 1.8 times as long as 1 (0.180 s and 0.100 s, medians)" in said
    assert "prefill 3.0 times, decode 1.5 times" in said
    assert said.endswith("phase5 is off by 5.0 % in the mean (affine by 20.0 %).")


def test_totals_alone_give_no_answer():
    text = "batch_size,prompt_tokens,output_tokens,total_s\n1,16,8,0.1\n2,16,8,0.2\n"
    with pytest.raises(simlib.InputError, match=r"mine\.csv, prefill_s: none"):
        sentences.calibration_answer(measurements.parse(text, "mine.csv"), CARD)
