"""The chapter on a full memory: the cycle and what prevents it in the engine, rates, labels, the dip of the log."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from book.chapters.memory import claims, cycles, figures, study, tables
from book.chapters.memory.study import LAW, Case
from book.kit.tables import show_ledger
from simlib import datasets
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.requests.table import RequestTable
from simlib.simulation import simulate

SMALL = Continuous(kv_tokens=6, block_tokens=1, token_budget=64)


def test_three_equal_requests_in_a_memory_for_two_by_hand():
    """Prompt 1, output 3, room for 6, steps of 1 s.

    At 0 all three are admitted, with one token each; at 1 they hold two each, and the memory is full. At 2 three each
    do not fit: the newest loses its place, the others end at 3. It has kept its two tokens, computes them with its
    prompt in one step, and ends at 4: not two steps later, as if it had begun anew.
    """
    table = RequestTable(np.zeros(3), np.ones(3, int), np.full(3, 3))
    run = simulate(table, "fcfs", StepLaw(1.0), execution=SMALL)
    assert run.times.completion_s.tolist() == [3.0, 3.0, 4.0] and run.preemptions == 1
    reserved = simulate(table, "fcfs", StepLaw(1.0), execution=replace(SMALL, reserve=True))
    assert reserved.times.completion_s.tolist() == [3.0, 3.0, 6.0] and reserved.preemptions == 0


def test_equal_requests_swing_for_ever_and_let_in_at_a_rate_they_do_not():
    case = cycles.EQUAL
    table = case.table(600, 0)
    at_once = study.saturated(case, table)
    let_in = study.saturated(case, case.table(600, 0, 0.95 * case.bound_rps(table), even=True))
    assert at_once["evictions"] > 0.4 and at_once["running_high"] > 1.4 * at_once["running_low"]
    assert let_in["evictions"] == 0 and let_in["running_high"] <= let_in["running_low"] + 1


def test_a_bound_by_hand():
    """16 places, one token each step: 653 steps a request over 16, and its prompt."""
    case = Case(spread=0.0, engine=replace(study.ENGINE, max_seqs=16))
    assert case.bound_rps(case.table(4, 0)) == pytest.approx(1 / (LAW.a_s * 653 / 16 + LAW.c_s * 857))


def test_scarce_memory_is_within_a_tenth_and_scarce_places_are_not():
    found = study.capacity(400, 2, 1).set_index("case")
    assert found.loc["as in the log", "scarcest"] == "memory" and found.loc["16 places", "scarcest"] == "places"
    assert found.loc["short outputs", "scarcest"] == "tokens"
    assert found.loc["16 places", "of_rate"] < 0.6 < 0.85 < found.loc["as in the log", "of_rate"]


def test_prompts_first_by_hand():
    """Output 80, prompt 20: a cycle has two fixed times instead of one where it decodes."""
    a_s, c_s, b = LAW.a_s, LAW.c_s, study.BUDGET
    assert study.most_rps(20, 80) == pytest.approx(b / (a_s + c_s * b) / 100)
    rate = study.prompts_first_rps(20, 80)
    cycle_s = b / (rate * 80)  # in which b decodes are made
    assert cycle_s == pytest.approx((a_s + c_s * b) + (a_s + c_s * rate * cycle_s * 20))
    assert study.prompts_first_rps(80, 20) == study.most_rps(80, 20)


def test_the_dip_is_read_or_committed(monkeypatch):
    table, _ = cycles.dip()
    assert {"time_s", "logged", "replayed", "reserved", "equal"} <= set(table)
    own = table[table["time_s"].between(5, 17)]["logged"]
    assert (own.max(), own.min()) == (40.0, 23.0)
    monkeypatch.setattr(cycles, "FOLDER", "nowhere")
    assert "not re-executed" in cycles.dip()[1]


def test_what_recurs_is_one_for_a_cycle_and_little_for_noise():
    time_s = np.arange(0.0, 140.0)
    noise = np.random.default_rng(0).normal(size=len(time_s))
    table = pd.DataFrame({"time_s": time_s, "cycle": np.sin(2 * np.pi * time_s / 20), "noise": noise})
    found = cycles.recurrence(table, ("cycle", "noise")).set_index("run")
    assert found.loc["cycle", "recurs"] == pytest.approx(1.0) and found.loc["cycle", "period_s"] in (20, 40)
    assert found.loc["noise", "recurs"] < 0.5


def test_the_committed_tables_are_judged_shown_and_drawn():
    names = ("capacity", "labels", "regions", "share", "remedies", "lengths", "starts", "dip")
    found = {f"memory_{name}": pd.read_csv(datasets.committed(f"memory_{name}")) for name in names}
    ledger = claims.table_of(found)
    verdicts = ledger.set_index("claim")["verdict"]
    assert verdicts["within 10 % of the formula: as in the log"] == "reproduced"
    assert verdicts["within 10 % of the formula: few requests fit"] == "not reproduced"
    assert not any("16 places" in claim for claim in verdicts.index)  # there places are scarce, not memory
    assert verdicts["stable below the rate: as in the log, load 0.9"] == "reproduced"
    assert (verdicts == "not testable here").sum() == 2
    for name in ("capacity", "labels", "regions", "remedies", "starts", "lengths"):
        assert getattr(tables, f"show_{name}")(found[f"memory_{name}"]).to_html()
    assert show_ledger(ledger).to_html()
    for draw, name in ((figures.costs, "share"), (figures.dip, "dip"), (figures.formula, "capacity")):
        assert draw(found[f"memory_{name}"]).axes
