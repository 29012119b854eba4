"""The page's simulator against the library: the same requests, draws and views, to the last bit where it can be."""

import math
import warnings

import numpy as np
import pytest

from book.explorer import views
from book.explorer.against import Kept
from book.explorer.state import Position, edges_of
from book.live import contents
from book.live import summary as summary_of
from simlib.continuous.settings import Continuous
from simlib.levels import requests_of
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.full_batches import MultiBinFixed
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.policies.static import StaticFIFO
from simlib.requests import predictors
from simlib.requests.azure import azure_like
from simlib.requests.table import RequestTable
from simlib.requests.workload import original
from simlib.runs.metrics import SUMMARY_KEYS
from simlib.simulation import simulate

CASES, SEED = 300, 20_261_130
LAWS = list(contents.laws())
SERVED = """(cases) => cases.map(({ state, table, scheduler }) => {
    const { start, first, completion, numbers } = simulated.served(state, tableOf(table), scheduler, state.d_sla);
    const columns = Object.entries({ start_s: start, first_token_s: first, completion_s: completion, numbers });
    return Object.fromEntries(columns.map(([name, column]) => [name, times(column)]));
})"""
DRAWN = """(states) => states.map((state) => Object.fromEntries(
    Object.entries(simulated.drawn(state, 0)).map(([name, column]) => [name, plain(column)])))"""
ANSWERED = """(state) => Object.assign(simulated.view(state), ...[...simulated.following(state)].filter(Boolean))"""


def drawn(workload: str, requests: int, seed: int) -> RequestTable:
    if workload == "synthetic":
        return original(requests, seed)
    if workload == "burstgpt_like":
        return requests_of(2, requests, seed, requests_from="population")[0]
    table = azure_like(requests, seed)
    return table.with_predictions(predictors.original_predictions(table.prompt_tokens, seed))


def policy_of(name: str, state: dict):
    d_sla, edges = state["d_sla"], edges_of(state["edges"])
    bins = {"k_bins": len(edges) + 1, "bounds": edges} if edges else {"k_bins": state["k_bins"]}
    return {
        "static_fifo": StaticFIFO(),
        "dynamic_no_bins": DynamicNoBins(d_sla),
        "multi_bin_dynamic": MultiBinDynamic(**bins, d_sla=d_sla, bin_select=state["bin_select"]),
        "multi_bin_fixed": MultiBinFixed(**bins),
        "shortest_predicted_first": ShortestPredictedFirst(),
    }[name]


def execution_of(state: dict):
    if state["execution"] == "run_to_completion":
        return state["execution"]
    return Continuous(max_seqs=state["max_seqs"], token_budget=state["token_budget"])


def some_case(rng: np.random.Generator):
    """A state of the controls, a scheduler and a table, all at random."""
    pick = lambda *values: values[rng.integers(len(values))]  # noqa: E731
    state = {
        "workload": pick("synthetic", "burstgpt_like", "azure_like"), "requests": pick(1, 2, 7, 40, 120),
        "seed": int(rng.integers(contents.SEEDS)), "load": pick(0.3, 1.0, 1.7, 4.0), "d_sla": pick(0.05, 0.3, 1.0, 5.0),
        "k_bins": pick(1, 2, 4, 9, 32), "gpus": pick(1, 2, 5, 16), "predictor": "original",
        "bin_select": pick("round_robin", "longest_queue", "oldest_head"),
        "edges": pick("", "", "30", "20, 60.5, 100000"),
        "max_seqs": pick(1, 8, 256), "token_budget": pick(16, 300, 2048),
        "execution": pick("run_to_completion", "continuous"), "latency": pick(*LAWS) if rng.random() < 0.6 else LAWS[0],
    }  # fmt: skip
    return state, pick(*contents.POLICIES), drawn(state["workload"], state["requests"], state["seed"])


def times(column) -> list:
    return [None if math.isnan(value) else value for value in column.tolist()]


