"""Closed forms: their tabulated values, their limits, and small simulations that know nothing of the formulas."""

import math
from fractions import Fraction

import numpy as np
import pytest

from simlib import theory
from simlib.checks import InputError

UNIFORM_STD_S = 19 / math.sqrt(12)  # of service times uniform from 1 to 20 s, mean 10.5 s
PAPER = {"low_s": 1.0, "high_s": 20.0, "batch_size": 128}  # the multi-bin paper's setting


def printed(value, decimals):
    """Within half a unit of the last digit that the table prints."""
    return pytest.approx(value, rel=0, abs=0.5000001 * 10.0**-decimals)


def test_mm1_latency_of_half_load_is_twice_the_service_time():
    assert theory.mm1_latency_s(rate_rps=0.5, service_mean_s=1.0) == 2.0


@pytest.mark.parametrize(("rate_rps", "latency_s"), [(0.03, 13.573), (0.06, 21.878), (0.08, 45.583)])
def test_mg1_latency_of_uniform_times_is_the_tabulated_one(rate_rps, latency_s):
    assert theory.mg1_latency_s(rate_rps, 10.5, UNIFORM_STD_S) == printed(latency_s, 3)


def test_mg1_contains_md1_and_mm1():
    waiting_md1_s = 0.8 * 2.0 / (2 * (1 - 0.8))
    assert theory.mg1_latency_s(0.4, 2.0, 0.0) == pytest.approx(2.0 + waiting_md1_s)
    assert theory.mg1_latency_s(0.4, 2.0, 2.0) == pytest.approx(theory.mm1_latency_s(0.4, 2.0))


def test_erlang_c_is_the_tabulated_one():
    assert theory.mmc_waiting_share(6.0, 1.0, servers=8) == printed(0.35698, 5)
    assert theory.mmc_latency_s(6.0, 1.0, servers=8) == printed(1.17849, 5)


def test_erlang_c_equals_its_textbook_sum_in_exact_fractions():
    offered, servers = Fraction(6), 8
    terms = [offered**j / math.factorial(j) for j in range(servers)]
    last = offered**servers / math.factorial(servers) * Fraction(servers) / (servers - offered)
    assert theory.mmc_waiting_share(6.0, 1.0, servers) == pytest.approx(float(last / (sum(terms) + last)), rel=1e-13)


def test_one_server_of_mmc_is_mm1_and_a_thousand_do_not_overflow():
    assert theory.mmc_latency_s(0.9, 1.0, servers=1) == pytest.approx(theory.mm1_latency_s(0.9, 1.0))
    assert theory.mmc_waiting_share(0.9, 1.0, servers=1) == pytest.approx(0.9)
    assert 0 < theory.mmc_waiting_share(990.0, 1.0, servers=1000) < 1


def test_full_batches_give_the_tabulated_root_and_latency():
    assert theory.full_batch_waiting_share(2.0, 1.0, batch_size=4) == printed(0.30193, 5)
    assert theory.full_batch_latency_s(2.0, 1.0, batch_size=4) == printed(2.18252, 5)


def test_greedy_batches_give_the_tabulated_root_idle_share_and_latency():
    idle = theory.greedy_batch_idle_share(2.0, 1.0, batch_size=4)
    assert idle == printed(0.114546, 6)
    root = 1 - 2.0 / (1 / idle - 1)  # from P(idle) = 1 / (1 + (lambda/mu) / (1 - r))
    assert root == printed(0.741271, 6)
    assert theory.greedy_batch_latency_s(2.0, 1.0, batch_size=4) == printed(2.268433, 6)


@pytest.mark.parametrize("load", [1e-6, 0.01, 0.5, 0.9, 0.999, 1 - 1e-6])
@pytest.mark.parametrize("batch_mean_s", [0.01, 1.0, 300.0])
def test_batches_of_one_are_mm1_at_every_load(load, batch_mean_s):
    mm1 = pytest.approx(theory.mm1_latency_s(load / batch_mean_s, batch_mean_s), rel=1e-8)
    assert theory.full_batch_latency_s(load / batch_mean_s, batch_mean_s, 1) == mm1
    assert theory.greedy_batch_latency_s(load / batch_mean_s, batch_mean_s, 1) == mm1
    assert theory.greedy_batch_idle_share(load / batch_mean_s, batch_mean_s, 1) == pytest.approx(1 - load, abs=1e-9)


