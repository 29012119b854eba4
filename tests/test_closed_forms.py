"""The engine against closed forms that know nothing of it: single queues, batch queues, and saturated bins.

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
from simlib import theory

REPLICATIONS, WARM_UP = 20, 2000  # runs a check; the first requests of each are left out of its mean
FAMILY_ERROR, EQUIVALENCE, EQUIVALENCE_ERROR = 0.001, 0.01, 0.05
LONG, SHORT = 200_000, 50_000  # requests a replication


def latency_mean_s(rng, requests, rate_rps, policy, model, gpus=1) -> float:
    """Mean latency of one replication with Poisson arrivals, without its warm-up and its last requests."""
    ones = np.ones(requests, dtype=np.int64)
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, requests))
    run = simlib.simulate(simlib.RequestTable(arrival_s, ones, ones, ones), policy, model, gpus)
    return float(np.mean((run.times.completion_s - arrival_s)[WARM_UP:-100]))  # leftovers are flushed at the end


def one_at_a_time(rate_rps, draw_s, requests=LONG, gpus=1):
    """Batches of one: the queues of the textbooks."""

    def replicate(rng):
        model = simlib.GivenTimes(draw_s(rng, requests))
        return latency_mean_s(rng, requests, rate_rps, simlib.StaticFIFO(1), model, gpus)

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


def uniform(rng, requests):
    return rng.uniform(1, 20, requests)


UNIFORM_STD_S = 19 / math.sqrt(12)
# Numbers as in `papers.md`, part D: closed form, and what the engine makes of it.
CHECKS = {
    "M/M/1, load 0.5": (
        theory.mm1_latency_s(0.5, 1.0),
        one_at_a_time(0.5, lambda rng, n: rng.exponential(1.0, n)),
    ),
    "M/G/1, U(1, 20), load 0.315": (theory.mg1_latency_s(0.03, 10.5, UNIFORM_STD_S), one_at_a_time(0.03, uniform)),
    "M/G/1, U(1, 20), load 0.63": (theory.mg1_latency_s(0.06, 10.5, UNIFORM_STD_S), one_at_a_time(0.06, uniform)),
    "M/D/1, load 0.5": (theory.mg1_latency_s(0.5, 1.0, 0.0), one_at_a_time(0.5, lambda rng, n: np.ones(n), SHORT)),
    "M/M/8, load 0.75": (
        theory.mmc_latency_s(6.0, 1.0, 8),
        one_at_a_time(6.0, lambda rng, n: rng.exponential(1.0, n), SHORT, gpus=8),
    ),
    "full batches of 4, load 0.5": (
        theory.full_batch_latency_s(2.0, 1.0, 4),
        in_batches(2.0, simlib.MultiBinFixed(4, 1)),
    ),
    "full batches of 16, load 0.5": (
        theory.full_batch_latency_s(8.0, 1.0, 16),
        in_batches(8.0, simlib.MultiBinFixed(16, 1)),
    ),
    "greedy batches of up to 4, load 0.5": (
        theory.greedy_batch_latency_s(2.0, 1.0, 4),
        in_batches(2.0, simlib.StaticFIFO(4)),
    ),
    "greedy batches of up to 64, load 0.5": (
        theory.greedy_batch_latency_s(32.0, 1.0, 64),
        in_batches(32.0, simlib.StaticFIFO(64)),
    ),
    "idle share, greedy batches of up to 4": (theory.greedy_batch_idle_share(2.0, 1.0, 4), idle_share(2.0, 4)),
    "saturated, one bin": (theory.multi_bin_throughput_rps(1.0, 20.0, 128, 1), saturated_throughput(1)),
    "saturated, five bins": (theory.multi_bin_throughput_rps(1.0, 20.0, 128, 5), saturated_throughput(5)),
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


def test_the_checks_would_see_a_service_time_two_percent_too_long():
    expected, _ = CHECKS["M/M/1, load 0.5"]
    slow = one_at_a_time(0.5, lambda rng, n: 1.02 * rng.exponential(1.0, n))
    means = [slow(np.random.default_rng(seed)) for seed in range(REPLICATIONS)]
    error = np.std(means, ddof=1) / math.sqrt(REPLICATIONS)
    assert np.mean(means) - expected > stats.t.ppf(1 - FAMILY_ERROR / len(CHECKS) / 2, REPLICATIONS - 1) * error
