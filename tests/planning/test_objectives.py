"""Objectives of classes: values by hand, one spelling, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import simlib
from simlib import InputError, RequestTable, StepLaw
from simlib.planning import objectives
from simlib.planning.objectives import by_window, check_classes, parse, spelled, strain, values_s

TEXT = "priority=0: ttft_p50<=0.2; priority=1: ttft_mean<=2, latency_p100<=60; ttft_p50<=9".replace("p100", "p99")


def run(priority, arrival_s=None) -> simlib.Run:
    """Steps of 0.1 s, one sequence at a time: who comes at one instant waits for those above."""
    ones = np.ones(len(priority), int)
    arrival_s = np.zeros(len(priority)) if arrival_s is None else arrival_s
    table = RequestTable(arrival_s, 10 * ones, ones, priority=priority, labels={"client": [f"c{p}" for p in priority]})
    return simlib.simulate(table, "fcfs", StepLaw(0.1), execution=simlib.Continuous(max_seqs=1))


def test_each_class_is_held_to_its_own():
    wanted = parse("priority=0: ttft_p50<=0.1; priority=1: ttft_mean<=2,latency_p99<=60; ttft_p50<=9")
    found = values_s(run([1, 0, 1, 5, 0]), wanted)  # first tokens at 0.1, 0.2, 0.3, 0.4 and 0.5 s
    assert found == pytest.approx(
        {
            "priority=0: ttft_p50": 0.35,
            "priority=1: ttft_mean": 0.2,
            "priority=1: latency_p99": 0.298,
            "priority not 0 or 1: ttft_p50": 0.4,
        }
    )
    assert strain(found, wanted) == pytest.approx(3.5)
    assert values_s(run([1, 0, 1]), parse("client=c1: ttft_mean<=1; ttft_mean<=9")) == pytest.approx(
        {"client=c1: ttft_mean": 0.2, "client not c1: ttft_mean": 0.2}
    )


def test_a_window_without_a_request_of_a_class_meets_its_objective():
    wanted = parse("priority=0: ttft_mean<=0.05; priority=1: ttft_mean<=1")
    served = run([1, 1, 0, 1], [0.0, 0.0, 5.0, 10.0])
    found = by_window(served, wanted, np.array([0, 0, 1, 2]), 3)
    assert found["priority=0: ttft_mean"] == pytest.approx([np.nan, 0.1, np.nan], nan_ok=True)
    assert strain(found, wanted) == pytest.approx([0.15, 2.0, 0.1])
    assert values_s(served, wanted, slice(0, 2))["priority=0: ttft_mean"] == 0.0


def test_whoever_was_not_served_misses_the_objective_of_its_class_alone():
    served = run([1, 0])
    served.times.completion_s[0] = np.nan
    found = values_s(served, parse("priority=0: ttft_mean<=1; priority=1: ttft_mean<=1"))
    assert found == pytest.approx({"priority=0: ttft_mean": 0.2, "priority=1: ttft_mean": np.inf})


@pytest.mark.parametrize(
    "text", [TEXT, "client=a b: tpot_p99<=0.05; client=c: tpot_p99<=1", "ttft_p99<=1, tpot_p99<=2"]
)
def test_what_is_spelled_is_parsed_again(text):
    assert spelled(parse(text)) == text
    assert parse(spelled(parse(text))) == parse(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("priority=0: ttft_p99<=1; priority=0: ttft_p99<=2", "'priority=0: ttft_p99<=2' .*each class once"),
        ("priority=0: ttft_p99<=1; client=a: ttft_p99<=2", "classes by client and priority .*one column"),
        ("ttft_p99<=1; ttft_p99<=2", "each class once"),
        ("ttft_p99<=1;", "each class once"),
        ("priority=0: ttft<=1", "'ttft<=1' .expected METRIC_pQUANTILE"),
        ("priority=0: ttft_p99<=1,ttft_p99<=2; ttft_p99<=9", "priority=0: ttft_p99 twice"),
        ("priority=0: ttft_p99<=0", "priority=0: ttft_p99"),
    ],
)
def test_what_is_no_objective_of_a_class_is_refused(text, told):
    with pytest.raises(InputError, match=told):
        parse(text)


def test_classes_are_those_of_the_requests():
    table = run([0, 1, 1]).table
    for text, told in (
        ("priority=7: ttft_p99<=1; ttft_p99<=2", "no request has priority=7 .expected some of 0, 1"),
        ("priority=0: ttft_p99<=1", "no objective for priority=1 .expected some, as for 0, or for others"),
        ("model=x: ttft_p99<=1", "model: missing column"),
    ):
        with pytest.raises(InputError, match=told):
            check_classes(parse(text), table)
    for text in (
        "priority=0: ttft_p99<=1; ttft_p99<=2",
        "client=c0: ttft_p99<=1; client=c1: ttft_p99<=2",
        "ttft_p99<=1",
    ):
        check_classes(parse(text), table)
    whole = (*parse("priority=0: ttft_p99<=1"), *parse("ttft_p99<=9"))  # one of all, one of a class
    check_classes(whole, table)
    assert objectives.columns_of(whole) == ["priority"]
