"""The laws of prefill and decode: by hand, compiled and interpreted, padded and packed."""

import numpy as np
import pytest

import simlib
from simlib import named
from simlib.engine.batches import signatures
from simlib.engine.compiled import compiled
from simlib.engine.shapes import BATCH_COLUMNS
from simlib.latency import presets
from simlib.latency.phases import Phases, Power

MODEL = Phases(0.01, 1e-4, 0.015, 1e-3, 1e-6)
# Prompts 300 and 100, outputs 50 and 20.
TABLE = simlib.RequestTable([0, 0], [300, 100], [50, 20])


def test_a_padded_batch_costs_its_size_times_its_longest_member():
    run = simlib.simulate(TABLE, simlib.StaticFIFO(2), MODEL)
    prefill_s = 0.01 + 1e-4 * 2 * 300
    time_s = prefill_s + 49 * (0.015 + 1e-3 * 2) + 1e-6 * 2 * 49 * (300 + 25)
    assert run.served.service_s == pytest.approx([time_s], rel=1e-14)
    assert MODEL.batch_time_s(2, 300, 50) == pytest.approx(time_s, rel=1e-14)
    assert run.times.first_token_s == pytest.approx([prefill_s] * 2, rel=1e-14)  # the first token ends prefill


def test_a_packed_batch_costs_the_tokens_that_it_has():
    run = simlib.simulate(TABLE, simlib.StaticFIFO(2), Phases(0.01, 1e-4, 0.015, 1e-3, 1e-6, "packed"))
    prefill_s = 0.01 + 1e-4 * 400
    time_s = prefill_s + 49 * 0.015 + 1e-3 * 68 + 1e-6 * 68 * (400 + 35) / 2
    assert run.served.service_s == pytest.approx([time_s], rel=1e-14)
    assert run.times.first_token_s == pytest.approx([prefill_s] * 2, rel=1e-14)


@pytest.mark.parametrize("tokens", ["padded", "packed"])
def test_one_token_or_none_ends_with_prefill(tokens):
    for output in (1, 0):
        table = simlib.RequestTable([0, 9], [300, 300], [output, 1])  # a table of failures alone is refused
        run = simlib.simulate(table, "static_fifo", Phases(*MODEL.params, tokens))
        assert run.times.completion_s.tolist() == pytest.approx([0.04, 9.04], rel=1e-14)
    assert MODEL.batch_time_s(1, 300, [0, 1]) == pytest.approx([0.04, 0.04], rel=1e-14)


def test_packed_and_padded_agree_where_all_members_are_alike():
    alike = simlib.RequestTable([0, 0, 0], [64] * 3, [32] * 3)
    times = [
        simlib.simulate(alike, simlib.StaticFIFO(3), Phases(0.01, 1e-4, 0.015, 1e-3, 1e-6, kind)).served.service_s[0]
        for kind in ("padded", "packed")
    ]
    assert times[0] == pytest.approx(times[1], rel=1e-14)


def test_the_power_law():
    run = simlib.simulate(TABLE, simlib.StaticFIFO(2), Power(0.01, 2e-4, 0.5))
    assert run.served.service_s == pytest.approx([0.01 + 2e-4 * 350 * 2**0.5], rel=1e-14)
    assert run.times.first_token_s == pytest.approx([0.01 + 2e-4 * 301 * 2**0.5] * 2, rel=1e-14)


@pytest.mark.parametrize("model", [MODEL, Phases(*MODEL.params, tokens="packed"), Power(0.01, 2e-4, 0.37)], ids=repr)
def test_compiled_and_interpreted_agree_to_the_last_bit(model):
    twin = compiled(model.law, signatures().law)
    batches = np.random.default_rng(1).integers(1, 4096, (200, len(BATCH_COLUMNS))).astype(float)
    assert [twin(batch, model.params) for batch in batches] == [model.law(batch, model.params) for batch in batches]
    runs = [simlib.simulate(TABLE, "static_fifo", model, backend=way) for way in ("compiled", "interpreted")]
    assert runs[0].backend == "compiled"
    assert runs[0].times.completion_s.tolist() == runs[1].times.completion_s.tolist()


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Phases(-1, 0, 0, 0), "a_s"),
        (lambda: Phases(0, float("nan"), 0, 0), "c1_s_per_token"),
        (lambda: Phases(0, 0, 0, 0, "x"), "d2_s_per_token2"),
        (lambda: Phases(0, 0, 0, 0, 0, "flat"), "tokens"),
        (lambda: Power(0, 0, -0.1), "exponent"),
    ],
)
def test_a_bad_coefficient_is_named(make, word):
    with pytest.raises(simlib.InputError, match=word):
        make()


def test_step_by_step_a_request_alone_takes_as_long_as_in_a_batch():
    """But for the batch's fixed time, in whose place the step that prefills has that of a step."""
    model = Phases(0.05, 1e-4, 0.03, 2e-4, 2e-7)
    prompt, output = 500, 200
    table = simlib.RequestTable([0.0], [prompt], [output])
    batch = simlib.simulate(table, "static_fifo", model).times.completion_s[0]
    steps = simlib.simulate(table, "fcfs", model, 1, simlib.Continuous(token_budget=4096)).times.completion_s[0]
    assert batch - steps == pytest.approx(0.05 - 0.03, rel=1e-9)


def test_a_measured_model_steps_as_what_it_measured():
    preset = presets.load("h100x8-splitwise-llama2-70b")
    assert named.step_law_of(preset) == preset.model.step_law()
    with pytest.raises(simlib.InputError, match="expected a law of steps"):
        named.step_law_of(presets.load("h100-vllm-llama3-8b", form="power"))
