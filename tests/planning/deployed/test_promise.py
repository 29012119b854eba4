"""What a plan keeps of a window for later: written as JSON, read again, refused where it is something else."""

import json
from dataclasses import replace

import numpy as np
import pytest
from promised import LAW, WINDOW_S, document, promised, served, window

from simlib import InputError, StepLaw
from simlib.latency.trust import Trust
from simlib.planning.deployed import promise
from simlib.planning.deployed.promise import MOST, Assumed


def test_what_was_written_is_read_again():
    found = promise.of(json.loads(json.dumps(document())))
    windows = [window(seed) for seed in range(20)]
    assert (found.window_s, found.confidence, found.setup.law) == (WINDOW_S, 0.95, LAW)
    assert (found.setup.max_seqs, found.setup.token_budget, found.setup.kv_tokens) == (32, 512, 60_000)
    assert [str(one) for one in found.objectives] == ["ttft_p99<=1", "tpot_p99<=0.05"]
    assert found.assumed["prompt_tokens"].mean == pytest.approx(
        np.mean([each.prompt_tokens.mean() for each in windows])
    )
    assert found.assumed["failed_share"] == found.assumed["cached_share"] == Assumed(0.0, 0.0, 0.0)
    assert np.allclose(found.typical.arrival_s, windows[0].arrival_s - windows[0].arrival_s[0], atol=1e-6)
    assert (found.typical.output_tokens == windows[0].output_tokens).all()
    assert (found.engine, found.model, found.version) == ("vLLM", "org/model", "")


def test_a_range_holds_one_more():
    # A window more lies in such a range with 95 %: of 2000 tries, 40 standard errors of half a point off never.
    rng, held = np.random.default_rng(22), 0
    for _ in range(2000):
        *seen, more = rng.lognormal(2.0, 0.3, 21)
        held += Assumed.of(seen).holds(more)
    assert held / 2000 == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 2000))
    assert Assumed.of([3.0]).holds(3.0) is None  # of one window nobody knows
    assert Assumed.of([0.0, 0.0]) == Assumed(0.0, 0.0, 0.0)
    assert Assumed.of([0.0, 0.5]).high == 0.5


def test_no_more_requests_are_kept_than_a_simulation_needs():
    table = window(1, rate_rps=60.0)
    assert len(table) > MOST
    assert len(promise.of(document(assumed=promise.assumed([table, table], table, Assumed(1.0), LAW))).typical) == MOST


def test_how_far_steps_may_be_off_is_what_the_laws_draws_say():
    table = window(1)
    draws = tuple(
        (scale * LAW.a_s, scale * LAW.b_s, scale * LAW.c_s, scale * LAW.d_s, 0.0) for scale in (0.9, 1.0, 1.2)
    )
    law = replace(LAW, trust=Trust("bench.json", {}, draws=draws))
    assert promise.pace_range(law, served(table), WINDOW_S) == Assumed(1.0, pytest.approx(0.9), pytest.approx(1.2))
    assert promise.pace_range(LAW, served(table), WINDOW_S) == Assumed(1.0)  # a typed law has none


def test_a_law_that_is_no_sum_is_not_kept():
    table = window(1)
    block = promise.assumed([table, table], table, Assumed(1.0), object())
    assert promise.of(document(assumed=block)).setup.law is None


def change(part, **to):
    """A plan of which a part has other values."""
    return lambda plan: plan | {part: plan[part] | to}


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda plan: [], "no plan (expected what `simlib plan --json FILE` wrote)"),
        (lambda plan: {"rows": 3}, "no plan"),
        (lambda plan: {key: value for key, value in plan.items() if key != "assumed"}, "says nothing of windows"),
        (lambda plan: plan | {"met": False}, "nothing met its objectives"),
        (lambda plan: plan | {"window_s": 0}, "window_s: 0 (expected a finite number >= 1)"),
        (lambda plan: plan | {"confidence": 2}, "confidence: 2"),
        (lambda plan: plan | {"objectives": []}, "objectives: none"),
        (lambda plan: plan | {"objectives": [{"objective": "fast", "mean": 1}]}, "sla: 'fasts'"),
        (change("assumed", pace=None), "assumed, pace: None (expected mean"),
        (change("configuration", kv_tokens="x"), "kv_tokens: 'x'"),
        (change("configuration", routing="x"), "routing: 'x' (expected one of"),
        (change("assumed", law={"a_s": -1}), "law, a_s: -1"),
        (change("assumed", typical={"arrival_s": "0 1"}), "typical, prompt_tokens: missing column"),
        (change("assumed", typical={"arrival_s": "1 0", "prompt_tokens": "1 1", "output_tokens": "1 1"}),
         "typical, arrival_s, row 1"),
    ],
)  # fmt: skip
def test_another_kind_of_file_is_named(other, says):
    with pytest.raises(InputError) as told:
        promise.of(other(document()), "plan.json")
    assert str(told.value).startswith("plan.json") and says in str(told.value)


def test_a_limit_of_more_than_a_minute_is_read_as_it_was_meant():
    rows = [{"objective": "ttft_p99<=100", "mean": 1.0}]
    assert promise.of(document(objectives=rows)).objectives[0].limit_s == 100.0


def test_the_promise_of_a_law_with_a_way_in_has_it():
    table = window(1)
    law = StepLaw(*LAW.params[:4], way_in_s=0.01)
    assert (
        promise.of(document(assumed=promise.assumed([table] * 2, table, Assumed(1.0), law))).setup.law.way_in_s == 0.01
    )
    assert promised().setup.law.way_in_s == 0.0