@pytest.mark.parametrize("batch_size", [2, 8, 128, 10**6])
@pytest.mark.parametrize("load", [1e-6, 0.3, 0.95, 1 - 1e-7])
def test_batch_roots_satisfy_their_equations(batch_size, load):
    rate = load * batch_size
    sigma = theory.full_batch_waiting_share(rate, 1.0, batch_size)
    assert 0 <= sigma < 1
    if sigma > 1e-300:
        log_right = -batch_size * math.log1p((1 - sigma) / rate)
        assert math.log(sigma) == pytest.approx(log_right, rel=1e-6)
    rest = rate / (1 / theory.greedy_batch_idle_share(rate, 1.0, batch_size) - 1)  # 1 - r
    powers = (1 - rest) * -math.expm1(batch_size * math.log1p(-rest)) / rest  # r + ... + r^b
    assert powers == pytest.approx(rate, rel=1e-6, abs=1e-9)


def test_near_saturation_batch_latencies_follow_heavy_traffic_theory():
    # Kingman's limit for E_B/M/1: waiting (1 + 1/B) / (2 (1 - rho)) mean batch times, exact as rho goes to 1.
    gap, size = 1e-5, 8
    rate = (1 - gap) * size
    full = theory.full_batch_latency_s(rate, 1.0, size)
    assert full * gap == pytest.approx((1 + 1 / size) / 2, rel=1e-4)
    # The greedy server is then always full, so that both queues differ by a bounded time.
    assert theory.greedy_batch_latency_s(rate, 1.0, size) / full == pytest.approx(1.0, rel=1e-4)


def test_greedy_beats_full_batches_when_requests_are_few_and_both_serve_at_least_one_batch_time():
    light = (0.1, 1.0, 4)
    assert 1.0 < theory.greedy_batch_latency_s(*light) < theory.full_batch_latency_s(*light)
    heavy = (3.9, 1.0, 4)
    assert 1.0 < theory.full_batch_latency_s(*heavy) < theory.greedy_batch_latency_s(*heavy)


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
    formula = theory.greedy_batch_latency_s if greedy else theory.full_batch_latency_s
    runs = [simulated_latency_s(np.random.default_rng([17, r]), 2.0, 4, greedy, 20_000) for r in range(10)]
    error = np.mean(runs) - formula(2.0, 1.0, 4)
    assert abs(error) < 4.781 * np.std(runs, ddof=1) / math.sqrt(10)
    assert abs(error) < 0.02 * formula(2.0, 1.0, 4)  # and the bound is narrow enough to mean something


def test_maxima_are_the_tabulated_ones():
    assert theory.uniform_max_s(1.0, 20.0, batch_size=128) == printed(19.8527, 4)
    assert theory.exponential_max_s(1.0, batch_size=200) == printed(5.87803, 5)
    assert theory.exponential_max_s(10.0, batch_size=200) == printed(58.7803, 4)


@pytest.mark.parametrize("batch_size", [1, 2, 7, 100])
def test_exponential_maximum_is_the_harmonic_sum(batch_size):
    harmonic = math.fsum(1 / j for j in range(1, batch_size + 1))
    assert theory.exponential_max_s(3.0, batch_size) == pytest.approx(3.0 * harmonic, rel=1e-13)


def test_maximum_of_draws_from_a_sample_equals_the_mean_over_all_draws():
    sample = [5.0, 1.0, 2.0, 2.0]
    triples = [max(a, b, c) for a in sample for b in sample for c in sample]
    assert theory.sample_max_s(sample, batch_size=3) == pytest.approx(np.mean(triples), rel=1e-13)


def test_maximum_of_draws_has_its_limits():
    sample = np.random.default_rng(3).uniform(1.0, 20.0, 1000)
    assert theory.sample_max_s(sample, 1) == pytest.approx(sample.mean())
    assert theory.sample_max_s(sample, 10**9) == pytest.approx(sample.max())
    assert theory.sample_max_s([0.1] * 7, 5) == 0.1
    assert theory.sample_max_s(np.array([4], dtype=np.uint8), 3) == 4.0


def test_maximum_of_draws_from_an_even_grid_is_the_uniform_one():
    grid = 1 + 19 * (np.arange(100_000) + 0.5) / 100_000
    assert theory.sample_max_s(grid, 128) == pytest.approx(theory.uniform_max_s(1.0, 20.0, 128), abs=1e-3)


