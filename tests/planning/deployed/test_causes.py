"""What broke is found: an engine is simulated as planned but for one thing, known by its requests or by its means."""

from dataclasses import replace

import numpy as np
import pytest
from promised import LAW, WINDOW_S, document, promised, served, window

from simlib.planning.deployed import promise
from simlib.planning.deployed.causes import Cause, causes
from simlib.planning.deployed.promise import Assumed, rate_rps
from simlib.planning.deployed.window import Observed
from simlib.planning.objectives import parse, values_s
from simlib.requests.table import RequestTable
from simlib.runs import metrics

TTFT, TPOT = parse("ttft_p99<=1,tpot_p99<=0.05")


@pytest.fixture(scope="module")
def plan():
    return promised()


def measured(table, pace=1.0, by_request=True, **known):
    """What is measured of a table served so."""
    run = served(table, pace)
    values = values_s(run, (TTFT, TPOT))
    times, gaps = metrics.request_times(run), table.output_tokens - 1.0
    found = {"rate_rps": rate_rps(table), "prompt_tokens": table.prompt_tokens.mean(),
             "output_tokens": table.output_tokens.mean(), "failed_share": 0.0,
             "itl_s": float((times["tpot"] * gaps)[gaps > 0].sum() / gaps[gaps > 0].sum())}  # fmt: skip
    ends = {name: (value, value) for name, value in values.items()}
    return Observed("w", WINDOW_S, len(table), ends, found | known, table if by_request else None)


CASES = {
    "as planned": ({}, 1.0, []),
    "rate_rps": ({"rate_rps": 9.0}, 1.0, ["rate_rps"]),
    "prompt_tokens": ({"prompt": 800}, 1.0, ["prompt_tokens"]),
    "output_tokens": ({"output": 240}, 1.0, ["output_tokens"]),
    "pace": ({}, 1.4, ["pace"]),
}


@pytest.mark.parametrize("by_request", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_the_one_thing_that_changed_is_found(plan, case, by_request):
    changed, pace, broken = CASES[case]
    # Seed 5 of windows whose means, but for what is changed, lie in the ranges of the plan (19 of 20 do).
    found = causes(plan, measured(window(5, **changed), pace, by_request), TTFT)
    assert [one.name for one in found.broken] == broken
    own = {one.name: one for one in found.rows}
    # By its requests the pace is exact; by means alone it bears that their order is another one.
    assert own["pace"].measured == pytest.approx(pace, rel=0.01 if by_request else 0.06)
    if broken:
        assert found.rows[0].name == case
        assert found.rows[0].value_s > 1.2 * found.planned_s
    if by_request:
        values = values_s(served(window(5, **changed), pace), (TTFT,))
        assert found.together_s == pytest.approx(values["ttft_p99"], rel=0.03)


def test_of_two_that_broke_the_one_that_does_more_comes_first(plan):
    found = causes(plan, measured(window(5, rate_rps=9.0, output=150)), TTFT)
    assert [one.name for one in found.broken] == ["rate_rps", "output_tokens"]
    assert found.rows[0].value_s > found.rows[1].value_s


def test_a_cache_that_hits_less_makes_prompts_longer():
    tables = [replace(each, cached_prompt_tokens=each.prompt_tokens // 2) for each in map(window, range(5))]
    block = promise.assumed(tables, tables[0], Assumed(1.0, 0.9, 1.1), LAW)
    plan = promise.of(document(assumed=block))
    assert plan.assumed["cached_share"].mean == pytest.approx(0.5, abs=0.01)
    found = causes(plan, measured(window(5), by_request=False, cached_share=0.0), TTFT)
    assert found.rows[0].name == "cached_share" and found.rows[0].value_s > found.planned_s


def test_requests_that_fail_are_a_cause_though_they_load_nothing(plan):
    found = causes(plan, measured(window(5), failed_share=0.03), TTFT)
    assert found.rows[0].name == "failed_share" and found.rows[0].value_s == np.inf  # more than one in a hundred
    few = causes(plan, measured(window(5), failed_share=0.002), TTFT)
    assert few.planned_s <= few.rows[0].value_s < np.inf


def test_a_smaller_cache_is_a_cause(plan):
    found = causes(plan, measured(window(5), kv_tokens=4_000), TTFT)
    assert found.rows[0].name == "kv_tokens" and found.rows[0].value_s > 2 * found.planned_s
    assert not causes(plan, measured(window(5), kv_tokens=70_000), TTFT).broken  # more than planned breaks nothing


def test_bursts_are_told_from_the_rate(plan):
    table = window(5)
    count = len(table) // 20
    at_s = np.repeat(np.linspace(0, WINDOW_S, count), 20)
    bursts = RequestTable(at_s, table.prompt_tokens[: len(at_s)], table.output_tokens[: len(at_s)])
    found = causes(plan, measured(bursts), TTFT)
    own = {one.name: one for one in found.rows}
    assert "rate_rps" not in [one.name for one in found.broken]
    assert own["gap_cv"].measured > 3 and own["gap_cv"].value_s == max(one.value_s or 0 for one in found.rows)
    assert own["gap_cv"].inside is None  # nothing was promised of them


def test_without_a_law_causes_stand_by_how_far_outside_their_ranges_they_are(plan):
    blind = replace(plan, setup=replace(plan.setup, law=None))
    found = causes(blind, measured(window(5, rate_rps=9.0, output=150)), TTFT)
    assert found.planned_s is None and {one.name for one in found.broken} == {"rate_rps", "output_tokens"}
    assert [one.beyond for one in found.rows] == sorted((one.beyond for one in found.rows), reverse=True)
    assert Cause("rate_rps", 12.0, Assumed(8.0, 6.0, 10.0), False).beyond == 1.0
    assert Cause("rate_rps", 5.5, Assumed(8.0, 6.0, 10.0), False).beyond == 0.25


def test_what_was_not_measured_is_no_cause(plan):
    bare = Observed("w", WINDOW_S, 100, {"ttft_p99": (2.0, 2.0)}, {"rate_rps": 9.0})
    found = causes(plan, bare, TTFT)
    assert [one.name for one in found.broken] == ["rate_rps"]
    assert {one.name for one in found.rows if one.measured is None} >= {"pace", "prompt_tokens", "cached_share"}
