"""Controllers of continuous batching: against their plain twin, and at their fixed points."""

import math
from dataclasses import replace

import numpy as np
import plain_continuous
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from plain_control import Controllers
from step_cases import LAWS, cases

import simlib
from simlib.continuous.control import (
    FEEDBACK,
    FIRST_STEP,
    KEPT,
    MEMORY_RULES,
    SETTINGS,
    SLA_RULES,
    SLOPE,
    SLOPE_ERROR,
    SPREAD,
    STEERED,
    STEP_ROW,
    WATCHED,
    WINDOW,
    StepControl,
    recent_steps,
)
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.policies import batch_size


@st.composite
def controlled(draw):
    """A case of continuous batching whose engine has a controller that its deadline troubles."""
    table, engine, law, gpus = draw(cases())
    sla = draw(st.sampled_from([None, *SLA_RULES]))
    assume(sla != "regression" or law is not LAWS[1])  # on steps that all take the same, rounding decides
    memory = draw(st.sampled_from([None, *MEMORY_RULES])) if sla else draw(st.sampled_from(MEMORY_RULES))
    if memory and engine.kv_tokens is None:
        engine = replace(engine, kv_tokens=2**14)
    steers = draw(st.sampled_from(STEERED))
    most = engine.max_seqs if steers == "seats" else engine.token_budget
    control = StepControl(
        target_s=1.0000001 * draw(st.sampled_from([0.0141, 0.0237, 0.0513])),
        sla=sla,
        memory=memory,
        steers=steers,
        feedback=draw(st.sampled_from(FEEDBACK[:2] if sla == "regression" else FEEDBACK)),
        interval_steps=draw(st.sampled_from([1, 3, 17])),
        window_steps=draw(st.sampled_from([1, 4, 16])),
        window_requests=draw(st.sampled_from([1, 5, 64])),
        b_min=draw(st.integers(1, min(3, most))),
        b_max=draw(st.sampled_from([None, most])),
        epsilon_s=draw(st.sampled_from([0.0, 0.003])),
        alpha=draw(st.sampled_from([1, 4, 20])),
        delta=draw(st.sampled_from([1, 5])),
        exploration=draw(st.sampled_from([0.0, 0.3])),
        confidence=draw(st.sampled_from([0.0, 2.0])),
    )
    return table, replace(engine, control=control), law, gpus


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(controlled())
def test_a_controlled_run_agrees_with_the_token_by_token_one(case):
    table, engine, law, gpus = case
    fast = serve(table, law, engine, gpus, "interpreted")
    twin = Controllers(engine.control, engine, len(table), gpus)
    plain = plain_continuous.serve(table, law, engine, gpus, control=twin)
    for gpu in range(gpus):
        ours = fast.decisions[gpu, : int(fast.control[gpu, KEPT])]
        theirs = np.array(twin.log[gpu]).reshape(-1, 5)
        np.testing.assert_allclose(ours[:, [0, 2, 3]], theirs[:, [0, 2, 3]], rtol=1e-9, err_msg="decisions")
        seen = ~np.isnan(theirs[:, 4])
        np.testing.assert_allclose(ours[seen, 6], theirs[seen, 4], rtol=1e-9, err_msg="recent mean")
    for column in ("start_s", "first_token_s", "completion_s"):
        np.testing.assert_allclose(getattr(fast, column), getattr(plain, column), rtol=1e-9, err_msg=column)


@pytest.mark.parametrize("skip", [0, 1])
def test_the_line_through_the_windows_steps_is_that_of_least_squares(skip):
    """Stretches of steps in closed form: the last 20 steps that have ended, cut through a stretch."""
    rng = np.random.default_rng(8)
    table = simlib.RequestTable([0.0] * 4, [1] * 4, [9] * 4)
    law = simlib.StepLaw(0.01)
    engine = Continuous(control=StepControl(target_s=0.05, window_steps=20))
    row, rules = serve(table, law, engine, 1, "interpreted").control[0], np.zeros(SETTINGS)
    rules[WINDOW] = 20
    row[WATCHED], times_s, sizes = 0, [], []
    for _ in range(30):
        steps, size, first_s, slope_s = rng.integers(1, 7), rng.integers(5, 50), rng.uniform(0.01, 0.02), 1e-5
        place = FIRST_STEP + STEP_ROW * (int(row[WATCHED]) % 21)
        row[place : place + 4] = steps, size, first_s, slope_s
        row[WATCHED] += 1
        times_s += list(first_s + slope_s * np.arange(steps))
        sizes += [size] * steps
    recent_steps(row, rules, skip)
    y, x = (np.array(column[len(column) - 20 - skip : len(column) - skip]) for column in (times_s, sizes))
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert row[SLOPE] == pytest.approx(slope, rel=1e-9)
    assert row[SLOPE_ERROR] == pytest.approx(math.sqrt(covariance[0, 0]), rel=1e-9)
    assert row[batch_size.TAU_MEAN] == pytest.approx(y.mean(), rel=1e-12)
    assert row[SPREAD] == pytest.approx(x.std(), rel=1e-9)


PAPER_LAW, D_SLA = simlib.StepLaw(0.030, 0.00022), 0.050  # Figure 3: the deadline is met by (50 - 30) / 0.22 = 90.9


def saturated(requests=700, mean_output=200.0, seed=11):
    outputs = np.random.default_rng(seed).geometric(1 / mean_output, requests)
    return simlib.RequestTable(np.zeros(requests), np.zeros(requests, int), outputs)


