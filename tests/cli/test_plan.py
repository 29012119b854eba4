"""The verb `plan`: the frontier as a file of the kind that its name says, and in the page."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from simlib.cli import main

WORDS = ["plan", "--rate", "8", "--prompt", "100,0.3", "--output", "60,0.3", "--requests", "300", "--max-gpus", "2"]
WORDS += ["--steps", "0.01,0.001,0,0", "--kv-tokens", "100000", "--sla", "ttft_p99<=1", "--max-num-seqs", "16,64"]
WORDS += ["--token-budgets", "512", "--k-bins", "1"]


def test_a_frontier_is_written_as_its_name_says(tmp_path, capsys):
    csv, document, drawn = (tmp_path / f"frontier.{kind}" for kind in ("csv", "json", "svg"))
    for file in (csv, document):
        assert main([*WORDS, "--frontier", str(file)]) == 0
    assert main([*WORDS, "--frontier", str(drawn), "--report", str(tmp_path / "plan.html")]) == 0
    table, found = pd.read_csv(csv), json.loads(document.read_text())
    assert len(table) == len(found["cells"]) and table["load"].max() == pytest.approx(found["best"]["load"])
    assert found["objectives"] == ["ttft_p99<=1"] and table["holds"].any()
    assert drawn.read_text().startswith("<svg") and "Token budget (tokens a step)" in drawn.read_text()
    assert (tmp_path / "plan.html").read_text().count("<svg") == 2
    assert f"simlib: wrote {drawn}" in capsys.readouterr().err


def recorded(path, *spans_s):
    """Azure's columns: a request a second from the tenth of May on, in these times."""
    at = pd.Timestamp("2024-05-10") + pd.to_timedelta([second for span in spans_s for second in range(*span)], unit="s")
    rows = {"TIMESTAMP": at.strftime("%Y-%m-%d %H:%M:%S.%f"), "ContextTokens": 100, "GeneratedTokens": 20}
    pd.DataFrame(rows).to_csv(path, index=False)
    return ["plan", "--trace", str(path), *WORDS[WORDS.index("--max-gpus") :]]


@pytest.mark.parametrize(
    ("more", "told", "left"),
    [
        (
            (),
            "left out with the windows that they touch (--gaps bridge: taken out of time)",
            "windows of 60 s, 1 gap (60 min",
        ),
        (("--gaps", "bridge"), "taken out of time", "4 windows of 60 s, 1 gap (60 min from 120 s on) bridged"),
        (("--window", "10min"), "left out", "no whole window is without a gap"),
    ],
)
def test_a_gap_is_named_by_its_date_and_what_becomes_of_it(tmp_path, capsys, more, told, left):
    words = recorded(tmp_path / "gap.csv", (0, 121), (3720, 3841))
    assert main([*words, "--window", "1min", *more]) == 0
    said = capsys.readouterr()
    assert f"gap.csv: 1 gap, 60 min from 2024-05-10 00:02:00 on: {told}" in said.err
    assert left in said.out and "-0.0%" not in said.out


def test_a_window_without_a_request_counts_for_nothing(tmp_path, capsys):
    sparse = recorded(tmp_path / "sparse.csv", (0, 12 * 60, 12))
    assert main([*sparse, "--window", "6s"]) == 0
    assert "windows without a request left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--confidence", "1"), "--confidence: 1 (expected less: nobody can promise every window to come)"),
        (("--confidence", "95"), "--confidence: 95.0 (expected a finite number in (0.5, 1))"),
        (("--confidence", "100%"), "--confidence: '100%' (expected a number such as"),
        (("--price", "0"), "--price: 0.0 (expected a finite number > 0)"),
        (("--max-cost", "5"), "--max-cost: given without --price (expected both, or none)"),
        (("--sla", "priority=0: ttft_p99<=1; ttft_p99<=2"), "log.csv, priority: missing column (expected a value a"),
        (("--gaps", "fill"), "--gaps: 'fill' (expected one of leave-out, bridge)"),
        (("--window", "0s"), "--window: 0.0 (expected a finite number > 0)"),
    ],
)
def test_a_promise_that_nobody_can_make_and_what_costs_nothing_are_named(tmp_path, capsys, more, says):
    assert main([*recorded(tmp_path / "log.csv", (0, 60)), *more]) == 2
    assert says in capsys.readouterr().err


def test_objectives_that_no_hardware_meets_end_with_3_and_say_why(tmp_path, capsys):
    assert main([*WORDS, "--sla", "ttft_p99<=1ms"]) == 3
    said = capsys.readouterr().out
    assert said.startswith("Nothing within 2 GPUs meets ttft_p99<=0.001")
    assert "no number of GPUs would do, as what limits it is the law: requests that never meet have ttft_p99 at" in said


@pytest.mark.parametrize("name", ["frontier.txt", "frontier"])
def test_a_frontier_of_another_kind_is_refused_before_any_work(name, tmp_path, capsys):
    assert main([*WORDS, "--frontier", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"{name} (expected a file whose name ends with .csv, .json, .svg)" in said and not list(tmp_path.iterdir())
