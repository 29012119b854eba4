"""Numbers in a terminal: only what a person means by them, for every option of every verb."""

import argparse
from pathlib import Path

import pytest

from simlib.cli import main, numbers

NO_NUMBERS = ["", "x", "٣", "1_000", "nan", "inf", " 5", "5 ", "0x10", "1e400", "5,5"]


@pytest.mark.parametrize("text", [*NO_NUMBERS, "1.5", "1e-3"])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number"):
        numbers.integer(text)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number"):
        numbers.number(text)


def test_numbers_are_read_as_written():
    assert [numbers.integer(text) for text in ("5", "-3", "+2", "1e3", "2.0")] == [5, -3, 2, 1000, 2]
    assert numbers.integer("9007199254740993") == 2**53 + 1
    assert [numbers.number(text) for text in ("5", ".5", "1e-3", "-2.")] == [5.0, 0.5, 0.001, -2.0]
    assert numbers.integers("1,2,1e1") == [1, 2, 10]
    assert numbers.numbers("500,0.8") == [500.0, 0.8]
    assert (numbers.deadline("500ms"), numbers.deadline("2")) == (0.5, 2.0)
    assert numbers.place("a/b.csv") == Path("a/b.csv")


@pytest.mark.parametrize("text", ["1,,2", "1;2", "1,2.5", ""])
def test_a_list_has_whole_numbers_alone(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number"):
        numbers.integers(text)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["simulate", "a.csv", "--gpus", "٣"], "--gpus: '٣' (expected a whole number such as 1000)"),
        (["simulate", "a.csv", "--d-sla", "5000"], "--d-sla: 5000 is 5000 seconds a request"),
        (["capacity", "--late-share", "nan"], "--late-share: 'nan' (expected a number such as 0.5)"),
        (["capacity", "--requests", "1_000"], "--requests: '1_000'"),
        (["compare", "--out="], "--out: '' (expected a path)"),
        (["plan", "--sla", "ttft_p99<=1", "--k-bins", "1,x"], "--k-bins: 'x' (expected a whole number"),
        (["plan", "--sla", "ttft_p99<=1", "--prompt", "500;1"], "--prompt: '500;1' (expected a number"),
        (["sweep", "a.yaml", "--out", "o", "--workers", "0x1"], "--workers: '0x1'"),
        (["calibrate", "--template", "--batch-sizes", "1,٣"], "--batch-sizes: '٣'"),
    ],
)
def test_a_bad_number_is_one_sentence_that_names_the_option(words, told, capsys):
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(f"simlib: {told}") and printed.err.count("\n") == 1


PLAN = ["plan", "--latency", "h100-vllm-llama3-8b", "--sla", "ttft_p99<=1"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["capacity", "--policies", "static_fifo", "--k-bins=4"], "--k-bins: given without multi_bin_dynamic"),
        (["capacity", "--policies", "static_fifo", "--sla", "ttft<=1", "--d-sla", "2"], "--d-sla: given beside --sla"),
        ([*PLAN, "--trace", "a.csv", "--gap-cv", "1"], "--gap-cv: given beside --trace"),
        (
            [*PLAN, "--rate", "1", "--prompt", "9,1", "--output", "9,1", "--rate-factor", "2"],
            "--rate-factor: given with",
        ),
        (["calibrate", "--template", "--trials", "3"], "--trials: given without --model"),
        (["simulate", "a.csv", "--policy", "static_fifo", "--sla", "ttft<=1", "--d-sla", "1"], "--d-sla: given beside"),
        (["simulate", "a.csv", "--policy", "static_fifo", "--seed", "-1"], "--seed: -1"),
        (["simulate", "a.csv", "--policy", "static_fifo", "--predictor="], "--predictor: ''"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(words, told, capsys):
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith(f"simlib: {told}") and printed.err.count("\n") == 1


def test_options_are_spelled_out(capsys):
    assert main(["sweep", "a.yaml", "--out", "o", "--work", "2"]) == 2
    assert "--work" in capsys.readouterr().err
