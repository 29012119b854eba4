"""Batch queues by exact chains: closed forms that they contain, another chain in continuous time, and known bounds."""

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.theory import batches, maxima, queues

# Nodes and weights of an exponential time of mean 1 s, and of a uniform one from 1 to 20 s.
EXPONENTIAL = np.polynomial.laguerre.laggauss(64)
NODES, WEIGHTS = np.polynomial.legendre.leggauss(40)
UNIFORM = 10.5 + 9.5 * NODES, WEIGHTS / 2


@pytest.mark.parametrize(("rate_rps", "batch_size"), [(2.0, 4), (0.5, 1), (6.0, 8)])
def test_exponential_batches_give_the_closed_forms(rate_rps, batch_size):
    greedy = batches.batch_chain(rate_rps, lambda size: EXPONENTIAL, most=batch_size)
    assert greedy.latency_mean_s == pytest.approx(queues.greedy_batch_latency_s(rate_rps, 1.0, batch_size), rel=1e-8)
    assert 1 - greedy.busy_share == pytest.approx(queues.greedy_batch_idle_share(rate_rps, 1.0, batch_size), rel=1e-8)
    full = batches.batch_chain(rate_rps, lambda size: EXPONENTIAL, batch_size, batch_size)
    assert full.latency_mean_s == pytest.approx(queues.full_batch_latency_s(rate_rps, 1.0, batch_size), rel=1e-8)
    assert full.batch_size_mean == pytest.approx(batch_size, rel=1e-12)


@pytest.mark.parametrize("rate_rps", [0.03, 0.06, 0.08])
def test_batches_of_one_give_pollaczek_khinchine(rate_rps):
    uniform = batches.batch_chain(rate_rps, lambda size: UNIFORM, most=1).latency_mean_s
    assert uniform == pytest.approx(queues.mg1_latency_s(rate_rps, 10.5, 19 / 12**0.5), rel=1e-9)
    constant = batches.batch_chain(rate_rps, lambda size: 10.5, most=1).latency_mean_s
    assert constant == pytest.approx(queues.mg1_latency_s(rate_rps, 10.5, 0.0), rel=1e-9)


def latency_of_markov_chain_s(rate_rps, mean_s, least, most, longest=200):
    """Mean latency where a batch of n takes an exponential time of mean `mean_s(n)`: states (in service, waiting)."""
    states = [(served, waiting) for served in (0, *range(least, most + 1)) for waiting in range(longest + 1)]
    number = {state: i for i, state in enumerate(s for s in states if s[0] or s[1] < least)}
    rates = np.zeros((len(number), len(number)))
    for (served, waiting), i in number.items():

        def start(queue):
            size = min(queue, most) if queue >= least else 0
            return number[size, queue - size]

        if served == 0:
            rates[i, start(waiting + 1)] += rate_rps
            continue
        if waiting < longest:
            rates[i, number[served, waiting + 1]] += rate_rps
        rates[i, start(waiting)] += 1 / mean_s(served)
    balance = (rates - np.diag(rates.sum(axis=1))).T
    balance[0] = 1
    share = np.linalg.solve(balance, np.eye(len(number))[0])
    return share @ [sum(state) for state in number] / rate_rps


@pytest.mark.parametrize(("least", "most"), [(1, 3), (2, 3), (3, 3)])
def test_batches_whose_time_grows_with_their_size_agree_with_a_chain_in_continuous_time(least, most):
    def mean_s(size):
        return 0.4 + 0.2 * size

    chain = batches.batch_chain(2.0, lambda size: (mean_s(size) * EXPONENTIAL[0], EXPONENTIAL[1]), least, most)
    assert chain.latency_mean_s == pytest.approx(latency_of_markov_chain_s(2.0, mean_s, least, most), rel=1e-8)


LENGTHS = np.random.default_rng(7).geometric(1 / 200, 500)


@pytest.mark.parametrize("rate_rps", [0.1, 0.5, 1.5])
@pytest.mark.parametrize(("least", "most"), [(1, 16), (16, 16), (5, 16), (1, None)])
def test_what_arrives_is_served(rate_rps, least, most):
    chain = batches.batch_chain(rate_rps, batches.longest_member(LENGTHS, 0.1, 0.01, 0.005), least, most)
    assert chain.busy_share / chain.batch_mean_s * chain.batch_size_mean == pytest.approx(rate_rps, rel=1e-8)
    assert least - 1e-9 <= chain.batch_size_mean <= (most or np.inf) + 1e-9
    assert chain.latency_mean_s > chain.batch_mean_s or least > 1


