"""What a terminal says of itself: help with every default, version, names that may be meant, options for settings."""

import argparse
import json
import re

import pytest

from simlib import cli
from simlib.checks import nearest
from simlib.cli import main
from simlib.cli.plan import CHOICES
from simlib.planning.planner import Planner

TABLE = "arrival_s,prompt_tokens,output_tokens\n0,10,5\n3,20,7\n0.5,30,1\n"
DEMAND = ["plan", "--rate", "3", "--prompt", "500,0.5", "--output", "100,0.5", "--requests", "400"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "requests.csv"
    path.write_text(TABLE)
    return str(path)


def options() -> list[tuple[str, argparse.Action]]:
    """Every option of every verb, as the parser has it."""
    (verbs,) = (action for action in cli._parser()._actions if isinstance(action, argparse._SubParsersAction))
    return [
        (verb, action) for verb, parser in verbs.choices.items() for action in parser._actions if action.option_strings
    ]


def test_every_option_says_what_it_is_and_its_default():
    assert len(options()) > 80
    for verb, action in options():
        told = (action.help or "").replace("%(default)s", str(action.default))
        assert len(told.split("(default")[0]) > 2, (verb, action.option_strings)
        if action.default not in (None, False, argparse.SUPPRESS):
            assert "default" in told, (verb, action.option_strings)
            stated = re.search(r"default:? ?([^)]*)", told)[1].replace(",", "")
            value = str(action.default).replace(",", "")
            assert value in stated or stated in (
                "yes",
                f"{action.default:g}" if isinstance(action.default, float) else "-",
            )


def test_the_choices_of_a_plan_in_its_help_are_the_planners():
    for (option, said), field in zip(CHOICES.items(), ("max_seqs", "token_budgets", "k_bins"), strict=True):
        stated = re.search(r"default: ([\d,]+\d)", said)[1]
        assert tuple(map(int, stated.split(","))) == Planner.__dataclass_fields__[field].default, option


def test_alone_it_shows_help_with_its_exit_codes(capsys):
    assert main([]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "simulate" in shown and "exit codes: 0 done; 1 " in shown and "3 nothing within the limits" in shown


def test_its_version(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"simlib \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("word", "choices", "meant"),
    [
        ("multibin", ["static_fifo", "multi_bin_dynamic", "multi_bin_fixed"], ["multi_bin_dynamic", "multi_bin_fixed"]),
        ("fifo", ["static_fifo", "fcfs"], ["static_fifo"]),
        ("p99_ttft", ["tpot_p99", "ttft_p99"], ["ttft_p99"]),
        ("TTFT-p99", ["tpot_p99", "ttft_p99"], ["ttft_p99"]),
        ("llama3 h100", ["h100-vllm-llama3-8b", "a100-vllm-llama3-8b"], ["h100-vllm-llama3-8b"]),
        ("fats", ["fast", "slow"], ["fast"]),
        ("", ["fast"], []),
        (None, ["fast"], []),
    ],
)  # fmt: skip
def test_names_are_near_by_their_parts_before_their_spelling(word, choices, meant):
    assert nearest(word, choices) == meant


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["simulate", "TABLE", "--policy", "multibin"], "did you mean 'multi_bin_dynamic' or 'multi_bin_fixed'?"),
        (["simulate", "TABLE", "--policy", "fcfs"], "--policy: 'fcfs' (expected --execution continuous beside it"),
        (["simulate", "TABLE", "--policy", "static_fifo"], "; --unsorted sort puts them in order)"),
        (["simulate", "TABLE", "--gpus", "0"], "simlib: --gpus: 0 (expected an integer from 1"),
        ([*DEMAND, "--sla", "p99_ttft<=1", "--latency", "h100-vllm-llama3-8b"], "did you mean ttft_p99?"),
        ([*DEMAND, "--sla", "ttft_p99<=1", "--latency", "h100"], "near: h100-trtllm-llama2-7b"),
        ([*DEMAND, "--sla", "ttft_p99<=1", "--steps", "0.01,0,0,0"], "simlib: --kv-tokens: missing"),
        ([*DEMAND, "--sla", "ttft_p99<=1", "--latency", "h100-vllm-llama3-8b", "--max-cost", "3"], "without --price"),
    ],
)  # fmt: skip
def test_a_message_names_options_that_the_terminal_has(words, said, table, capsys):
    assert main([table if word == "TABLE" else word for word in words]) == 2
    assert said in capsys.readouterr().err


STEPS = ["--steps", "0.01,0.0001,0.0001,0", "--kv-tokens", "50000", "--max-gpus", "1", "--max-num-seqs", "16"]
FEW = [*DEMAND, *STEPS, "--token-budgets", "2048", "--k-bins", "1"]


def test_a_plan_names_its_currency_and_its_machine_form_goes_to_standard_output(capsys):
    assert main([*FEW, "--sla", "ttft_p99<=1", "--price", "2.5", "--currency", "EUR"]) == 0
    assert re.search(
        r"^Cost +\S+ EUR a million output tokens, 2\.5 EUR an hour$", capsys.readouterr().out, re.MULTILINE
    )
    assert main([*FEW, "--sla", "ttft_p99<=1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["currency"] == "USD"


def test_a_plan_that_nothing_meets_ends_with_3(capsys):
    assert main([*FEW, "--sla", "ttft_p99<=0.001"]) == 3
    assert "Nothing within 1 GPU" in capsys.readouterr().out


def test_a_plan_says_how_far_it_is_where_nobody_watches(capsys, monkeypatch):
    monkeypatch.setattr("simlib.cli.plan.EVERY_S", 0.0)
    assert main([*FEW, "--sla", "ttft_p99<=1"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if re.fullmatch(r"simlib: planning with 1 GPU; \d+ runs", line)]


def test_a_length_may_be_cut(capsys):
    sla = ["--sla", "ttft_p99<=1", "--steps", "0.01,0.0001,0.0001,0", "--kv-tokens", "500"]
    assert main(["plan", "--rate", "3", "--prompt", "100,0.5", "--output", "100,0.5", "--requests", "400", *sla]) == 2
    assert "exceeds its cache of 500" in capsys.readouterr().err
    cut = ["--prompt", "100,0.5,300", "--output", "100,0.5,150"]
    assert main(["plan", "--rate", "3", *cut, "--requests", "400", *sla, "--k-bins", "1"]) == 0
