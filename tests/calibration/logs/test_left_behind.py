"""What the files beside a log say of a run."""

import json

import pytest

import simlib
from simlib.calibration.logs.left_behind import beside, check_profile, profile_of

STARTED = {"tensor_parallel_size": 2, "data_parallel_size": 1, "enable_expert_parallel": False, "max_num_seqs": 128}
META = {"model": "some/Model-7B", "vllm_version": "0.19.0", "engine_kwargs": STARTED | {"dtype": "bfloat16"}}
CLUSTER = {"link_bw": 16, "link_latency": 20000, "nodes": [{"instances": [{"hardware": "CARD", "tp_size": 2}]}]}


@pytest.fixture
def run(tmp_path):
    """A folder that files are written into, and the values that are read from it."""

    def values(**files):
        for name, said in files.items():
            path = tmp_path / name.replace("__", "/").replace("_json", ".json")
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(said))
        return beside([tmp_path]).values

    values.folder = tmp_path
    return values


def test_what_an_engine_was_started_with_and_what_it_resolved(run):
    assert run(meta_json=META) == {
        "max_num_seqs": 128, "tensor_parallel": 2, "data_parallel": 1, "expert_parallel": False, "element_bytes": 2,
        "model": "some/Model-7B", "engine": "vLLM 0.19.0",
    }  # fmt: skip
    scheduler = {"max_num_seqs": 64, "async_scheduling": False, "max_num_batched_tokens": 512, "watermark": 0.01}
    resolved = {"scheduler_config": scheduler, "cache_config": {"enable_prefix_caching": False, "block_size": 32}}
    found = run(meta_json=META | {"resolved_config": resolved, "kv_cache": {"num_gpu_blocks": 2588}})
    assert found["max_num_seqs"] == 64 and found["token_budget"] == 512 and found["steps_in_flight"] == 1
    assert found["watermark"] == 0.01 and found["reuse"] is False and found["block_size"] == 32
    assert found["kv_blocks"] == 2587  # one is the engine's own


def test_a_models_config_or_a_simulators_cluster(run):
    assert run(config_json={"num_hidden_layers": 64, "hidden_size": 5120}) == {"layers": 64, "hidden_size": 5120}
    assert run(config_json={"text_config": {"num_hidden_layers": 8}}) == {"layers": 8}
    found = run(config_json=CLUSTER)
    assert found["link_bandwidth_bytes_s"] == 16e9 and found["link_latency_s"] == pytest.approx(20e-6)
    assert found["tensor_parallel"] == 2 and found["hardware"] == "CARD"


def test_a_folder_of_vllm_has_the_cluster_above_it(run):
    run(vllm__meta_json=META, config_json=CLUSTER)
    found = beside([run.folder / "vllm" / "requests.jsonl"])
    assert found.values["max_num_seqs"] == 128 and found.sources["link_latency_s"] == "config.json"


def test_a_models_config_from_elsewhere(run):
    run(model__config_json={"num_hidden_layers": 4, "hidden_size": 8}, meta_json=META, config_json=CLUSTER)
    for place in (run.folder / "model", run.folder / "model" / "config.json"):
        assert beside([run.folder], place).values["layers"] == 4
    with pytest.raises(simlib.InputError, match="no num_hidden_layers"):
        beside([run.folder], run.folder / "meta.json")


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (
            {"meta_json": META, "config_json": CLUSTER | {"nodes": [{"instances": [{"tp_size": 4}]}]}},
            "tensor_parallel: 4",
        ),
        ({"meta_json": META | {"engine_kwargs": {"pipeline_parallel_size": 2}}}, "pipeline_parallel_size: 2"),
        ({"config_json": {"num_hidden_layers": "many"}}, "num_hidden_layers: 'many'"),
        ({"meta_json": [1]}, "meta.json: .*JSON object"),
    ],
)
def test_files_that_differ_or_say_nothing_usable_are_named(run, files, named):
    with pytest.raises(simlib.InputError, match=named):
        run(**files)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("OTHER_Model-7B_tp2_dense.csv", r"card OTHER \(expected CARD"),
        ("CARD_Model-8B_tp2_dense.csv", r"model Model-8B \(expected Model-7B"),
        ("CARD_Model-7B_tp1_dense.csv", r"tensor parallel size 1 \(expected 2"),
        ("CARD_Model-7B_tp2_dense.csv", None),
        ("dense.csv", None),
    ],
)
def test_a_profile_of_another_card_model_or_cut_is_known_by_its_name(run, name, named):
    run(meta_json=META, config_json=CLUSTER)
    folder = run.folder / "profile"
    folder.mkdir()
    (folder / name).write_text("")
    if named is None:
        return check_profile([folder], beside([run.folder]))
    with pytest.raises(simlib.InputError, match=named):
        check_profile([folder], beside([run.folder]))


def test_a_folder_by_size_has_one_profile_for_each(tmp_path):
    (tmp_path / "tp2").mkdir()
    assert profile_of([tmp_path], 2) == [tmp_path / "tp2"] and profile_of([tmp_path], 1) == [tmp_path]
    (tmp_path / "tp2" / "dense.csv").write_text("")
    with pytest.raises(simlib.InputError, match=r"tensor parallel size 2 \(expected 4"):
        check_profile([tmp_path / "tp2"], type("Found", (), {"values": {"tensor_parallel": 4}}))
