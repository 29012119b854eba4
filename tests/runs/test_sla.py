"""Limits of an SLA: their units, wherever one may be given, and that a run keeps what was said."""

import numpy as np
import pytest

import simlib
from simlib.checks import InputError
from simlib.planning import objectives
from simlib.requests.clients import with_clients
from simlib.runs import files, metrics
from simlib.runs.sla import SLA


def test_limits_have_units():
    assert SLA.of("ttft<=500ms, tpot <= 50 ms,latency<2min").limits_s == {"ttft": 0.5, "tpot": 0.05, "latency": 120.0}
    assert SLA.of("90min").limits_s == {"latency": 5400.0}
    ttft, tpot = objectives.parse("ttft_p99<=500ms,tpot_p99<=50ms")
    assert (ttft.limit_s, tpot.limit_s) == (0.5, 0.05)


@pytest.mark.parametrize(
    "given",
    [
        lambda: SLA.of("ttft<=500"),
        lambda: SLA.of(3601),
        lambda: SLA({"ttft": 500}),
        lambda: objectives.parse("ttft_p99<=500"),
        lambda: objectives.Objective("tpot", None, 50),
        lambda: simlib.MultiBinDynamic(d_sla=5000),
        lambda: simlib.EarlyRejection(d_sla=5000),
    ],
)
def test_milliseconds_are_not_taken_for_seconds(given):
    with pytest.raises(InputError, match=r"write \d+ms or \d+s"):
        given()


def test_a_policy_aims_at_a_time_with_a_unit():
    assert simlib.DynamicNoBins("500ms") == simlib.DynamicNoBins(0.5)
    assert simlib.EarlyRejection(d_sla="500ms") == simlib.EarlyRejection(d_sla=0.5)


def test_a_deadline_of_hours_comes_back_from_a_file(tmp_path):
    run = simlib.simulate(simlib.workload.original(20), "static_fifo", sla="2h", backend="interpreted")
    assert files.load(run.save(tmp_path / "run.parquet")).sla == run.sla == SLA({"latency": "2h"})


# By class


@pytest.fixture(scope="module")
def mixed() -> simlib.Run:
    """One at a time, 1 s each, as they come: latencies 1, 2, 3, 4 and 5 s, first tokens at the end but 0.1 s."""
    table = simlib.RequestTable(
        [0.0] * 5, [1] * 5, [2, 2, 2, 0, 2], priority=[0, 1, 1, 0, 7], labels={"client": ["a", "b", "a", "b", "c"]}
    )
    return simlib.simulate(table, simlib.StaticFIFO(1), simlib.Phases(0.9, 0.0, 0.1, 0.0), sla=9.0)


@pytest.mark.parametrize(
    ("sla", "missed"),
    [
        ("priority=0: 0.5; priority=1: 2; priority=7: 5", [True, False, True, True, False]),
        ("priority=0: ttft<=1; priority=1: 9; priority=7: tpot<=0.05", [False, False, False, True, True]),  # who failed
        ("priority=7: 1; 4", [False, False, False, False, True]),  # limits of all others
        (" client = a : ttft <= 950ms , latency <= 2s ; client=b: 3;client=c: tpot<=1", [0, 0, 1, 1, 0]),
        (simlib.SLA(by="priority", classes={0: 0.5, "1": "latency<=2", 7: SLA({"latency": 5})}), [1, 0, 1, 1, 0]),
    ],
)
def test_each_class_has_limits_of_its_own(mixed, sla, missed):
    assert metrics.violations(mixed, sla).tolist() == missed
    summary, answered = mixed.summary(sla), mixed.table.output_tokens > 0
    assert summary["sla_violation_share"] == sum(missed) / 5
    assert summary["goodput_rps"] == (~np.array(missed, bool) & answered).sum() / summary["makespan_s"]
    ours = mixed.summary()
    assert {key for key in ours if ours[key] != summary[key]} <= {"sla_violation_share", "goodput_rps"}