# Inoue's setting: a batch of n takes alpha n + tau; 18 points, from nearly idle to nearly unstable.


def take_all_bounds_s(rate_rps, alpha_s, tau_s):
    """Inoue's bounds from above (2021, arXiv 1912.06322) for a batch of n that takes alpha n + tau."""
    load, arrive = rate_rps * alpha_s, rate_rps * tau_s
    light_s = (alpha_s + tau_s) / (2 * (1 - load)) * (1 + 2 * arrive + (1 - arrive) / (1 + load))
    return light_s, 3 * tau_s / (2 * (1 - load)) + alpha_s * (load + 2) / (2 * (1 - load**2))


@pytest.mark.parametrize("alpha_s", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("tau_s", [0.1, 1.0])
@pytest.mark.parametrize("load", [0.05, 0.5, 0.9])
def test_the_bounds_on_taking_all_lie_above_the_chain(alpha_s, tau_s, load):
    light_s, heavy_s = take_all_bounds_s(load / alpha_s, alpha_s, tau_s)
    chain = batches.batch_chain(load / alpha_s, lambda size: alpha_s * size + tau_s)
    assert chain.latency_mean_s <= min(light_s, heavy_s) * (1 + 1e-9)


def test_in_heavy_load_the_second_bound_and_the_mean_batch_are_exact():
    chain = batches.batch_chain(18.0, lambda size: 0.05 * size + 0.3)
    assert chain.latency_mean_s == pytest.approx(take_all_bounds_s(18.0, 0.05, 0.3)[1], rel=1e-9)
    assert chain.batch_size_mean == pytest.approx(18.0 * 0.3 / (1 - 0.9), rel=1e-9)


def test_a_cap_that_is_never_met_takes_all():
    batch_s = batches.longest_member(LENGTHS, 0.1, 0.01, 0.005)
    capped, free = (batches.batch_chain(0.5, batch_s, most=most) for most in (200, None))
    assert capped == pytest.approx(free, rel=1e-9)


def test_full_batches_are_late_at_light_load_by_the_time_that_they_take_to_fill():
    batch_s = batches.longest_member(LENGTHS, per_token_s=0.005)
    full, greedy = (batches.batch_chain(0.01, batch_s, least, 16) for least in (16, 1))
    assert full.latency_mean_s == pytest.approx(queues.formation_delay_s(16, 1, 0.01) + full.batch_mean_s, rel=1e-9)
    assert greedy.latency_mean_s == pytest.approx(batch_s(1)[0] @ batch_s(1)[1], rel=0.02)


def test_the_longest_member_is_the_largest_of_independent_draws():
    values, shares = batches.longest_member([3, 1, 3, 8], 1.0, 0.5, 2.0, 0.25)(3)
    draws = [max(a, b, c) for a in (3, 1, 3, 8) for b in (3, 1, 3, 8) for c in (3, 1, 3, 8)]
    assert values.tolist() == [1 + 0.5 * 3 + (2 + 0.25 * 3) * length for length in (1, 3, 8)]
    assert shares == pytest.approx([draws.count(length) / 64 for length in (1, 3, 8)])
    assert values @ shares == pytest.approx(2.5 + 2.75 * maxima.bin_max_s([3, 1, 3, 8], (), 3)[0])


@pytest.mark.parametrize(
    ("batch_s", "message"),
    [
        (1.0, "batch_s: 1.0"),
        (lambda size: -1.0, r"batch_s\(4\), row 0: -1\.0"),
        (lambda size: ([1.0, 2.0], [0.5, 0.4]), r"batch_s\(4\).*with the sum 1"),
        (lambda size: ([1.0, 2.0], [1.0]), r"batch_s\(4\).*a probability for each value"),
        (lambda size: float(size), r"load rate_rps \* mean of batch_s\(4\) / 4: 2 "),
        (lambda size: 1.99999, "fewer than 2048 requests wait"),
    ],
)
def test_a_time_that_cannot_be_used_is_named(batch_s, message):
    with pytest.raises(InputError, match=message):
        batches.batch_chain(2.0, batch_s, most=4)
