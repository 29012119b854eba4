"""The Multi-Bin paper's ledger, from the tables that the chapters wrote."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from book.chapters.claims import tables
from book.chapters.multi_bin.claims import table_of
from book.kit.evidence import VERDICTS, by_claim

RESULTS = Path(__file__).resolve().parents[3] / "data" / "results"


@pytest.fixture(scope="module")
def table():
    return table_of(RESULTS)


def test_every_claim_is_listed_once_and_has_a_verdict(table):
    assert not table.duplicated(["section", "claim"]).any()
    assert set(table["verdict"]) <= set(VERDICTS)
    assert {"Lemma 4.1", "Theorem 4.2", "Theorem 4.3", "Lemma 5.1", "Lemma A.1"} <= set(table["section"])
    assert {f"Figure {number}" for number in ("1b", 3, 4, 5, 6, 7, 8, 11)} <= set(table["section"])


def test_every_value_that_was_read_in_the_paper_is_claimed(table):
    printed = pd.read_csv(RESULTS.parent / "multi_bin_paper.csv", dtype={"figure": str})
    for figure, rows in printed.groupby("figure"):
        if figure == "5":  # a distribution of lengths, which the others rest on, and one figure
            continue
        section = {"C.1": "Appendix C.1"}.get(figure, f"Figure {figure}")
        claims = table[table["section"].isin([section, "Section 4"])]
        for row in rows.itertuples():
            as_ratio = figure in ("6", "11")  # also given as multiples of one bin's
            assert as_ratio or np.isclose(claims["claimed"], row.value).any(), row


def test_the_theorems_hold_and_the_known_slips_are_found(table):
    theorems = table[table["section"].str.match("Lemma|Theorem")]
    assert set(theorems["verdict"]) == {"reproduced"}
    points = table[table["section"] == "Theorem 4.2"]
    assert len(points) == 5 and len(set(points["part_of"])) == 1  # one claim, at the numbers of bins that are printed
    slips = table.loc[table["verdict"] == "erratum", "claim"]
    for part, count in (("ever more bins", 1), ("smallest index", 1), ("printed time per token", 6)):
        assert slips.str.contains(part).sum() == count


def test_the_same_to_the_digits_is_said_only_where_it_is_so(table):
    same = table[table["rule"] == "equation: the same to the digits given"]
    digits = [len(f"{claimed:.10g}".partition(".")[2]) for claimed in same["claimed"]]
    assert [round(ours, places) for ours, places in zip(same["ours"], digits, strict=True)] == same["claimed"].tolist()
    knees = table[table["part_of"].str.contains("first rate")]
    assert (knees["verdict"] == "not reproduced").tolist() == [False, False, True, True, True]  # off by a step


def test_a_claim_stands_if_it_stands_at_each_point(table):
    claims = by_claim(table).set_index("claim")
    assert claims.loc["throughput with K bins, requests/s", ["points", "held"]].tolist() == [5, 5]
    assert claims["points"].sum() == len(table)


def test_a_figure_that_is_moved_loses_its_verdict(tmp_path):
    for path in RESULTS.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    moved = (tmp_path / "multi_bin_long_run.csv").read_text().replace("1,warm_up_removed,6.4", "1,warm_up_removed,5.4")
    moved = moved.replace(",6.446", ",5.3").replace(",6.448", ",5.5")
    (tmp_path / "multi_bin_long_run.csv").write_text(moved)
    table = table_of(tmp_path).set_index("claim")
    assert table.loc["throughput with 1 bin, requests/s", "verdict"] == "not reproduced"


def test_the_page_shows_them(table):
    assert "not testable here" in tables.show_sections(table).data
    assert "Theorem 4.2" in tables.show_verdicts(table).to_html()
