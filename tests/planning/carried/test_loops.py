"""Closed loops: how many clients are borne against the closed form, a duration, and plans in terms of clients."""

import math
from functools import partial

import numpy as np
import pytest

import simlib
from simlib.checks import InputError
from simlib.planning import demand, fleet
from simlib.planning.carried import capacity
from simlib.planning.carried.loops import ClientSearch, lasting, scored
from simlib.planning.plan import Case
from simlib.planning.planner import Planner
from simlib.requests import lengths
from simlib.requests.arrivals import Poisson
from simlib.requests.loops.closed import closed
from simlib.requests.loops.conversations import conversations
from simlib.requests.table import RequestTable

SERVICE_S, THINK_S, TOKEN_S = 0.1, 5.0, 1e-5


def single_server(requests, seed):
    """Nearly exponential service times; when they arrive the clients say."""
    rng = np.random.default_rng([62, seed])
    tokens = np.rint(rng.exponential(SERVICE_S / TOKEN_S, requests)).astype(int)
    return RequestTable(np.zeros(requests), np.zeros(requests, int), np.maximum(tokens, 1))


def late_share(clients: int, deadline_s: float) -> float:
    """Of M/M/1//N: who arrives sees the system as if she were not among its clients; each before her takes as long."""
    others = [1.0]
    for waiting in range(1, clients):
        others.append(others[-1] * (clients - waiting) * SERVICE_S / THINK_S)
    tail = np.cumsum([(deadline_s / SERVICE_S) ** n / math.factorial(n) for n in range(clients)])
    return float(math.exp(-deadline_s / SERVICE_S) * np.dot(others, tail) / sum(others))


