"""The verbs as a user types them, each in a process of its own where start-up matters, else by `main`."""

import gzip
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from simlib import datasets
from simlib.cli import main


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "requests.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n0.5,30,0\n")
    return path


def test_simulate_writes_one_row_a_request_in_input_order(table, tmp_path):
    out = tmp_path / "run.csv"
    assert main(["simulate", str(table), "--policy", "static_fifo", "--out", str(out)]) == 0
    run = pd.read_csv(out)
    assert run["prompt_tokens"].tolist() == [10, 20, 30]
    assert run["completion_s"].tolist() == pytest.approx([0.013, 0.5169, 0.5169])  # 0.01 + 0.0002 x 30 x 1.15
    assert list(run.columns[-6:]) == ["start_s", "first_token_s", "completion_s", "gpu", "batch", "bin"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["requests.csv", "run.csv"]


def test_out_writes_through_a_link_and_leaves_it_one(table, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "run.csv")
    assert main(["simulate", str(table), "--policy", "static_fifo", "--out", str(link)]) == 0
    assert link.is_symlink() and len(pd.read_csv(tmp_path / "run.csv")) == 3


def test_simulate_prints_a_summary(table, capsys):
    assert main(["simulate", str(table), "--gpus", "2", "--predictor", "oracle", "--d-sla", "0.0155"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["requests"] == 3 and summary["rejected"] == 0
    assert summary["sla_violation_share"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "options",
    [
        ["--policy", "multi_bin_dynamic", "--k-bins", "2", "--bin-select", "oldest_head", "--variant", "paper"],
        ["--policy", "shortest_predicted_first", "--k-bins", "2", "--seconds-per-token", "0.5", "--batch-size", "3"],
        ["--policy", "multi_bin_fixed", "--k-bins", "2", "--batch-size", "2"],
        ["--policy", "early_rejection", "--k-bins", "2", "--variant", "paper"],
        ["--policy", "dynamic_no_bins", "--variant", "released", "--latency", "0.01,0.001,0.2"],
        ["--predictor", "original", "--seed", "7", "--oversize", "reject"],
    ],
)
def test_every_option_reaches_the_simulation(table, capsys, options):
    assert main(["simulate", str(table), *options]) == 0
    assert json.loads(capsys.readouterr().out)["requests"] == 3


def test_simulate_reads_the_trace_and_a_gzipped_table(table, tmp_path, capsys):
    assert main(["simulate", str(datasets.sample())]) == 0
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert main(["simulate", str(packed)]) == 0
    assert capsys.readouterr().out.count('"requests"') == 2


def test_a_warning_is_a_sentence_on_standard_error(table, capsys):
    assert main(["simulate", str(table), "--k-bins", "8"]) == 0
    printed = capsys.readouterr()
    assert re.fullmatch(r"simlib: predicted_output_tokens: tied lengths leave \d distinct bins of 8\n", printed.err)
    assert json.loads(printed.out)["requests"] == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policy", "static_fifo"], "simlib: deadline: 1 s end to end, assumed (--d-sla sets it)\n"),
        (["--policy", "static_fifo", "--d-sla", "1"], ""),
        (["--policy", "dynamic_no_bins"], ""),
        (
            ["--policy", "fcfs", "--execution", "continuous"],
            "simlib: deadline: 1 s end to end, assumed (--d-sla sets it)\n",
        ),
    ],
)
def test_a_deadline_that_nobody_gave_is_said_to_be_assumed(options, said, table, capsys):
    assert main(["simulate", str(table), *options]) == 0
    assert capsys.readouterr().err == said


def test_compare_prints_intervals(capsys):
    assert main(["compare", "--level", "1", "--replications", "3"]) == 0
    shown = capsys.readouterr().out
    assert "43.3" in shown and "[" in shown and "multi_bin_dynamic" in shown


def test_compare_prints_paired_differences_with_the_correlation_that_was_achieved(capsys):
    assert main(["compare", "--level", "3", "--replications", "3", "--requests", "200"]) == 0
    rows, differences = capsys.readouterr().out.split("\n\n")
    assert "this seed %" in rows
    heading, *pairs = differences.splitlines()
    assert "difference (95 % interval)" in heading and "correlation" in heading and "p (Holm)" in heading
    assert len(pairs) == 9 and all(" to " in pair for pair in pairs)


def test_compare_writes_json_and_csv_with_the_promised_columns(tmp_path, capsys):
    options = ["--level", "all", "--replications", "2", "--requests", "60"]
    assert main(["compare", *options, "--json", str(tmp_path / "a.json"), "--out", str(tmp_path / "t")]) == 0
    document = json.loads((tmp_path / "a.json").read_text())
    assert set(document) == {"rows", "differences"} and len(document["rows"]) == 18
    assert document["rows"][0]["claim_inside"] is None  # 60 requests are not the document's table
    differences = pd.read_csv(tmp_path / "t" / "levels_differences.csv")
    assert list(differences.columns) == [
        *("level", "scheduler_a", "scheduler_b", "metric", "difference", "ci_low", "ci_high", "replications"),
        *("share_of_replications_better", "requests_from", "correlation", "method", "p_holm"),
    ]
    assert pd.read_csv(tmp_path / "t" / "levels_times.csv")["claimed_time_s"].tolist() == [0.04, 0.07, 0.28, 0.08]
    assert capsys.readouterr().out == ""


def test_presets_are_marked_as_assumed(capsys):
    assert main(["presets"]) == 0
    shown = capsys.readouterr().out
    assert "original-synthetic,affine,original system" in shown and shown.count("assumed") == 2
    assert "a100-vllm-llama3-8b,phase5_equal_lengths,LLM-Inference-Bench,Nvidia A100 GPU,1" in shown
    assert main(["presets", "--all"]) == 0
    rows = pd.read_csv(io.StringIO(capsys.readouterr().out)).set_index("name")
    assert rows.loc["original-synthetic", ["alpha_s", "beta_s_per_token", "gamma"]].tolist() == [0.01, 0.0002, 0.3]


def test_calibrate_measures_goes_on_and_fits(tmp_path, capsys):
    pytest.importorskip("torch")
    path = tmp_path / "mine.csv"
    grid = ["--batch-sizes", "1,2", "--prompt-tokens", "4,8,16", "--output-tokens", "1,3,5", "--threads", "1"]
    options = ["calibrate", "--model", "random:qwen3-10m", "--output", str(path), "--device", "cpu", *grid]
    assert main([*options, "--trials", "1"]) == 0
    text, printed = path.read_text(), capsys.readouterr()
    assert "measuring 100 %" in printed.err and "left" in printed.err
    summary, forms, coefficients = printed.out.split("\n\n")
    assert "total_spread_s" in summary and "phase5" in forms and "low" in coefficients
    assert main([*options, "--trials", "2"]) == 0
    assert path.read_text().startswith(text) and len(path.read_text().splitlines()) == len(text.splitlines()) + 18


def test_calibrate_writes_a_template_and_a_step_laws_card(tmp_path, capsys):
    assert main(["calibrate", "--template"]) == 0
    template = capsys.readouterr().out
    assert main(["calibrate", "--template", "--output", str(tmp_path / "t.csv")]) == 0
    assert (tmp_path / "t.csv").read_text() == template and "batch_size,prompt_tokens" in template
    bench = {"input_lens": [100, 200], "output_lens": [31, 31], "ttfts": [0.1, 0.1], "request_rate": "inf"}
    (tmp_path / "b.json").write_text(json.dumps(bench | {"itls": [[0.01] * 30] * 2}))
    assert main(["calibrate", "--from-bench", str(tmp_path / "b.json")]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("### Step law of b.json") and "cannot be told" in printed.err


BAD = [
    (["calibrate", "--model", "random:qwen3-10m"], "--output: none"),
    (["calibrate", "--model", "random:qwen3-10m", "--output", "FOLDER"], "is a folder"),
    (["calibrate", "--model", "random:qwen3-10m", "--output", "no/such/a.csv"], "no/such"),
    (["calibrate", "--model", "m", "--output", "NEW", "--batch-sizes", "1,x"], "--batch-sizes: 1,x"),
    (["calibrate", "--model", "m", "--output", "NEW", "--batch-sizes", "4"], "batch_sizes: 4"),
    (["calibrate", "--model", "m", "--output", "NEW", "--trials", "0"], "trials: 0"),
    (["calibrate", "--model", "m/n", "--output", "NEW", "--device", "cpu"], "hf download m/n"),
    (["calibrate", "--from-bench", "absent.json"], "absent.json"),
    (["calibrate", "--from-bench", "TABLE"], "expected a line of JSON"),
    (["simulate", "no.csv"], "no.csv"),
    (["simulate", "TABLE", "--policy", "lifo"], "lifo"),
    (["simulate", "TABLE", "--policy", "static_fifo", "--k-bins", "3"], "--k-bins"),
    (["simulate", "TABLE", "--policy", "dynamic_no_bins", "--batch-size", "3"], "--batch-size"),
    (["simulate", "TABLE", "--k-bins", "0"], "k_bins"),
    (["simulate", "TABLE", "--gpus", "0"], "gpus"),
    (["simulate", "TABLE", "--d-sla", "nan"], "d_sla"),
    (["simulate", "TABLE", "--d-sla", "-1"], "d_sla"),
    (["simulate", "TABLE", "--latency", "fast"], "latency"),
    (["simulate", "TABLE", "--latency", "1,2,x"], "latency"),
    (["simulate", "TABLE", "--latency", "no.csv"], "no.csv"),
    (["simulate", "TABLE", "--bin-select", "random"], "bin_select"),
    (["simulate", "TABLE", "--policy", "shortest_predicted_first", "--seconds-per-token", "-1"], "seconds_per_token"),
    (["simulate", "TABLE", "--variant", "new"], "variant"),
    (["simulate", "TABLE", "--execution", "sometimes"], "execution"),
    (["simulate", "TABLE", "--predictor", "crystal"], "--predictor"),
    (["simulate", "TABLE", "--predictor", "column"], "predicted_output_tokens"),
    (["simulate", "TABLE", "--oversize", "ignore"], "oversize"),
    (["simulate", "TABLE", "--predictor", "original", "--seed", "-1"], "seed"),
    (["simulate", "TABLE", "--out", "no/such/folder.csv"], "no/such"),
    (["simulate", "TABLE", "--out", ""], "is a folder"),
    (["compare", "--json", "FOLDER"], "is a folder"),
    (["compare", "--replications", "99999999999"], "replications"),
    (["compare", "--level", "1", "--replications", "3", "--seed", "4294967293"], "seed: 4294967293"),
    (["compare", "--level", "5"], "--level"),
    (["compare", "--requests", "0"], "requests"),
    (["compare", "--replications", "1"], "--replications"),
    (["compare", "--seed", "-1"], "seed"),
    (["compare", "--replications", "99999999999"], "replications: 99999999999"),
    (["compare", "--json", "no/such/a.json"], "no/such"),
    (["compare", "--json", ""], "is a folder"),
    (["compare", "--out", "TABLE"], "is a file"),
    (["compare", "--replications", "2", "--requests", "20", "--out", "/proc/levels"], "/proc/levels"),
    (["simulate", "TABLE", "--out", ""], "is a folder"),
    (["capacity", "--json", "."], "is a folder"),
    (["sweep", "absent.yaml", "--out", "TABLE"], "is a file"),
    (["fetch", "everything"], "everything"),
]


@pytest.mark.parametrize(("arguments", "word"), BAD)
def test_bad_input_is_a_sentence_and_exit_code_2(arguments, word, table, capsys):
    places = {"TABLE": str(table), "FOLDER": str(table.parent), "NEW": str(table.parent / "new.csv")}
    assert main([places.get(a, a) for a in arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and word in printed.err
    assert printed.err.startswith("simlib: ") and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["simulate"], ["simulate", "a.csv", "--gpus", "two"], ["compare", "--speed"]]
)
def test_a_misspelt_command_ends_with_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_package_runs_as_a_module_and_stays_light():
    code = "import sys, simlib.cli; sys.exit(any(m in sys.modules for m in ('numpy', 'pandas', 'numba', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    shown = subprocess.run([sys.executable, "-m", "simlib", "presets"], capture_output=True, text=True, check=True)
    assert "original-calibrated" in shown.stdout


# Continuous batching: what cannot be run is named before anything runs, in a sentence and with exit code 2.

STAMPS = {"queued_ts": 1.0, "scheduled_ts": 1.0, "first_token_ts": 2.0, "last_token_ts": 3.0}


@pytest.fixture
def engine_files(tmp_path) -> dict[str, Path]:
    """A log of one request, one that lacks a stamp, and a folder with the profiles of two GPUs."""
    request = {"input_toks": 500, "output_toks": 5, "arrival_time": 0.0, **STAMPS}
    lacking = {name: value for name, value in request.items() if name != "first_token_ts"}
    files = {"log": tmp_path / "log.jsonl", "lacking": tmp_path / "lacking.jsonl", "two_gpus": tmp_path / "two_gpus"}
    for name, record in (("log", request), ("lacking", lacking)):
        files[name].write_text(json.dumps(record) + "\n")
    files["two_gpus"].mkdir()
    for gpu in ("A", "B"):
        for kind in ("dense", "per_sequence", "attention"):
            (files["two_gpus"] / f"{gpu}_{kind}.csv.gz").write_bytes(gzip.compress(b"layer,tokens,time_us\n"))
    return files


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"--kv-blocks": "10"}, "log, row 0: needs 32 blocks (expected at most kv-blocks, 10)"),
        ({"--max-num-seqs": "0"}, "--max-num-seqs: 0"),
        ({"--kv-blocks": "0"}, "--kv-blocks: 0"),
        ({"--token-budget": "8"}, "token_budget: 8 (expected an integer from 16"),
        ({"--log": "lacking"}, "row 0, first_token_ts: None"),
        (
            {"--step-model": "profile"},
            "2 files *dense.csv.gz (A_dense.csv.gz, B_dense.csv.gz; expected one, see prefix)",
        ),
    ],
    ids=["a request longer than the cache", "no sequence", "no block", "budget", "a stamp", "two GPUs"],
)
def test_validate_names_what_it_cannot_replay(engine_files, capsys, changed, message):
    options = {"--profile": "two_gpus", "--log": "log", "--max-num-seqs": "8", "--kv-blocks": "100"}
    options |= {"--token-budget": "2048", "--step-model": "affine-from-log", "--fitted": "1", **changed}
    words = ["validate", *(str(engine_files.get(word, word)) for pair in options.items() for word in pair)]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == "" and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("-0.01,0,0,0", "latency a_s: -0.01"),
        ("0.01,0,0,-1e-9", "latency d_s: -1e-09"),
        ("0.01,x,0,0", "expected a,b,c,d"),
    ],
)
def test_a_bad_step_law_is_named(table, capsys, law, message):
    words = ["simulate", str(table), "--execution", "continuous", "--policy", "fcfs", f"--latency={law}"]
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("rate_rps", [200.0, 1.0])
def test_an_overloaded_engine_is_called_unstable_in_place_of_means(tmp_path, capsys, rate_rps):
    """Steps of 10 ms and outputs of 4 tokens on 2 places: 50 requests a second at most."""
    path = tmp_path / "many.csv"
    rows = "".join(f"{i / rate_rps},5,4\n" for i in range(5000))
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    words = ["simulate", str(path), "--execution", "continuous", "--policy", "static_fifo", "--batch-size", "2"]
    assert main([*words, "--latency", "0.01,0,0,0"]) == 0
    summary = json.loads(capsys.readouterr().out)
    means = [summary[name] for name in ("latency_mean_s", "queueing_mean_s", "ttft_mean_s")]
    if rate_rps == 200.0:
        assert summary["stability"] == "unstable" and means == [None] * 3
    else:
        assert summary["stability"] == "stable" and None not in means


def test_an_engines_settings_in_a_terminal(capsys):
    sample = str(datasets.sample())
    common = ["simulate", sample, "--policy", "fcfs", "--latency", "0.01,0.0001,0.0001,0"]
    assert main([*common, "--execution", "continuous"]) == 0
    free = json.loads(capsys.readouterr().out)
    assert main([*common, "--execution", "continuous", "--max-num-seqs", "1", "--kv-tokens", "8192"]) == 0
    tight = json.loads(capsys.readouterr().out)
    assert tight["latency_mean_s"] > free["latency_mean_s"]
    assert tight["batch_size_mean"] == 1.0
    static = ["simulate", sample, "--policy", "static_fifo", "--max-num-seqs", "4"]
    assert main(static) == 2
    assert "--max-num-seqs: 4 (expected --execution continuous" in capsys.readouterr().err