def test_300_runs_of_one_table_are_the_librarys_to_the_last_bit(tab):
    """Whatever the position: seed 20261130, nothing is left to chance but which positions are tried."""
    rng, cases, expected = np.random.default_rng(SEED), [], []
    while len(cases) < CASES:
        state, scheduler, table = some_case(rng)
        if not table.output_tokens.any():
            continue  # nothing but failures, which the library refuses
        table = table.at_rate(state["load"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = simulate(
                table, policy_of(scheduler, state), state["latency"], state["gpus"], execution_of(state),
                state["d_sla"], oversize="reject", backend="interpreted",
            )  # fmt: skip
        columns = {"arrival_s": table.arrival_s, "prompt": table.prompt_tokens, "output": table.output_tokens}
        columns["predicted"] = table.predicted_output_tokens
        given = {name: column.tolist() for name, column in columns.items()}
        cases.append({"state": state, "scheduler": scheduler, "table": given})
        expected.append(run)
    for case, run, found in zip(cases, expected, tab.evaluate(SERVED, cases), strict=True):
        what = f"{case['scheduler']}, {case['state']}"
        for column in ("start_s", "first_token_s", "completion_s"):
            assert found[column] == times(getattr(run.times, column)), (column, what)
        summary = run.summary()
        for key, number in zip(SUMMARY_KEYS, found["numbers"], strict=True):
            if key == "stability":
                assert summary_of.LABELS[int(number)] == summary[key], what
            else:
                close = pytest.approx(summary[key], rel=1e-12, abs=1e-300, nan_ok=True)
                assert (math.nan if number is None else number) == close, (key, what)


@pytest.mark.parametrize("workload", ["synthetic", "burstgpt_like", "azure_like"])
def test_its_draws_are_the_librarys(tab, workload):
    states = [
        {"workload": workload, "requests": 20_000, "seed": seed, "predictor": predictor}
        for seed, predictor in [(0, "original"), (42, "oracle"), (80, "noise_0.5")]
    ]
    for state, found in zip(states, tab.evaluate(DRAWN, states), strict=True):
        table = drawn(workload, 20_000, state["seed"])
        np.testing.assert_allclose(found["arrival_s"], table.arrival_s, rtol=1e-12)
        assert found["prompt"] == table.prompt_tokens.tolist() and found["output"] == table.output_tokens.tolist()
        made = {"oracle": predictors.Oracle(), "noise_0.5": predictors.MultiplicativeNoise(0.5)}.get(state["predictor"])
        if made is not None:
            table = predictors.predict(table, made, family="explorer", replication=state["seed"])
        assert found["predicted"] == table.predicted_output_tokens.tolist()


def near(value):
    """The same, but for what sums in another order may differ by."""
    return value if value is None or isinstance(value, str) else pytest.approx(value, rel=1e-9, abs=1e-12)


MOVES = [
    {},
    {"workload": "burstgpt_like", "d_sla": 0.5, "load": 2.0, "gpus": 3, "latency": "h100-vllm-llama3-8b"},
    {"execution": "continuous", "load": 3.0, "k_bins": 7, "bin_select": "oldest_head", "predictor": "noise_1"},
    {"d_sla": 0.3, "k_bins": 16, "latency": "0.01,0.0003,0.2", "predictor": "oracle", "seed": 7},
    {"workload": "azure_like", "execution": "continuous", "edges": "60,200", "max_seqs": 16, "token_budget": 512},
]


@pytest.mark.parametrize("moves", MOVES, ids=lambda moves: ", ".join(moves) or "start")
def test_its_views_are_those_of_jupyter(tab, moves):
    position = Position(requests=2000, schedulers=tuple(contents.start()["schedulers"])).moved(moves)
    expected = views.view(position)
    for part in filter(None, views.following(position)):
        expected |= part
    state = {name: list(value) if isinstance(value, tuple) else value for name, value in position.settings().items()}
    found = tab.evaluate(ANSWERED, state)
    for mine, theirs in zip(found["runs"], expected["runs"], strict=True):
        for key, value in theirs["summary"].items():
            assert mine["summary"][key] == near(value), key
        assert mine["first"] == theirs["first"] and mine["counts"] == theirs["counts"].tolist()
        for kind in ("series", "blocks"):
            assert mine[kind].keys() == theirs[kind].keys()
            for name, column in theirs[kind].items():
                assert mine[kind][name] == near(column.tolist()), (kind, name)
    assert found["window_s"] == pytest.approx(expected["window_s"])
    for name, interval in expected["intervals"].items():
        for key, value in interval.items():
            assert found["intervals"][name][key] == near(value)
    for mine, theirs in zip(found["differences"], expected["differences"], strict=True):
        assert (mine["a"], mine["b"]) == (theirs["a"], theirs["b"])
        for part in ("mean", "low", "high"):
            assert mine[part] == near(theirs[part])
    curves = [name for name in ("curve", "load_curve", "k_curve") if name in expected]
    assert found.keys() == expected.keys() and ("k_curve" in found) == (not position.edges)
    for mine, theirs in (
        (mine, theirs) for name in curves for mine, theirs in zip(found[name], expected[name], strict=True)
    ):
        for part in ("x", "share", "low", "high"):
            assert mine[part] == [near(value) for value in theirs[part]]
    assert found["notes"] == [note for note in expected["notes"] if "measured" not in note and "outside" not in note]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ({}, {"gpus": 3}),
        ({"d_sla": 0.5}, {"execution": "continuous", "d_sla": 0.5}),
        ({"load": 1.3}, {"load": 1.6}),
        ({"seed": 43}, {}),
        ({"seed": 80}, {"workload": "azure_like"}),
        ({}, {"d_sla": 1.01}),
    ],
)
def test_two_positions_are_compared_as_in_jupyter(tab, a, b):
    of_a, of_b = (Position(requests=300).moved(moves) for moves in (a, b))
    (expected,) = (part["against"] for part in views.following(of_b, kept=Kept(of_a)) if part and "against" in part)
    states = [{**position.settings(), "schedulers": list(position.schedulers)} for position in (of_b, of_a)]
    found = tab.evaluate(
        "(states) => [...simulated.following(...states)].find((part) => part?.against).against", states
    )
    for part in ("method", "replications", "conditional"):
        assert found[part] == expected[part]
    for mine, theirs in zip(found["differences"], expected["differences"], strict=True):
        assert mine == {name: near(value) for name, value in theirs.items()}


