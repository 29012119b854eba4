"""What vLLM's own scheduler does with the same requests, step by step: runs recorded from it, without a model."""

import gzip
import json

import numpy as np
import pytest

from simlib.continuous.columns import NUMBERS
from simlib.continuous.serve import rules_of, served
from simlib.continuous.settings import Continuous
from simlib.continuous.state import LOGGED
from simlib.latency.steps import StepLaw
from simlib.policies.plan import Order
from simlib.requests.table import RequestTable

MODES = ("sync", "async", "sync_reuse", "async_reuse", "priority", "shared_prefix")
NAMES = {"group": "prefix_group", "shared_tokens": "prefix_tokens"}


@pytest.fixture(scope="module")
def cases(data_dir):
    with gzip.open(data_dir / "vllm-scheduler" / "steps.json.gz") as file:
        return json.load(file)["cases"]


def replayed(case, cache=False):
    """The recorded requests in an engine of the same settings, and its steps as `recorded` has them."""
    columns = ("arrival_s", "prompt_tokens", "output_tokens", "priority", "group", "shared_tokens")
    table = RequestTable(**{NAMES.get(name, name): case[name] for name in columns if name in case})
    law, order = StepLaw(*case["law"]), Order(priority=case["mode"] == "priority")
    engine = Continuous(
        max_seqs=case["max_num_seqs"],
        kv_tokens=case["num_blocks"] * case["block_size"],
        block_tokens=case["block_size"],
        token_budget=case["max_num_batched_tokens"],
        steps_in_flight=2 if case["mode"].startswith("async") else 1,
        reuse=case["mode"].endswith("reuse") and not cache,
        prefix_cache=case["mode"] == "shared_prefix" or cache,
    )
    rules, most = rules_of(engine, law, 1, order), len(case["steps"]) + 1
    _, found, _ = served(table, law, 1, rules, order, "interpreted", None, most)
    log = found.steps[0, : found.numbers[0, NUMBERS.index("stored")]]
    count, decodes, prefill, context, chunks = (
        log[:, LOGGED.index(name)].astype(int)
        for name in ("steps", "decodes", "prefill_tokens", "context_tokens", "chunks")
    )
    row = np.repeat(np.arange(len(log)), count)
    later = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)  # each decode's context grows by a token
    steps = (decodes[row], prefill[row], context[row] + later * decodes[row], decodes[row] + chunks[row])
    return found, np.transpose(steps)


def test_there_are_twenty_runs_of_each_mode(cases):
    assert [case["mode"] for case in cases] == [MODES[number % 6] for number in range(120)]


@pytest.mark.parametrize("number", range(120))
def test_every_step_and_every_time_is_that_of_vllms_scheduler(cases, number):
    equal(cases[number], *replayed(cases[number]))


@pytest.mark.parametrize("number", [number for number in range(120) if MODES[number % 6].endswith("reuse")])
def test_a_cache_finds_what_a_preempted_request_finds_of_its_own(cases, number):
    equal(cases[number], *replayed(cases[number], cache=True))


def equal(case, found, steps):
    assert steps.tolist() == [row for _, *row in case["steps"]]
    assert np.allclose(found.first_token_s, case["first_s"], rtol=0, atol=1e-9)
    assert np.allclose(found.completion_s, case["completion_s"], rtol=0, atol=1e-9)
    assert found.numbers[:, NUMBERS.index("preemptions")].sum() == case["preemptions"]
