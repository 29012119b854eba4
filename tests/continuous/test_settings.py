"""Continuous batching: against its plain twin, against theory, and by what no run may break."""

import dataclasses
import math

import numpy as np
import plain_blocks
import plain_continuous
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from step_cases import LAWS, ROUTING, cases, longest_tokens

import simlib
from simlib.continuous import columns as at
from simlib.continuous import loop as continuous_loop
from simlib.continuous import serve as continuous_serve
from simlib.continuous import state
from simlib.continuous.serve import rules_of, serve, served
from simlib.continuous.settings import PREFILL, Continuous
from simlib.engine import compiled
from simlib.policies.plan import Order
from simlib.runs import metrics


def total(served, column):
    return int(served.numbers[:, column].sum())


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_the_step_loop_agrees_with_the_token_by_token_loop(case):
    table, engine, law, gpus = case
    fast = serve(table, law, engine, gpus, "interpreted")
    plain = plain_continuous.serve(table, law, engine, gpus)
    for column in ("start_s", "first_token_s", "completion_s"):
        np.testing.assert_allclose(getattr(fast, column), getattr(plain, column), rtol=1e-9, err_msg=column)
    names = (
        at.STEPS,
        at.SUM_DECODES,
        at.SUM_PREFILL,
        at.SUM_CONTEXT,
        at.PREEMPTIONS,
    )
    expected = [plain.steps, plain.decodes, plain.prefill, plain.context, plain.preemptions]
    assert [total(fast, name) for name in names] == expected
    assert fast.numbers[:, at.PEAK].max() == plain.peak
    np.testing.assert_allclose(fast.totals_s[:, at.SEAT_TIME].sum(), plain.seat_s, rtol=1e-9)
    np.testing.assert_allclose(fast.totals_s[:, at.BUSY].sum(), plain.busy_s, rtol=1e-9)
    assert fast.gaps.sum() == len(plain.gaps_s)
    if len(plain.gaps_s) and plain.gaps_s.min() > 0:  # the histogram has the twin's gaps, to a bin
        places = [state.GAP_BINS * (math.frexp(g)[1] - state.GAP_LOW) for g in plain.gaps_s]
        octaves = np.bincount(np.array(places) // state.GAP_BINS, minlength=state.GAP_OCTAVES)
        assert np.abs(octaves - fast.gaps.reshape(-1, state.GAP_BINS).sum(axis=1)).max() <= len(plain.gaps_s) / 50


@st.composite
def tight_cases(draw):
    """A table that hardly fits into a cache whose blocks are used again."""
    rows = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    gaps = rng.exponential(draw(st.sampled_from([0.002, 0.05])), rows) * (rng.random(rows) < 0.8)
    prompts, outputs = rng.integers(1, draw(st.integers(1, 80)) + 1, rows), rng.integers(0, 121, rows)
    block = draw(st.sampled_from([1, 4, 16]))
    longest = longest_tokens(prompts, outputs, block)
    engine = Continuous(
        max_seqs=draw(st.sampled_from([3, 8, 40])),
        kv_tokens=int(longest * draw(st.sampled_from([1, 1.5, 2, 3, 5]))),
        block_tokens=block,
        token_budget=draw(st.sampled_from([40, 2048])),
        steps_in_flight=draw(st.integers(1, 2)),
        reuse=True,
        long_prefill_tokens=draw(st.sampled_from([0, 0, 1, 7, 20])),
        watermark=draw(st.sampled_from([0.0, 0.0, 0.1])),
        whole_prompt=draw(st.booleans()),
        known_ends=draw(st.booleans()),
    )
    return simlib.RequestTable(np.cumsum(gaps), prompts, outputs), engine


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(tight_cases())
def test_blocks_that_are_used_again_are_those_of_the_block_by_block_loop(case):
    table, engine = case
    fast, plain = serve(table, LAWS[0], engine, 1, "interpreted"), plain_blocks.serve(table, LAWS[0], engine)
    for column in ("start_s", "first_token_s", "completion_s"):
        np.testing.assert_allclose(getattr(fast, column), getattr(plain, column), rtol=1e-9, err_msg=column)
    names = (at.STEPS, at.SUM_PREFILL, at.PREEMPTIONS)
    assert [total(fast, name) for name in names] == [plain.steps, plain.prefill, plain.preemptions]


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    tight_cases(),
    st.integers(0, 2**32),
    st.sampled_from(["reuse", "cache", "priority", "reuse, priority", "cache, priority"]),
)
def test_shared_blocks_and_priorities_are_those_of_the_block_by_block_loop(case, seed, what):
    (table, engine), rng = case, np.random.default_rng(seed)
    shared = np.minimum(table.prompt_tokens, rng.integers(0, 80, len(table)))
    more = {"priority": rng.integers(-1, 2, len(table)), "prefix_group": rng.integers(0, 3, len(table))}
    if rng.random() < 0.5:
        patience_s = np.where(rng.random(len(table)) < 0.5, rng.exponential(0.3, len(table)), np.nan)
        more["cancel_s"] = table.arrival_s + patience_s
    if rng.random() < 0.5:
        more["max_tokens"] = np.maximum(table.output_tokens, 1) + rng.integers(0, 2, len(table))
    table = dataclasses.replace(table, prefix_tokens=shared, **more)
    engine = dataclasses.replace(engine, reuse="reuse" in what, prefix_cache="cache" in what)
    order = Order(priority="priority" in what)
    rules = rules_of(engine, LAWS[0], 1, order)
    fast = served(table, LAWS[0], 1, rules, order, "interpreted")[1]
    plain = plain_blocks.serve(table, LAWS[0], engine, "priority" in what)
    if table.cancel_s is None:  # the histogram has the twin's times between tokens, by octave
        octaves = np.clip([math.frexp(gap_s)[1] - state.GAP_LOW for gap_s in plain.gaps_s], 0, state.GAP_OCTAVES - 1)
        counts = np.bincount(octaves.astype(int), minlength=state.GAP_OCTAVES)
        assert counts.tolist() == fast.gaps.reshape(-1, state.GAP_BINS).sum(axis=1).tolist()
    for column in ("start_s", "first_token_s", "completion_s"):
        np.testing.assert_allclose(getattr(fast, column), getattr(plain, column), rtol=1e-9, err_msg=column)
    names = (at.STEPS, at.SUM_PREFILL, at.PREEMPTIONS)
    assert [total(fast, name) for name in names] == [plain.steps, plain.prefill, plain.preemptions]


