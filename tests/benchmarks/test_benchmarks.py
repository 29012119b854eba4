"""The benchmarks time what they say: rivals do the same work, in turn, and the committed tables are of this shape."""

import shutil

import numpy as np
import pandas as pd
import pytest

import simlib
from benchmarks import continuous, laws, peers, speed, timing
from simlib import datasets
from simlib.continuous import columns as at
from simlib.continuous import serve

COMPILER = shutil.which("cc") or shutil.which("gcc")


def test_rivals_run_in_turn_and_are_compared_by_round():
    calls = []
    ways = {name: (10, lambda name=name: calls.append(name)) for name in ("a", "b")}
    table = timing.compare("nothing", ways, {"b": "a"}, rounds=3)
    assert calls == ["a", "b"] * 4  # the first round warms up
    assert tuple(table.columns) == timing.COLUMNS
    assert table["ratio_to"].tolist() == ["", "a"]
    assert np.isnan(table["ratio"][0]) and table["ratio"][1] > 0


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler (cc or gcc)")
@pytest.mark.parametrize(("name", "batch_size"), [("static_fifo", 8), ("dynamic_no_bins", 0)])
@pytest.mark.parametrize("rate_rps", [20.0, 145.0, 600.0])
def test_the_loop_in_c_leaves_the_same_batches_to_the_last_bit(name, batch_size, rate_rps):
    table, policy = speed.table_of(3000, rate_rps), speed.POLICIES[name]
    ours = speed.serving(policy, table)()
    plan = speed.POLICIES["dynamic_no_bins"].plan(table, speed.GPUS)
    other = peers.Reference().serve(table, speed.GPUS, speed.MODEL, plan, batch_size, 1.0)
    for column in ("start_s", "service_s", "size", "gpu", "max_prompt_tokens", "sum_prompt_tokens", "batch_of"):
        assert getattr(ours, column).tobytes() == getattr(other, column).tobytes(), column
    if batch_size == 0:
        assert ours.notes.tobytes() == other.notes.tobytes()


@pytest.fixture(scope="module")
def in_c():
    if COMPILER is None:
        pytest.skip("needs a C compiler (cc or gcc)")
    return peers.StepReference()


