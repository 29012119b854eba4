"""A measured model says once where a run leaves its measurements."""

import warnings

import pytest

import simlib
from simlib.latency import trust
from simlib.latency.measured import Measured, Range
from simlib.latency.phases import Phases

INSIDE = simlib.RequestTable([0, 0], [200, 300], [250, 200])
MODEL = Phases(0.01, 1e-4, 0.015, 1e-3)


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.setattr(trust, "_said", set())


def measured(equal: bool = False) -> Measured:
    return Measured(MODEL, "mine", Range((1, 8), (128, 2048), (128, 2048), equal))


def said(table, model) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simlib.simulate(table, "static_fifo", model)
    return [str(one.message) for one in caught]


def test_within_the_range_nothing_is_said_and_the_model_is_as_ever():
    assert said(INSIDE, measured(equal=True)) == []
    plain, wrapped = (simlib.simulate(INSIDE, "static_fifo", model) for model in (MODEL, measured()))
    assert plain.times.completion_s.tolist() == wrapped.times.completion_s.tolist()
    assert plain.times.first_token_s.tolist() == wrapped.times.first_token_s.tolist()


@pytest.mark.parametrize(("prompt", "output"), [(100, 200), (3000, 2000), (200, 100), (200, 2100)])
def test_outside_it_is_said_once_with_the_range(prompt, output):
    table = simlib.RequestTable([0], [prompt], [output])
    model = measured()
    (text,) = said(table, model)
    assert "latency mine" in text and "batch_size 1 to 8, prompt_tokens 128 to 2048, output_tokens 128 to 2048" in text
    assert said(table, model) == []


def test_a_batch_larger_than_any_measured_is_outside():
    (text,) = said(
        simlib.RequestTable([0] * 8, [200] * 8, [200] * 8), Measured(MODEL, "m", Range((1, 4), (1, 999), (1, 999)))
    )
    assert "100%" in text


@pytest.mark.parametrize(("prompt", "output", "warns"), [(600, 200, True), (200, 600, True), (200, 400, False)])
def test_skewed_batches_rest_on_an_assumption_where_lengths_were_equal(prompt, output, warns):
    table = simlib.RequestTable([0], [prompt], [output])
    assert ["prefill's share" in text for text in said(table, measured(equal=True))] == [True] * warns
    assert said(table, measured(equal=False)) == []


def test_a_range_that_is_none_is_refused():
    with pytest.raises(simlib.InputError, match="prompt_tokens"):
        Measured(MODEL, "mine", Range((1, 8), (2048, 128), (1, 2)))
    with pytest.raises(simlib.InputError, match="latency model"):
        Measured(None, "mine", Range((1, 8), (1, 2), (1, 2)))
