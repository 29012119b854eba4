"""The ledger put together: counts by series and models by hand, committed tables, rows that are added by a file."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.engines import figures, rows, study, tables
from book.chapters.trust import real_engine
from simlib import datasets

COMMITTED = pd.read_csv(datasets.committed("engines"))
RESULTS = datasets.committed("engines").parent


def row(series, model, error, null, blind=False, circumstance=rows.DENSE):
    said = {"kind": rows.CLOSED, "metric": "tpot", "statistic": "mean", "series": series, "model": f"{model}, bf16"}
    said |= {"circumstance": circumstance, "blind": blind, "afterwards": ""}
    return said | {"error_percent": error, "null_error_percent": null}


def test_series_are_counted_and_not_runs():
    """Nine runs of one series at 10 %, one each of two others at 1 % and 2 %: the median series is at 2."""
    found = [row("a", "x", -10.0, 20.0) for _ in range(9)] + [row("b", "x", 1.0, 4.0), row("c", "y", 2.0, 4.0, True)]
    every, blind = study.summary(pd.DataFrame(found)).query("circumstance == 'all'").to_dict("records")
    assert (every["rows"], every["series"], every["models"]) == (11, 3, 2)
    assert (every["error_percent"], every["null_percent"], every["skill"]) == (2.0, 4.0, 0.5)
    assert every["error_p90_percent"] == pytest.approx(8.4) and every["model_percent"] == (5.5 + 2) / 2
    assert np.isnan(every["skill_low"])  # two models say nothing of others
    assert (blind["rows"], blind["error_percent"]) == (1, 2.0)


def test_with_equal_models_the_skill_has_no_spread_and_with_unequal_ones_it_has():
    equal = [row(f"{model}{n}", model, 2.0, 4.0) for model in "abcde" for n in range(3)]
    same = study.summary(pd.DataFrame(equal)).iloc[0]
    assert same["skill_low"] == same["skill"] == same["skill_high"] == 0.5
    unequal = [one | {"error_percent": 1.0 + ord(one["model"][0]) % 3} for one in equal]
    other = study.summary(pd.DataFrame(unequal)).iloc[0]
    assert other["skill_low"] < other["skill"] < other["skill_high"]


def test_a_circumstance_is_summed_up_by_itself():
    found = [row("a", "x", 2.0, 4.0), row("b", "y", 6.0, 12.0, circumstance=rows.MIXTURE)]
    by = study.summary(pd.DataFrame(found)).set_index("circumstance")["error_percent"]
    assert by.to_dict() == {"all": 4.0, rows.DENSE: 2.0, rows.MIXTURE: 6.0}


def test_the_spread_of_what_was_seen_is_tried_on_what_was_not():
    """Seen series at 1 to 11 %: nine tenths are within 10; of two blind ones at 9 and 12 % one is."""
    found = [row(f"s{error}", "x", float(error), 4.0) for error in range(1, 12)]
    found += [row("b", "y", -9.0, 4.0, True), row("c", "y", 12.0, 4.0, True)]
    (carried,) = study.carried(pd.DataFrame(found)).to_dict("records")
    assert (carried["error_p90_percent"], carried["within"], carried["series"]) == (10.0, 0.5, 2)


def test_the_worst_series_come_first_with_what_shows_afterwards():
    found = [row("a", "x", 2.0, 4.0), row("b", "y", -60.0, 12.0) | {"afterwards": rows.FALLS}]
    worst = study.worst(pd.DataFrame(found))
    assert worst["series"].tolist() == ["b", "a"] and worst["error_percent"].tolist() == [60.0, 2.0]
    assert tables.show_worst(worst).data["why"].tolist() == [tables.WHY[rows.FALLS], tables.WHY[rows.DENSE]]


def test_the_committed_ledger_has_the_columns_and_its_own_arithmetic():
    assert list(COMMITTED) == list(rows.COLUMNS)
    off = 100 * (COMMITTED["predicted"] / COMMITTED["measured"] - 1)
    assert np.abs(off - COMMITTED["error_percent"]).max() < 0.01
    null = 100 * (COMMITTED["null_predicted"] / COMMITTED["measured"] - 1)
    assert np.abs(null - COMMITTED["null_error_percent"]).max() < 0.01
    assert not COMMITTED.duplicated(["series", "kind", "load", "metric", "statistic"]).any()
    log = COMMITTED[COMMITTED["kind"] == rows.LOG]
    assert not log["blind"].any() and len(log) == 48


def test_clock_and_processor_stand_in_lines_of_their_own():
    """A kind's errors are of one device, and a line of the picture of one kind, loads without a switch."""
    own = COMMITTED[COMMITTED["kind"].isin((rows.CLOCK, rows.CPU))]
    assert own.groupby("kind")["gpu"].unique().map(list).to_dict() == {rows.CLOCK: ["clock"], rows.CPU: ["cpu"]}
    assert own["null_predicted"].notna().all()
    here = [line for line in figures.LINES if line.kind in (rows.CLOCK, rows.CPU)]
    assert len(here) == 6 and {line.circumstance for line in here} == {rows.DENSE}