@pytest.mark.parametrize("seed", range(8))
def test_the_step_loop_in_c_leaves_the_same_run_to_the_last_bit(seed, in_c):
    rng, rows = np.random.default_rng(seed), 150
    prompts, outputs = rng.integers(0, 120, rows), rng.integers(0, 80, rows)
    arrival_s = np.cumsum(rng.exponential(0.05 if seed % 2 else 0.005, rows) * (rng.random(rows) < 0.8))
    table = simlib.RequestTable(arrival_s, prompts, outputs)
    engine = simlib.Continuous(
        max_seqs=(4, 40)[seed // 2 % 2],
        kv_tokens=(256, 1024)[seed // 4],
        block_tokens=(1, 16)[seed % 2],
        token_budget=(64, 2048)[seed % 2],
        watermark=0.05 * (seed % 3),
        whole_prompt=seed % 3 > 0,
    )
    law = simlib.StepLaw(0.0078, 0.0001, 73e-6, 58e-7)
    ours, (other, totals) = (
        serve.serve(table, law, engine, 1, "interpreted"),
        in_c.serve(table, law, engine),
    )
    for column, theirs in other.items():
        assert getattr(ours, column).tobytes() == theirs.tobytes(), column
    numbers = dict(zip(at.NUMBERS, ours.numbers[0], strict=True))
    for name in ("steps", "sum_decodes", "sum_prefill", "sum_context", "preemptions", "recomputed", "peak"):
        assert numbers[name] == getattr(totals, name), name
    assert totals.preemptions > 0 or seed >= 4
    assert ours.totals_s[0, at.BUSY] == totals.busy_s


def test_serving_twice_serves_the_same():
    once_more = speed.serving(speed.POLICIES["multi_bin_dynamic"], speed.table_of(500))
    first, second = once_more(), once_more()
    assert first.start_s.tobytes() == second.start_s.tobytes()


def test_the_heap_simulations_end_when_ours_do():
    table = speed.table_of(2000)
    run = simlib.simulate(table, speed.POLICIES["static_fifo"], speed.MODEL, 4)
    assert peers.heap_static(table, 4, speed.MODEL, 8) == run.times.completion_s.max()
    for deadline_s in (0.05, 0.12, 1.0):  # too slow, within tolerance, fast enough
        run = simlib.simulate(table, simlib.MultiBinDynamic(4, deadline_s), speed.MODEL, 4)
        assert peers.heap_multi_bin(table, 4, speed.MODEL, run.edges, deadline_s) == run.times.completion_s.max()


def test_the_users_policy_of_the_benchmark_is_the_built_in_one():
    table = speed.table_of(500)
    one, other = (simlib.simulate(table, policy, gpus=4) for policy in (speed.CUSTOM, simlib.StaticFIFO(8)))
    assert one.times.completion_s.tobytes() == other.times.completion_s.tobytes()


def test_the_exponent_of_linear_growth_is_one():
    table = pd.DataFrame({"engine": "x", "requests": [10, 100, 1000], "ns_per_request": [7.0, 7.0, 7.0]})
    assert speed.exponents(table) == pytest.approx({"x": 1.0})


@pytest.mark.parametrize("suite", ["benchmarks", "benchmarks_continuous"])
def test_the_committed_tables_say_which_goals_are_met(suite):
    measured, goals = (pd.read_csv(datasets.committed(name)) for name in (suite, f"{suite}_goals"))
    assert tuple(measured.columns) == timing.COLUMNS
    assert ((goals["measured"] <= goals["limit"]) == goals["at_most"]).equals(goals["met"])
    cases = {"event loop", "whole pipeline", "growth", "fresh process"}
    if suite == "benchmarks_continuous":
        cases = {f"continuous, {name}{way}" for name in continuous.REGIMES for way in ("", ", in C")}
        cases |= {"continuous against SimPy"}
    assert cases <= set(measured["case"])


@pytest.mark.parametrize("name", continuous.REGIMES)
def test_the_rivals_of_the_step_loop_end_when_it_does(name):
    ways = continuous.rivals(name, continuous.plain_continuous.token_by_token, 15)
    first, *others = (call() for call in ways.values())
    assert len(others) == 2 and len(first) == 15 and np.isfinite(first).all()
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-9)


def test_the_small_cache_of_the_benchmark_preempts():
    table = continuous.table_of(2000, 14.0)
    served = serve.serve(table, continuous.LAW, continuous.FULL)
    assert served.numbers[:, at.PREEMPTIONS].sum() > 500


@pytest.mark.filterwarnings("ignore:latency")
def test_every_law_of_the_benchmark_serves_as_many_batches_compiled():
    table = speed.table_of(300).at_rate(1e9)
    for name, model in laws.models().items():
        run = simlib.simulate(table, simlib.StaticFIFO(1), model, 4, backend="compiled")
        assert run.backend == "compiled" and len(run.served.size) == 300, name
        assert np.isfinite(run.times.first_token_s).all(), name


def test_the_committed_ratios_of_laws_are_of_the_laws_that_there_are():
    measured, goals = (pd.read_csv(datasets.committed(name)) for name in ("benchmarks_laws", "benchmarks_laws_goals"))
    assert measured["engine"].tolist() == list(laws.models())
    assert goals["measured"].tolist() == pytest.approx(measured["ratio"].dropna().tolist())
    assert ((goals["measured"] <= goals["limit"]) == goals["at_most"]).equals(goals["met"])


def test_peers_serve_every_request():
    table = simlib.RequestTable(np.cumsum(np.full(200, 0.1)), np.ones(200), np.ones(200))
    assert peers.ciw_queue(200, 3.2, 1.0, 4) == 200
    assert peers.simpy_queue(200, 3.2, 1.0, 4) > 0.5 * 200 / 3.2
    assert peers.heap_static(table, 1, simlib.Affine(0.01, 0, 0), 1) == pytest.approx(20.0 + 0.01)
