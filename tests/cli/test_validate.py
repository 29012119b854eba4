"""`simlib validate` on a folder that a run left behind: what files say, what is asked for, what is printed."""

import json

import pytest
from replayed import ENGINE, made_log, tiny_profile, written

from simlib.calibration.logs.logged_engine import LoggedEngine
from simlib.calibration.replay import validate
from simlib.checks import InputError
from simlib.cli import main
from simlib.latency import kernel_profile

META = {
    "engine_kwargs": {"max_num_seqs": 256, "max_num_batched_tokens": 2048, "tensor_parallel_size": 1},
    "kv_cache": {"num_gpu_blocks": 2588, "block_size": 16},
}
MODEL = {"num_hidden_layers": 32, "hidden_size": 4096}


@pytest.fixture
def run(tmp_path):
    """A folder with a profile and a log, and a call of the verb on it, with meta.json, config.json and options."""
    folder = tiny_profile(tmp_path / "run")
    written(made_log(kernel_profile.read(folder, 32).with_overhead(0.001), ENGINE), folder / "requests.jsonl")

    def call(meta, config, *options):
        for name, said in (("meta.json", meta), ("config.json", config)):
            (folder / name).write_text(json.dumps(said)) if said else (folder / name).unlink(missing_ok=True)
        return main(["validate", "--profile", str(folder), "--log", str(folder / "requests.jsonl"), *options])

    call.folder = folder
    return call


def test_nothing_need_be_said_that_files_say(run, capsys):
    assert run(META, MODEL) == 0
    said = capsys.readouterr().out
    assert "a cache of 2,587 blocks" in said and "meta.json: max_num_seqs 256" in said and "layers 32" in said
    assert "taken as usual: steps_in_flight 2" in said  # what nobody says is told
    assert "overhead_s 0.001" in said and "each part is judged by the other's" in said


def test_python_gets_what_the_terminal_does(run, tmp_path):
    assert run(META, MODEL, "--step-model", "all", "--json", str(tmp_path / "out.json")) == 0
    document, log = json.loads((tmp_path / "out.json").read_text()), run.folder / "requests.jsonl"
    found = validate(run.folder, log)
    simulated = [row["simulated_s"] for row in document["rows"] if row["simulated_s"] is not None]
    assert found.rows["simulated_s"].dropna().tolist() == simulated
    for name in ("engine", "laws", "sources"):
        assert found.settings[name] == document["settings"][name]
    told = LoggedEngine.of([run.folder], {"steps_in_flight": 1})
    assert validate(run.folder, log, told, ["profile"]).settings["engine"]["steps_in_flight"] == 1
    with pytest.raises(InputError, match="layers: given without limits"):
        validate(run.folder, log, layers=32)


def test_what_neither_files_nor_options_say_is_asked_for_at_once(run, capsys):
    assert run(None, None, "--token-budget", "2048") == 2
    said = capsys.readouterr().err
    assert said.startswith("simlib: --max-num-seqs, --kv-blocks, --layers: missing") and said.count("\n") == 1
    assert "num_hidden_layers of its config.json" in said


def test_all_models_stand_in_one_table_with_their_limits(run, capsys, tmp_path):
    assert run(META, MODEL, "--step-model", "all", "--json", str(tmp_path / "out.json")) == 0
    text = capsys.readouterr().out
    header, *rows = text.split("\n\n")[1].splitlines()
    assert header.split()[:3] == ["step_model", "metric", "statistic"] and len(rows) == 45
    assert [row.split()[0] for row in rows[:3]] == ["profile", "affine", "affine-from-log"]
    assert text.count("(95 % limits)") == 3
    settings = json.loads((tmp_path / "out.json").read_text())["settings"]
    low, high = settings["limits"]["profile"]["overhead_s"]
    assert low <= settings["laws"]["profile"]["overhead_s"] <= high
    assert settings["sources"]["layers"] == "config.json" and settings["usual"]["steps_in_flight"] == 2


def test_a_link_that_is_not_known_is_fitted_and_told_as_one(run, capsys):
    meta = META | {"engine_kwargs": META["engine_kwargs"] | {"tensor_parallel_size": 2}}
    law = kernel_profile.read(run.folder, 32).with_overhead(0.00256, token_s=2**-16)
    written(made_log(law, ENGINE), run.folder / "requests.jsonl")
    assert run(meta, MODEL) == 0
    said = capsys.readouterr().out
    assert "that is 20 us each" in said and "34.4 GB/s" in said  # 128 messages of 4 kB a token
    assert "But no link between its 2 cards is known" in said
    assert run(meta, MODEL, "--link-bandwidth", "16", "--link-latency", "20us") == 0
    assert "Its cards have 16 GB/s and 20 us." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("meta", "config", "options", "named"),
    [
        (META, MODEL, ["--layers", "16"], "--layers: 16 (expected 32, as config.json has it)"),
        (META, MODEL, ["--tensor-parallel", "2"], "--tensor-parallel: 2 (expected 1, as meta.json has it)"),
        (META, MODEL, ["--step-model", "affin"], "--step-model: 'affin' (expected one of all, profile"),
        (META, MODEL, ["--link-latency", "soon"], "--link-latency: 'soon'"),
        ({}, MODEL, ["--tensor-parallel", "2", "--link-bandwidth", "16"], "--link-latency: missing"),
        (META, {"nodes": []}, ["--layers", "1", "--fitted", "0"], "--fitted: 0"),
        (META | {"engine_kwargs": {"pipeline_parallel_size": 2}}, MODEL, [], "pipeline_parallel_size: 2"),
    ],
)
def test_what_cannot_be_is_named_in_a_sentence(run, capsys, meta, config, options, named):
    limits = [] if meta else ["--max-num-seqs", "9", "--kv-blocks", "900", "--token-budget", "2048"]
    assert run(meta, config, *limits, *options) == 2
    said = capsys.readouterr()
    assert named in said.err and said.out == "" and said.err.count("\n") == 1


def test_a_profile_may_lie_in_a_folder_by_size(run, capsys):
    (run.folder / "sizes").mkdir()
    tiny_profile(run.folder / "sizes" / "tp1")
    assert run(META, MODEL, "--profile", str(run.folder / "sizes")) == 0
    assert "overhead_s 0.001" in capsys.readouterr().out
