"""One ledger of all sources, and what its page says of it."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

from book.chapters.claims import figures, ledger, original, tables
from book.chapters.sla_paper import claims
from book.kit.evidence import COLUMNS, UNTESTED, VERDICTS, by_claim
from simlib.checks import InputError

ROOT = Path(__file__).resolve().parents[3]
RESULTS = ROOT / "data" / "results"


@pytest.fixture(scope="module")
def table():
    return ledger.table_of(RESULTS)


def test_it_is_the_committed_one_and_has_all_sources(table):
    assert tuple(table) == COLUMNS and set(table["verdict"]) <= set(VERDICTS)
    assert table["source"].unique().tolist() == ["original system", "Multi-Bin paper", "SLA paper", "later papers"]
    committed = pd.read_csv(RESULTS / "claims.csv", keep_default_na=False, na_values=[""])
    assert committed[["source", "claim", "verdict"]].equals(table[["source", "claim", "verdict"]])


def test_every_tested_claim_names_a_chapter_that_there_is(table):
    studies = yaml.safe_load((ROOT / "notebooks" / "studies.yaml").read_text())
    assert set(table["chapter"].fillna("")) - {""} <= set(studies)
    untested = table["verdict"].isin(UNTESTED)
    assert (table.loc[~untested, "chapter"].fillna("") != "").all()


def test_the_page_needs_every_study_whose_tables_it_reads():
    studies = yaml.safe_load((ROOT / "notebooks" / "studies.yaml").read_text())
    read = {name for name, study in studies.items() if set(study.get("tables", [])) & set(claims.TABLES)}
    assert len(read) == 2 and read <= set(studies["claims"]["needs"])


def test_the_figures_of_22_percent_are_kept_apart(table):
    shown = tables.show_twenty_two(table).data
    assert shown.count("<tr>") == 6  # with its head
    for pair in ("43.6/35.6", "35.2/28.9", "6.6/5.4", "405/331", "as the document quotes it"):
        assert shown.count(pair) == 1


def test_the_ledger_unfolds_and_has_every_claim(table):
    shown = tables.show_ledger(table).data
    assert shown.count("<details>") == shown.count("</details>") > 3 and shown.count("<tr>") >= len(table)
    assert 'href="level_1.html"' in shown


def test_statements_are_counted_once():
    numbers = tables.statement_numbers(original.statements_of())
    assert numbers["statements"] == 299 and 0 < numbers["no_claims"] < 299 and numbers["original"] == 87


def test_the_figure_has_a_bar_a_source(table):
    (axis,) = figures.verdicts(table).axes
    assert [text.get_text().split("\n")[0] for text in axis.get_yticklabels()] == list(table["source"].unique())
    assert sum(int(text.get_text()) for text in axis.texts) == len(by_claim(table)) < len(table)


def test_the_table_of_verdicts_counts_a_claim_once(table):
    shown = tables.show_verdicts(table, "source").data.set_index("source")
    assert shown.drop(columns="tested").sum().sum() == len(by_claim(table))
    untested = shown[[verdict for verdict in UNTESTED if verdict in shown]].sum(axis=1)
    assert (shown["tested"] + untested == by_claim(table)["source"].value_counts()[shown.index]).all()


def test_runs_are_shown_with_what_they_are_together():
    shown = tables.show_together(original.together_of(RESULTS)).data
    assert shown["scheduler"].unique().tolist() == ["static batches", "dynamic batching", "bins"]
    assert shown.loc[9, "late (%): claimed / ours"] == "11.5 / 11.2" and len(shown) == 12


def test_a_missing_chapter_is_named(tmp_path):
    with pytest.raises(InputError, match="level_1_replications"):
        ledger.table_of(tmp_path)