BATCH_TIMES_S = [(1, 19.8527), (2, 15.1764), (3, 13.6176), (4, 12.8382), (5, 12.3705), (8, 11.6691)]
THROUGHPUTS_RPS = {1: 6.4475, 2: 8.4342, 3: 9.3996, 4: 9.9703, 5: 10.3472, 8: 10.9692, 16: 11.5476, 32: 11.8603}
LATENCIES_S = [
    *[(1, 4, 35.728), (1, 6, 30.436), (1, 10, 26.203)],
    *[(2, 4, 46.926), (2, 6, 36.343), (2, 8, 31.051)],
    *[(3, 4, 61.243), (3, 6, 45.368), (3, 8, 37.430), (3, 12, 29.493)],
]


@pytest.mark.parametrize(("k_bins", "batch_s"), BATCH_TIMES_S)
def test_theorem_4_2_mean_batch_time(k_bins, batch_s):
    assert theory.multi_bin_batch_s(**PAPER, k_bins=k_bins) == printed(batch_s, 4)


@pytest.mark.parametrize(("k_bins", "throughput_rps"), THROUGHPUTS_RPS.items())
def test_theorem_4_2_throughput(k_bins, throughput_rps):
    assert theory.multi_bin_throughput_rps(**PAPER, k_bins=k_bins) == printed(throughput_rps, 4)


def test_remark_4_3_limit_is_12_19_and_not_the_12_3_that_the_paper_prints():
    limit = theory.multi_bin_throughput_limit_rps(**PAPER)
    assert limit == printed(12.1905, 4)
    assert abs(limit - 12.3) > 0.1
    assert theory.multi_bin_throughput_rps(**PAPER, k_bins=5) / limit == printed(0.849, 3)
    assert theory.multi_bin_throughput_rps(**PAPER, k_bins=10**9) == pytest.approx(limit)


@pytest.mark.parametrize(("shortfall_rps", "bins"), [(1.0, 10), (0.5, 21), (0.1, 108)])
def test_theorem_4_3_bins_needed(shortfall_rps, bins):
    assert theory.bins_needed(**PAPER, shortfall_rps=shortfall_rps) == bins


@pytest.mark.parametrize("shortfall_rps", [12.0, 6.0, 3.0, 1.0, 0.3, 0.01])
def test_the_bins_needed_suffice_and_one_fewer_does_not(shortfall_rps):
    bins = theory.bins_needed(**PAPER, shortfall_rps=shortfall_rps)
    wanted = theory.multi_bin_throughput_limit_rps(**PAPER) - shortfall_rps
    assert theory.multi_bin_throughput_rps(**PAPER, k_bins=bins) >= wanted
    assert bins == 1 or theory.multi_bin_throughput_rps(**PAPER, k_bins=bins - 1) < wanted


def test_the_throughput_of_k_bins_needs_k_bins():
    # The shortfall is then a hair above or below a whole number of bins, by rounding alone.
    for bins in range(2, 60):
        shortfall = theory.multi_bin_throughput_limit_rps(**PAPER) - theory.multi_bin_throughput_rps(
            **PAPER, k_bins=bins
        )
        assert theory.bins_needed(**PAPER, shortfall_rps=shortfall) == bins


def test_nothing_to_gain_needs_one_bin():
    assert theory.bins_needed(1.0, 20.0, batch_size=1, shortfall_rps=1e-10) == 1
    assert theory.bins_needed(7.0, 7.0, batch_size=128, shortfall_rps=1e-6) == 1


@pytest.mark.parametrize(("k_bins", "rate_rps", "latency_s"), LATENCIES_S)
def test_lemma_5_1_latency(k_bins, rate_rps, latency_s):
    assert theory.multi_bin_latency_s(rate_rps, **PAPER, k_bins=k_bins) == printed(latency_s, 3)


def test_formation_delay_counts_the_gaps_that_a_request_waits():
    assert theory.formation_delay_s(batch_size=8, k_bins=4, rate_rps=14.0) == 1.0
    assert theory.formation_delay_s(batch_size=1, k_bins=4, rate_rps=14.0) == 0.0


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
    assert np.concatenate(waits_s).mean() == pytest.approx(theory.formation_delay_s(8, 3, 2.0), abs=0.15)


