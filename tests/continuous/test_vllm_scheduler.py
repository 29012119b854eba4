"""What vLLM's own scheduler does with the same requests, step by step: runs recorded from it, without a model."""

import gzip
import json

import numpy as np
import pytest

from simlib.continuous.columns import NUMBERS
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.continuous.state import LOGGED
from simlib.latency.steps import StepLaw
from simlib.requests.table import RequestTable

STEPS_IN_FLIGHT = {"sync": 1, "async": 2}
# In these a preempted request is computed again to its last token in a chunk of its own, which the recording counts as
# a decode: the engine cannot tell the two apart, ours can.
TOLD_APART = {1: "async", 12: "sync", 43: "async", 66: "sync", 84: "sync"}
SAME = [(case, "async" if case % 2 else "sync") for case in range(120) if case % 6 < 2 and case not in TOLD_APART]


@pytest.fixture(scope="module")
def cases(data_dir):
    with gzip.open(data_dir / "vllm-scheduler" / "steps.json.gz") as file:
        return json.load(file)["cases"]


def replayed(case):
    """The recorded requests in an engine of the same settings, and its steps: ``decodes, prefill, seats`` of each."""
    table = RequestTable(case["arrival_s"], case["prompt_tokens"], case["output_tokens"])
    engine = Continuous(
        max_seqs=case["max_num_seqs"],
        kv_tokens=case["num_blocks"] * case["block_size"],
        block_tokens=case["block_size"],
        token_budget=case["max_num_batched_tokens"],
        steps_in_flight=STEPS_IN_FLIGHT[case["mode"]],
    )
    served = serve(table, StepLaw(*case["law"]), engine, 1, "interpreted", log_steps=len(case["steps"]) + 1)
    log = served.steps[0, : served.numbers[0, NUMBERS.index("stored")]]
    columns = [LOGGED.index(name) for name in ("decodes", "prefill_tokens")]
    return served, np.repeat(log[:, columns], log[:, LOGGED.index("steps")].astype(int), axis=0)


def test_there_are_35_runs_that_are_the_same():
    assert len(SAME) == 35


@pytest.mark.parametrize(("number", "mode"), SAME)
def test_every_step_and_every_time_is_that_of_vllms_scheduler(cases, number, mode):
    case = cases[number]
    assert case["mode"] == mode
    served, steps = replayed(case)
    assert steps.tolist() == [[decodes, prefill] for _, decodes, prefill, _, _ in case["steps"]]
    assert np.allclose(served.first_token_s, case["first_s"], rtol=0, atol=1e-9)
    assert np.allclose(served.completion_s, case["completion_s"], rtol=0, atol=1e-9)
    assert served.numbers[:, NUMBERS.index("preemptions")].sum() == case["preemptions"]


@pytest.mark.parametrize("number", TOLD_APART)
def test_elsewhere_only_that_chunk_is_counted_otherwise(cases, number):
    case = cases[number]
    served, steps = replayed(case)
    recorded = np.array([[decodes, prefill] for _, decodes, prefill, _, _ in case["steps"]])
    other = np.flatnonzero((steps != recorded).any(axis=1))
    assert 0 < len(other) <= 3 and (steps[other] - recorded[other] == [-1, 1]).all()
    assert served.numbers[:, NUMBERS.index("preemptions")].sum() == case["preemptions"]
