"""Recorded cases of a scheduler: what is equal, what is told of it, and which files are refused."""

import gzip
import json

import pytest

from benchmarks.conformance import scheduler_steps
from benchmarks.conformance.__main__ import main
from simlib.checks import InputError

# Two requests at once: 15 prompt tokens in a step, of which the first one samples twice.
CASE = {
    "mode": "sync", "arrival_s": [0.0, 0.0], "prompt_tokens": [10, 5], "output_tokens": [2, 1],
    "max_num_seqs": 4, "max_num_batched_tokens": 32, "num_blocks": 4, "block_size": 16, "law": [0.01, 2e-4, 1e-4, 1e-7],
    "first_s": [0.0115, 0.0115], "completion_s": [0.0217011, 0.0115],
    "steps": [[0.0115, 0, 15, 0, 2], [0.0102011, 1, 0, 11, 1]], "preemptions": 0,
}  # fmt: skip


def written(path, *cases):
    path.write_bytes(gzip.compress(json.dumps({"vllm": "0.0", "cases": cases}).encode()))
    return str(path)


def test_a_case_worked_by_hand_is_equal():
    assert scheduler_steps.compare(scheduler_steps.case_of(CASE, "case")).equal


def test_a_key_without_a_value_is_none_and_a_case_may_have_a_name():
    given = CASE | {"priority": None, "cancel_s": None, "name": "two at once"}
    assert scheduler_steps.compare(scheduler_steps.case_of(given, "case")).equal


@pytest.mark.parametrize(
    ("changed", "requests"),
    [
        ({"completion_s": [0.0217011 + 2e-9, 0.0115]}, [False, True]),
        ({"completion_s": [0.0217011, None]}, [True, False]),
        ({"steps": [[0.0115, 0, 15, 0, 2], [0.0102011, 1, 0, 12, 1]]}, [True, True]),
        ({"steps": CASE["steps"][:1]}, [True, True]),
        ({"steps": [*CASE["steps"], CASE["steps"][1]]}, [True, True]),
        ({"preemptions": 1}, [True, True]),
    ],
)
def test_what_differs_is_seen(changed, requests):
    found = scheduler_steps.compare(scheduler_steps.case_of(CASE | changed, "case"))
    assert not found.equal and found.requests_equal.tolist() == requests


def test_it_is_told_by_mode_how_many_are_equal(tmp_path, capsys):
    late = {"mode": "priority", "priority": [1, 0], "completion_s": [0.0217011, 0.02]}
    file = written(tmp_path / "steps.json.gz", CASE, CASE, CASE | late)
    assert main(["--replay", file]) == 1
    assert capsys.readouterr().out.startswith("2 of 3 recorded cases are equal")
    assert main(["--replay", written(tmp_path / "equal.json.gz", CASE)]) == 0
    found = scheduler_steps.by_mode([scheduler_steps.compare(case) for case in scheduler_steps.read(file)])
    assert list(found) == ["sync", "priority"]
    assert found["sync"] == {
        "cases": 2,
        "equal": 2,
        "requests_equal": 1.0,
        "worst_mean_latency_error": pytest.approx(0),
    }
    assert found["priority"] == {
        "cases": 1, "equal": 0, "requests_equal": 0.5, "worst_mean_latency_error": pytest.approx(1 - 332.011 / 417.011)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mode": "asink"}, "case 1, mode: 'asink' (expected one of"),
        ({"first_s": [0.0115]}, "case 1, first_s: 1 values (expected 2)"),
        ({"completion_s": [0.0115, "soon"]}, "case 1, completion_s, row 1: 'soon'"),
        ({"prompt_tokens": [10, -5]}, "case 1, prompt_tokens, row 1: -5"),
        ({"law": [0.01, 2e-4]}, "case 1, law: 2 values (expected 4)"),
        ({"block_size": 12}, "case 1, block_tokens: 12 (expected a power of two)"),
        ({"steps": [[0.0115, 0, 15]]}, "case 1, steps, step 0: [0.0115, 0, 15] (expected duration_s, decodes"),
        ({"steps": [[0.0115, 0, 1.5, 0, 2]]}, "case 1, steps, step 0, prefill_tokens: 1.5"),
        ({"group": [0, 1]}, "case 1, group: unknown to mode 'sync'"),
        ({"max_num_partial_prefills": 2}, "case 1, max_num_partial_prefills: unknown"),
        ({"num_blocks": 0}, "case 1, num_blocks: 0"),
        ({"output_tokens": [200, 1]}, "case 1, num_blocks: 4 (expected at least 14, which row 0 needs)"),
        ({"mode": "shared_prefix"}, "case 1, group: missing key"),
        (
            {"mode": "shared_prefix", "group": [0, 0], "shared_tokens": [11, 0]},
            "case 1, prefix_tokens, row 0: 11 (expected 0 to the row's prompt_tokens)",
        ),
        ({"max_tokens": [3, 0]}, "case 1, max_tokens, row 1: 0 (expected at least the row's output_tokens)"),
        ({"watermark": 1.5}, "case 1, watermark: 1.5"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_case_and_key(tmp_path, capsys, changed, said):
    file = written(tmp_path / "steps.json.gz", CASE, CASE | changed)
    assert main(["--replay", file]) == 2
    printed = capsys.readouterr()
    assert f"steps.json.gz, {said}" in printed.err and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "no list of cases"),
        ('{"cases": []}', "cases: an empty list (expected at least 1)"),
        ('{"cases": [3]}', "case 0, 3 (expected a JSON object)"),
        ('{"cases": [{"mode": "sync"', "expected JSON"),
    ],
)
def test_another_file_is_refused(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=said.replace("(", r"\(").replace(")", r"\)")):
        scheduler_steps.read(tmp_path / "a.json")
