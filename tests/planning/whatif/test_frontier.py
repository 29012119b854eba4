"""The frontier by hand where one objective binds, in order where it must be, and in keeping with the plan."""

from __future__ import annotations

import numpy as np
import pytest

from simlib import InputError, RequestTable, StepLaw, datasets
from simlib.planning import demand, fleet
from simlib.planning.planner import RESERVE, Planner
from simlib.planning.trials import LOADS
from simlib.planning.whatif.frontier import best, document, frontier, ways_of
from simlib.requests import traces
from simlib.requests.lengths import Fixed, LogNormal

PLACES = StepLaw(0.01, 0.001)  # a step of n sequences takes 10 + n ms
MOST = LOADS[1] / (1 + RESERVE)


def planner(sla: str, law: StepLaw = PLACES, prompt: int = 8, output: int = 101, **settings) -> Planner:
    """Requests that come nearly at even distance, 5 a second."""
    asked = demand.described(5.0, Fixed(prompt), Fixed(output), gap_cv=0.05, requests=600)
    return Planner(asked, [fleet.engine(law, kv_tokens=100_000)], sla, **settings)


def cells(ours: Planner, max_seqs, token_budgets, **settings):
    chosen = ours.configurations(1)[0]
    own = type(chosen)(chosen.engine, 1, max_seqs[0], token_budgets[0])
    return frontier(ours, own, max_seqs, token_budgets, **settings)


def test_where_only_the_wait_binds_more_places_bear_more_until_the_steps_eat_it():
    table = cells(planner("ttft_p99<=0.5"), (8, 16, 32, 64), (512,))
    served = [n / (101 * (0.01 + 0.001 * n)) for n in (8, 16, 32, 64)]  # requests a second, all places taken
    assert table["load"].to_numpy() == pytest.approx(np.array(served) / 5.0 / (1 + RESERVE), rel=0.04)
    assert set(table["limit"]) == {"ttft_p99"}
    assert table["holds"].tolist() == [False, False, True, True]
    assert table["lost_share"].iloc[-1] == 0 and (table["more_seqs_share"].iloc[:-1] > 0).all()


def test_where_only_the_pace_binds_a_cap_below_the_limit_bears_anything():
    table = cells(planner("tpot_p99<=0.0305"), (8, 16, 32, 64), (512,))  # 20 sequences at once are in time
    assert table["load"].iloc[:2].to_numpy() == pytest.approx(MOST)
    assert table["sought"].tolist() == [False, False, True, True]
    assert table["limit"].iloc[:2].isna().all() and set(table["limit"].iloc[2:]) == {"tpot_p99"}
    at_20 = 20 / (101 * 0.030)  # what comes while 20 are at work, by Little's law
    assert table["load"].iloc[2:].to_numpy() == pytest.approx(at_20 / 5.0 / (1 + RESERVE), rel=0.05)


def test_a_budget_too_small_for_a_prompt_in_time_never_holds():
    law = StepLaw(0.01, 0.0, 0.00002)
    table = cells(planner("ttft_p99<=0.06", law, prompt=512, output=11), (16,), (64, 512))
    alone = [8 * (0.01 + 64 * 0.00002), 0.01 + 512 * 0.00002]  # seconds to the first token: 0.090 and 0.020
    assert alone[0] > 0.06 > alone[1]
    assert table["holds"].tolist() == [False, True]
    assert table["load"].iloc[0] == pytest.approx(LOADS[0] / (1 + RESERVE)) and not table["sought"].iloc[0]
    assert table["more_tokens_share"].iloc[0] > 1 and np.isnan(table["more_tokens_share"].iloc[1])


