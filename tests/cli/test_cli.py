"""The verbs as a user types them, each in a process of its own where start-up matters, else by `main`."""

import gzip
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from simlib.cli import main
from simlib.latency.law_file import NAMES


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "requests.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n0.5,30,0\n")
    return path


def test_compare_prints_intervals(capsys):
    assert main(["compare", "--level", "1", "--replications", "3"]) == 0
    shown = capsys.readouterr().out
    assert "43.3" in shown and "[" in shown and "multi_bin_dynamic" in shown


def test_compare_prints_paired_differences_with_the_correlation_that_was_achieved(capsys):
    assert main(["compare", "--level", "3", "--replications", "3", "--requests", "200"]) == 0
    rows, differences, verdict = capsys.readouterr().out.split("\n\n")
    assert "this seed %" in rows
    heading, *pairs = differences.splitlines()
    assert "difference (95 % interval)" in heading and "correlation" in heading and "p (Holm)" in heading
    assert len(pairs) == 9 and all(" to " in pair for pair in pairs)
    assert re.match(r"Verdict at level 3: .*late least often (is|would be) [\w-]+, by \S+ points \(95 % ", verdict)
    assert verdict.endswith(" less than dynamic.\n") or verdict.endswith(" less than multi-bin.\n")


def test_compare_writes_json_and_csv_with_the_promised_columns(tmp_path, capsys):
    options = ["--level", "all", "--replications", "2", "--requests", "60"]
    assert main(["compare", *options, "--json", str(tmp_path / "a.json"), "--out", str(tmp_path / "t")]) == 0
    document = json.loads((tmp_path / "a.json").read_text())
    assert set(document) == {"rows", "differences", "verdicts"} and len(document["rows"]) == 18
    assert len(document["verdicts"]) == 6
    assert document["rows"][0]["claim_inside"] is None  # 60 requests are not the document's table
    differences = pd.read_csv(tmp_path / "t" / "levels_differences.csv")
    assert list(differences.columns) == [
        *("level", "scheduler_a", "scheduler_b", "metric", "difference", "ci_low", "ci_high", "replications"),
        *("share_of_replications_better", "requests_from", "correlation", "method", "p_holm"),
    ]
    assert pd.read_csv(tmp_path / "t" / "levels_times.csv")["claimed_time_s"].tolist() == [0.04, 0.07, 0.28, 0.08]
    printed = capsys.readouterr()
    assert "this seed %" in printed.out
    assert printed.err == f"simlib: wrote {tmp_path / 'a.json'}\nsimlib: wrote {tmp_path / 't'}\n"


@pytest.mark.parametrize("p_holm", [0.01, 0.2, math.nan])
def test_a_verdict_names_the_best_and_how_sure_that_is(p_holm):
    """By hand: of 40, 12 and 10 %, the last is best, by 2 points; its pair is given as best minus second."""
    from simlib.cli.compare import verdicts
    from simlib.levels import PAIRS, SCHEDULERS

    study = {"level": 1, "requests_from": "synthetic"}
    shares = dict(zip(SCHEDULERS, (0.4, 0.12, 0.1), strict=True))
    rows = pd.DataFrame([study | {"scheduler": name, "mean_violation_share": share} for name, share in shares.items()])
    pair = {"metric": "sla_violation_share", "difference": -0.02, "ci_low": -0.03, "ci_high": -0.01, "p_holm": p_holm}
    differences = pd.DataFrame([study | pair | {"scheduler_a": a, "scheduler_b": b} for a, b in PAIRS])
    (verdict,) = verdicts(rows, differences)
    found = "late least often is" if p_holm == 0.01 else "not established; late least often would be"
    assert verdict.startswith(f"Verdict at level 1: {found} multi-bin, by 2 points (95 % interval 1 to 3, p ")
    assert verdict.endswith("less than dynamic.")


def test_presets_are_a_table_that_says_what_was_measured_and_what_is_assumed(capsys):
    assert main(["presets"]) == 0
    head, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert head.split("  ")[0] == "preset" and "error %" in head and "prompt tokens" in head
    assert rows[0].startswith("original-synthetic") and rows[0].endswith("assumed, not measured")
    (one,) = (row for row in rows if row.startswith("a100-vllm-llama3-8b "))
    assert "1 to 64" in one and "128 to 2,048" in one and one.endswith("prefill's share (0.4)")
    assert main(["presets", "H100", "llama3-70b"]) == 0
    rows = capsys.readouterr().out.split("\n\n")[0].splitlines()[1:]
    assert rows and all("h100" in row and "llama3-70b" in row for row in rows)
    (off,) = (row for row in rows if row.startswith("h100x4-vllm-llama3-70b "))
    assert off.endswith("prefill's share (0.4); +21 % off an engine")
    assert main(["presets", "h100", "abacus"]) == 2
    assert "none with h100 and abacus" in capsys.readouterr().err