def test_equal_limits_of_all_classes_are_one_deadline():
    table = with_clients(simlib.workload.original(400, seed=3, rate_rps=40.0), [3, 2, 1])
    run = simlib.simulate(table, simlib.StaticFIFO(32), gpus=1)
    for limits in ("0.9", "ttft<=0.7,tpot<=0.002", "latency<=0.8,ttft<=0.6"):
        by_class = "; ".join(f"client={client}: {limits}" for client in range(3))
        assert run.summary(by_class) == run.summary(limits)
        assert 0 < run.summary(limits)["sla_violation_share"] < 1


def test_an_sla_by_class_comes_back_from_its_text_and_from_a_file(mixed, tmp_path):
    sla = SLA({"ttft": 0.1 + 0.2}, by="client", classes={"a": "2h", "b": "ttft<=70ms,tpot<=1e-7"})
    assert SLA.of(str(sla)) == sla and SLA.of(sla) is sla
    table = simlib.RequestTable([0.0], [1], [3], labels={"tier": ["a: ü"]})
    run = simlib.simulate(table, "static_fifo", sla=SLA(by="tier", classes={"a: ü": 0.5}), backend="interpreted")
    again = files.load(run.save(tmp_path / "run.parquet"))
    assert again.sla == run.sla and again.summary() == run.summary()


def test_a_column_of_the_users_own_is_a_class():
    frame = simlib.workload.original(50).frame().assign(tier=["gold", "iron"] * 25)
    run = simlib.simulate(frame, "static_fifo", sla="tier=gold: 0.2; tier=iron: 9", backend="interpreted")
    assert run.by("tier")["tier"].tolist() == ["gold", "iron"]
    assert run.by("tier")["sla_violation_share"].iloc[1] == 0.0


@pytest.mark.parametrize(
    ("sla", "says"),
    [
        ("priority=0: 1; priority=1: 2", "no limits for priority=7 .expected some, as for 0, 1, or for others"),
        ("tier=0: 1", "tier: missing column .expected a value a request; found priority, client"),
        ("priority=0: 1; client=a: 2", "classes by client and priority"),
        ("priority=0: 1; priority=0: 2", "'priority=0: 2' .* each class once"),
        ("1; 2", "'2' in '1; 2'"),
        ("1;", "'' in '1;'"),
        ("ttft<=1;", "'' in"),
        ("priority: 1", "'priority: 1'"),
        ("priority=0: ttft<=500", "ttft: 500 is 500 seconds to a first token .* write 500ms"),
        ("priority=0: e2e<=1", "e2e<=1"),
        ("priority=0:", "expected COLUMN=CLASS"),
    ],
)
def test_classes_that_cannot_be_meant_are_refused_before_the_run(mixed, sla, says):
    with pytest.raises(InputError, match=says):
        simlib.simulate(mixed.table, "static_fifo", sla=sla)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"by": "priority"}, "no limit"),
        ({"by": "priority", "limits_s": {"ttft": 1}}, "sla, classes: missing"),
        ({"classes": {0: 1}}, "sla, by: missing"),
        ({"by": 3, "classes": {0: 1}}, "sla, by: 3"),
        ({"by": "x", "classes": [1]}, r"sla, classes: \[1\]"),
        ({"by": "x", "classes": {0.5: 1}}, "sla, classes: 0.5"),
        ({"by": "x", "classes": {True: 1}}, "sla, classes: True"),
        ({"by": "x", "classes": {1: "priority=0: 1"}}, "sla, classes: 1 has classes of its own"),
        ({"by": "x", "classes": {1: -1}}, "sla: -1"),
    ],
)
def test_classes_of_a_wrong_kind_are_refused(given, says):
    with pytest.raises(InputError, match=says):
        SLA(**given)


def test_a_class_that_never_occurs_is_told(mixed):
    with pytest.warns(UserWarning, match="sla: no request is of priority=2, 3, which has limits"):
        simlib.simulate(mixed.table, "static_fifo", sla="priority=2: 1; priority=3: 1; priority=0: 1; 9")
