"""What plans cost against the best that they could have been, and how it is told."""

from __future__ import annotations

import pytest

import simlib
from book.chapters.planning import figures, study, tables
from simlib import InputError, StepLaw
from simlib.planning import demand, fleet
from simlib.planning.planner import Planner
from simlib.planning.whatif.frontier import frontier
from simlib.requests.lengths import LogNormal


def test_a_plan_loses_little_and_never_gains_on_the_best_of_its_size():
    asked = demand.described(20.0, LogNormal(400, 0.7, 1, 3000), LogNormal(120, 0.7, 1, 2000), requests=800)
    engine = fleet.engine(StepLaw(0.008, 0.0002, 0.00004, 5e-8), kv_tokens=40_000)
    grid = {"max_gpus": 3, "max_seqs": (8, 32), "token_budgets": (512,), "k_bins": (1, 4)}
    planner = Planner(asked, [engine], "ttft_p99<=1.5", **grid)
    table = study.regret({"chat": (planner, asked)}, draws=4)
    row = table.iloc[0]
    assert (row["configurations"], row["draws"]) == (4, 4)
    assert 0 <= row["lost_share"] <= 0.05
    assert row["chosen_load"] <= row["best_load"]
    assert "chat" in tables.show_regret(table).to_html()
    plan = planner.plan()
    told = tables.table_of(plan)
    assert list(told["quantity"]) == ["ttft_p99", "load"]
    shown = tables.show(plan).to_html()
    assert "max-num-seqs" in shown and "time to the first token, 99th percentile" in shown and "ttft" not in shown
    curve = plan.curve()
    shares = curve.groupby("load")["share_of_limit"].median()
    assert (shares.diff().iloc[1:] > -0.05).all() and shares[1.0] < 1 < shares.iloc[-1]
    drawn = [text.get_text() for text in figures.by_load(curve).axes[0].texts]
    assert drawn == ["time to the first token, 99th percentile", "limit", "the demand"]
    assert [tables.objective(name) for name in ("tpot_mean", "latency_p90")] == [
        "time between tokens, mean",
        "latency, 90th percentile",
    ]
    assert tables.objective("Headroom") == "Headroom"
    batches = frontier(planner, plan.nearest, (8, 32), (512,))
    steps = tables.show_steps(batches, plan.nearest).to_html()
    assert "8 sequences" in steps and "512 tokens a step" in steps and "+" in steps
    picture = figures.by_batches(batches, plan.nearest)
    said = {text.get_text() for text in picture.axes[0].texts}
    assert {f"{load:.2f}" for load in batches["load"]} <= said and "wait" in said
    with pytest.raises(InputError, match="draws"):
        study.regret({"chat": (planner, asked)}, draws=1)


def test_halves_share_no_request_and_are_served_as_they_were():
    table = simlib.workload.original(400, seed=3, rate_rps=5.0)
    first, second = study.halves(table, "mine", 10.0)
    assert first.name == "first half of mine" and len(first.windows) >= 2
    for half, given in ((first, slice(0, 200)), (second, slice(200, None))):
        assert half.draw(1).prompt_tokens.tolist() == table.prompt_tokens[given].tolist()
    with pytest.raises(InputError, match="first half of mine: 19"):
        study.halves(table.head(39), "mine", 10.0)
