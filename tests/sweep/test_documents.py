"""A grid's YAML: what is written is what is meant, and nothing in it can fill a memory."""

import os

import pytest

from simlib.checks import InputError
from simlib.sweep import documents
from simlib.sweep.grid import Grid


def parsed(text):
    return documents.parsed(text, "g.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e1", 10),
        ("2e1", 20),
        ("1.0e+1", 10.0),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-7", -7),
        ("0", 0),
        ("012", "012"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("٣", "٣"),
        ("0x10", "0x10"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("2020-01-01", "2020-01-01"),
        (".inf", ".inf"),
        ("nan", "nan"),
        ("500ms", "500ms"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("", None),
    ],
)
def test_a_value_is_what_a_person_reads(text, value):
    found = parsed(f"[{text}]" if text else "a:")
    found = found[0] if text else found["a"]
    assert found == value and type(found) is type(value)


def test_named_values_are_put_in_where_they_are_called():
    text = "a: &a {kind: fixed, tokens: 1}\nb: [*a, {<<: *a, tokens: 2}]\n"
    fixed = {"kind": "fixed", "tokens": 1}
    assert parsed(text) == {"a": fixed, "b": [fixed, {"kind": "fixed", "tokens": 2}]}


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vary: {gpus: [1],\n gpus: [4]}", "line 2, column 2: 'gpus' twice .first in line 1"),
        ("gpus: 1\ngpus: 2", "line 2, column 1: 'gpus' twice"),
        ("vary: {gpus: &a [1, *a]}", "line 1, column 21: .a .expected a value named &a before"),
        ("workload: &w {kind: original, requests: *w}", "line 1, column 41: .w"),
        ("x: *nobody", ".nobody"),
        ("[" * 900 + "]" * 900, "more than 32 lists"),
        ("[" * 100_000, "more than 32 lists"),
        (BOMB, "more than 100,000 values, aliases opened"),
        ("vary: {workload.seed: [" + "9" * 5000 + "]}", "line 1, column 24: an integer of 5000 digits"),
        ("a: 1\n---\nb: 2", "line 2, column 1: a second document"),
        ("a: !!python/object/apply:os.getpid []", "tag .*os.getpid"),
        ("a: !!binary x", "tag .*binary"),
        ("? [1, 2]\n: 3", "a key that is no text"),
        ("<<: 5", "<<: 5 .expected a mapping"),
        ("a: [1", "line .*expected YAML"),
        ("a: \x01", "expected YAML"),
    ],
)
def test_what_is_meant_by_nobody_is_refused_with_its_place(text, told):
    with pytest.raises(InputError, match=f"g.yaml.*{told}"):
        parsed(text)


@pytest.mark.parametrize(
    "text", ["{}: 012", "{}: 1:30", "{}: 1_000", "{}: on", "{}: 2020-01-01", "{}: .nan", "{}: 1e400"]
)
def test_where_a_number_is_expected_a_text_is_refused(text, tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("vary: {policy.k_bins: [1, 2]}\n" + text.format("gpus"))
    with pytest.raises(InputError, match=r"gpus: '.*' .expected an integer"):
        Grid.read(path).check()


@pytest.mark.parametrize("value", [10**20, -(10**5000), float("inf"), float("nan")], ids=range(4))
def test_a_number_that_no_column_can_hold_is_refused_before_the_run(value):
    with pytest.raises(InputError, match=r"vary policy.d_sla: .*expected a finite number"):
        Grid({"policy.d_sla": [value]})


def test_a_list_within_itself_is_refused():
    endless = [1]
    endless.append(endless)
    with pytest.raises(InputError, match="vary gpus: more than 32 lists"):
        Grid({"gpus": endless})


def test_files_that_never_end_are_refused(tmp_path):
    pipe, large = tmp_path / "pipe", tmp_path / "large.yaml"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(documents.MOST_BYTES + 1)
    for path, told in (
        (pipe, "nobody writes"),
        ("/dev/zero", "is a device"),
        (large, "expected at most 1,048,576 of YAML"),
    ):
        with pytest.raises(InputError, match=told):
            Grid.read(path)