def test_presets_are_json_for_machines(tmp_path, capsys):
    assert main(["presets", "--all", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert [rows["original-synthetic"][name] for name in ("alpha_s", "beta_s_per_token", "gamma")] == [
        0.01,
        0.0002,
        0.3,
    ]
    assert rows["original-synthetic"]["cv_mape"] is None
    assert main(["presets", "a100-vllm-llama3-8b", "--json", str(tmp_path / "p.json")]) == 0
    (row,) = json.loads((tmp_path / "p.json").read_text())
    assert (row["form"], row["gpu"]) == ("phase5_equal_lengths", "Nvidia A100 GPU")
    printed = capsys.readouterr()
    assert "a100-vllm-llama3-8b" in printed.out and printed.err == f"simlib: wrote {tmp_path / 'p.json'}\n"


def test_capacity_is_a_table_with_what_was_asked(capsys):
    few = ["--policies", "static_fifo,dynamic_no_bins", "--requests", "600", "--replications", "2"]
    assert main(["capacity", *few]) == 0
    asked, carried, times = capsys.readouterr().out.split("\n\n")
    assert asked.startswith(
        "Met: latency <= 1 s, but for 5 % of requests. Requests of level 1, times of original-synthetic"
    )
    assert carried.splitlines()[0].endswith("  long enough") and "carries, requests/s" in carried
    assert re.search(r"^static_fifo +\S+ \((\S+ to \S+|no interval)\)", carried, re.MULTILINE)
    assert re.search(r"^dynamic_no_bins +static_fifo +\S+ \(", times, re.MULTILINE)
    assert main(["capacity", *few, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"capacities", "ratios", "roots"}


def test_capacity_may_be_in_clients_who_think(capsys):
    few = ["capacity", "--policies", "static_fifo", "--requests", "4000", "--replications", "2", "--think", "1s"]
    assert main(few) == 0
    asked, carried = capsys.readouterr().out.split("\n\n")
    assert "Clients wait for their answers, then think (1s)" in asked and "carries, clients" in carried
    assert main([*few, "--json"]) == 0
    assert 50 < json.loads(capsys.readouterr().out)["capacities"][0]["capacity_clients"] < 150
    assert main(["capacity", "--think", "-1"]) == 2 and "simlib: --think: -1" in capsys.readouterr().err


def test_a_plan_may_be_for_clients(capsys):
    small = ["--max-num-seqs", "32", "--token-budgets", "2048", "--k-bins", "1", "--max-gpus", "2", "--requests", "200"]
    some = ["plan", "--prompt", "100,0.3", "--output", "20,0.3", "--steps", "0.01,0.001,0,0", "--kv-tokens", "100000"]
    assert main([*some, *small, "--concurrency", "10", "--think", "1s", "--sla", "tpot_p99<=0.05", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["met"] and found["clients"] == 10 and found["configuration"]["gpus"] == 1
    for words, message in (
        (["--concurrency", "10", "--rate", "3"], "--rate: given beside --concurrency"),
        (["--think", "1s", "--rate", "3"], "--think: given without --concurrency"),
        (["--concurrency", "0"], "--concurrency: 0"),
        (["--concurrency", "11"], "--requests: 200 (expected at least 220"),
    ):
        assert main([*some, *small, *words, "--sla", "tpot_p99<=0.05"]) == 2
        assert message in capsys.readouterr().err


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
    (["calibrate", "--model", "m", "--output", "NEW", "--batch-sizes", "1,x"], "--batch-sizes: 'x'"),
    (["calibrate", "--model", "m", "--output", "NEW", "--batch-sizes", "4"], "--batch-sizes: 4"),
    (["calibrate", "--model", "m", "--output", "NEW", "--trials", "0"], "trials: 0"),
    (["calibrate", "--model", "m/n", "--output", "NEW", "--device", "cpu"], "hf download m/n"),
    (["calibrate", "--from-bench", "absent.json"], "absent.json"),
    (["calibrate", "--from-bench", "TABLE"], "no time to the first token and no gaps between tokens of each request"),
    (["simulate", "no.csv"], "no.csv"),
    (["simulate", "TABLE", "--policy", "lifo"], "lifo"),
    (["simulate", "TABLE", "--policy", "static_fifo", "--k-bins", "3"], "--k-bins"),
    (["simulate", "TABLE", "--policy", "dynamic_no_bins", "--batch-size", "3"], "--batch-size"),
    (["simulate", "TABLE", "--k-bins", "0"], "--k-bins: 0"),
    (["simulate", "TABLE", "--gpus", "0"], "gpus"),
    (["simulate", "TABLE", "--d-sla", "nan"], "--d-sla: 'nan'"),
    (["simulate", "TABLE", "--d-sla", "-1"], "--d-sla: -1"),
    (["simulate", "TABLE", "--latency", "fast"], "latency"),
    (["simulate", "TABLE", "--latency", "1,2,x"], "latency"),
    (["simulate", "TABLE", "--latency", "no.csv"], "no.csv"),
    (["simulate", "TABLE", "--bin-select", "random"], "--bin-select"),
    (["simulate", "TABLE", "--policy", "shortest_predicted_first", "--seconds-per-token", "-1"], "--seconds-per-token"),
    (["simulate", "TABLE", "--variant", "new"], "variant"),
    (["simulate", "TABLE", "--execution", "sometimes"], "execution"),
    (["simulate", "TABLE", "--predictor", "crystal"], "--predictor"),
    (["simulate", "TABLE", "--predictor", "column"], "predicted_output_tokens"),
    (["simulate", "TABLE", "--oversize", "ignore"], "oversize"),
    (["simulate", "TABLE", "--predictor", "original", "--seed", "-1"], "seed"),
    (["simulate", "TABLE", "--out", "no/such/folder.csv"], "no/such"),
    (["simulate", "TABLE", "--out", ""], "--out: '' (expected a path)"),
    (["compare", "--json", "FOLDER"], "is a folder"),
    (["compare", "--replications", "99999999999"], "replications"),
    (["compare", "--level", "1", "--replications", "3", "--seed", "4294967293"], "seed: 4294967293"),
    (["compare", "--level", "5"], "--level"),
    (["compare", "--requests", "0"], "requests"),
    (["compare", "--replications", "1"], "--replications"),
    (["compare", "--seed", "-1"], "seed"),
    (["compare", "--replications", "99999999999"], "replications: 99999999999"),
    (["compare", "--json", "no/such/a.json"], "no/such"),
    (["compare", "--json", ""], "--json: '' (expected a path)"),
    (["compare", "--out", "TABLE"], "is a file"),
    (["compare", "--replications", "2", "--requests", "20", "--out", "/proc/levels"], "/proc/levels"),
    (["simulate", "TABLE", "--out", ""], "--out: '' (expected a path)"),
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
    "arguments", [["dance"], ["simulate"], ["simulate", "a.csv", "--gpus", "two"], ["compare", "--speed"]]
)
def test_a_misspelt_command_ends_with_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("simlib: ") and printed.err.count("\n") == 1


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
        ({"--token-budget": "8"}, "--token-budget: 8 (expected an integer from 16"),
        ({"--log": "lacking"}, "first_token_ts"),
        (
            {"--step-model": "profile"},
            "2 files *dense.csv, packed or not (A_dense.csv.gz, B_dense.csv.gz; expected one, see prefix)",
        ),
    ],
    ids=["a request longer than the cache", "no sequence", "no block", "budget", "a stamp", "two GPUs"],
)
def test_validate_names_what_it_cannot_replay(engine_files, capsys, changed, message):
    options = {"--profile": "two_gpus", "--log": "log", "--max-num-seqs": "8", "--kv-blocks": "100"}
    options |= {"--token-budget": "2048", "--layers": "32", "--step-model": "affine-from-log", "--fitted": "1"}
    options |= changed
    words = ["validate", *(str(engine_files.get(word, word)) for pair in options.items() for word in pair)]
    assert main(words) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == "" and printed.err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["simulat", "x.csv"], "VERB: 'simulat' .*did you mean 'simulate'"),
        (["simulate", "x.csv", "--polcy=fcfs"], r"did you mean --policy\?"),
        (["plan", "--sla", "ttft_p99<=1", "--max-gpu", "3"], r"did you mean --max-gpus\?"),
        (["simulate", "x.csv", "y.csv"], "unrecognized arguments: y.csv\n"),
        (["simulate", "x.csv", "--sla", "ttft_P99<=1"], r"did you mean ttft_p99\?"),
    ],
)
def test_the_nearest_verb_option_or_objective_is_suggested(words, meant, capsys):
    assert main(words) == 2
    assert re.search(meant, capsys.readouterr().err)


def test_a_fitted_law_is_json_for_machines(tmp_path, capsys):
    bench = tmp_path / "b.json"
    loads = {"input_lens": [100 + 10 * i for i in range(20)], "output_lens": [11] * 20, "request_rate": 5.0}
    loads |= {"ttfts": [0.05 + 0.001 * i for i in range(20)], "itls": [[0.01 + 1e-4 * i] * 10 for i in range(20)]}
    bench.write_text(json.dumps(loads | {"start_times": [5.0 + 0.2 * i for i in range(20)]}))
    assert main(["calibrate", "--from-bench", str(bench), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["coefficient"] for row in found["coefficients"]] == list(NAMES)
    assert set(found["coefficients"][0]) == {"coefficient", "value", "ci_low", "ci_high", "identified"}
    assert found["ranges"]["prefill_tokens"] == [0.0, 290.0] and {"mape", "r2", "assumed", "steps"} <= set(found)
    assert main(["calibrate", "--template", "--json"]) == 2
