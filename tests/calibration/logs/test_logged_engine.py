"""The engine of a log: by what is given, by files, by what is usual; what nobody says is asked for."""

import json

import pytest

from simlib import InputError
from simlib.calibration.logs.logged_engine import LIMITS, LoggedEngine
from simlib.continuous.settings import Continuous
from simlib.latency.parallel import Link

GIVEN = {"max_num_seqs": 8, "kv_blocks": 100, "token_budget": 512, "layers": 2}
META = {
    "engine_kwargs": {"max_num_seqs": 256, "max_num_batched_tokens": 2048, "tensor_parallel_size": 2},
    "kv_cache": {"num_gpu_blocks": 2588, "block_size": 32},
}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps(META))
    (tmp_path / "config.json").write_text(json.dumps({"num_hidden_layers": 32, "hidden_size": 4096}))
    return tmp_path


def test_files_say_all_and_what_is_given_comes_first(run):
    engine = LoggedEngine.of([run])
    assert engine.settings == Continuous(
        max_seqs=256, kv_tokens=2587 * 32, block_tokens=32, token_budget=2048, steps_in_flight=2, reuse=True,
        whole_prompt=True,
    )  # fmt: skip
    assert (engine.layers, engine.parallel.tensor, engine.parallel.hidden_size) == (32, 2, 4096)
    assert engine.usual["steps_in_flight"] == 2 and "max_num_seqs" not in engine.usual
    given = LoggedEngine.of([run / "requests.jsonl"], {"max_num_seqs": 9, "steps_in_flight": 1})
    assert (given.settings.max_seqs, given.settings.steps_in_flight) == (9, 1)
    assert "steps_in_flight" not in given.usual


def test_without_files_what_is_given_and_usual_is_all(tmp_path):
    engine = LoggedEngine.of([tmp_path], GIVEN)
    assert engine.settings.kv_tokens == 100 * LIMITS["block_size"] and engine.found.values == {}
    linked = GIVEN | {"tensor_parallel": 2, "hidden_size": 64, "link_bandwidth_bytes_s": 1e9, "link_latency_s": 1e-5}
    assert LoggedEngine.of([tmp_path], linked).parallel.link == Link(1e9, 1e-5)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"token_budget": 512}, r"^max_num_seqs, kv_blocks, layers: missing \(expected max_num_seqs: sequences"),
        (GIVEN | {"max_num_seqs": 0}, "^max_num_seqs: 0"),
        (GIVEN | {"steps_in_flight": 3}, "^steps_in_flight: 3"),
        (GIVEN | {"max_seqs": 3}, "^given: 'max_seqs' .*did you mean 'max_num_seqs'"),
        (GIVEN | {"tensor_parallel": 2, "link_latency_s": 1e-5}, "^hidden_size, link_bandwidth_bytes_s: missing"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, given, told):
    with pytest.raises(InputError, match=told):
        LoggedEngine.of([tmp_path], given)


def test_layers_are_needed_for_kernels_alone(tmp_path):
    limits = {name: value for name, value in GIVEN.items() if name != "layers"}
    assert LoggedEngine.of([tmp_path], limits, kernels=False).layers is None


def test_a_size_that_files_have_otherwise_is_refused(run):
    with pytest.raises(InputError, match=r"^layers: 16 .expected 32, as config.json has it"):
        LoggedEngine.of([run], {"layers": 16})
