"""What is deployed: orders, prefix caches and routers where the demand makes them possible, and win; all by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from simlib import InputError, RequestTable, StepLaw
from simlib.cli import main
from simlib.planning import demand, fleet, report
from simlib.planning.deployed import promise
from simlib.planning.deployed.flags import Replicas
from simlib.planning.plan import Configuration
from simlib.planning.planner import SHAPES, Planner
from simlib.planning.whatif.frontier import WAY, frontier, of_way, ways_of
from simlib.requests.lengths import Fixed

CLASSES = "priority=0: ttft_p99<=3.2; priority=1: ttft_p99<=9"
STEP, PROMPT = StepLaw(0.1), StepLaw(0.0, 0.0, 0.001)  # a request of one token: 0.1 s, or 1 s for 1,000 tokens


def planner(table: RequestTable, law: StepLaw, sla: str, kv_tokens: int = 100_000, **settings) -> Planner:
    small = {"max_gpus": 3, "max_seqs": (1,), "token_budgets": (2048,), "k_bins": (1,)} | settings
    return Planner(demand.of_table(table, window_s=20), [fleet.engine(law, kv_tokens=kv_tokens)], sla, **small)


def bursts(cycles: int = 24) -> RequestTable:
    """Every 10 s 50 requests at once, which take 5 s of a GPU; and behind the first, then every 2 s, an urgent one."""
    at = 10.0 * np.arange(cycles)[:, None]
    bulk, urgent = np.repeat(at, 50, 1).ravel(), (at + 0.01 + 2.0 * np.arange(5)).ravel()
    arrival_s, priority = np.concatenate([bulk, urgent]), np.repeat([1, 0], [len(bulk), len(urgent)])
    order, ones = np.argsort(arrival_s, kind="stable"), np.ones(len(arrival_s), int)
    labels = {"client": np.where(priority == 0, "chat", "bulk")[order]}
    return RequestTable(arrival_s[order], 10 * ones, ones, priority=priority[order], labels=labels)


def sharing(groups, gap_s: float) -> RequestTable:
    """Prompts of 1,000 tokens of which those of a group share 960."""
    ones = np.ones(len(groups), int)
    shared = {"prefix_group": np.asarray(groups), "prefix_tokens": 960 * ones}
    return RequestTable(gap_s * np.arange(len(groups)), 1000 * ones, ones, **shared)


def test_only_priorities_meet_the_objectives_of_both_classes_with_one_gpu():
    best = planner(bursts(), STEP, CLASSES).plan()  # the urgent one waits for one step, or for the burst: 5 s
    assert (best.best.gpus, best.best.order) == (1, "priority")
    assert best.gpus_by_order == {"first come, first served": 2, "the most urgent first": 1}
    assert best.values_s["priority=0: ttft_p99"].middle < 0.3
    plain = planner(bursts(), STEP, CLASSES, orders=("fcfs",)).plan()
    assert (plain.best.gpus, plain.best.order) == (2, "fcfs")  # 2.5 s are within its limit
    chat = planner(bursts(), STEP, "client=chat: ttft_p99<=3.2; ttft_p99<=9").plan()
    assert (chat.best, chat.allowed.load) == (best.best, best.allowed.load)


def test_the_report_and_the_document_say_whose_objective_it_is_and_who_is_next():
    plan = planner(bursts(), STEP, CLASSES).plan()
    told, document = dict(report.rows(plan)), report.document(plan)
    assert f"the most urgent first: it meets {CLASSES} in 95 of 100" in report.answer(plan)
    assert told["Replicas"] == "1, on 1 GPU"
    assert "limit 3.2 s" in told["priority=0: ttft_p99"] and "most urgent first" in told["Order"]
    assert document["configuration"]["order"] == "priority" and not document["configuration"]["prefix_caching"]
    assert [each["class"] for each in document["objectives"]] == ["priority=0", "priority=1"]


def test_a_window_without_the_urgent_does_not_move_what_is_said_of_them():
    table = bursts()
    quiet = (table.priority == 0) & (table.arrival_s % 40 < 20)  # every other window has none
    plan = planner(table.rows(~quiet), STEP, CLASSES).plan()
    low, middle, high = plan.values_s["priority=0: ttft_p99"]  # 0.19 s in each of the others
    assert middle == pytest.approx(0.19, rel=0.1) and middle / low < 3 > high / middle


def test_a_prefix_cache_halves_the_gpus():
    table = sharing(np.zeros(200, int), 0.75)  # 1 s of prompts, or 0.04 s
    cached, plain = (planner(table, PROMPT, "ttft_p95<=2", **off).plan() for off in ({}, {"prefix_cache": False}))
    assert (cached.best.gpus, cached.best.prefix_cache) == (1, True)
    assert (plain.best.gpus, plain.best.prefix_cache) == (2, False)
    assert "nothing is found in the prefix cache" in {risk.what: risk for risk in cached.risks if risk.strain > 1}


def test_the_router_that_knows_prefixes_is_chosen_where_a_cache_holds_one_of_two():
    """One GPU finds half of every second prefix: it would need 2.5 s a second, and two that share at random as much."""
    groups = np.append([0, 1], np.random.default_rng(3).integers(0, 2, 1000))
    plan = planner(sharing(groups, 0.12), PROMPT, "ttft_p95<=0.5", kv_tokens=1500).plan()
    assert (plan.best.gpus, plan.best.routing) == (2, "prefix")
    told = dict(report.rows(plan))
    assert "whose cache holds most of its prompt" in told["Routing"]
    assert told["Replicas"] == "2, each on 1 GPU: 2 GPUs in all"
    document = report.document(plan)
    assert document["configuration"]["routing"] == "prefix"
    assert promise.of(document).setup.continuous().routing == "least_tokens"  # the tokens that it finds are known
    blind = planner(sharing(groups, 0.12), PROMPT, "ttft_p95<=0.5", kv_tokens=1500, routing=("least_tokens",)).plan()
    assert blind.best is None


def test_what_the_cache_finds_is_held_against_a_deployment_and_so_are_classes():
    document = report.document(planner(sharing(np.zeros(200, int), 0.75), PROMPT, "ttft_p95<=2").plan())
    promised = promise.of(json.loads(json.dumps(document)))
    assert promised.assumed["cached_share"].mean == pytest.approx(0.96, abs=0.03)
    assert promised.setup.prefix_cache
    table = bursts()
    plan = promise.of(json.loads(json.dumps(report.document(planner(table, STEP, CLASSES).plan()))))
    assert [one.name for one in plan.objectives] == ["priority=0: ttft_p99", "priority=1: ttft_p99"]
    assert plan.assumed["priority=0"].mean == pytest.approx((table.priority == 0).mean(), rel=0.01)
    assert plan.setup.order == "priority" and set(plan.typical.priority) == {0, 1}
    others = planner(table, STEP, "client=chat: ttft_p99<=3.2; ttft_p99<=9").plan()
    plan = promise.of(json.loads(json.dumps(report.document(others))))
    assert [one.name for one in plan.objectives] == ["client=chat: ttft_p99", "client not chat: ttft_p99"]
    assert ((plan.typical.labels["client"] == "chat") == (plan.typical.priority == 0)).all()


def test_how_a_fleet_forms_its_batches_is_asked_in_its_own_order():
    ours = planner(bursts(12), STEP, CLASSES)
    best = ours.plan().best
    found = frontier(ours, best, (1, 2), (2048,), ways_of(ours, best))
    assert found["order"].tolist() == ["priority"] * 2 + ["fcfs"] * 2
    assert found["holds"].tolist() == [True, True, False, True]  # it waits for the burst: 5 s, or 2.5 s two by two
    assert (found["other_way_share"].iloc[:2] == 0).all() and (found["other_way_share"].iloc[2:] < 0).all()
    assert set(of_way(found)["order"]) == set(of_way(found, best)["order"]) == {"priority"}
    assert set(found["limit"].dropna()) <= {"priority=0: ttft_p99", "priority=1: ttft_p99"}


def test_ways_are_those_that_change_one_thing():
    def kinds(ours, gpus):
        fleet = ours.configurations(gpus)[-1]
        return {tuple(getattr(way, name) for name in WAY) for way in ways_of(ours, fleet)}

    shared = planner(sharing(np.zeros(60, int), 2.0), PROMPT, "ttft_p95<=2")
    assert kinds(shared, 1) == {("fcfs", 1, True, "least_tokens"), ("fcfs", 1, False, "least_tokens")}
    assert kinds(shared, 2) == {("fcfs", 1, on, rule) for on, rule in
                                ((True, "prefix"), (True, "least_tokens"), (False, "least_tokens"))}  # fmt: skip
    urgent = planner(bursts(), STEP, CLASSES, k_bins=(1, 4))
    assert kinds(urgent, 1) == {(*way, False, "least_tokens") for way in (("priority", 1), ("fcfs", 1), ("fcfs", 4))}


def test_what_a_prefix_cache_bears_more_is_what_it_saves():
    ours = planner(sharing(np.zeros(200, int), 0.75), PROMPT, "ttft_p95<=2")  # 1 s of prompts, or 0.04 s
    best = ours.plan().best
    off = frontier(ours, best, (1,), (2048,), ways_of(ours, best)).set_index("prefix_cache").loc[False]
    assert not off["holds"] and off["other_way_share"] < -0.5


def test_an_engine_is_told_of_orders_caches_and_routers():
    engine = fleet.engine(STEP, kv_tokens=1000)
    one = Replicas.of(Configuration(engine, 2, 8, 64, order="priority", prefix_cache=True, routing="prefix"))
    assert "--enable-prefix-caching --scheduling-policy priority" in str(one.vllm)
    assert any("planned prefix" in each for each in one.vllm.unlike)


def test_the_space_is_what_the_demand_makes_possible():
    def kinds(table, gpus, **settings):
        found = planner(table, STEP, "ttft_p99<=9", k_bins=(1, 4), **settings).configurations(gpus)
        return {(each.order, each.k_bins, each.prefix_cache, each.routing) for each in found}

    plain = {("fcfs", 1, False, "least_tokens"), ("fcfs", 4, False, "least_tokens")}
    assert kinds(bursts(), 2) == plain | {("priority", 1, False, "least_tokens")}
    assert kinds(bursts(), 2, orders=("fcfs",)) == plain
    assert kinds(bursts(), 2, orders=["priority"]) == {("priority", 1, False, "least_tokens")}
    same = sharing(np.zeros(60, int), 2.0)
    assert kinds(same, 1) == {("fcfs", bins, True, "least_tokens") for bins in (1, 4)}
    assert kinds(same, 2) == {("fcfs", bins, True, rule) for bins in (1, 4) for rule in ("least_tokens", "prefix")}
    assert kinds(same, 2, prefix_cache=False) == plain
    described = Planner(
        demand.described(1.0, Fixed(10), Fixed(1), requests=100), [fleet.engine(STEP, kv_tokens=1000)], "ttft_p99<=1"
    )
    assert (described.orders, described.routing, described.prefix_cache) == (("fcfs",), ("least_tokens",), False)


def test_orders_are_tried_with_the_best_limits_alone():
    ours = planner(bursts(), STEP, CLASSES, max_seqs=(1, 2, 4, 8), token_budgets=(16, 64, 2048))
    screened = ours.screened(1)
    assert sum(each.order == "fcfs" for each in screened) == 12
    assert sum(each.order == "priority" for each in screened) == SHAPES


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"orders": ("priority",)}, "orders: 'priority' .expected 'fcfs' alone: .*several priorities"),
        ({"orders": ("sjf",)}, "orders: 'sjf'"),
        ({"orders": ()}, "orders: none"),
        ({"prefix_cache": True}, "prefix_cache: True .expected False: nothing says"),
        ({"prefix_cache": "on"}, "prefix_cache: 'on'"),
        ({"routing": ("prefix",)}, "routing: 'prefix' .expected 'least_tokens' alone: no prefix is cached"),
    ],
)
def test_what_the_demand_does_not_make_possible_is_refused(settings, told):
    ones = np.ones(100, int)
    table = RequestTable(np.arange(100.0), ones, ones, priority=3 * ones)
    with pytest.raises(InputError, match=told):
        planner(table, STEP, "ttft_p99<=1", **settings)


def test_a_class_that_no_request_is_of_is_refused_before_anything_runs():
    with pytest.raises(InputError, match="no request has priority=2"):
        planner(bursts(3), STEP, "priority=2: ttft_p99<=1; ttft_p99<=9")
    clients = demand.of_clients(demand.of_lengths(bursts(3), 100), 5)  # whose clients are the loop's own
    with pytest.raises(InputError, match="no request has client=chat"):
        Planner(clients, [fleet.engine(STEP, kv_tokens=1000)], "client=chat: ttft_p99<=1; ttft_p99<=9")


def test_in_a_terminal(tmp_path, capsys):
    table, document = tmp_path / "table.csv", tmp_path / "plan.json"
    bursts(12).frame().to_csv(table, index=False)
    law = ["--steps", "0.1,0,0,0", "--kv-tokens", "100000", "--window", "20s"]
    small = ["--max-num-seqs", "1", "--token-budgets", "2048", "--k-bins", "1", "--json", str(document)]
    plan = ["plan", "--trace", str(table), *law, *small, "--sla"]
    chat = "client=chat: ttft_p99<=3200ms; ttft_p99<=9"
    for more, order, replicas in (([], "priority", 1), (["--orders", "fcfs"], "fcfs", 2)):
        assert main([*plan, chat, *more]) == 0
        found = json.loads(document.read_text())["configuration"]
        assert (found["order"], found["replicas"]) == (order, replicas)
    for words, told in (
        (["priority=2: ttft_p99<=1; ttft_p99<=9"], "sla: no request has priority=2"),
        ([chat, "--prefix-cache", "on"], "--prefix-cache: on (expected off: nothing says"),
        ([chat, "--prefix-cache", "maybe"], "--prefix-cache: 'maybe'"),
        ([chat, "--routing", "prefix"], "--routing: 'prefix' (expected 'least_tokens' alone"),
        ([chat, "--orders", "priorty"], "--orders: 'priorty'"),
    ):
        capsys.readouterr()
        assert main([*plan, *words]) == 2
        (sentence,) = [line for line in capsys.readouterr().err.splitlines() if "expected" in line]
        assert told in sentence
