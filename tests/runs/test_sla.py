"""Limits of an SLA: their units, wherever one may be given, and that a run keeps what was said."""

import pytest

import simlib
from simlib.checks import InputError
from simlib.planning import objectives
from simlib.runs import files
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