@pytest.fixture(scope="module")
def chat() -> Planner:
    asked = demand.described(20.0, LogNormal(400, 0.7, 1, 3000), LogNormal(120, 0.7, 1, 2000), requests=800)
    engine = fleet.engine(StepLaw(0.008, 0.0002, 0.00004, 5e-8), kv_tokens=40_000)
    grid = {"max_gpus": 3, "max_seqs": (8, 16, 32), "token_budgets": (512, 2048), "k_bins": (1, 4)}
    return Planner(asked, [engine], "ttft_p99<=1.5,tpot_p99<=0.05", **grid)


def test_the_plan_is_the_best_of_the_frontier_and_is_promised_the_same(chat):
    plan = chat.plan()
    table = frontier(chat, plan.nearest, chat.max_seqs, chat.token_budgets, ways_of(chat, plan.nearest))
    assert len(table) == len(chat.configurations(plan.nearest.gpus))
    names = ["k_bins", "token_budget", "max_seqs"]
    own = table.set_index(names).loc[tuple(getattr(plan.nearest, name) for name in names)]
    assert own["load"] == pytest.approx(plan.allowed.load, rel=0.01)
    assert own["holds"] and own["load"] >= 0.97 * best(table)["load"]
    assert document(table, chat, plan.nearest)["best"]["load"] == table["load"].max()


def test_where_hardly_anything_waits_the_plan_is_still_what_may_be_given_most():
    quiet = traces.read(datasets.sample(), rate_factor=120.0).requests.rows(slice(0, 191))  # six requests a window
    grid = {"max_seqs": (16, 32, 64), "token_budgets": (512, 2048), "k_bins": (1, 4)}
    asked, engines = demand.of_table(quiet, window_s=5.0), fleet.engines(["h100-vllm-llama3-8b"])
    ours = Planner(asked, engines, "ttft_p99<=1,tpot_p99<=0.05", **grid)
    chosen = ours.plan().nearest
    found = frontier(ours, chosen, grid["max_seqs"], grid["token_budgets"], ways_of(ours, chosen))
    assert chosen.max_seqs == best(found)["max_seqs"] == 64


def test_looser_limits_lose_no_cell(chat):
    chosen = chat.configurations(1)[0]
    loose = Planner(chat.demand, chat.engines, "ttft_p99<=3,tpot_p99<=0.1")
    tight, wide = (frontier(each, chosen, (8, 32), (512,))["load"] for each in (chat, loose))
    assert (wide >= tight - 0.01).all() and wide.max() > tight.max()


def test_of_a_record_each_cell_is_what_its_windows_allow():
    rng = np.random.default_rng(3)
    arrival_s = np.sort(rng.uniform(0, 600, 3000))
    table = RequestTable(arrival_s, rng.integers(100, 900, 3000), rng.integers(20, 200, 3000))
    ours = Planner(
        demand.of_table(table, window_s=60.0), [fleet.engine(PLACES, kv_tokens=100_000)], "ttft_p99<=1", k_bins=(1,)
    )
    chosen = ours.configurations(3)[0]
    found = frontier(ours, chosen, (16, 64), (512,))
    for row in found.itertuples():
        one = type(chosen)(chosen.engine, 3, row.max_seqs, row.token_budget)
        assert row.load == pytest.approx(ours.allowed(one, [ours.seed]).load, rel=0.03)


def test_sequences_beyond_what_was_measured_are_told_and_never_best():
    asked = demand.described(8.0, LogNormal(500, 0.8, high=6000), LogNormal(180, 0.7, high=4000), requests=500)
    ours = Planner(asked, fleet.engines(["h100-vllm-llama3-8b"]), "ttft_p99<=1")  # measured up to 64
    table = frontier(ours, ours.configurations(1)[0], (32, 64, 256), (2048,))
    assert set(table.loc[~table["measured"], "max_seqs"]) == {256}
    assert best(table)["max_seqs"] == 64 and table["lost_share"].min() < 0


def test_more_sequences_than_tokens_are_no_pair():
    ours = planner("ttft_p99<=1")
    with pytest.raises(InputError, match="expected 16 or more"):
        cells(ours, (16,), (8,))
