"""Queues in closed form: tabulated values, limits, and small simulations that know nothing of the formulas."""

import math
from fractions import Fraction

import numpy as np
import pytest
from tabulated import printed

from simlib.checks import InputError
from simlib.theory import queues

UNIFORM_STD_S = 19 / math.sqrt(12)  # of service times uniform from 1 to 20 s, mean 10.5 s


def test_mm1_latency_of_half_load_is_twice_the_service_time():
    assert queues.mm1_latency_s(rate_rps=0.5, service_mean_s=1.0) == 2.0


@pytest.mark.parametrize(("rate_rps", "latency_s"), [(0.03, 13.573), (0.06, 21.878), (0.08, 45.583)])
def test_mg1_latency_of_uniform_times_is_the_tabulated_one(rate_rps, latency_s):
    assert queues.mg1_latency_s(rate_rps, 10.5, UNIFORM_STD_S) == printed(latency_s, 3)


def test_mg1_contains_md1_and_mm1():
    waiting_md1_s = 0.8 * 2.0 / (2 * (1 - 0.8))
    assert queues.mg1_latency_s(0.4, 2.0, 0.0) == pytest.approx(2.0 + waiting_md1_s)
    assert queues.mg1_latency_s(0.4, 2.0, 2.0) == pytest.approx(queues.mm1_latency_s(0.4, 2.0))


def test_md1_latencies_integrate_to_their_mean_and_begin_with_who_waits():
    from scipy.integrate import quad

    late = lambda deadline_s: queues.md1_late_share(0.4, 2.0, deadline_s)  # noqa: E731
    assert (late(1.999), late(2.0)) == (1.0, pytest.approx(0.8, rel=1e-12))
    # Within one service time of waiting, P(W <= t) = (1 - rho) e^(lambda t), by hand.
    assert 1 - late(3.0) == pytest.approx(0.2 * math.exp(0.4), rel=1e-12)
    mean_s = 2.0 + quad(late, 2.0, 200.0, limit=500, points=np.arange(4.0, 200.0, 2.0))[0]
    assert mean_s == pytest.approx(queues.mg1_latency_s(0.4, 2.0, 0.0), rel=1e-7)


def test_md1_latencies_are_those_of_lindleys_recursion():
    # 400,000 requests at a load of 0.7 in 40 parts, each some 500 times as long as what its latencies remember. Three
    # bounds of 4 standard errors: false alarm 4e-4 (Student's t); the seed is fixed.
    rng, latency_s, found = np.random.default_rng(11), 1.0, []
    for gap_s in rng.exponential(1 / 0.7, 400_000):
        latency_s = 1.0 + max(0.0, latency_s - gap_s)
        found.append(latency_s)
    parts = np.array(found).reshape(40, -1)
    for deadline_s in (1.5, 4.0, 8.0):
        late = (parts > deadline_s).mean(axis=1)
        expected = queues.md1_late_share(0.7, 1.0, deadline_s)
        assert abs(late.mean() - expected) < 4 * late.std(ddof=1) / math.sqrt(40)


def test_priorities_of_one_class_are_mg1_and_keep_the_work_that_waits():
    assert queues.mg1_priority_latencies_s([0.06], [10.5], [UNIFORM_STD_S]) == [
        pytest.approx(queues.mg1_latency_s(0.06, 10.5, UNIFORM_STD_S))
    ]
    rates, means, stds = np.array([0.1, 0.2, 0.15]), np.array([2.0, 1.0, 3.0]), np.array([2.0, 0.0, 1.0])
    waiting_s = np.array(queues.mg1_priority_latencies_s(rates, means, stds)) - means
    assert (np.diff(waiting_s) > 0).all()
    load, residual_s = rates @ means, rates @ (means**2 + stds**2) / 2  # Kleinrock's conservation law
    assert (rates * means) @ waiting_s == pytest.approx(load * residual_s / (1 - load))


def test_erlang_c_is_the_tabulated_one():
    assert queues.mmc_waiting_share(6.0, 1.0, servers=8) == printed(0.35698, 5)
    assert queues.mmc_latency_s(6.0, 1.0, servers=8) == printed(1.17849, 5)


def test_erlang_c_equals_its_textbook_sum_in_exact_fractions():
    offered, servers = Fraction(6), 8
    terms = [offered**j / math.factorial(j) for j in range(servers)]
    last = offered**servers / math.factorial(servers) * Fraction(servers) / (servers - offered)
    assert queues.mmc_waiting_share(6.0, 1.0, servers) == pytest.approx(float(last / (sum(terms) + last)), rel=1e-13)


