"""The verb ``inspect``, and the first lines of a file's account in the verbs that read it."""

import json
from pathlib import Path

import pytest

from simlib.cli import main
from simlib.latency import measurements

TABLE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{i},{10 + i},{5 + i % 7}\n" for i in range(200))
BENCH = {
    "input_lens": [100 + 10 * i for i in range(20)],
    "output_lens": [11] * 19 + [0],
    "ttfts": [0.05 + 0.001 * i for i in range(19)] + [0.0],
    "itls": [[0.01 + 1e-4 * i] * 10 for i in range(19)] + [[]],
    "start_times": [5.0 + 0.2 * i for i in range(20)],
    "request_rate": 5.0,
}


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "requests.csv"
    path.write_text(TABLE)
    return path


def test_each_file_has_its_screen_and_a_bad_one_is_said_after_which_the_code_is_2(table, tmp_path, capsys):
    assert main(["inspect", str(table), str(table)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("requests.csv: a request table, 200 requests") == 2 and "\n\n" in shown
    assert main(["inspect", str(tmp_path / "absent.csv"), str(table)]) == 2
    printed = capsys.readouterr()
    assert "absent.csv: no such file" in printed.err and "200 requests" in printed.out


def test_json_is_an_object_of_one_file_and_a_list_of_several(table, tmp_path, capsys):
    assert main(["inspect", str(table), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["rows"] == 200 and found["verbs"] == ["simulate", "plan"]
    place = tmp_path / "a.json"
    for _ in range(2):  # an account may be written over an account
        assert main(["inspect", str(table), str(tmp_path / "absent"), "--json", str(place)]) == 2
    found = json.loads(place.read_text())
    assert found[0]["format"] == "plain" and "no such file" in found[1]["error"]


def test_a_file_that_is_to_be_inspected_is_not_written_over(table, tmp_path, capsys):
    other = tmp_path / "other.csv"
    other.write_text(TABLE)
    assert main(["inspect", "--json", str(other), str(table)]) == 2
    assert other.read_text() == TABLE and "is no result in JSON" in capsys.readouterr().err


def test_what_the_user_says_of_a_file_is_taken(tmp_path, capsys):
    path = tmp_path / "log.jsonl"
    records = [{"timestamp": 40 * i, "input_length": 100, "output_length": 5} for i in range(20)]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    for unit, span_s in (("ms", 0.76), ("s", 760.0), ("us", 0.00076)):
        assert main(["inspect", str(path), "--time-unit", unit, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["span_s"] == pytest.approx(span_s) and found["time_unit"] == unit
    assert main(["inspect", str(path), "--time-unit", "years"]) == 2
    assert "--time-unit: 'years'" in capsys.readouterr().err


FOREIGN = [
    ("m.csv", measurements.TEMPLATE, "measurements", "--latency"),
    ("grid.csv", "batch_size,max_seq_len,mean_latency_sec\n1,8,0.1\n", "latency_grid", "--latency"),
    ("law.csv", "# law: tau\ncoefficient,value,ci_low,ci_high,identified\na_s,1,1,1,True\n", "step_law", "--latency"),
    ("grid.yaml", "vary:\n  gpus: [1, 2]\nreplications: 3\n", "sweep", "simlib sweep"),
    ("dense.csv", "layer,tokens,time_us\nmlp,1,3\n", "kernel_profile", "simlib validate"),
    ("semicolons.csv", "batch_size;prompt_tokens;output_tokens;total_s\n1;8;8;1,5\n", "measurements", "--latency"),
]


@pytest.mark.parametrize(("name", "text", "kind", "said"), FOREIGN)
def test_what_holds_no_requests_is_told_what_it_is_and_which_verb_reads_it(name, text, kind, said, tmp_path, capsys):
    path = tmp_path / name
    path.write_text(text)
    assert main(["inspect", str(path)]) == 0
    assert said in capsys.readouterr().out
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == kind


def test_a_saved_run_and_folders(table, tmp_path, capsys):
    import simlib

    run = simlib.simulate(simlib.traces.read(table).requests, "static_fifo").save(tmp_path / "run.parquet")
    profile = tmp_path / "profile"
    profile.mkdir()
    (profile / "attention.csv").write_text("time_us\n")
    assert main(["inspect", str(run), str(profile)]) == 0
    shown = capsys.readouterr().out
    assert "simlib.load(" in shown and "simlib validate --profile" in shown
    assert main(["inspect", str(tmp_path)]) == 2


def test_plan_and_calibrate_begin_with_the_account(table, tmp_path, capsys):
    bench = tmp_path / "bench.json"
    bench.write_text(json.dumps(BENCH))
    assert main(["calibrate", "--from-bench", str(bench)]) == 0
    said = capsys.readouterr().err
    assert "simlib: warning: 1 of 20 requests failed: dropped\n" in said and "simlib: arrivals: start_times" in said
    words = ["plan", "--trace", str(table), "--steps", "0.01,1e-4,1e-5,1e-8", "--kv-tokens", "100000"]
    words += ["--sla", "ttft_p99<=1", "--max-gpus", "1", "--max-num-seqs", "16"]
    assert main([*words, "--token-budgets", "512", "--k-bins", "1"]) in (0, 3)
    said = capsys.readouterr().err
    assert said.startswith("simlib: requests.csv: a request table, 200 requests in 199 s, 1/s; none failed\n")


def test_validate_tells_what_its_log_is(tmp_path, capsys):
    log = tmp_path / "log.jsonl"
    stamps = [
        {"queued_ts": t, "scheduled_ts": t, "first_token_ts": t + 0.1, "last_token_ts": t + 0.5}
        for t in (0.0, 1.0, 2.0, 3.0)
    ]
    records = [{"input_toks": 50, "output_toks": 5, "arrival_time": s["queued_ts"], **s} for s in stamps]
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    words = ["validate", "--profile", str(tmp_path), "--log", str(log), "--max-num-seqs", "8", "--kv-blocks", "100"]
    assert main([*words, "--token-budget", "2048", "--step-model", "affine-from-log", "--fitted", "2"]) == 0
    assert "simlib: log.jsonl: an engine's log of requests" in capsys.readouterr().err


def test_a_file_behind_json_alone_is_what_is_read(tmp_path, capsys):
    file = tmp_path / "mine.csv"
    file.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,2\n1,20,3\n")
    for verb, key in (("inspect", "rate_rps"), ("simulate", "latency_mean_s")):
        assert main([verb, "--json", str(file)]) == 0
        assert json.loads(capsys.readouterr().out)[key] > 0
        assert file.read_text().startswith("arrival_s")
        assert main([verb, "--json"]) == 2
        assert "FILE: none" in capsys.readouterr().err
