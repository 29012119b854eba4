"""A position's runs are those of a direct call, and what cannot be a position is named."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.explorer.state import CONTROLS, PREDICTORS, Position, controls, position_of
from simlib import levels
from simlib.checks import InputError
from simlib.latency import presets
from simlib.requests import workload

SMALL = {"requests": 400}
OWN = pd.DataFrame({"arrival_s": [0.0, 0.1, 0.1, 0.4], "prompt_tokens": [9, 8, 7, 6], "output_tokens": [50, 40, 3, 2]})


def late(position: Position) -> dict[str, float]:
    return {run.policy: run.summary()["sla_violation_share"] for run in position.runs()}


def test_the_first_position_is_the_published_run():
    assert late(Position(requests=1000))["multi_bin_dynamic"] == 0.007


def test_a_position_serves_what_a_direct_call_serves():
    position = Position(d_sla=0.4, k_bins=6, gpus=3, load=1.5, bin_select="oldest_head", **SMALL)
    table = workload.original(400, 42).at_rate(1.5)
    policy = simlib.MultiBinDynamic(6, 0.4, "oldest_head")
    assert (
        late(position)["multi_bin_dynamic"] == simlib.simulate(table, policy, gpus=3).summary()["sla_violation_share"]
    )
    assert list(late(position)) == list(levels.SCHEDULERS)


@pytest.mark.parametrize(
    "settings",
    [
        {"d_sla": 0.25, "load": 0.7},
        {"workload": "burstgpt", "latency": "original-calibrated", "d_sla": 0.5},
        {"workload": "burstgpt_like", "predictor": "noise_0.5", "load": 2.0},
        {"predictor": "oracle", "k_bins": 9, "schedulers": ["multi_bin_fixed", "static_fifo"]},
        {"execution": "continuous", "seed": 7},
        {"latency": "0.01,0.0003,0.2", "gpus": 1},
        {"workload": "own", "own": OWN},
        {"workload": "azure_like", "schedulers": ["shortest_predicted_first"], "latency": "h100-vllm-llama3-8b"},
        {"edges": "30, 90.5", "schedulers": ["multi_bin_fixed", "multi_bin_dynamic"]},
        {"execution": "continuous", "max_seqs": 8, "token_budget": 256, "predictor": "noise_1"},
    ],
)
def test_the_code_repeats_the_position_to_the_last_bit(settings):
    position, namespace = Position(**SMALL | settings), {"requests": OWN}
    exec(position.code(), namespace)
    shown = {run.policy: run.summary() for run in position.runs()}
    assert namespace["summaries"].keys() == shown.keys()
    for name, summary in shown.items():
        np.testing.assert_equal(namespace["summaries"][name], summary)


def test_an_own_file_is_read_again_when_it_changes_and_its_bad_row_is_named(tmp_path):
    path = tmp_path / "own.csv"
    OWN.to_csv(path, index=False)
    position = Position(workload="own", table=str(path), schedulers=["static_fifo"])
    assert len(position.drawn()) == 4 and f"traces.read({str(path)!r})" in position.code()
    OWN.assign(output_tokens=[50, 40, -3, 2]).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"table: own\.csv, row 2, output_tokens: -3"):
        position.drawn()


def test_replications_differ_where_there_is_chance():
    synthetic, sure = Position(**SMALL), Position(workload="burstgpt", predictor="oracle", **SMALL)
    assert synthetic.is_random and not synthetic.is_conditional and not sure.is_random and sure.is_conditional
    assert not np.array_equal(synthetic.drawn(1).arrival_s, synthetic.drawn(0).arrival_s)
    varied = Position(workload="burstgpt", **SMALL)
    first, second = varied.drawn(0), varied.drawn(1)
    assert np.array_equal(first.arrival_s, second.arrival_s)
    assert not np.array_equal(first.predicted_output_tokens, second.predicted_output_tokens)


def test_a_level_sets_workload_and_latency():
    assert position_of(4).workload == "burstgpt" and position_of(4).latency == "original-calibrated"
    assert position_of(3, workload="burstgpt_like").workload == "burstgpt_like"


def test_every_control_is_a_setting_and_the_browser_knows_the_presets():
    assert [control.name for control in CONTROLS] == list(dict(sorted(Position().settings().items(), key=_place)))
    (latency,) = (control for control in controls() if control["name"] == "latency")
    assert next(iter(latency["groups"])) == "Assumed by the original" and "Measured on Nvidia H100" in latency["groups"]
    listed = [name for group in latency["groups"].values() for name in group]
    assert sorted(listed) == sorted({*presets.PRESETS, *presets.names()})
    (choices,) = (control["choices"] for control in controls() if control["name"] == "predictor")
    assert choices.keys() == PREDICTORS.keys()


def test_execution_is_in_sight():
    assert {control["name"] for control in controls() if control["main"]} >= {
        "execution",
        "schedulers",
        "d_sla",
        "k_bins",
    }


def _place(item) -> int:
    return [control.name for control in CONTROLS].index(item[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedulers": ["lifo"]}, "schedulers: 'lifo'"),
        ({"schedulers": []}, "schedulers: none"),
        ({"d_sla": 0.0}, "d_sla: 0"),
        ({"d_sla": 9}, r"d_sla: 9 .*in \[0.05, 5\]"),
        ({"k_bins": 33}, "k_bins: 33"),
        ({"gpus": 0}, "gpus: 0"),
        ({"load": float("nan")}, "load: nan"),
        ({"bin_select": "random"}, "bin_select: 'random'"),
        ({"workload": "azure"}, "workload: 'azure'"),
        ({"workload": "own"}, "table: ''"),
        ({"latency": "h900"}, "latency: 'h900'"),
        ({"execution": "batch"}, "execution: 'batch'"),
        ({"predictor": "tea leaves"}, "predictor: 'tea leaves'"),
        ({"requests": 0}, "requests: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"own": 3}, "requests: int"),
    ],
)
def test_what_cannot_be_a_position_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        Position(**settings)


def test_a_move_of_what_is_no_control_is_named():
    with pytest.raises(InputError, match=r"control: 'dsla' .*did you mean 'd_sla'"):
        Position().moved({"dsla": 1})
    with pytest.raises(InputError, match="setting: 'kbins'"):
        position_of(1, kbins=2)
    with pytest.raises(InputError, match=r"table: 'gone\.csv'"):
        Position(workload="own", table="gone.csv").drawn()
