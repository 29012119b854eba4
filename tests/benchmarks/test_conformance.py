"""vLLM's scheduler beside ours: what is drawn, what is counted, the wrong engines, and the cases last recorded."""

import ast
import json
import re

import pytest

from benchmarks.conformance import scheduler_steps
from benchmarks.conformance.__main__ import HERE, RECORDED, events, outcome
from benchmarks.conformance.cases import KINDS, MODES, draw
from benchmarks.conformance.mutants import MUTANTS, ROOT, found_by
from benchmarks.conformance.scheduler_steps import Compared
from simlib import reading

NOTHING = {"steps": [], "preemptions": 0}


def test_cases_are_drawn_again_by_their_seed_and_can_be_served():
    cases = draw(len(MODES) * len(KINDS), 3)
    assert cases == draw(len(cases), 3) != draw(len(cases), 4)
    assert {(case["mode"], case["kind"]) for case in cases} == {(mode, kind) for mode in MODES for kind in KINDS}
    assert tuple(MODES) == scheduler_steps.MODES
    for number, case in enumerate(cases):
        never = dict.fromkeys(("first_s", "completion_s"), [None] * len(case["arrival_s"]))
        scheduler_steps.case_of(json.loads(json.dumps(case)) | never | NOTHING, f"case {number}")


def test_what_is_counted():
    recorded = [{"mode": "sync", "kind": "plain", "events": {"a": 2}}, {"mode": "sync", "kind": "all", "events": {}}]
    recorded.append({"mode": "sync", "kind": "plain", "events": {"a": 1, "b": 4}})
    same = [Compared("sync", equal, [equal, True], error) for equal, error in ((True, 0.0), (True, 0.0), (False, 0.2))]
    assert events(recorded).values.tolist() == [["a", 2, 3], ["b", 1, 4]]
    found = outcome(recorded, same).set_index("kind")
    assert found.loc["plain"].tolist() == ["sync", 2, 1, 0.75, 0.2] and found.loc["all", "equal"] == 1


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule)
def test_a_rule_stands_once_where_it_is_made_wrong(mutant):
    assert (ROOT / "simlib" / mutant.file).read_text().count(mutant.right) == 1


def test_there_are_ten_wrong_engines_and_one_is_found(tmp_path):
    assert len({mutant.rule for mutant in MUTANTS}) == len(MUTANTS) >= 10
    case = {
        "mode": "sync", "arrival_s": [0.0, 0.015], "prompt_tokens": [16, 40], "output_tokens": [3, 1], "block_size": 16,
        "max_num_seqs": 4, "max_num_batched_tokens": 32, "num_blocks": 5, "law": [0.01, 0.0, 0.0, 0.0],
        "first_s": [0.01, 0.04], "completion_s": [0.03, 0.04],
        "steps": [[0.01, 0, 16, 0, 1], [0.01, 1, 0, 17, 1], [0.01, 1, 31, 18, 2], [0.01, 0, 9, 0, 1]], "preemptions": 0,
    }  # fmt: skip
    assert scheduler_steps.compare(scheduler_steps.case_of(case, "case")).equal
    (tmp_path / "cases.json").write_text(json.dumps({"cases": [case, case | {"arrival_s": [0.0, 0.03]}]}))
    (budget,) = (mutant for mutant in MUTANTS if mutant.rule.startswith("decodes are taken off the budget"))
    assert found_by(budget, tmp_path / "cases.json") == 2  # the second is wrong in any engine


def test_the_recorder_leans_on_nothing_of_the_project_and_its_environment_is_pinned():
    tree = ast.parse((HERE / "record.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [name for name in imported if name.startswith(("simlib", "benchmarks", "book"))]
    lines = (HERE / "requirements.txt").read_text().splitlines()[1:]
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []


def test_of_the_cases_last_recorded_all_tried_are_equal():
    cases = json.loads(reading.text(RECORDED, "recorded cases")[1])["cases"]
    assert len(cases) >= 600
    for number in range(0, len(cases), 13):  # of each mode and kind some
        assert scheduler_steps.compare(scheduler_steps.case_of(cases[number], "case")).equal, number