@pytest.mark.parametrize(("reuse", "again"), [(False, 5), (True, 2)])
def test_a_sequence_finds_again_what_nobody_was_given(reuse, again):
    """Two prompts of 2 tokens in 8 blocks of one token: after three steps both hold 4, and the second one loses them.

    The first one takes one of them, that of the last token, and ends. Of the 5 tokens that the second one has by then,
    the last of which never was in the cache, it computes 2 if it finds the other 3, else all.
    """
    table = simlib.RequestTable([0.0, 0.0], [2, 2], [4, 6])
    served = serve(table, simlib.StepLaw(1.0), Continuous(8, 8, 1, 16, reuse=reuse), 1, "interpreted")
    assert total(served, at.PREEMPTIONS) == 1
    assert total(served, at.SUM_PREFILL) == 2 + 2 + again
    assert served.completion_s.tolist() == [4.0, 7.0]


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.booleans())
def test_no_run_breaks_what_must_hold(case, reuse):
    table, engine, law, gpus = case
    engine = dataclasses.replace(engine, reuse=reuse)
    run = simlib.simulate(table, "fcfs", law, gpus, engine, backend="interpreted")
    served, done = run.served, ~np.isnan(run.times.completion_s)
    assert run.kv_peak_tokens <= engine.blocks * engine.block_tokens
    assert done.sum() + run.abandoned == len(table)
    assert np.isnan(run.times.start_s[~done]).all()
    times = run.times
    assert (times.start_s[done] >= table.arrival_s[done]).all()
    assert (times.first_token_s[done] <= times.completion_s[done] + 1e-12).all()
    # Each token is computed once, and once more for each time that it was lost; a request's first token comes with its
    # prompt, one more with each prompt computed again.
    outputs = table.output_tokens[done]
    resumed = run.preemptions
    assert total(served, at.SUM_DECODES) <= np.maximum(outputs - 1, 0).sum()
    assert total(served, at.SUM_DECODES) >= np.maximum(outputs - 1, 0).sum() - resumed
    cached = 0 if table.cached_prompt_tokens is None else table.cached_prompt_tokens[done]
    prefill = int((table.prompt_tokens[done] - cached).sum())
    computed = total(served, at.SUM_PREFILL) + total(served, at.SUM_DECODES)
    assert computed == prefill + int(np.maximum(outputs - 1, 0).sum()) + total(served, at.RECOMPUTED)
    assert total(served, at.SUM_PREFILL) >= prefill
    assert served.gaps.sum() == np.maximum(outputs - 1, 0).sum()
    if resumed == 0:
        assert total(served, at.SUM_PREFILL) == prefill
        # Little's law on the running set: seats in time are residences.
        residence_s = (times.completion_s - times.start_s)[done].sum()
        np.testing.assert_allclose(served.totals_s[:, at.SEAT_TIME].sum(), residence_s, rtol=1e-9, atol=1e-12)
    sides = run.identity
    np.testing.assert_allclose(sides["busy_s"], sides["from_totals_s"], rtol=1e-9)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_one_gpu_works_whenever_somebody_is_there(case):
    table, engine, law, _ = case
    served = serve(table, law, engine, 1, "interpreted")
    done = ~np.isnan(served.completion_s)
    if engine.timeout_s is not None or not done.any():
        return
    busy_s, reach_s = 0.0, -math.inf
    for start_s, end_s in zip(table.arrival_s, np.maximum.accumulate(served.completion_s), strict=True):
        busy_s += max(0.0, end_s - max(start_s, reach_s))
        reach_s = max(reach_s, end_s)
    np.testing.assert_allclose(served.totals_s[0, at.BUSY], busy_s, rtol=1e-9)


