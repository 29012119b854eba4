"""Tables for a spreadsheet."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from simlib.cli import main
from simlib.cli.outputs import sheet
from simlib.requests import traces


def test_texts_are_guarded_and_numbers_are_not():
    frame = pd.DataFrame({"client": ["=1", "a", 3], "loss": [-1.5, 0.0, 2.0]})
    assert sheet(frame) == "client,loss\n'=1,-1.5\na,0.0\n3,2.0\n"
    assert frame["client"].tolist() == ["=1", "a", 3]


def test_labels_come_back_from_a_results_table(tmp_path):
    given, out = tmp_path / "given.csv", tmp_path / "out.csv"
    rows = "0,10,5,=1+1,@SUM(1)\n1,10,5,-2,m\n2,10,5,@a,m\n"
    given.write_text(f"arrival_s,prompt_tokens,output_tokens,client,model\n{rows}")
    assert main(["simulate", str(given), "--policy", "static_fifo", "--out", str(out)]) == 0
    assert "'=1+1," in out.read_text() and "\n-2," in out.read_text()
    labels = traces.read(out).requests.labels
    assert list(labels["client"]) == ["=1+1", "-2", "@a"] and list(labels["model"]) == ["@SUM(1)", "m", "m"]


@pytest.fixture
def mine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("v.csv", "w.csv"):
        Path(name).write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n1,10,5\n")
    Path("link").symlink_to("v.csv")
    os.link("v.csv", "hard")
    bench = {"input_lens": [9], "output_lens": [2], "ttfts": [0.1], "itls": [[0.1]], "start_times": [1.0]}
    Path("b.json").write_text(json.dumps(bench | {"request_rate": 1.0}))
    Path("g.yaml").write_text("vary: {gpus: [1]}\nreplications: 1\nworkload: {kind: trace, path: b.json}\n")
    return tmp_path


VALIDATE = [
    "validate",
    "--profile",
    ".",
    "--log",
    "b.json",
    "--max-num-seqs",
    "1",
    "--kv-blocks",
    "9",
    "--token-budget",
    "99",
]
PLAN = ["plan", "--sla", "ttft_p99<=1", "--steps", "0.01,0,0,0", "--trace"]


@pytest.mark.parametrize(
    "words",
    [
        ["simulate", "v.csv", "--out", "v.csv"],
        ["simulate", "v.csv", "--out", "link"],
        ["simulate", "v.csv", "--trace", "hard"],
        ["simulate", "v.csv", "--json", "v.csv"],
        ["simulate", "--json", "w.csv", "v.csv"],
        ["simulate", "v.csv", "--json", "b.json"],
        ["simulate", "v.csv", "--latency", "table:w.csv", "--out", "w.csv"],
        ["inspect", "--json", "w.csv", "v.csv"],
        [*PLAN, "v.csv", "--report", "v.csv"],
        [*PLAN, "v.csv", "--json", "w.csv"],
        ["calibrate", "--from-bench", "b.json", "--output", "b.json"],
        ["calibrate", "--from-bench", "b.json", "--card", "b.json"],
        ["calibrate", "--from-bench", "b.json", "--json", "v.csv"],
        ["capacity", "--json", "v.csv"],
        ["compare", "--json", "v.csv"],
        ["presets", "--json", "v.csv"],
        ["fetch", "burstgpt", "--json", "v.csv"],
        ["sweep", "g.yaml", "--out", "o", "--json", "b.json"],
        [*VALIDATE, "--json", "v.csv"],
    ],
)
def test_no_result_replaces_what_a_user_brought(words, mine, capsys):
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    assert main(words) == 2
    assert re.search("this command reads it|is no result in JSON", said := capsys.readouterr().err), said
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before


def test_results_in_json_are_replaced_by_results(mine, capsys):
    for _ in range(2):
        assert main(["simulate", "v.csv", "--policy", "static_fifo", "--json", "s.json"]) == 0
        assert main(["inspect", "v.csv", "--json", "s.json"]) == 0


def test_a_word_of_presets_is_not_taken_for_a_place(mine, capsys):
    assert main(["presets", "--json", "h100"]) == 2
    assert "expected a file, or --json behind all words" in capsys.readouterr().err
    assert not Path("h100").exists()