def late_caps(control, table=None, engine=None):
    """Sequences that run, as its last decisions under full load saw them."""
    engine = replace(engine or Continuous(token_budget=2**20), control=control)
    run = simlib.simulate(table or saturated(), "fcfs", PAPER_LAW, 1, engine, backend="interpreted")
    decided = run.controller
    full = decided[decided["start_s"] < run.times.start_s.max()]
    return full["running"].to_numpy()[len(full) // 2 :]


def test_algorithm_2_settles_where_the_step_meets_the_deadline():
    """Within epsilon / 0.22 and half its least width of 90.9, in both variants that follow the paper."""
    for sla in ("paper", "printed"):
        running = late_caps(StepControl(target_s=D_SLA, sla=sla, epsilon_s=0.001))
        assert abs(running.mean() - 90.9) < 1 / 0.22 + 10


def test_the_regression_settles_at_the_deadline_itself_without_probing_it():
    running = late_caps(StepControl(target_s=D_SLA, sla="regression", window_steps=64, exploration=0.0))
    assert running.max() <= 91 and running.mean() > 88


def test_the_regression_leaves_a_cap_of_one_though_two_steps_at_once_would_seem_too_slow():
    """A line through the origin says 1 + (50 - 30.2) / 30.2 = 1.65, which is one again."""
    running = late_caps(StepControl(target_s=D_SLA, sla="regression", b_start=1))
    assert running.mean() > 80


def test_the_memory_rule_of_the_paper_keeps_overflow_rare_and_the_printed_one_does_not():
    """Equation (12) for sequences that hold all of their tokens; `printed` grows until the cap stops it."""
    rng = np.random.default_rng(12)
    table = simlib.RequestTable(np.zeros(1500), rng.integers(100, 300, 1500), rng.integers(100, 300, 1500))
    engine = Continuous(kv_tokens=20_000, block_tokens=1, token_budget=2**20)
    caps = {}
    for memory in ("paper", "printed"):
        settled = replace(engine, control=StepControl(sla=None, memory=memory))
        run = simlib.simulate(table, "fcfs", PAPER_LAW, 1, settled, backend="interpreted")
        caps[memory] = run.controller["b_mem"].to_numpy()
    mean, spread = 400.0, math.sqrt(2 * 100**2 / 3)
    assert abs(np.median(caps["paper"]) * mean + 1.645 * spread * math.sqrt(np.median(caps["paper"])) - 20_000) < 800
    assert caps["printed"].max() == 256


def test_the_budget_is_steered_like_the_seats():
    """With prompts, a step's tokens settle where a + b tokens meets the deadline (b = c: a token is a token)."""
    rng = np.random.default_rng(13)
    table = simlib.RequestTable(np.zeros(400), rng.integers(200, 600, 400), rng.integers(20, 60, 400))
    law = simlib.StepLaw(0.030, 0.0002, 0.0002)
    engine = Continuous(control=StepControl(target_s=0.08, sla="regression", steers="budget", window_steps=32))
    run = simlib.simulate(table, "fcfs", law, 1, engine, backend="interpreted")
    decided = run.controller.iloc[50:-100]
    assert abs(decided["b_sla"].median() - 250) < 15
    assert run.itl_s(0.5) == pytest.approx(0.08, rel=0.06)


def test_compiled_and_interpreted_controllers_agree_to_the_last_bit():
    table, law = saturated(300), LAWS[0]
    for sla, memory in (("paper", "paper"), ("regression", "released"), ("aimd", None)):
        control = StepControl(target_s=0.012, sla=sla, memory=memory, interval_steps=4)
        engine = Continuous(64, 8000, steps_in_flight=2, control=control)
        ways = [serve(table, law, engine, 2, way) for way in ("interpreted", "compiled")]
        for ours, theirs in zip(*ways, strict=True):
            assert np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"b_min": 9, "b_max": 8}, "b_max: 8"),
        ({"alpha": 0}, "alpha: 0"),
        ({"delta": 0}, "delta: 0"),
        ({"window_steps": 0}, "window_steps: 0"),
        ({"window_requests": 0}, "window_requests: 0"),
        ({"interval_steps": 0}, "interval_steps: 0"),
        ({"target_s": 0.0}, "target_s: 0"),
        ({"sla": "papers"}, "did you mean 'paper'"),
        ({"sla": None}, "expected a rule"),
        ({"sla": "regression", "feedback": "latency"}, "feedback: 'latency'"),
        ({"backoff": 1.0}, "backoff: 1"),
        ({"b_start": 300, "b_max": 200}, "b_start: 300"),
        ({"epsilon_m": 0.0}, "epsilon_m: 0"),
    ],
)
def test_bad_controllers_are_named(change, named):
    with pytest.raises(simlib.InputError, match=named):
        StepControl(**change)


@pytest.mark.parametrize(
    ("control", "named"),
    [
        (StepControl(target_s=0.029), "can never be met"),
        (StepControl(memory="paper"), "kv_tokens"),
        (StepControl(b_max=300), "b_max: 300 .*max_seqs, 256"),
        (StepControl(b_min=257), "b_min: 257"),
    ],
)
def test_what_cannot_be_controlled_is_named_before_the_run(control, named):
    with pytest.raises(simlib.InputError, match=named):
        simlib.simulate(saturated(5), "fcfs", PAPER_LAW, 1, Continuous(control=control))
    with pytest.raises(simlib.InputError, match="control: 'paper'"):
        Continuous(control="paper")
