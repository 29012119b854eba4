"""The engine against theory that knows nothing of it: single queues, batch queues, and saturated bins.

Each check simulates independent replications with seeds fixed beforehand and asks two things of their mean. It may
differ from the closed form by no more than the t quantile at a family-wise error rate of 0.1 % over all checks
(Bonferroni; a correct engine fails the whole file, under new seeds, once in a thousand times); and it is equivalent to
it within 1 %: two one-sided t tests at 5 %, which a difference of 1 % or more would pass once in twenty times at most.
"""

import math

import numpy as np
import pytest
from scipy import stats

import simlib
from simlib.requests import predictors
from simlib.theory import batches, bins, maxima, queues

REPLICATIONS, WARM_UP = 20, 2000  # runs a check; the first requests of each are left out of its mean
FAMILY_ERROR, EQUIVALENCE, EQUIVALENCE_ERROR = 0.001, 0.01, 0.05
LONG, SHORT = 200_000, 50_000  # requests a replication


def latency_mean_s(rng, requests, rate_rps, policy, model, gpus=1, predicted=None, last=100) -> float:
    """Mean latency of one replication with Poisson arrivals, without its warm-up and its last requests."""
    ones = np.ones(requests, dtype=np.int64)
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, requests))
    table = simlib.RequestTable(arrival_s, ones, ones, ones if predicted is None else predicted)
    run = simlib.simulate(table, policy, model, gpus)
    return float(np.mean((run.times.completion_s - arrival_s)[WARM_UP:-last]))  # leftovers are flushed at the end


def one_at_a_time(rate_rps, draw_s, requests=LONG, gpus=1):
    """Batches of one: the queues of the textbooks."""

    def replicate(rng):
        model = simlib.GivenTimes(draw_s(rng, requests))
        return latency_mean_s(rng, requests, rate_rps, simlib.StaticFIFO(1), model, gpus)

    return replicate


