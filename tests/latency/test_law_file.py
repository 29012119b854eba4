"""A law of steps in a file: written, read back with its trust, and refused where it is none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import InputError, named
from simlib.latency import law_file
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust
from simlib.requests.lengths import Fixed

KNOWN = Trust(
    "bench.json",
    {"decodes": (0.0, 3.0), "prefill_tokens": (0.0, 500.0), "context_tokens": (0.0, 1234.5)},
    0.0123,
    0.98,
    ("a prompt is whole: no chunks", "2 of 9 requests failed"),
    ("d_s_per_context_token",),
)
VALUES = [0.012, 3e-4, 0.1 + 2e-17, 0.0]
TABLE = pd.DataFrame(
    {"coefficient": law_file.NAMES, "value": VALUES, "ci_low": 0.0, "ci_high": [1, 1, 1, float("inf")]}
).assign(identified=[True, True, True, False])


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "my.csv"
    file.write_text(law_file.text_of(TABLE, KNOWN))
    return file


def test_a_law_comes_back_from_its_file_to_the_last_bit_with_its_trust(path):
    law = named.step_law_of(str(path))
    assert law.params[:4].tolist() == VALUES
    assert law.trust == KNOWN


def test_a_file_by_another_name_is_read_too(path):
    other = path.rename(path.with_name("my law.txt"))
    assert named.step_law_of(str(other)).trust.source == "bench.json"


def test_batches_that_run_to_completion_take_the_same_steps(path):
    # Two prompts of 100 in one step, then 3 - 1 steps of two sequences.
    a, b, c, _ = VALUES
    model = named.latency_of(str(path))
    assert float(model.batch_time_s(2, 100, 3)) == pytest.approx(a + 200 * c + 2 * (a + 2 * b))
    assert model.step_law() == named.step_law_of(str(path))


def test_it_serves_requests_in_both_executions(path):
    table = simlib.RequestTable([0.0], [100], [3])
    for execution in ("continuous", "run_to_completion"):
        policy = "fcfs" if execution == "continuous" else "static_fifo"
        run = simlib.simulate(table, policy, str(path), execution=execution)
        assert run.times.completion_s[0] == pytest.approx(3 * VALUES[0] + 2 * VALUES[1] + 100 * VALUES[2])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("a_s,0.012", "a_s,-1", r"a_s: -1 \(expected seconds >= 0\)"),
        ("a_s,0.012", "a_s,fast", "a_s: fast"),
        ("b_s_per_decode,", "a_s,", "each once"),
        ("measured decodes: 0.0 to 3.0", "measured decodes: 3 to 0", "measured decodes: 3 to 0"),
        ("value,ci_low", "worth,ci_low", "columns coefficient, worth"),
    ],
)
def test_a_file_that_holds_no_law_says_where(path, old, new, told):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=told) as caught:
        named.step_law_of(str(path))
    assert "my.csv" in str(caught.value)


LAWS = (StepLaw(0.01, 1e-3, 1e-4), StepLaw(0.01, 1e-3, 1e-4, way_in_s=0.25))
DRAWN = replace(
    KNOWN,
    draws=((0.012, 3e-4, 0.1, 0.0, 0.01), (0.013, 2e-4, 0.1, 1e-7, 0.012)),
    noise=0.02,
    step_noise=0.07,
    fitted=("a1b2", "c3d4"),
)
WITH_WAY = pd.concat([TABLE, pd.DataFrame({"coefficient": [law_file.WAY_IN], "value": 0.011})], ignore_index=True)


def test_the_way_in_and_the_draws_come_back_too(path):
    path.write_text(law_file.text_of(WITH_WAY, DRAWN))
    law = named.step_law_of(str(path))
    assert (law.way_in_s, law.trust) == (0.011, DRAWN)
    assert law.params[:4].tolist() == VALUES


def test_laws_are_drawn_in_turn_and_scaled_by_a_runs_noise(path):
    path.write_text(law_file.text_of(WITH_WAY, DRAWN))
    law = named.step_law_of(str(path))
    laws = law.drawn(4000, span_s=4.0, seed=1)
    assert {one.way_in_s for one in laws} == {0.01, 0.012}
    scale = np.log([one.base.a_s / (0.012 if one.way_in_s == 0.01 else 0.013) for one in laws])
    # Of a run of 4 s half the noise of one: 0.01, whose estimate from 4,000 is off by 0.0001 (seed 1, six of these).
    assert np.std(scale) == pytest.approx(0.01, abs=7e-4)
    assert laws[0].base.d_s == 0 and laws[0].noise == 0.07
    assert StepLaw(0.01).drawn(3, 1.0) == []


def test_a_draw_is_the_law_without_noise_and_after_the_last_the_first_comes_again():
    law = StepLaw(*VALUES, h_s=1e-9, way_in_s=0.011, trust=DRAWN)
    assert law.draw(1) == StepLaw(*DRAWN.draws[1][:4], h_s=1e-9, way_in_s=0.012) == law.draw(3) != law.draw(2)
    slower = law.draw(1, times=2.0)
    assert slower.params.tolist() == [2 * each for each in DRAWN.draws[1][:4]] + [1e-9] and slower.way_in_s == 0.012
    typed = StepLaw(*VALUES, h_s=1e-9, way_in_s=0.011)
    assert typed.draw(7) == typed and typed.draw(7).trust is None  # where no draws are known, it is itself


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("draw 2: 0.013, ", "draw 2: ", "draw 2: 0.0002, 0.1, 1e-07, 0.012"),
        ("draw 2: 0.013", "draw 2: -0.013", "draw 2"),
        ("steps: 0.02", "steps: much", "noise of one second's steps: much"),
        ("way_in_s,0.011", "way_in_s,-1", r"way_in_s: -1 \(expected seconds >= 0\)"),
    ],
)
def test_draws_that_are_none_are_named(path, old, new, told):
    text = law_file.text_of(WITH_WAY, DRAWN)
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=told):
        named.step_law_of(str(path))


def test_a_way_in_is_added_to_what_clients_wait_and_to_nothing_else():
    table = simlib.RequestTable([0.0, 0.1], [100, 50], [3, 2])
    near, far = (simlib.simulate(table, "fcfs", law, execution="continuous") for law in LAWS)
    assert far.times.first_token_s == pytest.approx(near.times.first_token_s + 0.25)
    assert far.times.completion_s == pytest.approx(near.times.completion_s + 0.25)
    assert far.steps["start_s"].to_numpy() == pytest.approx(near.steps["start_s"].to_numpy() + 0.25)
    for metric, more in (("ttft", 0.25), ("latency", 0.25), ("tpot", 0.0)):
        name = f"{metric}_mean_s"
        assert far.summary()[name] == pytest.approx(near.summary()[name] + more)


def test_who_waits_for_an_answer_sends_the_next_when_it_is_back():
    # A step of 1 s, an answer of one token, half a second on the way: a client is answered every 1.5 s.
    closed = simlib.workload.closed(1, 4, Fixed(10), Fixed(1))
    run = simlib.simulate(closed, "fcfs", StepLaw(1.0, way_in_s=0.5), execution="continuous")
    assert run.times.completion_s == pytest.approx([1.5, 3.0, 4.5, 6.0])
    assert run.table.arrival_s == pytest.approx([0.0, 1.5, 3.0, 4.5])
    assert run.steps["start_s"].to_numpy() == pytest.approx([0.5, 2.0, 3.5, 5.0])