def test_the_committed_summary_is_that_of_the_committed_rows():
    summary = pd.read_csv(datasets.committed("engines_summary"))
    part = COMMITTED[COMMITTED["kind"] == rows.LENGTHS]
    again = study.summary(part).query("circumstance == 'all'").set_index("blind")
    same = summary[(summary["kind"] == rows.LENGTHS) & (summary["circumstance"] == "all")].set_index("blind")
    assert again["skill"].to_dict() == same["skill"].to_dict()


@pytest.fixture
def absent(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    return tmp_path


def test_without_the_data_the_committed_tables_are_shown_and_said(absent):
    table, checked, note = study.ledger(RESULTS)
    again, committed = (each["kind"].isin((rows.CLOCK, rows.CPU)) for each in (table, COMMITTED))
    pd.testing.assert_frame_equal(table[~again], COMMITTED[~committed], check_dtype=False)
    assert again.sum() == committed.sum() > 0  # what the repository has itself
    pd.testing.assert_frame_equal(checked, pd.read_csv(datasets.committed("engines_presets")))
    assert "data absent" in note and "SIMLIB_DATA_DIR" in note


def test_rows_of_a_file_join_without_a_change_of_code(absent, monkeypatch):
    said = {"source": "this machine", "engine": "vLLM", "version": "1", "model": "m", "gpu": "CPU", "parallel": "TP 1"}
    said |= {"load": "half", "metric": "e2e", "statistic": "mean", "fitted_on": "two loads", "blind": True}
    file = absent / "mine.csv"
    pd.DataFrame([said | {"measured": 2.0, "predicted": 2.1}]).to_csv(file, index=False)
    shipped = datasets.shipped
    monkeypatch.setattr(study, "GIVEN", ("mine.csv",))
    monkeypatch.setattr(real_engine, "runs", lambda: ["clock"])
    monkeypatch.setattr(datasets, "shipped", lambda name: file if name == "mine.csv" else shipped(name))
    table, _, _ = study.ledger(RESULTS)
    assert table.iloc[-1][["kind", "error_percent", "series"]].tolist() == [
        rows.GIVEN, pytest.approx(5.0), "this machine, vLLM, m, CPU, TP 1",
    ]  # fmt: skip
    summary = study.summary(table)
    drawn = figures.errors(summary).axes[0]
    assert drawn.get_yticklabels()[-1].get_text() == "End to end, given"


def test_the_picture_has_a_line_for_what_the_summary_has():
    summary = pd.read_csv(datasets.committed("engines_summary"))
    axis = figures.errors(summary).axes[0]
    said = [label.get_text() for label in axis.get_yticklabels()]
    assert said == tables.show_summary(summary).data["what"].tolist()
    ours = [line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"]
    own = summary[~summary["blind"]].set_index(["kind", "metric", "statistic", "circumstance"])["error_percent"]
    assert ours == [own[tuple(line[1:])] for line in figures.LINES[: len(ours)]]


def test_the_tables_name_every_engine_and_every_preset():
    engines = tables.show_engines(COMMITTED).data
    assert set(engines["model"]) == set(COMMITTED["model"]) and (engines["runs"].str.rstrip(" *").astype(int) > 0).all()
    presets = tables.show_presets(pd.read_csv(datasets.committed("engines_presets"))).data
    assert len(presets) >= 5 and presets["error %"].str.startswith("+").all()
