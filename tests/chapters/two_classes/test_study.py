"""Two classes in one engine: orders and refusals by hand, a bound that nothing exceeds, settings picked elsewhere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.two_classes import bound, chat, engines, figures, others, results, study, tables
from book.kit import style
from book.kit.tables import show_ledger
from simlib import InputError, RequestTable, StepLaw, simulate
from simlib.stats import intervals

ONE = study.Setting(1, 512).engine()
A, J = 0, 1  # interactive requests and jobs


def table_of(arrival_s, which, output=10) -> RequestTable:
    output = np.broadcast_to(output, len(which))
    return RequestTable(
        arrival_s, [1] * len(which), output, output, priority=which, labels={"client": np.asarray(which)}
    )


def started(order: str, table: RequestTable, step_s: float = 1.0) -> list[float]:
    """When each starts on an engine with one place, whose steps are all as long."""
    return simulate(table, study.policy_of(order), StepLaw(step_s), 1, ONE).times.start_s.tolist()


def test_orders_by_hand():
    """An engine serves one request in 10 steps; while it does, a job comes, an interactive request, and another job."""
    table = table_of([0, 1, 2, 3], [A, J, A, J], [10, 30, 10, 10])
    assert started(study.FIRST, table) == [0, 10, 40, 50]
    assert started(study.PRIORITY, table) == started(study.PREEMPTS, table) == [0, 20, 10, 50]
    assert started(study.EARLIEST, table) == [0, 20, 10, 50]  # due at 61, 3 and 63 s
    assert started(study.SHORTEST, table) == [0, 30, 10, 20]


def test_a_job_that_is_overdue_is_before_an_interactive_request_unless_it_is_refused():
    """The first takes 70 s: a job of second 1 is due at 61 s, who comes at 65 s within another second."""
    table = table_of([0, 1, 65], [A, J, A], [70, 10, 10])
    assert started(study.EARLIEST, table) == [0, 70, 80]
    assert started(study.PRIORITY, table) == [0, 80, 70]
    found = started("earliest deadline, refuses", table)
    assert found[0] == 0 and np.isnan(found[1:]).all()  # 5 s after it came nobody is in time with a first token
    near = table_of([0, 1, 69.5], [A, J, A], [70, 10, 10])
    assert started("earliest deadline, refuses", near)[2] == 70


def test_whoever_is_told_a_length_refuses_a_job_that_cannot_be_done_in_time():
    """Of two jobs that wait for 50 s one has 100 tokens, 4 s of service, which fit into the minute; 400 do not."""
    table = table_of([0, 1, 1], [A, J, J], [50, 100, 400])
    told, untold = (started(order, table) for order in (study.REFUSES, study.UNTOLD))
    assert told[1] == 50 and np.isnan(told[2])
    assert np.isnan(untold[1:]).all()  # the mean job, of 422 tokens, takes 17 s
    assert started(study.PRIORITY, table)[2] == 150


def test_goodput_is_who_met_its_own_deadline():
    job, none = np.array([False, False, False, True, True]), np.nan
    outcome = study.Outcome(
        job, np.array([0.5, 1.5, 0.5, 9.0, none]), np.array([0.04, 0.04, 0.06, 0.5, none]), np.full(5, 59.0)
    )
    shares = outcome.shares()
    assert shares["interactive"] == pytest.approx(1 / 3) and shares["first_token"] == pytest.approx(2 / 3)
    assert shares["batch"] == 1.0 and shares["both"] == pytest.approx(2 / 3)
    assert outcome.shares(0.1)["interactive"] == pytest.approx(2 / 3)
    refused = study.Outcome(job, outcome.ttft_s, outcome.tpot_s, np.array([1.0, 1.0, 1.0, 61.0, none]))
    assert refused.shares()["batch"] == 0.0
    alone = study.Outcome(np.ones(1, bool), np.ones(1), np.ones(1), np.ones(1)).shares()
    assert alone["both"] == 1.0 and np.isnan(alone["interactive"]) and "pace" not in alone


def test_requests_are_of_two_classes_of_which_the_first_is_interactive():
    table = study.requests(4000, 3, 0.75)
    assert table.priority[0] == A and table.priority.mean() == pytest.approx(0.25, abs=0.03)
    assert (study.requests(50, 3, 0.0).priority == J).all() and (study.requests(50, 3, 1.0).priority == A).all()
    assert set(study.alone(table, J).priority) == {J}
    faster = study.at_rate(table, 12.0)
    assert (len(table) - 1) / (faster.arrival_s[-1] - faster.arrival_s[0]) == pytest.approx(12.0)
    with pytest.raises(InputError, match=r"share: 1\.5"):
        study.requests(50, 1, 1.5)
    with pytest.raises(InputError, match=r"order: 'last come'"):
        study.policy_of("last come")


def test_the_bound_takes_what_is_worth_most_for_its_time(monkeypatch):
    """Ten requests, of which the middle eight count; a job is the cheaper the shorter it is."""
    table = study.requests(10, 1)
    found = bound.most_in_time(table)
    assert set(found) == {*study.CLASSES, "both", "jobs_beside"} and min(found.values()) == pytest.approx(1.0)
    packed = study.at_rate(table, 1e6)  # all at once: the last of them is due a minute later
    assert bound.most_in_time(packed)["both"] == pytest.approx(1.0)
    monkeypatch.setattr(bound, "needed_s", lambda table: np.where(table.priority == 1, 30.0, 1.0))
    found, people = bound.most_in_time(packed), int((packed.priority[1:9] == A).sum())
    assert found["interactive"] == 1.0 and found["batch"] == pytest.approx(2 / (8 - people), rel=1e-3)
    assert found["jobs_beside"] == pytest.approx((60 - people) / 30 / (8 - people), rel=1e-3)
    assert found["both"] == pytest.approx((1 + found["jobs_beside"]) / 2)
    monkeypatch.undo()
    needs = bound.needed_s(RequestTable([0, 1], [100, 100], [1, 11]))
    law = study.law()
    own = law.b_s * 10 + law.d_s * sum(range(101, 111))  # ten tokens more, each a decode that reads what is there
    assert needs[1] - needs[0] == pytest.approx(law.a_s * 10 / 256 + own)


@pytest.mark.parametrize("load", [0.8, 1.5, 3.0])
@pytest.mark.parametrize("setting", [study.DEFAULT, study.Setting(96, 768)])
def test_no_order_exceeds_the_bound(load, setting):
    for seed in (1, 2):
        table = study.drawn(600, seed, load)
        most = bound.most_in_time(table)
        for order in study.RULES:
            shares = study.serve(table, study.policy_of(order), setting).shares()
            assert all(shares[name] <= most[name] + 1e-12 for name in study.METRICS), order


def test_the_bound_is_near_enough_to_be_exceeded_if_it_were_wrong(monkeypatch):
    """If a step of few had to be paid for by each one, as a bound without batches would have it."""
    table = study.drawn(6000, 1, 2.0)
    shares = study.serve(table, study.policy_of(study.REFUSES), study.Setting(96, 768)).shares()
    monkeypatch.setattr(bound, "needed_s", lambda table: (one := study.law().a_s) * table.output_tokens + one)
    assert shares["both"] > bound.most_in_time(table)["both"]


def test_settings_are_picked_on_other_draws_than_those_that_judge():
    own = study.picked(200, 5, [study.REFUSES])
    draws = [study.drawn(200, 5 + study.TUNING_SEED + each, study.MAIN_LOAD) for each in range(study.TUNING)]
    policy = study.policy_of(study.REFUSES)
    shares = [np.mean([study.serve(t, policy, each).shares()["both"] for t in draws]) for each in study.GRID]
    assert shares[study.GRID.index(own[study.REFUSES])] == max(shares)


def test_a_summary_has_paired_differences_corrected_within_a_place():
    rng = np.random.default_rng(4)
    rows = [
        {"load": load, "order": order, "replication": r, "both": 0.1 * place + 0.05 * rng.random()}
        for load in (1, 2)
        for place, order in enumerate((study.FIRST, study.PRIORITY, study.REFUSES))
        for r in range(5)
    ]
    runs = pd.DataFrame(rows)
    found = study.summary(runs, ["load"], metrics=["both"]).set_index(["load", "order"])
    wide = runs[runs["load"] == 1].pivot_table(index="replication", columns="order", values="both")
    pairs = [intervals.paired_difference(wide[o], wide[study.FIRST]) for o in (study.PRIORITY, study.REFUSES)]
    assert found.loc[(1, study.REFUSES), "difference"] == pytest.approx(pairs[1].mean)
    expected = intervals.holm([pair.p_value for pair in pairs])
    assert found.loc[1]["p_holm"].dropna().to_numpy() == pytest.approx(expected)
    assert np.isnan(found.loc[(2, study.FIRST), "difference"])


def test_two_engines_carry_more_than_a_little_and_less_than_everything():
    table, best = study.requests(3000, 3), dict.fromkeys(engines.TRAFFIC, study.Setting(96, 768))
    for way in engines.WAYS:
        assert engines.in_time(table, 1.0, way, best) and not engines.in_time(table, 60.0, way, best)
        assert 5.0 < engines.carried_rps(table, way, best) < 30.0


def test_a_conversation_is_of_one_class_and_finds_what_was_said():
    table, traffic = chat.conversations(200, 2, 4.0)
    follows = table.previous >= 0
    assert (table.priority[follows] == table.priority[table.previous[follows]]).all()
    assert table.priority[0] == A and traffic.sessions == 40
    found = chat.talk(200, 2, 4.0, study.PRIORITY, study.Setting(64, 2048))
    assert 0.3 < found["found_interactive"] < 1 and found["both"] == 1.0


def test_a_controller_of_the_step_holds_the_pace_and_batches_to_completion_do_not():
    table = study.drawn(2000, 4, study.MAIN_LOAD)
    usual = study.serve(table, study.policy_of(study.REFUSES), study.DEFAULT).shares()
    held, slack = (others.controlled(table, target_s).shares() for target_s in (0.035, 1.0))
    assert held["pace"] > 0.95 and slack["interactive"] == pytest.approx(usual["interactive"], abs=0.05)
    few = others.low(2000, 4)
    shares = [others.to_completion(few, others.BY_SIZE["priority"](size)).shares() for size in (1, 16)]
    assert max(each["interactive"] for each in shares) < 0.5
    assert study.serve(few, study.policy_of(study.FIRST), study.DEFAULT, others.GPUS).shares()["both"] > 0.99


def test_tables_figures_and_ledger_are_made_of_them():
    style.style()
    found = results.tables(200, 2, 7)
    orders = found["two_classes"]
    assert set(orders["order"]) == set(study.RULES) and set(orders["load"]) == set(study.LOADS)
    assert set(orders.query("setting == 'default'")["order"]) == set(study.AT_DEFAULT)
    settings = found["two_classes_settings"].query("traffic == 'azure-like'")
    assert "first come" in tables.show_orders(orders, study.MAIN_LOAD, settings).to_html()
    assert "best for batch" in tables.show_transferred(found["two_classes_transferred"]).to_html()
    assert "load 1.3" in tables.show_bound(found["two_classes_bound"]).to_html()
    assert "50 ms" in tables.show_paces(found["two_classes_pace"]).to_html()
    assert "first come" in tables.show_shares(found["two_classes_batches"], ["load"]).to_html()
    assert "found" in tables.show_talks(found["two_classes_chat"]).to_html()
    assert set(found["two_classes_controlled"]["step"]) == {others.USUAL, others.PICKED, others.FOLLOWS}
    assert found["two_classes_frontier"].groupby("traffic")["best"].sum().min() >= 1
    ledger = found["two_classes_claims"]
    assert len(ledger) == 9 and (ledger["verdict"] == "not testable here").sum() == 2
    assert "silos" in show_ledger(ledger).to_html()
    figures.who_pays(orders, 1.0)
    assert len(figures.steps(found["two_classes_frontier"]).axes) == 3
    assert figures.carried(found["two_classes_carried"]).axes
    with pytest.raises(InputError, match=r"count: 5 \(expected"):
        results.tables(5, 2, 1)