def test_numbers_of_any_kind_give_plain_floats():
    for number in (np.float32(0.5), Fraction(1, 2), 0.5):
        for value in (
            theory.mm1_latency_s(number, 1),
            theory.mg1_latency_s(number, 1, number),
            theory.full_batch_latency_s(number, 1, np.int64(4)),
            theory.greedy_batch_latency_s(number, 1, 4.0),
            theory.multi_bin_latency_s(number, number, 1, 4, 2),
            theory.sample_max_s([1, 2], 2),
        ):
            assert type(value) is float


GOOD = {
    "mm1_latency_s": {"rate_rps": 0.5, "service_mean_s": 1.0},
    "mg1_latency_s": {"rate_rps": 0.5, "service_mean_s": 1.0, "service_std_s": 1.0},
    "mmc_waiting_share": {"rate_rps": 0.5, "service_mean_s": 1.0, "servers": 2},
    "mmc_latency_s": {"rate_rps": 0.5, "service_mean_s": 1.0, "servers": 2},
    "full_batch_waiting_share": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "full_batch_latency_s": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "greedy_batch_idle_share": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "greedy_batch_latency_s": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "uniform_max_s": PAPER,
    "exponential_max_s": {"mean_s": 1.0, "batch_size": 4},
    "sample_max_s": {"sample_s": [1.0, 2.0], "batch_size": 4},
    "multi_bin_batch_s": {**PAPER, "k_bins": 2},
    "multi_bin_throughput_rps": {**PAPER, "k_bins": 2},
    "multi_bin_throughput_limit_rps": PAPER,
    "bins_needed": {**PAPER, "shortfall_rps": 1.0},
    "formation_delay_s": {"batch_size": 8, "k_bins": 4, "rate_rps": 14.0},
    "multi_bin_latency_s": {"rate_rps": 4.0, **PAPER, "k_bins": 2},
}
NEVER = [math.nan, math.inf, -math.inf, -1, "1", None, True, [1.0], 1e300]
BAD = {
    "batch_size": [*NEVER, 0, 1.5],
    "k_bins": [*NEVER, 0, 2.5],
    "servers": [*NEVER, 0, 1.5, 10**7],
    "sample_s": [math.nan, "1", None, 3.0, [], [[1.0]], [[1.0], [1.0, 2.0]], ["1"], [1.0, math.nan], [-1.0], {}],
    "low_s": [*NEVER, 21.0],
    "high_s": [*NEVER, 0, 0.5],
    "service_std_s": NEVER,
    "shortfall_rps": [*NEVER, 0, theory.multi_bin_throughput_limit_rps(**PAPER)],
}
ALWAYS_POSITIVE = [*NEVER, 0, 1e-300]


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        (name, argument, value)
        for name, good in GOOD.items()
        for argument in good
        for value in BAD.get(argument, ALWAYS_POSITIVE)
    ],
)
def test_an_argument_out_of_range_is_named(name, argument, value):
    with pytest.raises(InputError, match=f"{argument}|high_s|load"):
        getattr(theory, name)(**{**GOOD[name], argument: value})


def test_every_public_function_is_in_the_fuzz_and_runs_on_its_good_arguments():
    assert set(GOOD) == set(theory.__all__)
    for name, good in GOOD.items():
        assert math.isfinite(getattr(theory, name)(**good))


def test_the_first_bad_row_of_a_sample_is_named():
    with pytest.raises(InputError, match=r"sample_s, row 2: -3\.0"):
        theory.sample_max_s([1.0, 2.0, -3.0, -4.0], 2)


@pytest.mark.parametrize(
    "name", [name for name, good in GOOD.items() if {"service_mean_s", "batch_mean_s"} & set(good)]
)
@pytest.mark.parametrize("load", [1.0, 1.25, 1e6])
def test_an_unstable_load_is_named_with_its_value(name, load):
    good = GOOD[name]
    served = good.get("servers", good.get("batch_size", 1))
    with pytest.raises(InputError, match=rf"load rate_rps \* .*: {load:.12g} \(expected below 1"):
        getattr(theory, name)(**{**good, "rate_rps": load * served})


@pytest.mark.parametrize(("offered", "batch_size"), [(1e-18, 1), (1e-18, 10**9), (0.999e9, 10**9), (1 - 2e-9, 1)])
def test_extreme_but_stable_queues_have_finite_latencies(offered, batch_size):
    batch_s = 1e-9 if offered < 1e-9 else 1.0
    for name in ("full_batch_latency_s", "greedy_batch_latency_s"):
        latency = getattr(theory, name)(offered / batch_s, batch_s, batch_size)
        assert math.isfinite(latency)
        assert latency >= batch_s