def test_the_clients_that_a_single_server_bears_are_the_closed_forms():
    """Mean of 6 roots, seeds 0 to 5, on either side of the exact number by less than 5 standard errors and one."""
    search = ClientSearch(
        {"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", sla=1.0, late_share=0.1, requests=20_000,
        think=f"exponential:{THINK_S}s",
    )  # fmt: skip
    exact = max(clients for clients in range(1, 100) if late_share(clients, 1.0) <= 0.1)
    found = np.array([search(seed)["fifo"] for seed in range(6)])
    assert 40 < exact < 50 and abs(found.mean() - exact) < 5 * found.std(ddof=1) / math.sqrt(6) + 1


def search(**settings):
    good = {"policies": {"fifo": simlib.StaticFIFO(1)}, "draw": single_server, "latency": f"0,{TOKEN_S},0"}
    return ClientSearch(**(good | {"requests": 4000, "think": 5.0} | settings))


def test_what_cannot_be_answered_is_said():
    with pytest.raises(
        InputError, match=r"late_share: 0.05 .expected more, or a later deadline: fifo, 1 of the requests"
    ):
        search(sla=1e-5)(0)
    with pytest.raises(InputError, match=r"requests: 4000 .expected more: fifo bears 200 clients, of 20 requests each"):
        search(sla=600.0)(0)
    with pytest.raises(InputError, match=r"think_s: -1"):
        search(think=-1.0)


def test_a_study_of_clients_is_one_of_rates_with_another_unit():
    few = search(policies={"one": simlib.StaticFIFO(1), "two": simlib.StaticFIFO(2)}, late_share=0.1)
    found = capacity.study(few, 2, seed=1)
    assert found.table["capacity_rps"].tolist() == pytest.approx(found.roots.mean().tolist(), rel=0.03)
    assert len(found.ratios) == 1


def serve(think, requests):
    table = closed(4, requests, lengths.Uniform(1, 9), lengths.Uniform(1, 9), think, ramp_s=2.0)
    return simlib.simulate(table, "fcfs", simlib.StepLaw(0.1, 0, 0, 0), 1, simlib.Continuous(), backend="interpreted")


def test_a_run_lasts_as_long_as_is_asked_and_is_the_beginning_of_a_longer_one():
    run, window = lasting(partial(serve, 0.1), 30.0)
    assert (window.start_s, window.end_s, window.clients) == (1.5, 30.0, 4) and run.at_work.end_s >= 30.0
    longer = serve(0.1, 2 * len(run.table))
    assert longer.summary(within=window) == pytest.approx(
        run.summary(within=window)
        | {name: longer.summary()[name] for name in ("gpu_utilization", "batch_size_mean", "itl_p99_s")}
    )
    with pytest.raises(InputError, match=r"duration: 1 s .expected more: the last begins at 1.5 s"):
        lasting(partial(serve, 0.1), 1.0)


def test_behind_a_warm_up_those_count_that_are_answered_while_all_are_at_work():
    run = serve(1.0, 20)
    counts = scored(run)
    assert not counts[:8].any() and counts[8]
    assert (run.times.completion_s[counts] <= run.at_work.end_s).all() and counts.sum() > 40
    few = serve(9.0, 3)  # its first four of twelve are the clients' first
    assert not scored(few)[few.table.previous < 0].any() and scored(few).sum() >= 4


def test_a_plan_says_how_many_gpus_so_many_clients_need():
    """A client's tokens take 10 ms and more; the time of a token grows with who shares a GPU, until two are enough."""
    some = demand.described(1.0, lengths.Fixed(100), lengths.Uniform(20, 60), requests=1500)
    engine = fleet.engine(simlib.StepLaw(0.01, 0.002, 1e-5, 0.0), kv_tokens=100_000)
    settings = {"max_gpus": 3, "max_seqs": (64,), "token_budgets": (2048,), "k_bins": (1,), "price_per_gpu_hour": 2.0}
    plan = Planner(demand.of_clients(some, 30, think=0.0), [engine], "tpot_mean<=0.05", **settings).plan()
    one = Planner(demand.of_clients(some, 10, think=0.0), [engine], "tpot_mean<=0.05", **settings).plan()
    assert (plan.best.gpus, one.best.gpus) == (2, 1)
    assert plan.values_s["tpot_mean"].middle == pytest.approx(0.01 + 0.002 * 15, rel=0.1)
    assert 10 * one.allowed.middle == pytest.approx(20, abs=2)  # 0.01 + 0.002 x 20 = 0.05
    assert plan.cost_per_million_output_tokens == pytest.approx(1e6 * 2 * 2 / 3600 / (30 / 0.04), rel=0.15)


def test_more_clients_than_requests_are_few_for_are_refused():
    some = demand.described(1.0, lengths.Fixed(100), lengths.Fixed(9), requests=1000)
    with pytest.raises(InputError, match=r"requests: 1000 .expected at least 2000, 20 from each of the clients"):
        demand.of_clients(some, 100)
    with pytest.raises(InputError, match=r"clients: 0"):
        demand.of_clients(some, 0)


def test_clients_may_ask_what_a_file_has():
    table = RequestTable(np.zeros(30), np.arange(30), np.ones(30, int))
    asked = demand.of_clients(demand.of_lengths(table, 200), 10, think=1.0)
    drawn = asked.at(1, asked.draw(1), 1.0)
    assert len(drawn) == 200 and set(drawn.prompt_tokens) <= set(range(30))
    assert (np.diff(asked.draw(1).prompt_tokens) == 1).sum() >= 150  # blocks of neighbours
    again = asked.at(2, asked.draw(2), 1.0)
    assert not (drawn.prompt_tokens == again.prompt_tokens).all()


def test_replications_think_apart_and_other_numbers_of_clients_think_alike():
    asked = search(think="exponential:1s")
    one, two = asked.table(1), asked.table(2)
    thinks = [asked.run("fifo", table, clients).requests for table, clients in ((one, 2), (one, 3), (two, 2))]
    first = [frame[frame["client"] == 0]["think_s"].to_numpy()[1:9] for frame in thinks]
    assert (first[0] == first[1]).all() and not (first[0] == first[2]).any()
    plan = demand.of_clients(
        demand.described(1.0, lengths.Fixed(9), lengths.Fixed(9), requests=200), 2, "exponential:1s"
    )
    assert not (plan.at(1, plan.draw(1), 1.0).think_s[4:] == plan.at(2, plan.draw(2), 1.0).think_s[4:]).any()


def test_a_record_of_conversations_is_served_as_it_was():
    """A turn belongs to the window in which its conversation begins, at any load; turns wait for their answers."""
    table = conversations(60, Poisson(2.0), lengths.Uniform(1, 3), lengths.Fixed(10), lengths.Fixed(5), 1.0)
    asked = demand.of_table(table, window_s=5.0)
    engine = fleet.engine(simlib.StepLaw(0.01, 0.002, 1e-5, 0.0), kv_tokens=100_000)
    planner = Planner(asked, [engine], "ttft_p99<=1", max_gpus=1, max_seqs=(64,), token_budgets=(2048,), k_bins=(1,))
    run = planner.trials.run(Case(planner.configurations(1)[0], 1, 2.0))
    number, previous = run.table.labels["window"], run.table.previous
    assert (number[previous >= 0] == number[previous[previous >= 0]]).all()
    assert planner.plan().recorded.windows == len(asked.windows) >= 4
