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


@pytest.mark.parametrize("name", ["frontier.txt", "frontier"])
def test_a_frontier_of_another_kind_is_refused_before_any_work(name, tmp_path, capsys):
    assert main([*WORDS, "--frontier", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert f"{name} (expected a file whose name ends with .csv, .json, .svg)" in said and not list(tmp_path.iterdir())
