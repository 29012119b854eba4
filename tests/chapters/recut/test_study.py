"""Bins that are cut anew against the best without: pairs, what is picked, the floor, the queue, figures and tables."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.recut import claims, figures, rules, study, tables
from book.chapters.recut.study import Setting
from book.kit import style
from book.kit.tables import show_ledger
from simlib import InputError


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    found = [Setting(gpus=1, load=1.5), Setting(load=0.8), Setting(study.ON_OFF, load=1.5)]
    return study.runs_of(found, requests=30, seed=5, replications=3)


def test_what_is_compared_was_picked_on_other_draws_and_differences_are_of_pairs(runs):
    table = study.table_of(runs)
    cell = runs[(runs["gpus"] == 1)]
    tuned = cell.groupby("arm")["tuned"].first()
    row = table.query("gpus == 1 and metric == 'late' and arm == 'cut anew'").iloc[0]
    assert row["rival"] == tuned[list(study.RIVALS)].idxmin()
    assert row["chosen"].startswith(tuned[list(study.CUTS)].idxmin())
    own = cell.set_index(["arm", "replication"])["late"]
    pairs = own[tuned[list(study.CUTS)].idxmin()] - own[row["rival"]]
    assert row["difference"] == pytest.approx(pairs.mean()) and row["replications"] == 3
    p99 = table.query("metric == 'p99_s' and arm == 'cut anew'")
    assert set(p99["rival"]) <= set(study.SERVE_ALL), "who turns requests away has no P99 of all"
    compared = table[table["p_holm"].notna()]
    assert set(compared["arm"]) == {*rules.KINDS, study.RECUT}
    assert rules.FIXED not in set(table.query("gpus == 1")["arm"])


def test_no_arm_is_below_the_floor(runs):
    assert (runs["late"] >= runs["floor"]).all() and (runs["late"] <= 1).all()


def test_a_gap_is_closed_by_a_ratio_of_means():
    """0.3 of 0.6 saved in the mean; by hand: residuals ±0.05 over 0.6, t of one degree."""
    found = study.closed([0.25, 0.35], [0.6, 0.6])
    half = 12.706 * 0.05 * np.sqrt(2) / np.sqrt(2) / 0.6
    assert found["closed"] == pytest.approx(0.5) and found["closed_ci_high"] == pytest.approx(0.5 + half, rel=1e-3)
    assert np.isnan(study.closed([0.0, 0.0], [0.001, 0.0])["closed"])


def test_measured_counts_who_was_turned_away_as_late():
    found = study.measured(np.array([1.0, 3.0, np.nan, 2.0, 9.0, 1.0]), np.arange(6), 5.0)
    assert found["late"] == pytest.approx(2 / 6) and np.isnan(found["mean_s"])
    assert found["late_short"] == 0.0 and found["late_long"] == 0.5


def test_figures_tables_and_ledger_are_made_of_them(runs):
    style.style()
    table, waiting = study.table_of(runs), study.backlog(seed=3, replications=2, queues=(100, 300))
    queue = study.backlog_of(waiting)
    assert (waiting["of_bound"] < 1).all() and len(queue) == 2 * (len(study.K_SCAN) + 2)
    assert len(figures.by_load(table).axes) == 4 and len(figures.who_pays(table).axes[0].lines) == 4
    assert len(figures.queue(queue).axes[0].lines) == 4
    assert "ON/OFF" in tables.show_settings(table).to_html()
    assert "late, long third" in tables.show_who_pays(table).to_html()
    ledger = claims.table_of(waiting)
    assert len(ledger) == len(study.K_SCAN) + 3 and ledger["verdict"].iloc[-1] == "not testable here"
    assert "UELLM" in show_ledger(ledger).to_html()


def test_bad_input_is_named():
    with pytest.raises(InputError, match=r"load: 0\.0"):
        study.runs_of([Setting(load=0.0)])
    with pytest.raises(InputError, match="found"):
        study.runs_of(["busy"])
    with pytest.raises(InputError, match="predictor: 'none'"):
        study.requests_of(study.ON_OFF, 30, 1, "none")
