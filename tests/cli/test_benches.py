"""One law from several benchmarks, and predicted beside measured, in a terminal."""

import json
import re

import numpy as np
import pytest

from benchmarks.predictions import load
from simlib.cli import main

LIMITS = ["--max-num-seqs", "32", "--token-budget", "512", "--steps-in-flight", "1"]


def result(load_of, **more):
    """A benchmark's file of a load, as vLLM writes it."""
    frame = load_of.requests
    columns = {
        "input_lens": "prompt_tokens",
        "output_lens": "output_tokens",
        "ttfts": "ttft_s",
        "start_times": "start_s",
    }
    rows = {key: frame[name].tolist() for key, name in columns.items()}
    return {
        **rows, "itls": [gaps.tolist() for gaps in frame["itl_s"]], "errors": [""] * len(frame), "request_rate": 4.0,
        "completed": len(frame), "duration": float(np.max(frame["start_s"])) + 5, "max_concurrency": None, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("benches"), np.random.default_rng(1)
    for name, rate in (("a", 4.0), ("b", 8.0), ("c", 6.0)):
        (folder / f"{name}.json").write_text(json.dumps(result(load(rate, 60, rng))))
    words = ["calibrate", "--from-bench", str(folder / "a.json"), str(folder / "b.json"), *LIMITS]
    assert main([*words, "--output", str(folder / "law.csv"), "--json", str(folder / "law.json")]) == 0
    return folder


def test_one_law_of_two_benchmarks_predicts_a_third(folder, capsys):
    words = ["validate", "--bench", str(folder / "c.json"), "--latency", str(folder / "law.csv"), *LIMITS]
    assert main([*words, "--json"]) == 0
    rows, told = json.loads((out := capsys.readouterr()).out), out.err
    assert "fitted to these very times" not in told
    assert {tuple(row) for row in rows} == {
        ("file", "metric", "statistic", "measured", "predicted", "low", "high", "unit")
    }
    assert len(rows) == 17 and {row["file"] for row in rows} == {"c.json"}
    mean = {row["metric"]: row for row in rows if row["statistic"] == "mean"}
    for metric in ("ttft", "tpot", "itl", "e2e"):
        # Of 60 requests each meets a step somewhere: a mean TTFT is off by 3 % (seed 1, three standard errors).
        assert mean[metric]["predicted"] == pytest.approx(mean[metric]["measured"], rel=0.1)
        assert mean[metric]["low"] < mean[metric]["predicted"] < mean[metric]["high"]
    assert main(words) == 0
    assert "of 17 measured values lie in their 95 % intervals" in capsys.readouterr().out


def test_the_file_that_it_was_fitted_to_is_said(folder, capsys):
    words = ["validate", "--bench", str(folder / "a.json"), "--latency", str(folder / "law.csv"), *LIMITS]
    assert main([*words, "--json"]) == 0
    assert "a.json: the law was fitted to these very times" in capsys.readouterr().err


def test_a_typed_law_predicts_without_intervals(folder, capsys):
    words = ["validate", "--bench", str(folder / "a.json"), "--latency", "0.018,0.00036,0.00006,2e-7", *LIMITS]
    assert main([*words, "--json"]) == 0
    assert all(row["low"] is None and row["high"] is None for row in json.loads(capsys.readouterr().out))


def test_the_law_for_machines_has_its_draws(folder):
    law = json.loads((folder / "law.json").read_text())
    assert len(law["draws"]) == 200 and len(law["draws"][0]) == 5
    assert [row["coefficient"] for row in law["coefficients"]][-1] == "way_in_s"


def test_limits_that_are_not_given_are_said(folder, capsys):
    assert main(["calibrate", "--from-bench", str(folder / "a.json"), str(folder / "b.json")]) == 0
    told = capsys.readouterr()
    assert "assumed: the engine's limits" in told.err and "steps_in_flight 1" in told.err
    assert "steps_in_flight 1" in told.out


def test_simulate_and_plan_print_what_another_run_may_have(folder, capsys):
    words = [
        str(folder / "c.json"),
        "--execution",
        "continuous",
        "--policy",
        "fcfs",
        "--latency",
        str(folder / "law.csv"),
    ]
    assert main(["simulate", *words, "--json"]) == 0
    number = json.loads(capsys.readouterr().out)["predicted"]["latency_mean_s"]
    assert number["low"] < number["value"] < number["high"]
    assert main(["simulate", *words]) == 0
    assert re.search(r"predicted +latency: [\d.]+ s, [\d.]+ s to [\d.]+ s; P99 ", capsys.readouterr().out)
    words = ["--rate", "5", "--prompt", "150,0.3", "--output", "60,0.3", "--kv-tokens", "100000", "--requests", "300"]
    limits = [
        "--max-num-seqs",
        "32",
        "--token-budgets",
        "512",
        "--k-bins",
        "1",
        "--sla",
        "ttft_p99<=1",
        "--max-gpus",
        "1",
    ]
    assert main(["plan", *words, *limits, "--latency", str(folder / "law.csv"), "--json"]) == 0
    one = json.loads(capsys.readouterr().out)["objectives"][0]
    assert one["low"] < one["middle"] < one["high"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["validate", "--bench", "a.json"], "--latency, --max-num-seqs, --token-budget: missing"),
        (["validate", "--bench", "a.json", "a.json", "--latency", "law.csv", *LIMITS], "the same times as in"),
        (["validate", "--bench", "a.json", "--log", "a.json"], "--log: given beside --bench"),
        (["validate", "--latency", "law.csv"], "--latency: given without --bench"),
        (["validate", "--bench", "absent.json", "--latency", "law.csv", *LIMITS], "absent.json"),
        (["validate", "--bench", "law.csv", "--latency", "law.csv", *LIMITS], "law.csv"),
        (["validate", "--bench", "a.json", "--latency", "a.json", *LIMITS], "a.json"),
        (["validate", "--bench", "a.json", "--latency", "law.csv", *LIMITS[:5], "3"], "--steps-in-flight: 3"),
        (
            ["validate", "--bench", "a.json", "--latency", "law.csv", *LIMITS, "--kv-blocks", "3"],
            "needs 19 blocks (expected at most 3, the cache's)",
        ),
        (["calibrate", "--from-bench", "a.json", "a.json"], "the same times as in"),
        (["calibrate", "--from-bench", "a.json", "b.json", "--max-num-seqs", "2"], "--max-num-seqs: 2, and"),
        (["calibrate", "--from-bench", "a.json", "--token-budget", "0"], "--token-budget: 0 (expected"),
        (["calibrate", "--model", "random:qwen3-10m", "--max-num-seqs", "2"], "--max-num-seqs: given without"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_leaves_nothing(folder, tmp_path, capsys, words, message):
    words = [str(folder / word) if (folder / word).is_file() else word for word in words]
    assert main([*words, "--json", str(tmp_path / "out.json")]) == 2
    told = capsys.readouterr().err
    assert message in told and "Traceback" not in told
    assert not list(tmp_path.iterdir())


def test_a_result_without_the_times_of_tokens_is_no_benchmark_to_judge_by(folder, tmp_path, capsys):
    bare = json.loads((folder / "a.json").read_text())
    del bare["itls"]
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    words = ["validate", "--bench", str(tmp_path / "bare.json"), "--latency", str(folder / "law.csv"), *LIMITS]
    assert main(words) == 2
    assert "no gaps between tokens of each request" in capsys.readouterr().err


def test_a_prompt_that_no_model_takes_is_refused_before_it_is_simulated(folder, tmp_path, capsys):
    endless = json.loads((folder / "a.json").read_text())
    endless["input_lens"][7] = 10**9
    (tmp_path / "endless.json").write_text(json.dumps(endless))
    words = ["validate", "--bench", str(tmp_path / "endless.json"), "--latency", str(folder / "law.csv"), *LIMITS]
    assert main([*words, "--json", str(tmp_path / "out.json")]) == 2
    assert "request 7, prompt_tokens: 1,000,000,000 (expected at most 10,000,000)" in capsys.readouterr().err
    assert not (tmp_path / "out.json").exists()
