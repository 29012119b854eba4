"""All results at a glance: what is taken from the tables, and what is drawn and said of it."""

import re
from pathlib import Path

import pandas as pd
import pytest

from book.chapters.glance import study, tables
from book.chapters.glance.study import Source
from simlib.checks import InputError

RESULTS = Path(__file__).resolve().parents[3] / "data" / "results"
BY_K = Source("shares", "k_sensitivity", "Late, {kind}", "share", unit="points", reference=0.0, over="k_bins", at=2)


@pytest.fixture
def shares(tmp_path) -> Path:
    rows = {"kind": ["a", "a", "b"], "k_bins": [1, 2, 1], "share": [0.5, -0.25, 0.1], "ci_low": 0.0, "ci_high": 0.6}
    pd.DataFrame(rows).to_csv(tmp_path / "shares.csv", index=False)
    return tmp_path


def test_a_series_is_one_result_at_the_place_that_is_asked_for_or_at_its_end(shares):
    found = study.collect(shares, (BY_K,))
    assert found["statement"].tolist() == ["Late, a, K = 2", "Late, b, K = 1"]
    assert found["value"].tolist() == [-25.0, 10.0] and found["ci_high"].tolist() == [60.0, 60.0]
    assert [point[:2] for point in found["series"][0]] == [(1.0, 50.0), (2.0, -25.0)]


def test_names_in_tables_are_said_in_words(shares):
    rows = pd.read_csv(shares / "shares.csv").assign(kind=["multi_bin_dynamic"] * 2 + ["a_new_rule"])
    rows.to_csv(shares / "shares.csv", index=False)
    assert study.collect(shares, (BY_K,))["statement"].tolist() == ["Late, bins, K = 2", "Late, a new rule, K = 1"]


def test_what_could_not_be_measured_is_no_result_and_a_missing_interval_is_not_drawn(shares):
    table = pd.read_csv(shares / "shares.csv")
    table.loc[2, ["share", "ci_low", "ci_high"]] = [0.3, float("nan"), float("nan")]
    table.loc[0, "share"] = float("nan")
    table.to_csv(shares / "shares.csv", index=False)
    found = study.collect(shares, (BY_K,))
    assert found["value"].tolist() == [-25.0, 30.0]
    shown = tables.show_results(found).data
    assert shown.count('class="interval"') == 1 and shown.count("<circle") == 2 and "nan" not in shown


def test_a_missing_table_or_column_and_rows_that_are_said_alike_are_refused(shares):
    with pytest.raises(InputError, match=r"none\.csv is not there"):
        study.collect(shares, (Source("none", "x", "x", "share"),))
    with pytest.raises(InputError, match=r"shares\.csv.*price.*expected what x writes"):
        study.collect(shares, (Source("shares", "x", "x", "price"),))
    with pytest.raises(InputError, match=r"several rows are 'Late, a'"):
        study.collect(shares, (Source("shares", "x", "Late, {kind}", "share"),))


def test_every_source_has_results_in_the_committed_tables_and_every_one_its_interval():
    for source in study.SOURCES:
        found = study.collect(RESULTS, (source,))
        assert len(found) and found["statement"].is_unique, source
        assert ((found["ci_low"] <= found["value"]) & (found["value"] <= found["ci_high"])).all(), source


def test_an_interval_and_its_reference_are_drawn_where_they_lie():
    drawn = tables.drawing([(0.0, 5.0, 0.0, 10.0)], 10.0, (0.0, 10.0))
    assert 'class="interval" d="M3.0 10H117.0"' in drawn and 'class="reference" d="M117.0' in drawn
    assert 'cx="60.0"' in drawn and 'aria-hidden="true"' in drawn


def test_a_series_is_a_curve_with_a_band_and_is_told_to_whoever_does_not_see_it(shares):
    shown = tables.show_results(study.collect(shares, (BY_K,))).data
    first, second = re.findall(r"<tr><td>.*?</tr>", shown)
    assert 'class="band"' in first and 'class="curve"' in first
    assert 'aria-label="series from 50 at 1 to −25 at 2, between −25 and 50"' in first
    assert "−25 <small>(0 to +60)</small> points" in first and 'href="k_sensitivity.html"' in first
    assert 'class="interval"' in second and "NaN" not in shown and "nan" not in shown


def test_a_claim_that_nobody_could_test_has_no_drawing():
    row = {"source": "paper", "claim": "x < y", "claimed": 0.2, "ours": None, "ci_low": None, "ci_high": None}
    shown = tables.show_claims(pd.DataFrame([row | {"verdict": "not testable here", "chapter": None}]).astype(
        {"ours": float, "ci_low": float, "ci_high": float}
    )).data  # fmt: skip
    assert "x &lt; y" in shown and "<svg" not in shown and "not testable here" in shown and 'data-value=""' in shown