def test_one_server_of_mmc_is_mm1_and_a_thousand_do_not_overflow():
    assert queues.mmc_latency_s(0.9, 1.0, servers=1) == pytest.approx(queues.mm1_latency_s(0.9, 1.0))
    assert queues.mmc_waiting_share(0.9, 1.0, servers=1) == pytest.approx(0.9)
    assert 0 < queues.mmc_waiting_share(990.0, 1.0, servers=1000) < 1


def test_full_batches_give_the_tabulated_root_and_latency():
    assert queues.full_batch_waiting_share(2.0, 1.0, batch_size=4) == printed(0.30193, 5)
    assert queues.full_batch_latency_s(2.0, 1.0, batch_size=4) == printed(2.18252, 5)


def test_greedy_batches_give_the_tabulated_root_idle_share_and_latency():
    idle = queues.greedy_batch_idle_share(2.0, 1.0, batch_size=4)
    assert idle == printed(0.114546, 6)
    root = 1 - 2.0 / (1 / idle - 1)  # from P(idle) = 1 / (1 + (lambda/mu) / (1 - r))
    assert root == printed(0.741271, 6)
    assert queues.greedy_batch_latency_s(2.0, 1.0, batch_size=4) == printed(2.268433, 6)


@pytest.mark.parametrize("load", [1e-6, 0.01, 0.5, 0.9, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("batch_mean_s", [0.01, 1.0, 300.0])
def test_batches_of_one_are_mm1_at_every_load(load, batch_mean_s):
    mm1 = pytest.approx(queues.mm1_latency_s(load / batch_mean_s, batch_mean_s), rel=1e-8)
    assert queues.full_batch_latency_s(load / batch_mean_s, batch_mean_s, 1) == mm1
    assert queues.greedy_batch_latency_s(load / batch_mean_s, batch_mean_s, 1) == mm1
    assert queues.greedy_batch_idle_share(load / batch_mean_s, batch_mean_s, 1) == pytest.approx(1 - load, abs=1e-9)


@pytest.mark.parametrize("batch_size", [2, 8, 128, 10**6])
@pytest.mark.parametrize("load", [1e-6, 0.3, 0.95, 1 - 1e-7])
def test_batch_roots_satisfy_their_equations(batch_size, load):
    rate = load * batch_size
    sigma = queues.full_batch_waiting_share(rate, 1.0, batch_size)
    assert 0 <= sigma < 1
    if sigma > 1e-300:
        log_right = -batch_size * math.log1p((1 - sigma) / rate)
        assert math.log(sigma) == pytest.approx(log_right, rel=1e-6)
    rest = rate / (1 / queues.greedy_batch_idle_share(rate, 1.0, batch_size) - 1)  # 1 - r
    powers = (1 - rest) * -math.expm1(batch_size * math.log1p(-rest)) / rest  # r + ... + r^b
    assert powers == pytest.approx(rate, rel=1e-6, abs=1e-9)


def test_near_saturation_batch_latencies_follow_heavy_traffic_theory():
    # Kingman's limit for E_B/M/1: waiting (1 + 1/B) / (2 (1 - rho)) mean batch times, exact as rho goes to 1.
    gap, size = 1e-5, 8
    rate = (1 - gap) * size
    full = queues.full_batch_latency_s(rate, 1.0, size)
    assert full * gap == pytest.approx((1 + 1 / size) / 2, rel=1e-4)
    # The greedy server is then always full, so that both queues differ by a bounded time.
    assert queues.greedy_batch_latency_s(rate, 1.0, size) / full == pytest.approx(1.0, rel=1e-4)


def test_greedy_beats_full_batches_when_requests_are_few_and_both_serve_at_least_one_batch_time():
    light = (0.1, 1.0, 4)
    assert 1.0 < queues.greedy_batch_latency_s(*light) < queues.full_batch_latency_s(*light)
    heavy = (3.9, 1.0, 4)
    assert 1.0 < queues.full_batch_latency_s(*heavy) < queues.greedy_batch_latency_s(*heavy)


def simulated_latency_s(rng, rate_rps, batch_size, greedy, requests=200_000):
    arrival_s = np.cumsum(rng.exponential(1 / rate_rps, requests)).tolist()
    batch_s = iter(rng.exponential(1.0, requests).tolist())
    free_s, first, total_s = 0.0, 0, 0.0
    while first + batch_size <= requests:
        last = first if greedy else first + batch_size - 1
        start_s = max(free_s, arrival_s[last])
        while last + 1 < first + batch_size and arrival_s[last + 1] <= start_s:
            last += 1
        free_s = start_s + next(batch_s)
        total_s += sum(free_s - t for t in arrival_s[first : last + 1])
        first = last + 1
    return total_s / first


@pytest.mark.parametrize("greedy", [False, True])
def test_batch_latencies_agree_with_a_simulation(greedy):
    # Ten replications; the t bound of each comparison has a false-alarm rate of 0.1 % (two-sided, 9 degrees: 4.781).
    formula = queues.greedy_batch_latency_s if greedy else queues.full_batch_latency_s
    runs = [simulated_latency_s(np.random.default_rng([17, r]), 2.0, 4, greedy, 20_000) for r in range(10)]
    error = np.mean(runs) - formula(2.0, 1.0, 4)
    assert abs(error) < 4.781 * np.std(runs, ddof=1) / math.sqrt(10)
    assert abs(error) < 0.02 * formula(2.0, 1.0, 4)  # and the bound is narrow enough to mean something


def test_formation_delay_counts_the_gaps_that_a_request_waits():
    assert queues.formation_delay_s(batch_size=8, k_bins=4, rate_rps=14.0) == 1.0
    assert queues.formation_delay_s(batch_size=1, k_bins=4, rate_rps=14.0) == 0.0


def test_formation_delay_holds_for_bins_of_any_mass():
    # One run of 400,000 arrivals; the batches' means have a standard error below 0.03 s, the bound is five of them.
    rng = np.random.default_rng(5)
    arrival_s = np.cumsum(rng.exponential(0.5, 400_000))
    bins = rng.choice(3, size=len(arrival_s), p=[0.7, 0.2, 0.1])
    waits_s = []
    for chosen in range(3):
        mine = arrival_s[bins == chosen]
        batches = mine[: len(mine) // 8 * 8].reshape(-1, 8)
        waits_s.append((batches[:, -1:] - batches).ravel())
    assert np.concatenate(waits_s).mean() == pytest.approx(queues.formation_delay_s(8, 3, 2.0), abs=0.15)


# Continuous batching as processor sharing: a step takes 30 ms and 0.22 ms for each of its requests.
STEPS = {"mean_tokens": 447.5, "fixed_s": 0.030, "per_request_s": 0.00022}


@pytest.mark.parametrize(("rate_rps", "present", "latency_s"), [(1.0, 15.000, 15.00), (2.0, 33.678, 16.84)])
def test_processor_sharing_gives_the_tabulated_numbers(rate_rps, present, latency_s):
    assert queues.processor_sharing_latency_s(rate_rps, **STEPS) == printed(latency_s, 2)
    assert rate_rps * queues.processor_sharing_latency_s(rate_rps, **STEPS) == printed(present, 3)


def test_processor_sharing_is_stable_up_to_10_157_per_second():
    assert queues.processor_sharing_latency_s(10.157, **STEPS) > 1000
    with pytest.raises(InputError, match="load rate_rps"):
        queues.processor_sharing_latency_s(10.158, **STEPS)


def test_processor_sharing_holds_the_fluid_number_of_requests_and_less_than_one_more():
    # A step of 50 ms holds 90.9 requests, at 4.063 requests per second.
    present = 4.063 * queues.processor_sharing_latency_s(4.063, **STEPS)
    assert 0 < present - 90.9 < 1


def birth_death_latency_s(rate_rps, most, states=4000):
    """Mean latency from the chain's own balance, in exact steps of probability."""
    share, total, present = 1.0, 1.0, 0.0
    for n in range(1, states):
        served = min(n, most)
        share *= rate_rps * STEPS["mean_tokens"] * (STEPS["fixed_s"] + STEPS["per_request_s"] * served) / served
        total, present = total + share, present + n * share
    return present / total / rate_rps


@pytest.mark.parametrize(("rate_rps", "most"), [(0.05, 1), (0.5, 8), (2.0, 40), (4.0, 128)])
def test_a_cap_on_processor_sharing_is_its_birth_death_chain(rate_rps, most):
    capped = queues.processor_sharing_latency_s(rate_rps, **STEPS, most=most)
    assert capped == pytest.approx(birth_death_latency_s(rate_rps, most), rel=1e-9)


def test_a_cap_of_one_is_mm1_and_a_cap_that_is_never_met_changes_nothing():
    one_s = STEPS["mean_tokens"] * (STEPS["fixed_s"] + STEPS["per_request_s"])
    one = queues.processor_sharing_latency_s(0.05, **STEPS, most=1)
    assert one == pytest.approx(queues.mm1_latency_s(0.05, one_s), rel=1e-12)
    free = queues.processor_sharing_latency_s(9.9, **STEPS)
    assert queues.processor_sharing_latency_s(9.9, **STEPS, most=10**6) == pytest.approx(free, rel=1e-9)