def random_table(seed, rows, rate_rps, prompts=200, mean_output=170):
    rng = np.random.default_rng(seed)
    return simlib.RequestTable(
        np.cumsum(rng.exponential(1 / rate_rps, rows)),
        rng.integers(1, prompts, rows),
        rng.geometric(1 / mean_output, rows),
    )


@pytest.mark.parametrize("routing", ROUTING)
@pytest.mark.parametrize("prefill", PREFILL)
def test_compiled_and_interpreted_runs_agree_to_the_last_bit(routing, prefill):
    table = random_table(1, 150, 30.0)
    engine = Continuous(64, 4000, prefill=prefill, routing=routing, steps_in_flight=2)
    ways = [serve(table, LAWS[0], engine, 2, way) for way in ("interpreted", "compiled")]
    for ours, theirs in zip(*ways, strict=True):
        assert np.array_equal(ours, theirs, equal_nan=True)


@pytest.mark.parametrize(("rate_rps", "expected_s"), [(1.0, 15.0), (2.0, 16.84)])
def test_without_limits_it_is_processor_sharing(rate_rps, expected_s):
    """T = N (a + beta) / (1 - lambda N beta): papers.md D10.

    A bias of 2 % is allowed; 60,000 requests and seed 3 leave a standard error near 0.5 %, so that a right engine fails
    with a probability below 1 in 1,000.
    """
    rng, n, mean = np.random.default_rng(3), 60_000, 447.5
    outputs = rng.geometric(1 / mean, n)
    table = simlib.RequestTable(np.cumsum(rng.exponential(1 / rate_rps, n)), np.zeros(n, int), outputs)
    served = serve(table, simlib.StepLaw(0.030, 0.00022), Continuous(max_seqs=n, token_budget=2**30))
    latency_s = (served.completion_s - table.arrival_s)[n // 20 :].mean()
    assert abs(latency_s / expected_s - 1) < 0.02


def test_with_a_cap_it_is_a_birth_and_death_chain():
    """Rate phi(min(n, B)) / N with geometric lengths; 80,000 requests, seed 4, 4 % (over 3 standard errors)."""
    rng, n, mean, cap, rate_rps = np.random.default_rng(4), 80_000, 300.0, 8, 0.7
    a, beta = 0.030, 0.0005
    table = simlib.RequestTable(
        np.cumsum(rng.exponential(1 / rate_rps, n)), np.zeros(n, int), rng.geometric(1 / mean, n)
    )
    served = serve(table, simlib.StepLaw(a, beta), Continuous(max_seqs=cap, token_budget=2**30))
    states = np.arange(1, 3000)
    running = np.minimum(states, cap)
    ratio = rate_rps * mean * (a + beta * running) / running
    share = np.exp(np.cumsum(np.log(np.append(1.0, ratio))))
    expected_s = (share[1:] @ states) / share.sum() / rate_rps
    assert ratio[-1] < 0.95
    assert abs((served.completion_s - table.arrival_s)[n // 20 :].mean() / expected_s - 1) < 0.04


def test_a_full_cache_bounds_the_throughput():
    """At most M / (tau E[g]), g = o s + o (o - 1) / 2: the last token is never stored."""
    rng, n, tokens, step_s = np.random.default_rng(5), 3000, 20_000, 0.02
    prompts, outputs = rng.integers(50, 400, n), rng.integers(20, 300, n)
    table = simlib.RequestTable(np.zeros(n), prompts, outputs)
    for reserve in (False, True):
        engine = Continuous(max_seqs=4096, kv_tokens=tokens, block_tokens=1, token_budget=2**20, reserve=reserve)
        run = simlib.simulate(table, "fcfs", simlib.StepLaw(step_s), 1, engine, backend="compiled")
        residence = outputs * prompts + outputs * (outputs - 1) / 2
        bound_rps = tokens / (step_s * residence.mean())
        assert run.summary()["throughput_rps"] <= bound_rps
    assert simlib.simulate(table, "fcfs", simlib.StepLaw(step_s), 1, Continuous(4096, tokens, 1, 2**20)).summary()[
        "throughput_rps"
    ] > 0.8 * bound_rps  # fmt: skip


@pytest.mark.parametrize("backend", ["interpreted", "compiled"])
def test_whole_prompts_beside_decodes_stay_within_the_budget(backend):
    """A budget of 16: beside one that decodes 15 are left; a prompt of 16 waits for its end, and so does one of 40."""
    engine, law = Continuous(max_seqs=4, token_budget=16, prefill="mixed"), simlib.StepLaw(1.0)
    for prompt, admitted_s in ((15, 1.0), (16, 5.0), (40, 5.0)):
        table = simlib.RequestTable([0, 0.5], [8, prompt], [5, 2])
        run = simlib.simulate(table, "fcfs", law, 1, engine, backend=backend)
        assert run.times.start_s.tolist() == [0.0, admitted_s]
        tokens = run.steps["decodes"] + run.steps["prefill_tokens"]
        assert tokens.max() == max(prompt, 16)
        assert (run.steps.loc[tokens > 16, ["decodes", "chunks"]] == [0, 1]).all(axis=None)


@pytest.mark.parametrize("name", ["reserve", "reuse", "share_cached", "whole_prompt"])
def test_what_is_on_or_off_is_true_or_false(name):
    for value in ([], "no", 2, None):
        with pytest.raises(simlib.InputError, match=f"{name}: .*expected True or False"):
            Continuous(**{name: value})
    assert Continuous(**{name: np.True_}) == Continuous(**{name: True})


def test_whole_numbers_are_integers_however_they_are_given():
    names = ("max_seqs", "kv_tokens", "block_tokens", "token_budget", "steps_in_flight")
    engine = Continuous(*map(np.float32, (8, 4096, 16)), np.float32(512), steps_in_flight=np.float32(2))
    assert {type(getattr(engine, name)) for name in names} == {int}
    control = simlib.StepControl(window_steps=np.float32(4), b_max=np.float32(8), alpha=np.float32(2))
    engine = dataclasses.replace(engine, control=control)
    assert simlib.simulate(random_table(7, 50, 10.0), "fcfs", LAWS[0], 1, engine).summary()["requests"] == 50


def test_a_run_has_what_every_run_has():
    table = random_table(7, 200, 10.0)
    run = simlib.simulate(table, "static_fifo", LAWS[0], 2, "continuous", sla="ttft<=0.2,tpot<=0.05")
    summary = run.summary()
    assert set(summary) == set(metrics.SUMMARY_KEYS)
    assert 0 < summary["goodput_rps"] <= summary["throughput_rps"]
    assert summary["itl_p99_s"] > 0 and summary["batch_size_mean"] <= 8
    assert list(run.requests.columns[-6:]) == ["start_s", "first_token_s", "completion_s", "gpu", "batch", "bin"]
    assert (run.kv["kv_share"] <= 1).all() and set(run.kv["gpu"]) == {0, 1}


def test_bins_keep_the_policys_order():
    """Four requests at once on one seat, two bins by predicted length: round robin takes one of each in turn."""
    table = simlib.RequestTable([0.0] * 5, [1] * 5, [5] * 5, [1, 2, 1, 9, 9])
    policy = simlib.MultiBinDynamic(k_bins=2, bounds=[5.0])
    run = simlib.simulate(table, policy, simlib.StepLaw(0.01), 1, Continuous(max_seqs=1), backend="interpreted")
    assert np.argsort(run.times.start_s).tolist() == [0, 3, 1, 4, 2]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"max_seqs": 0}, "max_seqs: 0"),
        ({"token_budget": 8}, "token_budget: 8"),
        ({"kv_tokens": 8}, "kv_tokens: 8"),
        ({"block_tokens": 12}, "block_tokens: 12"),
        ({"prefill": "chunk"}, "did you mean 'chunked'"),
        ({"watermark": 1.0}, "watermark: 1.0"),
        ({"timeout_s": -1.0}, "timeout_s: -1.0"),
    ],
)
def test_bad_settings_are_named(change, named):
    with pytest.raises(simlib.InputError, match=named):
        Continuous(**change)


