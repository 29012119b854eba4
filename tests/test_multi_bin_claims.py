"""The Multi-Bin paper's ledger, from the tables that the chapters wrote."""

from pathlib import Path

import pytest

from simlib import reading
from simlib.studies import multi_bin_claims

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"


@pytest.fixture(scope="module")
def table():
    return multi_bin_claims.table_of(RESULTS)


def test_every_claim_is_listed_once_and_has_a_verdict(table):
    assert not table.duplicated(["section", "claim"]).any()
    assert table["verdict"].str.match(r"holds( within .*)?$|does not hold|erratum|cannot be checked").all()
    assert {"Lemma 4.1", "Theorem 4.2", "Theorem 4.3", "Lemma 5.1", "Lemma A.1"} <= set(table["section"])
    assert {f"Figure {number}" for number in (3, 4, 6, 7, 8, 11)} <= set(table["section"])


def test_the_theorems_hold_and_the_known_slips_are_found(table):
    theorems = table[table["section"].str.match("Lemma|Theorem")]
    assert set(theorems["verdict"]) == {"holds"}
    slips = table.loc[table["verdict"] == "erratum", "claim"].tolist()
    for part in ("ever more bins", "smallest index", "printed time per token"):
        assert sum(part in claim for claim in slips) == 1


def test_a_figure_that_is_moved_loses_its_verdict(tmp_path):
    for path in RESULTS.glob("*.csv"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    moved = (tmp_path / "multi_bin_long_run.csv").read_text().replace("1,warm_up_removed,6.4", "1,warm_up_removed,5.4")
    moved = moved.replace(",6.446", ",5.3").replace(",6.448", ",5.5")
    (tmp_path / "multi_bin_long_run.csv").write_text(moved)
    table = multi_bin_claims.table_of(tmp_path).set_index("claim")
    assert table.loc["throughput with 1 bin, requests/s", "verdict"] == "does not hold"


def test_the_page_counts_and_names_them(table):
    text = reading.claims.claims_answer(table)
    assert text.startswith(f"Of {len(table)} claims") and "slips of the paper" in text
    assert "12.3, where we find 12.19" in reading.claims.exceptions(table)
    assert "cannot be checked" in reading.claims.show_claims(table).to_html()
    assert "Theorem 4.2" in reading.claims.show_verdicts(table).to_html()
