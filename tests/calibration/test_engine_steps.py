"""An engine asked itself, with one of a known law in vLLM's place: the grid, going on, files of others, the script."""

import subprocess
import sys
from collections import Counter

import pytest

from simlib import cli
from simlib.calibration import designed, engine_steps
from simlib.calibration.engine_steps import COLUMNS, EACH, Group, Limits, NoEngine, design, in_order, measure
from simlib.named import step_law_of

LAW = (0.004, 2e-4, 3e-5, 1e-7)
LIMITS = Limits(8, 256, 1024, 8192)


class Known:
    """An engine whose steps last what a law says; it may be stopped after so many groups."""

    groups, most = 0, 10**9

    def __init__(self, model, dummy, **settings):
        self.model = model

    def limits(self):
        return LIMITS

    def about(self):
        return {"engine": "known 1", "model": self.model, "steps_in_flight": "1"}

    def group(self, group, seed):
        if Known.groups >= Known.most:
            raise KeyboardInterrupt
        Known.groups += 1
        n, context = group.sequences, group.sequences * group.context
        rows = [(chunk, n, chunk, context) for chunk in group.chunks for _ in range(EACH)]
        return [(*row, LAW[0] + LAW[1] * n + LAW[2] * row[2] + LAW[3] * context) for row in rows]


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(engine_steps, "Vllm", Known)
    monkeypatch.setattr(Known, "groups", 0)
    return Known


def test_a_grid_has_what_the_engine_can_hold_and_loses_the_longest_groups_first():
    groups = design(LIMITS)
    assert {group.sequences for group in groups} == {0, 1, 2, 4, 7}  # a place is kept for the chunk
    assert all(group.sequences + max(group.chunks) <= LIMITS.token_budget for group in groups)
    assert all((group.sequences + 1) * group.context <= LIMITS.kv_tokens for group in groups)
    assert design(Limits(8, 256, 1024, 2000))[-1].context < groups[-1].context
    few = design(LIMITS, lambda group: 1.0 + group.sequences * group.context, 100.0)
    assert len(few) < len(groups) and max(group.sequences * group.context for group in few) <= 100


def test_every_repetition_goes_through_the_grid_in_an_order_of_its_own():
    groups = design(LIMITS)
    each = list(in_order(groups, 2, 5))
    first, second = ([group for repetition, group in each if repetition == k] for k in range(2))
    assert Counter(first) == Counter(second) == Counter(groups) and first != second != groups


def test_what_was_measured_is_gone_on_with_and_gives_the_law(known, tmp_path, capsys):
    path = tmp_path / "steps.csv"
    known.most = 9  # of which four warm up
    with pytest.raises(KeyboardInterrupt):
        measure("mine", path)
    before = path.read_text()
    path.write_text(before + "2,1,32,0,1")  # cut off in a row
    known.most = 10**9
    assert measure("mine", path)
    text = path.read_text()
    assert text.startswith(before) and "2,1,32,0,1\n" not in text
    rows = Counter(tuple(line.split(",")[:4]) for line in text.splitlines() if line[0].isdigit())
    assert set(rows.values()) == {EACH} and len(rows) == 3 * sum(len(group.chunks) for group in design(LIMITS))
    made = known.groups
    assert measure("mine", path) and known.groups == made  # nothing is left, and no engine is needed
    found = designed.from_steps(path)
    assert found.law.params[:4].tolist() == pytest.approx(LAW, rel=1e-3)
    assert "known 1" in found.card()


def test_time_that_is_up_ends_it_between_groups(known, tmp_path):
    path = tmp_path / "steps.csv"
    assert not measure("mine", path, minutes=1e-6)
    assert not [line for line in path.read_text().splitlines() if line[0].isdigit()]


def test_a_file_of_another_model_is_not_gone_on_with(known, tmp_path):
    path = tmp_path / "steps.csv"
    measure("mine", path, repetitions=1)
    with pytest.raises(NoEngine, match=r"steps.csv, model: mine \(expected other, or a new file for it\)"):
        measure("other", path, repetitions=2)


def test_a_group_is_written_and_read():
    group = Group(4, 128, (0, 16, 252))
    assert engine_steps.group_of(engine_steps.word_of(group)) == group


def test_the_script_says_in_a_sentence_that_there_is_no_engine(tmp_path):
    script = [sys.executable, engine_steps.__file__, "--model", "x", "--output", str(tmp_path / "steps.csv")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path, env={"PATH": ""})
    assert done.returncode == 2 and not list(tmp_path.iterdir())
    assert done.stderr.startswith("engine_steps.py: engine vllm: not in this environment")
    assert len(done.stderr.splitlines()) == 1
    assert COLUMNS[-1] == "step_s"


def test_the_verb_shows_the_card_and_its_steps_are_a_latency(known, tmp_path, capsys):
    path = tmp_path / "steps.csv"
    asked = ["calibrate", "--engine", "vllm", "--model", "mine", "--output", str(path), "--trials", "2"]
    assert cli.main([*asked, "--set", "tensor_parallel_size=2"]) == 0
    assert "| `a_s` | 0.004 |" in capsys.readouterr().out
    assert step_law_of(str(path)).a_s == pytest.approx(LAW[0], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "vllm", "--model", "x"], "--output: none (expected a file for the steps)"),
        (["--engine", "vllm", "--template"], "--engine: given without --model"),
        (["--model", "x", "--minutes", "3"], "--minutes: given without --engine"),
        (["--engine", "vllm", "--model", "x", "--output", "NEW", "--device", "cpu"], "--device: given with --engine"),
        (["--engine", "vllm", "--model", "x", "--output", "NEW", "--minutes", "0"], "--minutes: 0"),
        (["--engine", "vllm", "--model", "x", "--output", "NEW", "--set", "x"], "--set: x (expected NAME=VALUE"),
        (["--engine", "vllm", "--model", "x", "--output", "NEW"], "engine vllm: not in this environment"),
    ],
)
def test_the_verb_refuses_what_it_cannot_ask(words, said, tmp_path, capsys):
    place = tmp_path / "steps.csv"
    assert cli.main(["calibrate", *(str(place) if word == "NEW" else word for word in words)]) == 2
    assert said in capsys.readouterr().err and not place.exists()
