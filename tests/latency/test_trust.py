"""How far to trust a law: what of a run lies beyond its measurements, worked by hand, and where that is said."""

import math
import warnings
from dataclasses import asdict, replace

import numpy as np
import pytest

import simlib
from simlib.latency import trust
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust

KNOWN = Trust("bench.json", {"decodes": (0.0, 1.0), "prefill_tokens": (0.0, 150.0), "context_tokens": (0.0, 210.0)})


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch):
    monkeypatch.setattr(trust, "_said", set())


def said(table, law, **settings):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = simlib.simulate(table, "fcfs", law, execution="continuous", **settings)
    return [str(one.message) for one in caught], run


def test_decodes_and_context_are_counted_on_each_gpu_between_its_events():
    # GPU 0: one decodes from 1 s to 11 s, another from 2 s to 4 s; GPU 1: one from 1 s to 3 s; one never decodes.
    table = simlib.RequestTable([0, 0, 0, 0], [100, 50, 10, 70], [11, 3, 3, 1])
    first, last = np.array([1.0, 2.0, 1.0, 5.0]), np.array([11.0, 4.0, 3.0, 5.0])
    uses = trust.seen(table, first, last, np.array([0, 0, 1, 0]), 80)
    decodes, context = uses["decodes"], uses["context_tokens"]
    assert decodes.values[decodes.weights > 0].tolist() == pytest.approx([1, 2, 1, 1, 1])
    assert decodes.weights.sum() == pytest.approx(10 + 2)
    assert context.values.max() == pytest.approx(104 + 53)  # at 4 s, before the second leaves with 50 + 3 tokens
    assert uses["prefill_tokens"].values.tolist() == [80, 50, 10, 70]
    assert uses["prompt_tokens"].weights.tolist() == [1, 1, 1, 1]


def test_what_was_not_served_or_is_cached_is_not_counted():
    table = simlib.RequestTable([0, 0], [100, 50], [11, 3], cached_prompt_tokens=[60, 0])
    uses = trust.seen(table, np.array([1.0, np.nan]), np.array([3.0, np.nan]), np.array([0, -1]), 2048)
    assert uses["prefill_tokens"].values.tolist() == [40] and uses["output_tokens"].values.tolist() == [11]


def test_a_run_beyond_the_measurements_is_warned_of_once_with_numbers_and_keeps_them():
    law = StepLaw(0.01, trust=KNOWN)
    table = simlib.RequestTable([0.0, 0.0], [100, 200], [11, 11])
    (text,), run = said(table, law)
    assert "latency bench.json: parts of a run lie outside the measured range: decodes a step 2 to 2, " in text
    assert "measured 0 to 1 (100 % of the time beyond)" in text
    assert "prefill tokens a step 100 to 200, measured 0 to 150 (50 % of the requests beyond)" in text
    assert "said once" in text and len(run.doubts) == 3
    again, run = said(table, law)
    assert again == [] and len(run.doubts) == 3
    inside, run = said(simlib.RequestTable([0.0], [100], [11]), law)
    assert inside == [] and run.doubts == []


def test_the_warning_of_batches_is_there_in_an_engine_too():
    table = simlib.RequestTable([0.0, 60.0], [118_000, 500], [90, 2100])
    (text,), _ = said(table, "h100-vllm-llama3-8b")
    assert "prompt tokens 500 to 118000, measured 128 to 2048 (50 % of the requests beyond)" in text
    assert "output tokens 90 to 2100, measured 128 to 2048 (50 % of the requests beyond)" in text


def test_a_typed_law_has_no_range_and_is_not_warned_of():
    texts, run = said(simlib.RequestTable([0.0], [118_000], [90]), "0.01,1e-4,1e-5,1e-8")
    assert texts == [] and run.doubts == [] and run.law.trust is None


@pytest.mark.parametrize(("mape", "told"), [(0.11, "held-out error 11 %, R² 0.50"), (0.09, ""), (math.nan, "")])
def test_a_bad_fit_is_a_doubt(mape, told):
    bad = replace(KNOWN, mape=mape, r2=0.5)
    texts, run = said(simlib.RequestTable([0.0], [100], [11]), StepLaw(0.01, trust=bad))
    assert (told in "".join(texts)) and bool(texts) == bool(told) and len(run.doubts) == bool(told)


def test_trust_changes_neither_the_law_nor_how_it_is_written():
    plain, known = StepLaw(0.01, 1e-4), StepLaw(0.01, 1e-4, trust=KNOWN)
    assert plain == known and hash(plain) == hash(known) and repr(plain) == repr(known)


def test_a_run_that_was_saved_keeps_its_doubts(tmp_path):
    _, run = said(simlib.RequestTable([0.0, 0.0], [100, 200], [11, 11]), StepLaw(0.01, trust=KNOWN))
    again = simlib.load(run.save(tmp_path / "run.parquet"))
    assert again.doubts == run.doubts and asdict(again.law.trust)["ranges"] == asdict(KNOWN)["ranges"]