def test_what_cannot_be_served_is_named_before_the_run():
    table = simlib.RequestTable([0.0, 1.0], [10, 1000], [10, 10])
    engine = Continuous(kv_tokens=160)
    with pytest.raises(simlib.InputError, match="row 1: 1010"):
        simlib.simulate(table, "fcfs", LAWS[0], 1, engine)
    run = simlib.simulate(table, "fcfs", LAWS[0], 1, engine, oversize="reject", backend="interpreted")
    assert run.rejected == 1 and np.isnan(run.times.completion_s[1])
    with pytest.raises(simlib.InputError, match="b_s: -1"):
        simlib.StepLaw(0.01, -1)
    with pytest.raises(simlib.InputError, match="expected a law of steps"):
        simlib.simulate(table, "fcfs", simlib.GivenTimes([1.0, 1.0]), 1, engine)
    with pytest.raises(simlib.InputError, match="execution"):
        simlib.simulate(table, "fcfs", LAWS[0], 1, "continous")


def test_a_loop_that_comes_back_often_ends_as_one_that_does_not(monkeypatch):
    table, calls, until_done = simlib.workload.original(300, seed=5), [], compiled.until_done
    engine = Continuous(routing="least_tokens", block_tokens=2**16, token_budget=2**16)  # an event counts for as much
    monkeypatch.setattr(
        continuous_serve,
        "until_done",
        lambda loop, *sees: until_done(lambda *a: calls.append(loop) or loop(*a), *sees),
    )

    def served(backend):
        return serve(table, LAWS[0], engine, 2, backend)

    runs = [served("compiled")]
    assert len(calls) > 1
    for work in (1, 2**22, 2**62):
        monkeypatch.setattr(continuous_loop, "WORK", work)
        runs.append(served("interpreted"))
    assert len(calls) > len(table)
    assert len({(run.completion_s.tobytes(), run.gaps.tobytes()) for run in runs}) == 1
