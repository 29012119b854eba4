"""Capacity: a closed form, roots by hand, and what makes an answer doubtful."""

import math

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import levels
from simlib.checks import InputError
from simlib.planning.carried import capacity
from simlib.planning.carried.capacity import Search
from simlib.requests import arrivals, lengths, workload
from simlib.requests.table import RequestTable
from simlib.stats.replications import replicate

MEAN_TOKENS, TOKEN_S = 1000.0, 1e-4  # M/M/1 with a mean service time of 0.1 s


def single_server(requests, seed):
    """Poisson arrivals at one per second, and nearly exponential service times."""
    rng = np.random.default_rng([61, seed])
    arrival_s, tokens = np.cumsum(rng.exponential(size=requests)), rng.exponential(MEAN_TOKENS, requests)
    return RequestTable(arrival_s, np.zeros(requests, int), np.rint(tokens).astype(int))


MM1 = Search({"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", sla=1.0, late_share=0.1, requests=20_000)


def test_the_capacity_of_a_single_server_is_the_closed_forms():
    # P(T > d) = exp(-(mu - rate) d) in M/M/1, so that the root is mu - ln(1 / share) / d. An interval of 99.9 % and a
    # fixed seed; runs twice as long say the same.
    found = capacity.study(MM1, 20, seed=42)
    row = found.table.iloc[0]
    mean, half = row["capacity_rps"], (row["ci_high"] - row["ci_low"]) / 2
    assert abs(mean - (10.0 - math.log(10.0))) < 3.883 / 2.093 * half
    assert half < 0.02 * mean
    assert row["doubled_ci_low"] < 1.0 < row["doubled_ci_high"]
    assert row["verdict"] in ("stable", "unclear")
    assert list(found.table.columns) == [
        *("policy", "capacity_rps", "ci_low", "ci_high", "replications", "requests"),
        *("warmup_requests", "memory_requests", "doubled_ratio", "doubled_ci_low", "doubled_ci_high", "verdict"),
    ]
    assert row["warmup_requests"] <= MM1.scored.start  # at this load, what is cut is more than the warm-up
    assert row["memory_requests"] == pytest.approx(4 / (1 - 0.77) ** 2, rel=0.3)  # 2 (1 + c^2) / (1 - rho)^2


def test_runs_twice_as_long_are_compared_by_pairs():
    search = Search({"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", late_share=0.1, requests=2000)
    long = Search({"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", late_share=0.1, requests=4000)
    row, longer = (capacity.study(each, 5, seed=42).table.iloc[0] for each in (search, long))
    assert row["doubled_ratio"] == pytest.approx(longer["capacity_rps"] / row["capacity_rps"], rel=1e-3)
    # The draws of two lengths have nothing in common here, so that the widths add up as squares.
    widths = [math.log(each["ci_high"] / each["ci_low"]) for each in (row, longer)]
    width = math.log(row["doubled_ci_high"] / row["doubled_ci_low"])
    assert 0.3 * math.hypot(*widths) < width < 2 * math.hypot(*widths)


def evenly(requests, seed):
    """Requests at equal gaps of half a second or a second, by turns of the seed, each of 1,000 tokens."""
    gap_s = 1.0 if seed % 2 else 0.5
    return RequestTable(gap_s * np.arange(float(requests)), np.zeros(requests, int), np.full(requests, 1000))


def test_a_run_that_comes_faster_than_others_is_served_at_a_higher_rate():
    # A server of 10 a second and gaps of 0.5 and 1 s, 0.75 on average: at a rate r requests come 1.5 r and 0.75 r a
    # second, and are late in the faster runs alone, from r = 6.67 on. Each by itself would bear 10.
    search = Search({"fifo": simlib.StaticFIFO(1)}, evenly, f"0,{TOKEN_S},0", late_share=0.1, requests=2000)
    found = capacity.study(search, 4, seed=0)
    assert found.roots["fifo"].tolist() == pytest.approx([10.0] * 4, rel=0.02)
    assert found.table["capacity_rps"].iloc[0] == pytest.approx(10 / 1.5, rel=0.02)


def test_at_the_capacity_the_mean_share_is_the_allowed_one_though_most_runs_have_less():
    short = Search({"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", sla=2.0, requests=2000)
    found = capacity.study(short, 30, seed=5)
    spans_s = np.array([float(single_server(2000, 5 + r).arrival_s[-1]) for r in range(30)])
    rates = found.table["capacity_rps"].iloc[0] * spans_s.mean() / spans_s
    shares = np.array([short.share("fifo", short.table(5 + r), rate) for r, rate in enumerate(rates)])
    assert shares.mean() == pytest.approx(0.05, rel=0.1)
    assert np.mean(shares < 0.05) > 0.55
    assert found.table["capacity_rps"].iloc[0] < found.roots["fifo"].mean()


class Wobbling(Search):
    """Whose share of late requests doubles by 12 % of the rate, and has a chance of its own at each rate."""

    def share(self, name, table, rate_rps):
        chance = np.sin(1e6 * rate_rps + 1e3 * float(table.arrival_s[1]))
        return max(0.0, 0.05 * (rate_rps / 2) ** 6 + 0.02 * chance)


def test_chance_that_hides_how_the_share_rises_does_not_widen_the_interval():
    # A share of 0.05 +- 0.02 / sqrt(2) a run that rises as the sixth power, and a pace of 1 +- 1 / sqrt(1000): of 20
    # runs a half-width of 2.7 %. Of slopes from rates 1 % on either side, which are half chance, one in four runs
    # leaves these bounds; of twelve seeds none did, the widest 3.4 %. Seeds are fixed.
    search = Wobbling({"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", requests=1000)
    tables = [capacity.study(search, 20, seed=seed).table.iloc[0] for seed in range(100, 700, 100)]
    half_widths = [math.log(row["ci_high"] / row["ci_low"]) / 2 for row in tables]
    assert min(half_widths) > 0.015 and max(half_widths) < 0.04


def test_the_root_is_the_largest_rate_that_meets_the_deadline():
    table = MM1.table(3)
    root = MM1.root("fifo", table)
    assert MM1.share("fifo", table, 0.998 * root) <= 0.1 < MM1.share("fifo", table, 1.002 * root)


def test_of_two_roots_the_larger_is_taken():
    # Batches of exactly two: at a low rate the first of a pair waits too long for the second.
    table = lambda n, seed: RequestTable(np.arange(float(n)), np.zeros(n, int), np.full(n, 100), np.full(n, 100))  # noqa: E731
    policy = simlib.MultiBinFixed(k_bins=1, batch_size=2)
    search = Search({"pairs": policy}, table, "0.1,0,0", sla=0.6, late_share=0.25, requests=400)
    evenly = search.table(0)
    assert search.share("pairs", evenly, 1.0) == 0.5  # one of two waits a second
    # At rate r the first of two waits 1/r, both take 0.1 s: in time from r = 2 on, up to 20/s, where batches queue up.
    assert search(0)["pairs"] > 20.0
    shape = capacity.curve(search, [1.0, 5.0, 40.0], 3, seed=0)
    assert shape["late_share"].tolist() == [0.5, 0.0, pytest.approx(0.99, abs=0.02)]
    assert shape["falls"].tolist() == [False, True, False]


def test_a_run_is_scored_between_its_warm_up_and_the_arrivals_behind_it():
    table = MM1.table(5)
    run = simlib.simulate(table.at_rate(8.0), simlib.StaticFIFO(1), f"0,{TOKEN_S},0")
    late = run.times.completion_s - run.table.arrival_s > 1.0
    assert MM1.share("fifo", table, 8.0) == late[2000:18_000].mean()


def test_replications_are_the_same_on_any_number_of_threads_and_policies_meet_the_same_requests():
    search = Search(levels.policies(), workload.original, gpus=2, requests=1000)
    one, two = (replicate(search, 6, seed=42, workers=workers) for workers in (1, 2))
    pd.testing.assert_frame_equal(one, two)
    alone = Search(
        {"multi_bin_dynamic": levels.policies()["multi_bin_dynamic"]}, workload.original, gpus=2, requests=1000
    )
    assert alone(43)["multi_bin_dynamic"] == one.loc[1, "multi_bin_dynamic"]


def test_the_ratio_is_the_geometric_mean_with_the_interval_of_its_logarithm():
    roots = pd.DataFrame({"a": [10.0, 12.0, 15.0, 11.0], "b": [20.0, 25.0, 29.0, 22.5], "c": [9.0, 8.0, 7.0, 8.5]})
    table = capacity.ratios(roots).set_index(["policy", "over"])
    row, logs = table.loc["b", "a"], np.log(roots["b"] / roots["a"])
    assert row["ratio"] == pytest.approx(math.exp(logs.mean()), rel=1e-12)
    half = 3.182446 * logs.std() / 2
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(
        (row["ratio"] * math.exp(-half), row["ratio"] * math.exp(half))
    )
    assert row["correlation"] > 0 and row["method"] == "paired" and len(table) == 3
    own = pd.DataFrame({"a": [10.0, 11.0, 12.0], "b": [22.0, 23.0, 24.0], "c": [8.0, 8.1, 8.2]})
    apart = capacity.ratios(roots, lambda: own).set_index(["policy", "over"])
    assert apart.loc["c", "a"]["method"] == "independent"
    assert apart.loc["c", "a"]["ratio"] == pytest.approx(math.exp(np.log(roots["c"]).mean() - np.log(own["a"]).mean()))


def test_runs_that_are_too_short_give_capacities_without_limits():
    # 0.1 s a request and 10 s allowed: overloaded, but not for long enough to be late.
    search = Search({"fifo": simlib.StaticFIFO(1)}, single_server, f"0,{TOKEN_S},0", sla=10.0, requests=500)
    row = capacity.study(search, 20, seed=1).table.iloc[0]
    assert row["verdict"] == "short" and row["doubled_ratio"] < 0.95 and np.isnan([row["ci_low"], row["ci_high"]]).all()
    assert row["memory_requests"] > 50  # what is cut as warm-up
    assert math.isnan(row["warmup_requests"])  # a queue that grows to the end has no warm-up to find


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"requests": 249}, "requests: 249 .expected at least 250: at a share of 0.1 fewer than 20"),
        ({"late_share": 1.0}, "late_share: 1.0"),
        ({"late_share": 0.0}, "late_share: 0.0"),
        ({"policies": {}}, "number of policies: 0"),
        ({"policies": simlib.StaticFIFO(1)}, "policies: "),
        ({"policies": {"x": "static"}}, "policy: 'static'"),
        ({"draw": 3}, "draw: 3"),
        ({"sla": "tokens<=1"}, "sla: "),
    ],
)
def test_a_bad_question_is_refused_before_anything_runs(change, message):
    settings = {
        name: getattr(MM1, name) for name in ("policies", "draw", "latency", "gpus", "sla", "late_share", "requests")
    }
    with pytest.raises(InputError, match=message):
        Search(**settings | change)


def test_a_question_without_an_answer_says_so():
    always = Search({"fifo": simlib.StaticFIFO(1)}, single_server, "0,0,0", requests=500)
    with pytest.raises(InputError, match="fifo serves them all in time at any rate"):
        always(0)
    never = Search({"fifo": simlib.StaticFIFO(1)}, single_server, "2,0,0", requests=500)
    with pytest.raises(InputError, match=r"a later deadline: fifo, 1 of the requests are late even at"):
        never(0)
    with pytest.raises(InputError, match="draw: 500 requests in 0 s"):
        Search(
            {"fifo": simlib.StaticFIFO(1)},
            lambda n, seed: RequestTable(np.zeros(n), np.zeros(n, int), np.ones(n, int)),
            requests=500,
        )(0)
    with pytest.raises(InputError, match="rates_rps"):
        capacity.curve(MM1, [2.0, 1.0], 2, seed=0)


def test_policies_of_both_execution_models_are_searched_side_by_side():
    """One GPU, two tokens a request: an engine with 8 seats and steps of 0.1 s bears nearly 40 a second."""
    law = simlib.Phases(0.0, 0.0, 0.1, 0.0)

    def draw(requests: int, seed: int) -> simlib.RequestTable:
        return workload.generate(requests, arrivals.Poisson(1.0), lengths.Fixed(1), lengths.Fixed(2), replication=seed)

    search = Search(
        {"batches": simlib.StaticFIFO(8), "engine": "fcfs"},
        draw,
        law,
        sla=1.0,
        requests=2000,
        execution={"engine": simlib.Continuous(max_seqs=8)},
    )
    found = search(1)
    assert 0.8 * 40 < found["engine"] < 1.1 * 40
    assert found["batches"] > 0
    with pytest.raises(simlib.InputError, match="execution"):
        Search({"a": simlib.StaticFIFO()}, draw, execution={"b": "continuous"})
    with pytest.raises(simlib.InputError, match="policy"):
        Search({"a": "fcfs"}, draw)
