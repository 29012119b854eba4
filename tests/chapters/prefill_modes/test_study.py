"""Prompts beside decodes: gathering by hand, settings picked elsewhere, tables and figures."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.prefill_modes import claims, figures, kernels, study, tables
from book.chapters.prefill_modes.kernels import SMALL
from book.chapters.prefill_modes.study import Arm, gathering
from book.kit import style
from book.kit.tables import show_ledger
from simlib import InputError, datasets
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.requests.table import RequestTable
from simlib.requests.workload import dealt
from simlib.simulation import simulate


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return kernels.kernels("nowhere")[0]


def ends(table: RequestTable, prompts: int, engine: Continuous) -> list[float]:
    return simulate(table, gathering(prompts), StepLaw(1.0), 1, engine).times.completion_s.tolist()


def test_two_clients_who_gather_by_hand():
    """Steps of 1 s, prompts in their own; outputs 2 and 4, then 2 and 2.

    At once: the first client's next prompt has the step from 2 to 3, in which the second waits, and so on. Gathered:
    it waits until the second is done at 4, and both are read together.
    """
    table = dealt(RequestTable(np.zeros(4), np.ones(4, int), np.array([2, 4, 2, 2])), 2)
    engine = Continuous(max_seqs=2, prefill="first")
    assert ends(table, 1, engine) == [2.0, 5.0, 4.0, 7.0]
    assert ends(table, 2, engine) == [2.0, 4.0, 6.0, 6.0]


def test_those_who_gathered_are_read_in_as_many_steps_as_it_takes():
    """Four prompts of 10 tokens in steps of 16: one a step, none of them gathered anew, before anybody decodes."""
    table = dealt(RequestTable(np.zeros(4), np.full(4, 10), np.full(4, 2)), 4)
    engine = Continuous(max_seqs=4, prefill="first", token_budget=16)
    run = simulate(table, gathering(4), StepLaw(1.0), 1, engine)
    assert run.times.start_s.tolist() == [0.0, 1.0, 2.0, 3.0] and set(run.times.completion_s) == {5.0}


def test_requests_have_the_lengths_that_are_asked_for():
    """Seed 1, 20,000 draws: means to 3 %."""
    for mix, (prompt, output) in study.MIXES.items():
        drawn = study.requests(20_000, mix, 1)
        assert drawn.prompt_tokens.mean() == pytest.approx(prompt, rel=0.03)
        assert drawn.output_tokens.mean() == pytest.approx(output, rel=0.03)


def test_bad_input_is_named():
    with pytest.raises(InputError, match="mode: 'both'"):
        Arm("both")
    with pytest.raises(InputError, match="prompts: 0"):
        gathering(0)


def test_the_small_card_never_gains_and_settings_are_picked_elsewhere(measured):
    runs = study.saturated(measured, [SMALL], seed=3, replications=2)
    over = study.over_mixed(runs, measured)
    assert len(over) == 3 * 2 * 3 and (over["law"] == "measured").all()
    assert (over.query("kind == 'exclusive'")["ratio"] < 1).all() and (over["ratio"] <= 1.02).all()
    assert (over.query("kind == 'exclusive'")["prompts"] == 1).all()
    judged = runs[~runs["tuning"]]
    assert judged["replication"].nunique() == 2 and runs[runs["tuning"]]["replication"].nunique() == study.TUNING


def test_late_shares_are_over_what_was_picked(measured):
    late = study.deadlines(measured, 300, seed=3, replications=2)
    assert len(late) == 2 * len(study.TPOTS_S) * 5 and late["late"].between(0, 1).all()
    picked = late[late["picked"]]
    assert len(picked) == 2 * len(study.TPOTS_S) and (picked["over"] == 0).all() and (picked["steps"] != "alone").all()
    falls = late[late["steps"] == "512"].pivot_table("late", "mix", "tpot_s").diff(axis=1).iloc[:, 1:]
    assert (falls <= 0).all().all()


def test_the_published_lines_cross_where_the_paper_says_on_one_card():
    assert claims.published_share("RTX PRO 6000") == pytest.approx(0.2, abs=0.01)
    assert claims.published_share("H200") == pytest.approx(0.36, abs=0.01)


def test_the_committed_tables_are_judged_shown_and_drawn():
    style.style()
    names = ("", "_steps", "_ranges", "_marginal", "_late")
    found = {f"prefill_modes{name}": pd.read_csv(datasets.committed(f"prefill_modes{name}")) for name in names}
    ledger = claims.table_of(found)
    assert ledger["verdict"].value_counts()["not testable here"] == 2
    gain = ledger[ledger["claimed"] == claims.GAIN]
    assert (gain["verdict"] == "reproduced in sign only").all() and len(gain) == 2
    assert "H200" in show_ledger(ledger).to_html()
    assert len(figures.served(found["prefill_modes"]).axes) == 3
    assert len(figures.steps(found["prefill_modes_steps"]).axes) == 3
    assert figures.late(found["prefill_modes_late"]).axes
    assert "undisturbed" in tables.show_served(found["prefill_modes"]).to_html()
    assert "decodes" in tables.show_ranges(found["prefill_modes_ranges"], found["prefill_modes_marginal"]).to_html()
