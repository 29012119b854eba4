"""A law of steps in a file: written, read back with its trust, and refused where it is none."""

import pandas as pd
import pytest

import simlib
from simlib import InputError, named
from simlib.latency import law_file
from simlib.latency.trust import Trust

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
