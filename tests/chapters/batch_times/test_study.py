"""The chapter on batch times: committed tables where data is absent, what is said of them and of a measurement."""

import pandas as pd
import pytest

from book.chapters.batch_times import figures, study, tables
from simlib import datasets
from simlib.latency import presets

COMMITTED = [pd.read_csv(datasets.committed(name)) for name in study.TABLES]


def test_without_the_data_the_committed_tables_are_shown_and_marked(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    found = study.study()
    assert "Not re-executed: data absent" in found.note and "SIMLIB_DATA_DIR" in found.note
    for table, committed in zip(found, COMMITTED, strict=False):
        pd.testing.assert_frame_equal(table, committed)


def test_the_committed_errors_are_those_of_the_presets():
    both = COMMITTED[0].merge(presets.table(), on=["name", "form"], suffixes=("", "_preset"))
    assert len(both) == len(COMMITTED[0])
    assert both["cv_mape"].to_numpy() == pytest.approx(both["cv_mape_preset"].to_numpy(), rel=1e-5)


def test_its_figures_and_tables_are_drawn():
    errors, residuals, left_out, evidence = COMMITTED
    shown = residuals[residuals["name"].isin(study.SHOWN)]
    assert len(figures.batch_times(shown).axes) == 4
    assert len(figures.held_out_errors(errors).axes) == 2
    assert len(figures.error_bands(shown).axes) == 1
    for show, table in (
        (tables.show_errors, errors),
        (tables.show_unfitted, errors),
        (tables.show_left_out, left_out),
        (tables.show_evidence, evidence),
    ):
        assert "<table" in show(table).to_html()