def by_priority(priority, rates_rps=(0.03, 0.03), requests=LONG):
    """Two classes that one server takes one at a time: the urgent ones U(1, 20) s, the others exponential."""

    def replicate(rng):
        classes = rng.choice(2, requests, p=np.array(rates_rps) / sum(rates_rps))
        service_s = np.where(classes == 0, uniform(rng, requests), rng.exponential(10.0, requests))
        arrival_s, ones = np.cumsum(rng.exponential(1 / sum(rates_rps), requests)), np.ones(requests, dtype=np.int64)
        table = simlib.RequestTable(arrival_s, ones, ones, priority=classes)
        policy = simlib.PriorityFirst(variant=simlib.Rules(b_max=1))
        run = simlib.simulate(table, policy, simlib.GivenTimes(service_s))
        counted = np.flatnonzero(classes == priority)[WARM_UP // 2 : -100]
        return float(np.mean((run.times.completion_s - arrival_s)[counted]))

    return replicate


def in_batches(rate_rps, policy, requests=LONG):
    """Batches whose exponential time, of mean 1 s, does not depend on who is in them."""

    def replicate(rng):
        model = simlib.GivenBatchTimes(rng.exponential(1.0, requests))
        return latency_mean_s(rng, requests, rate_rps, policy, model)

    return replicate


def idle_share(rate_rps, batch_size, requests=LONG):
    def replicate(rng):
        ones = np.ones(requests, dtype=np.int64)
        table = simlib.RequestTable(np.cumsum(rng.exponential(1 / rate_rps, requests)), ones, ones)
        model = simlib.GivenBatchTimes(rng.exponential(1.0, requests))
        return 1 - simlib.simulate(table, simlib.StaticFIFO(batch_size), model).summary()["gpu_utilization"]

    return replicate


def saturated_throughput(k_bins, batch_size=128, requests=128_000):
    """All requests at once, times U(1, 20) s that the bins know to a ten-thousandth."""

    def replicate(rng):
        service_s = rng.uniform(1, 20, requests)
        ones, predicted = np.ones(requests, dtype=np.int64), np.round(service_s * 10_000)
        bounds = (10_000 * np.linspace(1, 20, k_bins + 1)[1:-1]).tolist()
        policy = simlib.MultiBinFixed(batch_size, k_bins, bounds)
        run = simlib.simulate(
            simlib.RequestTable(0 * ones, ones, ones, predicted), policy, simlib.GivenTimes(service_s)
        )
        full = run.served.size == batch_size
        return float(batch_size * full.sum() / run.served.service_s[full].sum())

    return replicate


def saturated_by_bin(draw_s, edges_s, batch_size, confusion=None, requests=200_000):
    """As `saturated_throughput` for bins of any mass, each weighted with its requests, as rounding costs rare ones."""

    def replicate(rng):
        service_s = draw_s(rng, requests)
        ticks, edges = np.round(service_s * 10_000).astype(np.int64), np.round(10_000 * np.array(edges_s)).astype(int)
        classifier = predictors.Oracle()
        if confusion is not None:
            classifier = predictors.Confusion(confusion, [0, *edges, predictors.MOST_TOKENS])
        ones = np.ones(requests, dtype=np.int64)
        predicted = classifier.predict(ones, ticks, rng)
        policy = simlib.MultiBinFixed(batch_size, len(edges) + 1, edges.tolist())
        served = simlib.simulate(
            simlib.RequestTable(0 * ones, ones, ones, predicted), policy, simlib.GivenTimes(service_s)
        ).served
        share = np.bincount(served.queue, served.size) / requests
        full = served.size == batch_size
        batch_s = np.bincount(served.queue[full], served.service_s[full]) / np.bincount(served.queue[full])
        return float(batch_size / (share @ batch_s))

    return replicate


def uniform(rng, requests):
    return rng.uniform(1, 20, requests)


def exponential(rng, requests):
    return rng.exponential(10.0, requests)


def with_a_server_for_every_batch(rng):
    """Two equal bins of U(1, 20), batches of 128, and 8 servers, of which fewer than one works on average."""
    service_s = uniform(rng, LONG)
    policy = simlib.MultiBinFixed(128, 2, [105_000])
    ticks = np.round(service_s * 10_000).astype(np.int64)
    return latency_mean_s(rng, LONG, 4.0, policy, simlib.GivenTimes(service_s), 8, ticks, last=1000)


def seen_idle_share(rng, requests=LONG):
    """Share of requests that start on arrival, of a greedy server of up to 4: whom it serves at once, found it idle."""
    ones = np.ones(requests, dtype=np.int64)
    table = simlib.RequestTable(np.cumsum(rng.exponential(0.5, requests)), ones, ones)
    run = simlib.simulate(table, simlib.StaticFIFO(4), simlib.GivenBatchTimes(rng.exponential(1.0, requests)))
    return float(np.mean((run.times.start_s == table.arrival_s)[WARM_UP:]))


def by_size_s(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    """A batch that takes longer the larger it is, and no longer for long requests."""
    return 0.3 + 0.05 * size


def grows_with_size(rate_rps, batch_size):
    return lambda rng: latency_mean_s(rng, SHORT, rate_rps, simlib.StaticFIFO(batch_size), by_size_s)


def of_longest_member(rate_rps, policy, last=100):
    """Batches that take 10 ms for each token of their longest member, lengths as likely as `LENGTHS` says."""

    def replicate(rng):
        model = simlib.GivenTimes(0.01 * rng.choice(LENGTHS, LONG))
        return latency_mean_s(rng, LONG, rate_rps, policy, model, last=last)

    return replicate


LENGTHS = np.unique(np.round(np.random.default_rng(12).lognormal(4.6, 0.8, 40))).astype(int)
LONGEST = batches.longest_member(LENGTHS, per_token_s=0.01)
LEMMA_A1_S = {k: bins.exponential_edges_s(10.0, k, 200) for k in range(2, 6)}
QUARTERS_S, MISTAKEN = np.linspace(1, 20, 5)[1:-1], predictors.symmetric_confusion(4, 0.1)
UNIFORM_STD_S = 19 / math.sqrt(12)
ALL_THAT_WAIT = 10**6
# Numbers as in `papers.md`, part D: closed form, and what the engine makes of it.
CHECKS = {
    "M/M/1, load 0.5": (
        queues.mm1_latency_s(0.5, 1.0),
        one_at_a_time(0.5, lambda rng, n: rng.exponential(1.0, n)),
    ),
    "M/G/1, U(1, 20), load 0.315": (queues.mg1_latency_s(0.03, 10.5, UNIFORM_STD_S), one_at_a_time(0.03, uniform)),
    "M/G/1, U(1, 20), load 0.63": (queues.mg1_latency_s(0.06, 10.5, UNIFORM_STD_S), one_at_a_time(0.06, uniform)),
    "M/D/1, load 0.5": (queues.mg1_latency_s(0.5, 1.0, 0.0), one_at_a_time(0.5, lambda rng, n: np.ones(n), SHORT)),
    "M/M/8, load 0.75": (
        queues.mmc_latency_s(6.0, 1.0, 8),
        one_at_a_time(6.0, lambda rng, n: rng.exponential(1.0, n), SHORT, gpus=8),
    ),
    "full batches of 4, load 0.5": (
        queues.full_batch_latency_s(2.0, 1.0, 4),
        in_batches(2.0, simlib.MultiBinFixed(4, 1)),
    ),
    "full batches of 16, load 0.5": (
        queues.full_batch_latency_s(8.0, 1.0, 16),
        in_batches(8.0, simlib.MultiBinFixed(16, 1)),
    ),
    "greedy batches of up to 4, load 0.5": (
        queues.greedy_batch_latency_s(2.0, 1.0, 4),
        in_batches(2.0, simlib.StaticFIFO(4)),
    ),
    "greedy batches of up to 64, load 0.5": (
        queues.greedy_batch_latency_s(32.0, 1.0, 64),
        in_batches(32.0, simlib.StaticFIFO(64)),
    ),
    "idle share, greedy batches of up to 4": (queues.greedy_batch_idle_share(2.0, 1.0, 4), idle_share(2.0, 4)),
    "saturated, one bin": (bins.multi_bin_throughput_rps(1.0, 20.0, 128, 1), saturated_throughput(1)),
    "saturated, five bins": (bins.multi_bin_throughput_rps(1.0, 20.0, 128, 5), saturated_throughput(5)),
    **{
        f"saturated, {k} bins": (bins.multi_bin_throughput_rps(1.0, 20.0, 128, k), saturated_throughput(k))
        for k in (2, 3, 4)
    },
    **{
        f"saturated, {k} bins of Lemma A.1": (
            maxima.binned_throughput_rps(stats.expon(scale=10.0), LEMMA_A1_S[k], 200),
            saturated_by_bin(exponential, LEMMA_A1_S[k], 200),
        )
        for k in LEMMA_A1_S
    },
    "saturated, 4 bins, 10 % mistaken for each neighbour": (
        maxima.binned_throughput_rps(stats.uniform(1, 19), QUARTERS_S, 128, MISTAKEN),
        saturated_by_bin(uniform, QUARTERS_S, 128, MISTAKEN),
    ),
    "a server for every batch, two bins": (
        bins.multi_bin_latency_s(4.0, 1.0, 20.0, 128, 2),
        with_a_server_for_every_batch,
    ),
    "who arrives sees time averages": (queues.greedy_batch_idle_share(2.0, 1.0, 4), seen_idle_share),
    "greedy batches of up to 8, time grows with size": (
        batches.batch_chain(8.0, lambda size: 0.3 + 0.05 * size, most=8).latency_mean_s,
        grows_with_size(8.0, 8),
    ),
    "all that wait, time grows with size": (
        batches.batch_chain(10.0, lambda size: 0.3 + 0.05 * size).latency_mean_s,
        grows_with_size(10.0, ALL_THAT_WAIT),
    ),
    "longest member, capped at 16": (
        batches.batch_chain(3.0, LONGEST, most=16).latency_mean_s,
        of_longest_member(3.0, simlib.StaticFIFO(16)),
    ),
    "longest member, all that wait": (
        batches.batch_chain(3.0, LONGEST).latency_mean_s,
        of_longest_member(3.0, simlib.StaticFIFO(ALL_THAT_WAIT)),
    ),
    "longest member, full batches of 16": (
        batches.batch_chain(3.0, LONGEST, 16, 16).latency_mean_s,
        of_longest_member(3.0, simlib.MultiBinFixed(16, 1)),
    ),
    **{
        f"M/G/1 of two classes, load 0.615, the {'less urgent' if k else 'urgent'}": (
            queues.mg1_priority_latencies_s([0.03, 0.03], [10.5, 10.0], [UNIFORM_STD_S, 10.0])[k],
            by_priority(k),
        )
        for k in range(2)
    },
}


@pytest.mark.parametrize("name", list(CHECKS))
def test_the_engine_agrees_with_the_closed_form(name):
    expected, replicate = CHECKS[name]
    streams = np.random.SeedSequence([2024, list(CHECKS).index(name)]).spawn(REPLICATIONS)
    means = [replicate(np.random.default_rng(stream)) for stream in streams]
    error = np.std(means, ddof=1) / math.sqrt(REPLICATIONS)
    difference = abs(np.mean(means) - expected)
    same = stats.t.ppf(1 - FAMILY_ERROR / len(CHECKS) / 2, REPLICATIONS - 1) * error
    assert difference <= same, f"{np.mean(means):.6g} against {expected:.6g}: {difference / error:.1f} standard errors"
    within = difference + stats.t.ppf(1 - EQUIVALENCE_ERROR, REPLICATIONS - 1) * error
    assert within <= EQUIVALENCE * expected, f"off by up to {within / expected:.2%}"


def test_the_closed_forms_are_those_of_the_notes():
    values = {name: expected for name, (expected, _) in CHECKS.items()}
    assert values["M/M/1, load 0.5"] == 2.0
    assert values["M/G/1, U(1, 20), load 0.315"] == pytest.approx(13.573, abs=5e-4)
    assert values["M/G/1, U(1, 20), load 0.63"] == pytest.approx(21.878, abs=5e-4)
    assert values["M/M/8, load 0.75"] == pytest.approx(1.17849, abs=5e-6)
    assert values["full batches of 4, load 0.5"] == pytest.approx(2.18252, abs=5e-6)
    assert values["greedy batches of up to 4, load 0.5"] == pytest.approx(2.268433, abs=5e-7)
    assert values["idle share, greedy batches of up to 4"] == pytest.approx(0.114546, abs=5e-7)
    assert values["saturated, one bin"] == pytest.approx(6.4475, abs=5e-5)
    assert values["saturated, five bins"] == pytest.approx(10.3472, abs=5e-5)
    for k, throughput_rps in {2: 8.4342, 3: 9.3996, 4: 9.9703}.items():
        assert values[f"saturated, {k} bins"] == pytest.approx(throughput_rps, abs=5e-5)
    for k, throughput_rps in {2: 7.2686, 3: 9.9671, 4: 11.8070, 5: 13.1094}.items():
        assert values[f"saturated, {k} bins of Lemma A.1"] == pytest.approx(throughput_rps, abs=5e-5)
    assert values["saturated, 4 bins, 10 % mistaken for each neighbour"] == pytest.approx(7.925, abs=1e-3)
    assert values["a server for every batch, two bins"] == pytest.approx(46.926, abs=5e-4)


def test_the_checks_would_see_a_service_time_two_percent_too_long():
    expected, _ = CHECKS["M/M/1, load 0.5"]
    slow = one_at_a_time(0.5, lambda rng, n: 1.02 * rng.exponential(1.0, n))
    means = [slow(np.random.default_rng(seed)) for seed in range(REPLICATIONS)]
    error = np.std(means, ddof=1) / math.sqrt(REPLICATIONS)
    assert np.mean(means) - expected > stats.t.ppf(1 - FAMILY_ERROR / len(CHECKS) / 2, REPLICATIONS - 1) * error


def structural_run():
    rng = np.random.default_rng(41)
    service_s = uniform(rng, 20_000)
    ones, ticks = np.ones(20_000, dtype=np.int64), np.round(service_s * 10_000).astype(np.int64)
    table = simlib.RequestTable(np.cumsum(rng.exponential(1 / 18.0, 20_000)), ones, ones, ticks)
    return simlib.simulate(table, simlib.MultiBinFixed(64, 3), simlib.GivenTimes(service_s), gpus=2)


def test_littles_law_holds_in_every_run_for_the_queue_and_for_the_servers():
    run = structural_run()
    arrival_s, times = run.table.arrival_s, run.times
    span_s = times.completion_s.max() - arrival_s[0]
    for entered_s, left_s in ((arrival_s, times.start_s), (times.start_s, times.completion_s)):
        events_s = np.concatenate([entered_s, left_s])
        order = np.argsort(events_s, kind="stable")
        present = np.cumsum(np.repeat([1, -1], len(arrival_s))[order])
        mean_present = present[:-1] @ np.diff(events_s[order]) / span_s
        rate_times_stay = len(arrival_s) / span_s * np.mean(left_s - entered_s)
        assert mean_present == pytest.approx(rate_times_stay, rel=1e-9)


def test_utilisation_is_throughput_times_batch_time_over_batch_size_in_every_run():
    run = structural_run()
    summary, served = run.summary(), run.served
    per_request_s = served.service_s.mean() / served.size.mean()
    assert summary["gpu_utilization"] == pytest.approx(summary["throughput_rps"] * per_request_s / 2, rel=1e-12)


def test_a_greedy_server_never_idles_while_anyone_waits():
    rng = np.random.default_rng(43)
    ones = np.ones(20_000, dtype=np.int64)
    table = simlib.RequestTable(np.cumsum(rng.exponential(0.5, 20_000)), ones, ones)
    run = simlib.simulate(table, simlib.StaticFIFO(4), simlib.GivenBatchTimes(rng.exponential(1.0, 20_000)))
    free_s = np.append(0.0, run.served.start_s + run.served.service_s)[:-1]
    oldest_s = table.arrival_s[np.flatnonzero(np.diff(run.served.batch_of, prepend=-1))]
    assert run.served.start_s == pytest.approx(np.maximum(free_s, oldest_s), rel=1e-15)
