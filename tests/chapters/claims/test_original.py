"""The original's document: every statement that the rule finds is in the ledger, and changed tables change verdicts."""

import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from book.chapters.claims import original
from book.chapters.claims.statements import statements
from book.kit.evidence import ledger
from simlib import levels

RESULTS = Path(__file__).resolve().parents[3] / "data" / "results"
SAID = original.statements_of()
DOCUMENT = os.environ.get("SIMLIB_ORIGINAL_DOCUMENT", "")  # its architecture page, where there is a copy


@pytest.fixture(scope="module")
def table():
    return ledger(original.claims_of(RESULTS))


def changed(tmp_path, name, change):
    """The ledger from the committed tables, one of them changed."""
    for file in RESULTS.glob("*.csv"):
        shutil.copy(file, tmp_path)
    rows = pd.read_csv(tmp_path / f"{name}.csv")
    change(rows)
    rows.to_csv(tmp_path / f"{name}.csv", index=False)
    return ledger(original.claims_of(tmp_path)).set_index("claim")["verdict"]


def test_every_statement_is_part_of_a_claim_or_says_why_it_is_none():
    assert ((SAID["claim"] != "") != (SAID["no_claim"] != "")).all()
    assert sorted(SAID["statement"].unique()) == list(range(1, SAID["statement"].max() + 1))


def test_every_claim_is_in_the_ledger_once(table):
    assert len(table) == SAID.loc[SAID["claim"] != "", "claim"].nunique()
    assert not table.duplicated("claim").any()


def test_a_claimed_figure_is_the_one_that_is_printed():
    for row in SAID[
        (SAID["claimed"] != "") & (SAID["text"] != "3-4x") & (SAID["text"] != "half a second")
    ].itertuples():
        printed = [abs(float(text)) for text in re.findall(r"\d+(?:\.\d+)?", row.text)]
        claimed = abs(float(row.claimed))
        assert any(p == pytest.approx(claimed) or p == pytest.approx(100 * claimed) for p in printed), row


def test_the_figures_are_those_of_the_documents_tables():
    figures = SAID[SAID["claimed"] != ""].groupby("claim")["claimed"]
    assert (figures.agg(lambda values: values.astype(float).nunique()) == 1).all()
    for row in levels.claims().itertuples():
        short = row.scheduler.split("_")[0]
        for metric, column in original.METRICS.items():
            assert float(figures.get_group(f"l{row.level}_{short}_{metric}").iloc[0]) == getattr(row, column)


@pytest.mark.skipif(not DOCUMENT, reason="SIMLIB_ORIGINAL_DOCUMENT names no copy of the document")
def test_the_statements_are_what_the_rule_finds_in_the_document():
    found = pd.DataFrame(statements(Path(DOCUMENT).read_text()))
    kept = SAID.drop_duplicates("statement").reset_index(drop=True)
    pd.testing.assert_frame_equal(kept[list(found)], found, check_dtype=False)


def test_known_verdicts(table):
    verdicts = table.set_index("claim")["verdict"]
    assert verdicts["fit to the measurements, R²"] == "circular"
    assert verdicts["points of the measured grid"] == "erratum"
    assert verdicts["at every level bins have the fewest late requests"] == "erratum"
    assert verdicts["level 3: bins have the fewest late requests of the three"] == "reproduced"
    assert verdicts["level 1: late requests with bins, relative to dynamic batching"] == "not reproduced"
    assert verdicts["level 3, dynamic batching: share of late requests"] == "not reproduced"
    assert verdicts["level 4, static batches: mean latency, s"] == "not reproduced"
    assert verdicts["level 4, static batches: share of late requests"] == "reproduced alone"
    assert verdicts["level 1: execution time, s"] == "not testable here"


def test_a_grid_that_was_measured_would_not_be_circular(tmp_path):
    def measured(rows):
        rows.loc[rows["grid"] == original.GRID, "computed"] = False

    assert changed(tmp_path, "batch_times_evidence_fit", measured)["fit to the measurements, R²"] == "reproduced"


def test_other_runs_give_another_verdict(tmp_path):
    def late(rows):
        rows.loc[rows["scheduler"] == "static_fifo", "sla_violation_share"] += 0.5

    verdicts = changed(tmp_path, "level_1_replications", late)
    assert verdicts["level 1, static batches: share of late requests"] == "not reproduced"


def test_a_difference_that_is_not_established_reproduces_no_ranking(tmp_path):
    verdicts = changed(tmp_path, "levels_differences", lambda rows: rows.update({"p_holm": rows["p_holm"] * 0 + 0.06}))
    assert verdicts["level 3: bins have the fewest late requests of the three"] == "not reproduced"


def test_what_a_run_printed_is_judged_together_level_by_level():
    found = original.together_of(RESULTS)
    assert found["replications"].eq(100).all() and len(found) == 12
    # Level 4's pairs lie 8 to 10 standard deviations of a regression apart; the others' are nothing unusual.
    assert (found.query("level == 4")["distance"] > 8).all() and (found.query("level < 4")["p_value"] > 0.1).all()