@pytest.mark.parametrize("moves", [{}, {"execution": "continuous", "edges": "40,90", "max_seqs": 12}])
def test_its_code_repeats_its_runs(tab, moves):
    state = (
        contents.start() | {"requests": 500, "workload": "azure_like", "predictor": "noise_0.25", "load": 1.5} | moves
    )
    state["schedulers"] = list(contents.POLICIES)
    view = tab.evaluate("(state) => simulated.view(state)", state)
    space: dict = {}
    exec(view["code"], space)
    for run in view["runs"]:
        share = space["summaries"][run["scheduler"]]["sla_violation_share"]
        assert run["summary"]["sla_violation_share"] == share


@pytest.mark.parametrize(
    ("moves", "problem"),
    [
        ({"latency": "no-such"}, "latency: 'no-such' (expected a preset, or alpha,beta,gamma in seconds)"),
        ({"latency": "0.01,-0.1,0"}, "latency: '0.01,-0.1,0' (expected alpha,beta,gamma in seconds, none below 0)"),
        ({"d_sla": 99}, "d_sla: 99 (expected a number from 0.05 to 5)"),
        ({"requests": 10**6}, "requests: 1000000 (expected a whole number from 100 to 20000)"),
        (
            {"edges": "3,2"},
            "edges: '3,2' (expected fewer than 32 numbers above 0 between commas, each above the one before)",
        ),
        ({"schedulers": []}, "schedulers: none (expected at least one)"),
        ({"workload": "own"}, "workload: own requests, of which there are none (drop a file on the page first)"),
        ({"execution": "both"}, "execution: 'both' (expected one of run_to_completion, continuous)"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_a_sentence(tab, moves, problem):
    said = tab.evaluate(
        "(state) => { try { simulated.view(state); } catch (problem) { return problem.message; } }",
        contents.start() | {"schedulers": ["static_fifo"]} | moves,
    )
    assert said == problem
