"""The verb ``simulate``: what it reads, what it says of it, and what it writes for eyes and for machines."""

import gzip
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from simlib import datasets
from simlib.cli import main

FAILED = "arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n0.5,30,0\n"


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "requests.csv"
    path.write_text(FAILED)
    return path


@pytest.fixture
def bench(tmp_path) -> Path:
    """A benchmark of three requests, the second of which failed."""
    path = tmp_path / "bench.json"
    arrays = {"input_lens": [100, 200, 300], "output_lens": [3, 0, 3], "ttfts": [0.1, 0.0, 0.1]}
    arrays |= {"itls": [[0.01] * 2, [], [0.01] * 2], "start_times": [10.0, 11.0, 12.0], "errors": ["", "refused", ""]}
    path.write_text(json.dumps({"backend": "vllm", "request_rate": 1.0, "completed": 2, **arrays}))
    return path


def summary(capsys, *arguments) -> dict:
    assert main(["simulate", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_row_a_request_in_order_of_arrival_and_what_was_written_is_said(table, tmp_path, capsys):
    out = tmp_path / "run.csv"
    assert main(["simulate", str(table), "--policy", "static_fifo", "--failed", "keep", "--out", str(out)]) == 0
    run = pd.read_csv(out)
    assert run["prompt_tokens"].tolist() == [10, 20, 30]
    assert run["completion_s"].tolist() == pytest.approx([0.013, 0.5169, 0.5169])  # 0.01 + 0.0002 x 30 x 1.15
    assert list(run.columns[-6:]) == ["start_s", "first_token_s", "completion_s", "gpu", "batch", "bin"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["requests.csv", "run.csv"]
    assert f"simlib: wrote {out}\n" in capsys.readouterr().err


def test_out_writes_through_a_link_and_leaves_it_one(table, tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "run.csv")
    assert main(["simulate", str(table), "--policy", "static_fifo", "--out", str(link)]) == 0
    assert link.is_symlink() and len(pd.read_csv(tmp_path / "run.csv")) == 2


def test_machines_get_the_summary(table, tmp_path, capsys):
    found = summary(capsys, table, "--gpus", "2", "--predictor", "oracle", "--d-sla", "0.0134")
    assert found["requests"] == 2 and found["rejected"] == 0 and found["failed_dropped"] == 1
    assert found["sla_violation_share"] == 0.5  # 0.013 and 0.0154 s
    assert main(["simulate", str(table), "--json", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text())["requests"] == 2
    assert capsys.readouterr().out.startswith("multi_bin_dynamic on 1 GPU, run to completion, original-synthetic\n")


def test_a_person_reads_three_digits_with_their_units_the_deadline_and_what_was_assumed(table, capsys):
    assert main(["simulate", str(table), "--policy", "static_fifo", "--d-sla", "0.0134"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  requests      2 served, 0 rejected"
    assert lines[2].startswith("  late          50.0 %, deadline 13.4 ms end to end; goodput ")
    assert "  latency          14.2 ms   14.2 ms   15.3 ms   15.4 ms" in lines
    said = re.sub(r"\s+", " ", " ".join(lines))
    assert "stability unknown: too few requests to tell (5,000)" in said
    assert "assumed latency original-synthetic, a formula that nobody measured (--latency)" in said
    assert "(--policy)" not in said and "(--d-sla)" not in said
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("options", "assumed"),
    [
        (["--policy", "static_fifo"], True),
        (["--policy", "static_fifo", "--d-sla", "1"], False),
        (["--policy", "static_fifo", "--sla", "ttft<=1"], False),
        (["--policy", "dynamic_no_bins"], False),
        (["--policy", "fcfs", "--execution", "continuous"], True),
    ],
)
def test_a_deadline_that_nobody_gave_is_said_to_be_assumed(options, assumed, table, capsys):
    said = "a deadline of 1 s end to end (--d-sla)"
    assert (said in summary(capsys, table, *options)["assumed"]) == assumed
    assert main(["simulate", str(table), *options]) == 0
    assert ("(assumed)" in capsys.readouterr().out) == assumed


def test_the_cache_of_an_engine_is_assumed_without_limit_until_one_is_given(table, capsys):
    engine = [table, "--execution", "continuous", "--policy", "fcfs"]
    assert "a cache without limit (--kv-tokens)" in summary(capsys, *engine)["assumed"]
    assert "a cache without limit (--kv-tokens)" not in summary(capsys, *engine, "--kv-tokens", "4096")["assumed"]


@pytest.mark.parametrize(
    "options",
    [
        ["--policy", "multi_bin_dynamic", "--k-bins", "2", "--bin-select", "oldest_head", "--variant", "paper"],
        ["--policy", "shortest_predicted_first", "--k-bins", "2", "--seconds-per-token", "0.5", "--batch-size", "3"],
        ["--policy", "multi_bin_fixed", "--k-bins", "2", "--batch-size", "2"],
        ["--policy", "early_rejection", "--k-bins", "2", "--variant", "paper"],
        ["--policy", "dynamic_no_bins", "--variant", "released", "--latency", "0.01,0.001,0.2"],
        ["--predictor", "original", "--seed", "7", "--oversize", "reject"],
        ["--format", "plain", "--time-unit", "s", "--unsorted", "sort"],
    ],
)
def test_every_option_reaches_the_simulation(table, capsys, options):
    assert summary(capsys, table, *options)["requests"] == 2


def test_a_trace_a_gzipped_table_and_a_benchmark_are_read(table, tmp_path, bench, capsys):
    assert summary(capsys, datasets.sample())["requests"] == 383
    packed = tmp_path / "packed.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    assert summary(capsys, packed)["requests"] == 2
    assert summary(capsys, bench)["requests"] == 2


def test_the_account_of_the_file_is_on_standard_error_with_what_is_not_used_and_who_failed(table, capsys):
    table.write_text(
        FAILED.replace("output_tokens", "output_tokens,mood").replace("\n", ",1\n").replace("mood,1", "mood")
    )
    assert main(["simulate", str(table), "--policy", "static_fifo"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "simlib: warning: 1 of 3 requests failed: dropped"
    assert said[1].startswith("simlib: requests.csv: a request table, 2 of 3 requests in 500 ms, 2/s")
    assert said[2].endswith("not used: mood")
    assert main(["simulate", str(table), "--policy", "static_fifo", "--failed", "keep"]) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith("simlib: warning: 1 of 3 requests failed: kept, with no output\n")
    assert "3 served, 0 rejected, 1 failed among them" in printed.out
    assert "of the rest 1 failed, and were judged by when they ended" in " ".join(printed.out.split())
    assert main(["simulate", str(table), "--policy", "static_fifo", "--failed", "keep", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed_on_time"] == 1


def test_a_file_in_which_all_failed_is_refused(bench, capsys):
    result = json.loads(bench.read_text())
    bench.write_text(json.dumps(result | {"output_lens": [0, 0, 0], "ttfts": [0.0] * 3, "itls": [[], [], []]}))
    assert main(["simulate", str(bench)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and "no request was served, all 3 failed" in printed.err


def test_rows_and_rates_are_those_that_are_asked_for(table, capsys):
    sample = datasets.sample()
    assert summary(capsys, sample, "--rows", "50")["requests"] == 50
    assert summary(capsys, sample, "--rows", "500", "--extend", "bootstrap")["requests"] == 500
    slow = summary(capsys, sample, "--policy", "static_fifo")["throughput_rps"]
    assert summary(capsys, sample, "--policy", "static_fifo", "--rate-factor", "10")["throughput_rps"] == pytest.approx(
        10 * slow, rel=0.01
    )
    assert summary(capsys, sample, "--policy", "static_fifo", "--rate", "2")["throughput_rps"] == pytest.approx(
        2, rel=0.01
    )


def test_lengths_alone_need_a_rate_and_the_option_is_named(tmp_path, capsys):
    path = tmp_path / "lengths.csv"
    path.write_text("num_prefill_tokens,num_decode_tokens\n100,10\n200,20\n")
    assert main(["simulate", str(path)]) == 2
    assert "--rate" in capsys.readouterr().err
    assert summary(capsys, path, "--rate", "5")["requests"] == 2


def test_what_is_advised_is_an_option(tmp_path, capsys):
    path = tmp_path / "unsorted.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n2,20,7\n1,30,3\n")
    assert main(["simulate", str(path), "--policy", "static_fifo"]) == 2
    (advised,) = re.findall(r"--unsorted \w+", capsys.readouterr().err)
    assert summary(capsys, path, "--policy", "static_fifo", *advised.split())["requests"] == 3
    assert main(["simulate", str(path), "--unsorted", "sort", "--rows", "9"]) == 2
    (advised,) = re.findall(r"--extend \w+", capsys.readouterr().err)
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{i},10,5\n" for i in range(60)))
    assert summary(capsys, path, "--rows", "90", *advised.split())["requests"] == 90


def test_percentile_objectives_are_met_or_not_beside_limits_of_each_request(table, capsys):
    """Batches of one: 0.01 + 0.0002 x 15 = 0.013 and 0.01 + 0.0002 x 27 = 0.0154 s, median 0.0142 s."""
    options = [table, "--policy", "static_fifo", "--sla", "latency_p50<=15ms,latency_mean<=0.014,latency<=0.0134"]
    found = summary(capsys, *options)
    assert [(each["objective"], each["met"]) for each in found["objectives"]] == [
        ("latency_p50<=0.015", True),
        ("latency_mean<=0.014", False),
    ]
    assert found["objectives"][0]["value_s"] == pytest.approx(0.0142) and found["sla_violation_share"] == 0.5
    assert main(["simulate", *map(str, options)]) == 0
    shown = capsys.readouterr().out
    assert "latency_p50<=0.015: 14.2 ms, met" in shown and "latency_mean<=0.014: 14.2 ms, NOT met" in shown


@pytest.mark.parametrize(
    ("sla", "message"),
    [("ttft_p99<=500", "--sla|ttft_p99: 500"), ("ttft_q99<=1", "ttft_q99<=1"), ("speed_p99<=1", "speed"), ("", "sla")],
)
def test_a_bad_sla_is_named_before_anything_is_read(sla, message, table, capsys):
    assert main(["simulate", str(table), "--sla", sla]) == 2
    printed = capsys.readouterr()
    assert re.search(message, printed.err) and printed.out == "" and printed.err.count("\n") == 1


def test_rows_on_standard_output_are_rows_alone(table, capfd):
    assert main(["simulate", str(table), "--policy", "static_fifo", "--out", "/dev/stdout"]) == 0
    printed = capfd.readouterr()
    assert len(printed.out.splitlines()) == 3 and "static_fifo on 1 GPU" in printed.err


def test_a_warning_is_a_sentence_on_standard_error(table, capsys):
    table.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n0.5,30,3\n")
    assert main(["simulate", str(table), "--k-bins", "8", "--json"]) == 0
    printed = capsys.readouterr()
    assert re.search(r"^simlib: predicted_output_tokens: tied lengths leave \d distinct bins of 8$", printed.err, re.M)
    assert json.loads(printed.out)["requests"] == 3


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
def test_an_overloaded_engine_is_called_unstable_beside_its_means(tmp_path, capsys, rate_rps):
    """Steps of 10 ms and outputs of 4 tokens on 2 places: 50 requests a second at most."""
    path = tmp_path / "many.csv"
    rows = "".join(f"{i / rate_rps},5,4\n" for i in range(5000))
    path.write_text("arrival_s,prompt_tokens,output_tokens\n" + rows)
    words = ["simulate", str(path), "--execution", "continuous", "--policy", "static_fifo", "--batch-size", "2"]
    found = summary(capsys, *words[1:], "--latency", "0.01,0,0,0")
    assert found["stability"] == ("unstable" if rate_rps == 200.0 else "stable")
    assert None not in [found[name] for name in ("latency_mean_s", "queueing_mean_s", "ttft_mean_s")]
    assert main([*words, "--latency", "0.01,0,0,0"]) == 0
    assert ("with the length of the run" in capsys.readouterr().out) == (rate_rps == 200.0)


def test_an_engines_settings_in_a_terminal(capsys):
    sample = str(datasets.sample())
    common = [sample, "--policy", "fcfs", "--latency", "0.01,0.0001,0.0001,0", "--execution", "continuous"]
    free = summary(capsys, *common)
    tight = summary(capsys, *common, "--max-num-seqs", "1", "--kv-tokens", "8192")
    assert tight["latency_mean_s"] > free["latency_mean_s"]
    assert tight["batch_size_mean"] == 1.0
    static = ["simulate", sample, "--policy", "static_fifo", "--max-num-seqs", "4"]
    assert main(static) == 2
    assert "--max-num-seqs: 4 (expected --execution continuous" in capsys.readouterr().err


def test_empty_prompts_are_said_once(tmp_path, capsys):
    path = tmp_path / "zero.csv"
    path.write_text("arrival_s,prompt_tokens,output_tokens\n0,0,5\n1,10,5\n")
    assert main(["simulate", str(path), "--execution", "continuous", "--policy", "fcfs"]) == 0
    said = capsys.readouterr().err
    assert "prompts of 0 tokens: 1 of 2, which an engine refuses" in said and "have no prompt" not in said


STEPS = ["--execution", "continuous", "--policy", "fcfs", "--latency", "0.1,0,0,0"]
SHAPES = ["--prompt", "100,0.5", "--output", "4,0.5,9"]
TURNS = [
    {"session_id": "a", "timestamp": 0, "input_length": 10, "output_length": 2},
    {"session_id": "a", "delay": 1000, "input_length": 20, "output_length": 2},
    {"session_id": "b", "timestamp": 500, "input_length": 30, "output_length": 2},
]


def test_clients_wait_for_their_answers_and_what_they_get_is_the_rate(capsys):
    few = [*SHAPES, *STEPS, "--concurrency", "4", "--think", "exponential:500ms", "--ramp", "2s", "--rows", "200"]
    found = summary(capsys, *few, "--sla", "ttft<=1,ttft_p99<=1")
    closed = found["closed"]
    assert (closed["clients"], closed["start_s"], found["stability"]) == (4, 1.5, "closed")
    assert found["makespan_s"] == pytest.approx(closed["end_s"] - 1.5) and 100 < found["requests"] < 200
    assert found["throughput_rps"] == pytest.approx(found["requests"] / found["makespan_s"])
    assert closed["interactive_law_clients"] == pytest.approx(4, rel=0.05)
    assert found["objectives"][0]["met"] and not any("rate" in each for each in found["assumed"])
    assert main(["simulate", *few]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "clients 4, all at work from 1.50 s to" in text and "stability closed: no queue is longer" in text


def test_clients_may_ask_what_a_file_has_and_go_on_for_so_long(table, capsys):
    found = summary(capsys, table, *STEPS, "--concurrency", "2")
    assert (found["requests"], found["closed"]["end_s"]) == (1, pytest.approx(0.5))  # 5 and 7 tokens at 0.1 s
    found = summary(capsys, *SHAPES, *STEPS, "--concurrency", "3", "--stages", "1:10s,2:10s", "--duration", "1min")
    assert (found["closed"]["start_s"], found["closed"]["end_s"]) == (20.0, 60.0)


def test_turns_of_a_file_wait_for_the_answer_before_them(tmp_path, capsys):
    """Answers take two steps of 0.1 s; the second turn is sent 1 s after the first one's, at 1.2 s."""
    path, out = tmp_path / "turns.jsonl", tmp_path / "run.csv"
    path.write_text("\n".join(map(json.dumps, TURNS)))
    assert main(["simulate", str(path), *STEPS, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "but for 1 turns that come after an answer" in printed.err and "all at work" not in printed.out
    assert pd.read_csv(out)["arrival_s"].tolist() == pytest.approx([0.0, 0.5, 1.2])
    assert main(["simulate", str(path), *STEPS, "--history", "add", "--out", str(out)]) == 0
    assert pd.read_csv(out)["prompt_tokens"].tolist() == [10, 30, 32]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--concurrency", "0", *SHAPES], "--concurrency: 0 (expected an integer"),
        (["--concurrency", "2", *SHAPES, "--think", "-1"], "--think: -1"),
        (["--concurrency", "2", *SHAPES, "--think", "2 weeks"], "--think: '2 weeks'"),
        (["--concurrency", "2", *SHAPES, "--rate", "3"], "--rate: given beside --concurrency (there the next request"),
        (["FILE", "--concurrency", "2", "--rate-factor", "3"], "--rate-factor: given beside --concurrency"),
        (["FILE", "--concurrency", "2", *SHAPES], "--prompt: given beside a file of requests"),
        (["FILE", "--concurrency", "2", "--duration", "9s"], "--duration: given beside a file of requests"),
        (["FILE", "--concurrency", "3"], "--concurrency: 3 (expected at most 2: there are 2 requests)"),
        (["FILE", "--think", "2s"], "--think: given without --concurrency"),
        (["FILE", *SHAPES], "--prompt: given without --concurrency"),
        (["--concurrency", "2", "--prompt", "5,1"], "--output: none (expected both, or a file)"),
        (["--concurrency", "2"], "FILE: none (expected one, or --prompt and --output beside --concurrency)"),
        (["--concurrency", "2", "--json", "new.json"], "FILE: none (expected one, or --prompt and --output beside"),
        (["--concurrency", "4", *SHAPES, "--rows", "3"], "--rows: 3 (expected an integer >= 4)"),
        (["--concurrency", "4", *SHAPES, "--stages", "4"], "--stages: '4' (expected CLIENTS:TIME such as 8:60s)"),
        (["--concurrency", "4", *SHAPES, "--ramp", "1h", "--rows", "8"], "--concurrency: never are all 4 at work"),
        (["--concurrency", "4", *SHAPES, "--ramp", "9s", "--duration", "2s"], "--duration: 2 s (expected more"),
    ],
)
def test_a_closed_loop_that_makes_no_sense_is_refused(words, message, table, capsys):
    assert main(["simulate", *(str(table) if word == "FILE" else word for word in words), *STEPS]) == 2
    printed = capsys.readouterr()
    assert message in printed.err and printed.out == ""


# A live prefix cache

ENGINE = ("--execution", "continuous", "--policy", "fcfs", "--latency", "0.001,0,0,0", "--gpus", "1")


@pytest.fixture
def chat(tmp_path) -> Path:
    """Three prompts, the first two of which share two blocks of 512 tokens, the first and the third one."""
    path = tmp_path / "chat.jsonl"
    rows = [(1100, [5, 6, 7]), (1500, [5, 6, 9]), (530, [5, 7])]
    lines = [
        json.dumps({"timestamp": 1000 * row, "input_length": prompt, "output_length": 3, "hash_ids": ids})
        for row, (prompt, ids) in enumerate(rows)
    ]
    path.write_text("\n".join(lines))
    return path


def test_a_live_prefix_cache_tells_what_it_found(chat, tmp_path, capsys):
    found = summary(capsys, chat, *ENGINE, "--prefix-cache")
    assert found["prefix_hit_share"] == (1024 + 512) / (1100 + 1500 + 530)
    out = tmp_path / "run.csv"
    assert main(["simulate", str(chat), *ENGINE, "--prefix-cache", "--out", str(out)]) == 0
    assert "prefix cache  49.1 % of the prompt tokens found" in capsys.readouterr().out
    assert pd.read_csv(out)["prefix_hits"].tolist() == [0, 1024, 512]
    again = summary(capsys, out, *ENGINE, "--prefix-cache")  # the blocks stand in the table that was written
    assert again["prefix_hit_share"] == found["prefix_hit_share"]
    assert "prefix_hit_share" not in summary(capsys, chat, *ENGINE)


def test_a_prefix_cache_that_has_nothing_to_find_says_so(table, capsys):
    assert main(["simulate", str(table), *ENGINE, "--prefix-cache"]) == 0
    assert "requests.csv: does not say what prompts contain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prefix-cache", "--policy", "static_fifo"], "--prefix-cache (expected --execution continuous beside"),
        (
            [*ENGINE, "--prefix-cache", "--policy", "static_fifo"],
            "policy: static batches of at most 8 (expected 'fcfs'",
        ),
    ],
)
def test_static_batches_have_no_prefix_cache(chat, options, message, capsys):
    assert main(["simulate", str(chat), *options]) == 2
    assert message in capsys.readouterr().err


CLASSES = "arrival_s,prompt_tokens,output_tokens,client,tier\n" + "".join(
    f"{0.01 * row:.2f},{10 + row % 7},{5 + row % 3},{'ab'[row % 2]},{('gold', 'iron')[row % 3 == 0]}\n"
    for row in range(40)
)


@pytest.fixture
def classes(tmp_path) -> Path:
    path = tmp_path / "classes.csv"
    path.write_text(CLASSES)
    return path


@pytest.mark.parametrize(
    ("options", "by", "values"),
    [
        (["--by", "client"], "client", ["a", "b"]),
        (["--by", "tier"], "tier", ["iron", "gold"]),
        (["--sla", "client=a: ttft<=10ms; client=b: 1"], "client", ["a", "b"]),
        (["--sla", "tier=gold: 20ms; 1"], "tier", ["iron", "gold"]),
        (["--sla", "tier=gold: 20ms; 1", "--by", "client"], "client", ["a", "b"]),
    ],
)
@pytest.mark.parametrize("execution", [["--policy", "static_fifo"], ["--execution", "continuous", "--policy", "fcfs"]])
def test_classes_have_a_row_each_for_eyes_and_for_machines(classes, options, by, values, execution, capsys):
    document = summary(capsys, classes, *execution, *options)
    rows = document["classes"]
    assert [row[by] for row in rows] == values and sum(row["requests"] for row in rows) == 40
    late = sum(row["sla_violation_share"] * row["requests"] for row in rows) / 40
    assert late == pytest.approx(document["sla_violation_share"])
    assert rows[0]["ci_low"] is None  # 40 requests carry no interval
    assert main(["simulate", str(classes), *execution, *options]) == 0
    text = capsys.readouterr().out
    assert re.search(
        rf"^{by} +requests  late +first token, mean, P99  a token, mean, P99  latency, mean, P99$", text, re.M
    )
    assert re.search(rf"^{values[0]} +{rows[0]['requests']}  [\d.]+ % ", text, re.M)


def test_the_deadlines_of_classes_are_said(classes, capsys):
    sla = "client=a: ttft<=10ms,tpot<=1; 0.5"
    assert main(["simulate", str(classes), "--policy", "static_fifo", "--sla", sla]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "deadline client a: 10 ms to the first token, 1 s a token; others: 500 ms end to end; goodput" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--sla", "client=a: 1"], "--sla: no limits for client=b (expected some, as for a, or for others)"),
        (["--sla", "colour=red: 1; 2"], "colour: missing column (expected a value a request; found client)"),
        (["--by", "colour"], "colour: missing column"),
        (["--by", "priority"], "priority: missing column"),
        (["--by", ""], "--by: '' (expected the name of a column)"),
        (["--policy", "priority"], "priority: missing column (expected an integer a request, for policy 'priority')"),
        (["--sla", "client=a: ttft_p99<=1; 2"], "--sla: 'ttft_p99<=1' in 'ttft_p99<=1' (expected latency|ttft|tpot<="),
        (["--policy", "priority", "--k-bins", "2"], "--k-bins: 2 (priority has no such setting)"),
    ],
)
def test_classes_that_are_not_there_are_named(classes, options, says, capsys):
    given = options if "--policy" in options else ["--policy", "static_fifo", *options]
    assert main(["simulate", str(classes), *given]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("by", ["tags", "arrival_s", "output_tokens", "gpu"])
def test_what_is_no_class_is_refused(by, tmp_path, capsys):
    path = tmp_path / "odd.jsonl"
    row = {"arrival_s": 0, "prompt_tokens": 5, "output_tokens": 5, "tags": ["a"], "failed": "no"}
    path.write_text("\n".join(json.dumps(row | {"arrival_s": second}) for second in range(3)))
    assert main(["simulate", str(path), "--policy", "static_fifo", "--by", by]) == 2
    assert capsys.readouterr().err.startswith(f"simlib: {by}: ")


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
def test_priorities_of_a_file_decide_who_waits(execution, tmp_path, capsys):
    path = tmp_path / "urgent.csv"
    rows = "".join(f"{0.001 * row:.3f},100,{row % 9 + 1},{row % 4}\n" for row in range(80))
    path.write_text("arrival_s,prompt_tokens,output_tokens,priority\n" + rows)
    engine = ["--execution", execution, "--latency", "h100-vllm-llama3-8b"]
    engine += ["--max-num-seqs", "4"] if execution == "continuous" else ["--d-sla", "10ms"]
    document = summary(capsys, path, "--policy", "priority", *engine, "--by", "priority")
    assert [row["priority"] for row in document["classes"]] == [0, 1, 2, 3]
    waits_s = [row["queueing_mean_s"] for row in document["classes"]]
    assert waits_s == sorted(waits_s) and waits_s[0] < 0.5 * waits_s[3]


def test_a_class_without_requests_is_told(classes, capsys):
    sla = "client=a: 1; client=b: 1; client=c: 1"
    assert main(["simulate", str(classes), "--policy", "static_fifo", "--sla", sla]) == 0
    assert "simlib: --sla: no request is of client=c, which has limits" in capsys.readouterr().err


def test_a_router_in_a_terminal(capsys):
    law = ["--latency", "0.01,0.0001,0.0001,0"]
    common = ["simulate", str(datasets.sample()), "--gpus", "2"]
    engine = [*common, "--policy", "fcfs", "--execution", "continuous", *law]
    assert main([*engine, "--prefix-cache", "--routing", "prefix_cost", "--overlap-score-weight", "2"]) == 0
    capsys.readouterr()
    for command, said in (
        ([*engine, "--routing", "prefix"], "--routing: 'prefix' (expected --prefix-cache beside it"),
        ([*common, "--prefix-cache"], "--prefix-cache (expected --execution continuous"),
        ([*engine, "--routing", "rr"], "--routing: 'rr' (expected one of shared, round_robin"),
    ):
        assert main(command) == 2
        assert said in capsys.readouterr().err
