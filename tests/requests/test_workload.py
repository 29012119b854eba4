"""Workloads: the original's recipe to the last bit, arrival processes and lengths against their closed forms."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from simlib.checks import InputError
from simlib.requests.arrivals import AllAtOnce, GammaArrivals, OnOff, Poisson
from simlib.requests.lengths import Empirical, Exponential, Fixed, LogNormal, Mixture, Uniform
from simlib.requests.predictors import MultiplicativeNoise, OriginalFormula
from simlib.requests.workload import generate, original

# Normal quantile of a two-sided false-alarm probability of one in a million, for each single comparison.
Z = stats.norm.isf(0.5e-6)

ARRIVALS = [
    Poisson(50.0),
    GammaArrivals(2.0, cv=0.5),
    GammaArrivals(2.0, cv=3.0),
    OnOff(),
    OnOff(on_rate_rps=1.0, on_median_s=0.2, on_sigma=1.0),
    AllAtOnce(),
]
LENGTHS = [
    Fixed(100),
    Uniform(1, 20),
    Exponential(3.0),
    Exponential(50.0, low=10, high=80),
    LogNormal(120.0, 0.8),
    LogNormal(120.0, 1.5, low=50, high=300),
    LogNormal(0.4, 0.5, low=0),
    Mixture([Uniform(16, 127), LogNormal(300.0, 0.5), Fixed(2048)], [6, 3, 1]),
    Mixture([Mixture([Fixed(1), Fixed(2)], [1, 1]), Fixed(9)], [0.5, 0.0]),
    Empirical([18, 230, 276, 647]),
]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


# The original's recipe


def test_the_recipe_equals_the_recorded_table_to_the_last_bit(data_dir):
    path = data_dir / "reference-runs" / "poisson50_s42.table.csv"
    _, arrival_s, prompt, output, predicted = np.loadtxt(path, delimiter=",", skiprows=1, unpack=True)
    table = original(1000, seed=42, rate_rps=50.0)
    assert len(arrival_s) == 1000
    assert (table.arrival_s == arrival_s).all()
    assert (table.prompt_tokens == prompt).all()
    assert (table.output_tokens == output).all()
    assert (table.predicted_output_tokens == predicted).all()


def test_the_recipe_gives_the_published_first_requests():
    table = original(2, seed=42)
    assert table.arrival_s.round(6).tolist() == [0.009385, 0.069588]
    assert table.prompt_tokens.tolist() == [84, 42]
    assert table.output_tokens.tolist() == [57, 206]
    assert table.predicted_output_tokens.tolist() == [35, 20]


def test_the_recipe_gives_the_published_bin_bounds():
    quantiles = np.quantile(original(1000, seed=42).predicted_output_tokens, [0.0, 0.25, 0.5, 0.75])
    assert quantiles.astype(int).tolist() == [9, 28, 41, 88]


def test_the_recipe_s_predictions_follow_the_prompt_and_not_the_output():
    table = original(20_000, seed=42)
    predicted = table.predicted_output_tokens
    assert round(stats.spearmanr(predicted, table.output_tokens).statistic, 2) == 0.43
    assert round(stats.spearmanr(predicted, table.prompt_tokens).statistic, 2) == 0.99
    assert round(predicted.mean()) == 65
    assert round(table.output_tokens.mean()) == 140


def static_fifo_violation_share(table, gpus, alpha_s, beta_s_per_token, gamma):
    """Batches of up to 8 in order of arrival, each on the GPU that is free first; deadline 1 s."""
    total = table.prompt_tokens + table.output_tokens
    free_s, late, head = [0.0] * gpus, 0, 0
    while head < len(table):
        gpu = free_s.index(min(free_s))
        start_s = max(free_s[gpu], table.arrival_s[head])
        size = min(8, np.searchsorted(table.arrival_s, start_s, side="right") - head)
        longest = total[head : head + size].max()
        free_s[gpu] = start_s + alpha_s + beta_s_per_token * longest * (1 + gamma * (size - 1) / size)
        late += (free_s[gpu] > table.arrival_s[head : head + size] + 1.0).sum()
        head += size
    return late / len(table)


@pytest.mark.parametrize(
    ("arrivals", "gpus", "latency", "published"),
    [
        ("poisson", 2, (0.010, 0.0002, 0.3), 0.433),
        ("poisson", 2, (0.015, 0.0003, 0.4), 0.965),
        ("on_off", 1, (0.010, 0.0002, 0.3), 0.962),
        ("on_off", 1, (0.015, 0.0003, 0.4), 0.983),
    ],
)
def test_the_recipe_gives_the_published_violations_of_static_batches(arrivals, gpus, latency, published):
    table = original(1000, seed=42, arrivals=arrivals)
    assert static_fifo_violation_share(table, gpus, *latency) == published


def test_the_recipe_s_on_off_rate_is_about_25_per_second():
    # Error probability 1e-6: renewal theory, a cycle being OFF, ON and the gap that overshoots.
    times = original(100_000, seed=7, arrivals="on_off").arrival_s
    expected, sd = on_off_rate(OnOff(), len(times), overshoot_s=0.01)
    assert 24.6 < expected < 24.8
    assert abs(len(times) / times[-1] - expected) < Z * sd


def test_the_recipe_loses_the_gap_that_leaves_an_on_period_but_not_its_time():
    legacy = np.random.RandomState(42)
    clock_s = legacy.lognormal(math.log(5.0), 0.8)
    end_s = clock_s + legacy.lognormal(math.log(2.0), 0.5)
    gaps = 0
    while clock_s <= end_s:
        clock_s += legacy.exponential(0.01)
        gaps += 1
    second_off_s = clock_s + legacy.lognormal(math.log(5.0), 0.8)
    legacy.lognormal(math.log(2.0), 0.5)
    times = original(1000, seed=42, arrivals="on_off").arrival_s
    assert gaps > 10
    assert times[gaps - 2] <= end_s
    assert times[gaps - 1] == second_off_s + legacy.exponential(0.01)


@pytest.mark.parametrize("arrivals", ["poisson", "on_off"])
def test_the_recipe_s_first_requests_do_not_depend_on_how_many_follow(arrivals):
    few, many = original(60, arrivals=arrivals), original(900, arrivals=arrivals)
    for column in ("arrival_s", "prompt_tokens", "output_tokens", "predicted_output_tokens"):
        assert (getattr(few, column) == getattr(many, column)[:60]).all()


def test_the_recipe_s_rate_only_scales_time():
    # The gaps are drawn with their mean, so the last bit of a sum may differ.
    slow, fast = original(500, rate_rps=25.0), original(500, rate_rps=100.0)
    assert np.allclose(slow.arrival_s, 4.0 * fast.arrival_s, rtol=1e-13, atol=0.0)
    assert (slow.output_tokens == fast.output_tokens).all()


# Arrival processes


@pytest.mark.parametrize(("process", "cv"), [(Poisson(50.0), 1.0)] + [(GammaArrivals(3.0, c), c) for c in (0.3, 1, 3)])
def test_renewal_arrivals_have_their_rate_and_coefficient_of_variation(process, cv):
    # Error probability 1e-6 each: mean and CV of n Gamma gaps are normal with sd cv / sqrt(n) (relative) and
    # cv sqrt((1 + cv^2) / 2n), to first order in 1/n.
    n = 200_000
    gaps = np.diff(process.sample(n, rng()), prepend=0.0)
    assert abs(gaps.mean() * process.rate_rps - 1.0) < Z * cv / math.sqrt(n)
    assert abs(gaps.std() / gaps.mean() - cv) < Z * cv * math.sqrt((1 + cv**2) / (2 * n))


def on_off_moments(process):
    """Means and variances of the ON and the OFF period."""
    for median, sigma in ((process.on_median_s, process.on_sigma), (process.off_median_s, process.off_sigma)):
        mean = median * math.exp(sigma**2 / 2)
        yield mean, mean**2 * math.expm1(sigma**2)


def on_off_rate(process, n, overshoot_s=0.0):
    """Long-run rate and the sd of n over the n-th arrival time (renewal-reward theorem and its central limit)."""
    (on, on_var), (off, off_var) = on_off_moments(process)
    peak = process.on_rate_rps
    rate = peak * on / (on + off + overshoot_s)
    cycle_var = peak * on + (peak - rate) ** 2 * on_var + rate**2 * (off_var + overshoot_s**2)
    return rate, rate * math.sqrt(cycle_var / (n * peak * on))


def on_off_gap_cv(process):
    """Coefficient of variation of the gaps: an exponential ON-time, and an OFF period for each cycle that it ends."""
    (on, _), (off, off_var) = on_off_moments(process)
    peak = process.on_rate_rps
    law = stats.lognorm(s=process.on_sigma, scale=process.on_median_s)
    empty = integrate.quad(lambda z: stats.norm.pdf(z) * math.exp(-peak * law.ppf(stats.norm.cdf(z))), -8, 8)[0]
    ended = 1.0 / (peak * on)
    ended_squared = ended * (1 + empty) / (1 - empty)
    square = 2 / peak**2 + 4 * off / (peak**2 * on) + ended * off_var + ended_squared * off**2
    mean = 1 / process.rate_rps
    return math.sqrt(square - mean**2) / mean


@pytest.mark.parametrize("process", [OnOff(), OnOff(2.0, 1.0, 0.5, on_sigma=0.8, off_sigma=0.3)])
def test_on_off_arrivals_have_their_rate_and_coefficient_of_variation(process):
    n = 1_000_000
    times = process.sample(n, rng(5))
    expected, sd = on_off_rate(process, n)
    assert process.rate_rps == pytest.approx(expected, rel=1e-12)
    assert abs(n / times[-1] - expected) < Z * sd  # error probability 1e-6
    # The CV's standard error is a jackknife over 20 stretches of the run; error probability 1e-4 (t, 19 degrees).
    gaps = np.diff(times, prepend=0.0)
    stretches = gaps.reshape(20, -1)
    without = [np.delete(stretches, i, axis=0) for i in range(20)]
    leave_one_out = np.array([part.std() / part.mean() for part in without])
    sd = math.sqrt(19 * leave_one_out.var())
    assert abs(gaps.std() / gaps.mean() - on_off_gap_cv(process)) < stats.t.isf(0.5e-4, 19) * sd
    assert sd < 0.05 * on_off_gap_cv(process)  # or the line above would say nothing


def test_constant_on_off_periods_are_kept_exactly():
    times = OnOff(100.0, on_median_s=2.0, off_median_s=5.0, on_sigma=0.0, off_sigma=0.0).sample(5000, rng())
    phase = times % 7.0
    assert times[-1] > 100.0
    assert phase.min() >= 5.0 - 1e-9


@pytest.mark.parametrize("make", [Poisson, lambda rate: GammaArrivals(rate, cv=2.0)])
def test_two_rates_with_the_same_stream_share_their_randomness(make):
    slow, fast = make(1.0).sample(1000, rng()), make(2.0).sample(1000, rng())
    assert (fast == slow / 2.0).all()


def test_two_in_on_rates_with_the_same_stream_share_their_periods():
    # At twice the rate, request 2i + 1 has the ON-time of no other, but the OFF time before it can only shrink.
    slow, fast = OnOff(50.0).sample(2000, rng()), OnOff(100.0).sample(2000, rng())
    on_time_s = np.cumsum(rng().spawn(2)[0].standard_exponential(2000))
    off_slow, off_fast = np.unique((slow - on_time_s / 50.0).round(6)), np.unique((fast - on_time_s / 100.0).round(6))
    assert len(off_fast) > 3
    assert set(off_fast) <= set(off_slow)


def test_gamma_arrivals_of_cv_one_are_poisson_arrivals():
    assert (GammaArrivals(5.0, cv=1.0).sample(100, rng()) == Poisson(5.0).sample(100, rng())).all()


def test_simultaneous_arrivals_are_all_at_zero():
    table = generate(5, AllAtOnce(), Fixed(10), Fixed(10))
    assert table.arrival_s.tolist() == [0.0] * 5


@pytest.mark.parametrize("process", ARRIVALS, ids=repr)
def test_arrivals_are_ascending_and_the_first_do_not_depend_on_how_many_follow(process):
    few, many = process.sample(100, rng()), process.sample(5000, rng())
    assert few.shape == (100,)
    assert np.isfinite(many).all()
    assert (np.diff(many) >= 0).all()
    assert (few == many[:100]).all()


# Length distributions


@pytest.mark.parametrize("lengths", LENGTHS, ids=repr)
def test_lengths_are_integers_with_the_stated_mean(lengths):
    # Error probability 1e-6 each.
    n = 200_000
    draws = lengths.sample(n, rng())
    assert draws.dtype == np.int64
    assert draws.min() >= 0
    assert abs(draws.mean() - lengths.mean_tokens) <= Z * draws.std() / math.sqrt(n) + 1e-9


@pytest.mark.parametrize("lengths", LENGTHS, ids=repr)
def test_the_first_lengths_do_not_depend_on_how_many_follow(lengths):
    assert (lengths.sample(100, rng()) == lengths.sample(5000, rng())[:100]).all()


def test_uniform_lengths_take_every_value_equally_often():
    counts = np.bincount(Uniform(1, 20).sample(20_000, rng()))
    assert len(counts) == 21
    assert counts[0] == 0
    assert stats.chisquare(counts[1:]).pvalue > 1e-4  # error probability 1e-4


def test_log_normal_lengths_have_their_median_and_sigma():
    # Error probability 1e-4, and rounding moves no length of this size by more than 0.005 %.
    draws = LogNormal(100_000.0, 0.5, high=10_000_000).sample(5000, rng())
    assert stats.kstest(np.log(draws), stats.norm(math.log(100_000.0), 0.5).cdf).pvalue > 1e-4


def test_cutting_keeps_log_normal_lengths_between_low_and_high():
    draws = LogNormal(120.0, 1.5, low=50, high=300).sample(10_000, rng())
    assert (draws.min(), draws.max()) == (50, 300)


def test_a_mixture_takes_its_parts_in_proportion_to_their_weights():
    draws = Mixture([Fixed(10), Fixed(20), Fixed(30)], [6, 0, 2]).sample(40_000, rng())
    counts = np.bincount(draws, minlength=31)
    assert counts[20] == 0
    assert counts[10] + counts[30] == 40_000
    assert stats.binomtest(int(counts[10]), 40_000, 0.75).pvalue > 1e-4  # error probability 1e-4


def test_empirical_lengths_are_the_measured_ones_and_nothing_changes_them_afterwards():
    measured = np.array([18, 230, 276])
    lengths = Empirical(measured)
    measured[:] = 0
    draws = lengths.sample(9000, rng())
    values, counts = np.unique(draws, return_counts=True)
    assert values.tolist() == [18, 230, 276]
    assert stats.chisquare(counts).pvalue > 1e-4  # error probability 1e-4


# One table from all parts


def test_a_predictor_changes_neither_arrivals_nor_lengths():
    parts = (Poisson(50.0), Uniform(16, 512), LogNormal(120.0, 0.8))
    without, with_one = generate(500, *parts), generate(500, *parts, OriginalFormula())
    another = generate(500, *parts, MultiplicativeNoise(0.5))
    assert without.predicted_output_tokens is None
    assert (with_one.predicted_output_tokens != another.predicted_output_tokens).any()
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        assert (getattr(without, column) == getattr(with_one, column)).all()
        assert (getattr(without, column) == getattr(another, column)).all()


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        ({"arrivals": OnOff()}, "arrival_s"),
        ({"prompt": Mixture([Fixed(1), Uniform(1, 9)], [1, 1])}, "prompt_tokens"),
        ({"output": Mixture([Fixed(1), Uniform(1, 9)], [1, 1])}, "output_tokens"),
    ],
)
def test_another_part_leaves_the_other_columns_alone(other, changed):
    parts = {"arrivals": Poisson(50.0), "prompt": Uniform(16, 512), "output": Uniform(16, 512)}
    before, after = generate(300, **parts), generate(300, **{**parts, **other})
    for column in ("arrival_s", "prompt_tokens", "output_tokens"):
        same = (getattr(before, column) == getattr(after, column)).all()
        assert same == (column != changed)


def test_prompts_and_outputs_of_the_same_distribution_are_independent():
    # Error probability 1e-6: Spearman's correlation of independent columns has sd 1 / sqrt(n - 1).
    table = generate(10_000, Poisson(50.0), Uniform(16, 5000), Uniform(16, 5000))
    correlation = stats.spearmanr(table.prompt_tokens, table.output_tokens).statistic
    assert abs(correlation) < Z / math.sqrt(9999)


def test_family_and_replication_decide_the_requests():
    def arrivals(**key):
        return generate(50, Poisson(50.0), Fixed(10), Fixed(10), **key).arrival_s

    assert (arrivals() == arrivals(family="synthetic", replication=0)).all()
    assert (arrivals() != arrivals(replication=1)).all()
    assert (arrivals() != arrivals(family="other")).all()


# Bad input

GOOD = {"n": 10, "arrivals": Poisson(1.0), "prompt": Fixed(5), "output": Fixed(5)}


class UnsortedArrivals:
    rate_rps = 1.0

    def sample(self, n, rng):
        return np.arange(n)[::-1].astype(float)


BAD_NUMBERS = [math.nan, math.inf, -math.inf, "2", None, True, [1.0], 1j]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: original(0), "n: 0"),
        (lambda: original(-1), "n: -1"),
        (lambda: original(1.5), "n: 1.5"),
        (lambda: original(10**9), "n: 1000000000"),
        (lambda: original(5, seed=-1), "seed: -1"),
        (lambda: original(5, seed=2**32 - 2), "seed: 4294967294"),
        (lambda: original(5, seed=None), "seed: None"),
        (lambda: original(5, rate_rps=0), "rate_rps: 0"),
        (lambda: original(5, rate_rps=-50.0), "rate_rps: -50"),
        (lambda: original(5, rate_rps=1e-300), "rate_rps: 1e-300"),
        (lambda: original(5, arrivals="onoff"), "arrivals: 'onoff'.*did you mean 'on_off'"),
        (lambda: original(5, arrivals=Poisson(1.0)), "arrivals: "),
        (lambda: original(5, rate_rps=20.0, arrivals="on_off"), "rate_rps: 20 .*ON/OFF"),
        (lambda: generate(**{**GOOD, "n": 0}), "n: 0"),
        (lambda: generate(**{**GOOD, "n": math.nan}), "n: nan"),
        (lambda: generate(**{**GOOD, "arrivals": "poisson"}), "arrivals: 'poisson'"),
        (lambda: generate(**{**GOOD, "arrivals": Poisson}), "arrivals: <class"),
        (lambda: generate(**{**GOOD, "arrivals": Fixed(5)}), "arrivals: Fixed"),
        (lambda: generate(**{**GOOD, "arrivals": UnsortedArrivals()}), "arrival_s, row 1: "),
        (lambda: generate(**{**GOOD, "prompt": 5}), "prompt: 5"),
        (lambda: generate(**{**GOOD, "prompt": Poisson(1.0)}), "prompt: Poisson"),
        (lambda: generate(**{**GOOD, "output": None}), "output: None"),
        (lambda: generate(**{**GOOD, "output": Fixed}), "output: <class"),
        (lambda: generate(**GOOD, predictor="oracle"), "predictor: 'oracle'"),
        (lambda: generate(**GOOD, predictor=OriginalFormula), "predictor: <class"),
        (lambda: generate(**GOOD, family=""), "family"),
        (lambda: generate(**GOOD, replication=-1), "replication: -1"),
        (lambda: Poisson(0.0), "rate_rps: 0"),
        (lambda: Poisson(-1.0), "rate_rps: -1"),
        (lambda: Poisson(1e10), "rate_rps: 1"),
        (lambda: GammaArrivals(0.0, 1.0), "rate_rps: 0"),
        (lambda: GammaArrivals(1.0, 0.0), "cv: 0"),
        (lambda: GammaArrivals(1.0, 101.0), "cv: 101"),
        (lambda: OnOff(on_rate_rps=0.0), "on_rate_rps: 0"),
        (lambda: OnOff(on_median_s=0.0), "on_median_s: 0"),
        (lambda: OnOff(off_median_s=-5.0), "off_median_s: -5"),
        (lambda: OnOff(on_sigma=-0.1), "on_sigma: -0.1"),
        (lambda: OnOff(off_sigma=4.0), "off_sigma: 4"),
        (lambda: OnOff(on_rate_rps=1.0, on_median_s=0.001), "on_median_s x on_rate_rps: 0.001"),
        (lambda: Fixed(-1), "tokens: -1"),
        (lambda: Fixed(1.5), "tokens: 1.5"),
        (lambda: Uniform(-1, 5), "low: -1"),
        (lambda: Uniform(5, 4), "high: 4"),
        (lambda: Uniform(1, 20_000_000), "high: 20000000"),
        (lambda: LogNormal(0.0, 1.0), "median_tokens: 0"),
        (lambda: LogNormal(100.0, 0.0), "sigma: 0"),
        (lambda: LogNormal(100.0, 6.0), "sigma: 6"),
        (lambda: LogNormal(100.0, 1.0, low=-1), "low: -1"),
        (lambda: LogNormal(100.0, 1.0, low=10, high=9), "high: 9"),
        (lambda: Mixture([], []), "weights: .*positive"),
        (lambda: Mixture([Fixed(1)], [0.0]), "weights: .*positive"),
        (lambda: Mixture([Fixed(1)], [1.0, 1.0]), "weights: 2 of them"),
        (lambda: Mixture([Fixed(1)], [-1.0]), "weights, weight 0: -1"),
        (lambda: Mixture([Fixed(1), 7], [1, 1]), "parts, part 1: 7"),
        (lambda: Mixture(Fixed(1), [1]), "parts: Fixed"),
        (lambda: Mixture([Fixed(1)], 1.0), "weights: 1"),
        (lambda: Empirical([]), "values: "),
        (lambda: Empirical(5), "values: "),
        (lambda: Empirical([[1, 2]]), "values: "),
        (lambda: Empirical([[1], [2, 3]]), "values: "),
        (lambda: Empirical("many"), "values: "),
        (lambda: Empirical([1, 2, -3]), "values, row 2: -3"),
        (lambda: Empirical([1, 2.5]), "values, row 1: 2.5"),
        (lambda: Empirical([math.nan]), "values, row 0: nan"),
        (lambda: Empirical([math.inf]), "values, row 0: inf"),
        *[(lambda bad=bad: Poisson(bad), "rate_rps: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: GammaArrivals(1.0, bad), "cv: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: LogNormal(bad, 1.0), "median_tokens: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: LogNormal(100.0, bad), "sigma: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: OnOff(on_median_s=bad), "on_median_s: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: Fixed(bad), "tokens: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: Uniform(1, bad), "high: ") for bad in BAD_NUMBERS],
        *[(lambda bad=bad: original(3, rate_rps=bad), "rate_rps: ") for bad in BAD_NUMBERS],
    ],
)
def test_bad_arguments_are_refused_by_name_and_value(call, named):
    with pytest.raises(InputError, match=named):
        call()


@pytest.mark.parametrize("part", [*ARRIVALS, *LENGTHS], ids=repr)
def test_sampling_refuses_a_bad_count_or_generator(part):
    with pytest.raises(InputError, match="n: 0"):
        part.sample(0, rng())
    with pytest.raises(InputError, match=r"n: 2\.5"):
        part.sample(2.5, rng())
    with pytest.raises(InputError, match="rng: 42"):
        part.sample(3, 42)
    with pytest.raises(InputError, match="rng: None"):
        part.sample(3, None)


def test_a_workload_is_made_without_the_mean_of_its_lengths():
    class Costly:
        @property
        def mean_tokens(self):
            raise AssertionError("nobody asked for it")

        def sample(self, n, rng):
            return np.full(n, 7)

    table = generate(3, Poisson(1.0), Costly(), Mixture([Costly()], [1.0]))
    assert table.prompt_tokens.tolist() == table.output_tokens.tolist() == [7, 7, 7]
