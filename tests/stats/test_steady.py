"""Steady state: warm-up, windows, batches and quantiles, by hand and on queues that are known."""

import math

import numpy as np
import pytest
from names import public
from scipy.signal import lfilter

from simlib.checks import InputError
from simlib.stats import steady


def autoregressive(rng, count, memory=0.9, mean=10.0):
    """Values with the given mean whose neighbours correlate by `memory`, begun in their steady state."""
    noise = rng.normal(size=count)
    noise[0] /= math.sqrt(1 - memory**2)
    return mean + lfilter([1.0], [1.0, -memory], noise)


def mser_slowly(values):
    """MSER-5 as its definition reads."""
    means = [np.mean(values[i : i + 5]) for i in range(0, len(values) // 5 * 5, 5)]
    errors = [np.var(means[cut:]) / (len(means) - cut) for cut in range(len(means) // 2 + 1)]
    return 5 * int(np.argmin(errors))


def test_truncation_is_mser_5():
    rng = np.random.default_rng(41)
    for _ in range(20):
        values = autoregressive(rng, 1003) + 30 * np.exp(-np.arange(1003) / rng.uniform(5, 60))
        assert steady.truncation(values) == mser_slowly(values)
        assert steady.truncation(1e6 + values) == mser_slowly(values)


def test_replications_are_averaged_and_the_latest_system_decides():
    rng = np.random.default_rng(42)
    decay = 30 * np.exp(-np.arange(2000) / 40)
    quick, slow = (np.array([autoregressive(rng, 2000) + factor * decay for _ in range(10)]) for factor in (0, 1))
    cuts = [steady.truncation(quick), steady.truncation(slow)]
    assert cuts[1] == mser_slowly(slow.mean(axis=0))
    assert cuts[1] > max(cuts[0], 80)
    assert steady.truncation(quick, slow) == steady.truncation(slow, quick) == cuts[1]


def test_a_run_that_never_becomes_level_is_too_short():
    with pytest.raises(InputError, match="system 1: the warm-up takes half of the 1000 requests"):
        steady.truncation(np.tile([1.0, 2.0], 500), np.arange(1000.0))


def test_a_warm_up_that_is_cut_no_longer_biases_the_mean():
    # From 30 above the mean: uncut, 2,000 values are 0.6 too high, five standard errors.
    rng = np.random.default_rng(43)
    runs = np.array([autoregressive(rng, 2000) + 30 * np.exp(-np.arange(2000) / 40) for _ in range(50)])
    error = 10 / math.sqrt(2000 * 50)  # of the mean of all: noise sums up to 1 / (1 - 0.9)
    assert abs(runs.mean() - 10.0) > 15 * error
    assert abs(runs[:, steady.truncation(runs) :].mean() - 10.0) < 4 * error


def queue(rng, requests, load=0.9):
    """Latencies of M/M/1 from empty, in mean service times: what waits is the work above its least so far."""
    service = rng.exponential(size=requests)
    work = np.cumsum(np.r_[0.0, service[:-1]] - rng.exponential(1 / load, requests))
    return service + work - np.minimum.accumulate(np.minimum(work, work[0]))


def test_memory_is_the_relaxation_time_of_a_queue_and_bounds_that_of_autoregressive_values():
    # In heavy traffic 2 (1 + c^2) / (1 - rho)^2 = 4 / 0.01. Ten runs of 1,000 memories, each estimate within some 15 %
    # of its mean; the seed is fixed.
    rng = np.random.default_rng(53)
    assert np.mean([steady.memory(queue(rng, 400_000)) for _ in range(10)]) == pytest.approx(400, rel=0.2)
    for memory in (0.5, 0.9, 0.99):  # 2 g^2 = 8 / pi variances, less the noise's part
        whole = (1 + memory) / (1 - memory)
        assert whole < steady.memory(autoregressive(rng, 400_000, memory)) < 3 * whole
    assert steady.memory(rng.normal(size=100_000)) == pytest.approx(1.0, abs=0.5)
    assert steady.memory(np.ones(500)) == 1.0


def test_what_each_request_adds_does_not_hide_what_they_share():
    rng = np.random.default_rng(54)
    shared = autoregressive(rng, 400_000, 0.999)
    whole = steady.memory(shared)
    assert steady.memory(shared + 3 * shared.std() * rng.normal(size=400_000)) > whole / 2


def test_memory_of_several_runs_is_that_of_one_as_long():
    rng = np.random.default_rng(55)
    one, many = steady.memory(queue(rng, 400_000)), steady.memory([queue(rng, 20_000)[2000:] for _ in range(40)])
    assert many == pytest.approx(one, rel=0.3)


def test_batch_means_are_t_over_the_batches_with_what_a_short_run_may_hide():
    values = np.random.default_rng(45).normal(size=20 * 5000 + 7)
    means = values[7:].reshape(20, 5000).mean(axis=1)
    found = steady.batch_means(values)
    assert (found.value, found.method, found.groups) == (pytest.approx(means.mean()), "batch_means", 20)
    half_width = 2.0930240544 * means.std(ddof=1) / math.sqrt(20)  # 97.5 % of Student's t with 19 degrees
    assert half_width < found.half_width < 1.1 * half_width


def test_runs_too_short_for_their_memory_have_no_interval_but_a_reason():
    values = autoregressive(np.random.default_rng(46), 2000, memory=0.999)
    for found in (steady.batch_means(values), steady.quantile(values, 0.5)):
        assert (found.ci_low, found.method) == (None, "none")
        assert "times as long as its memory (an interval needs 100)" in found.reason


def test_batches_that_depend_though_values_do_not_have_no_interval_but_a_reason():
    # Noise with a wave below it that no request shows: 20 batches do.
    values = 30 * np.random.default_rng(52).normal(size=200_000) + np.sin(np.arange(200_000) / 20_000)
    found = steady.batch_means(values)
    assert (found.ci_low, found.method) == (None, "none") and "depend on their neighbours" in found.reason


def test_near_saturation_a_short_run_is_refused_and_one_of_200_memories_is_not():
    # Memories of 400 requests: of 50 of them one run in 200 is given an interval, of 200 all but one in 300. Of 100
    # each, more than three exceptions have a probability of 2e-3; the seed is fixed.
    rng = np.random.default_rng(56)
    given = [
        sum(steady.quantile(queue(rng, 400 * memories), 0.99).ci_low is not None for _ in range(100))
        for memories in (50, 200)
    ]
    assert given[0] <= 3 and given[1] >= 97


def test_sectioning_is_centred_on_the_whole_run_and_batch_quantiles_on_the_sections():
    values = np.random.default_rng(48).exponential(size=200_000)
    each = np.quantile(values.reshape(10, -1), 0.9, axis=1)
    whole = np.quantile(values, 0.9)
    found, mean = steady.quantile(values, 0.9), steady.quantile(values, 0.9, method="batch_quantiles")
    assert (found.value, mean.value) == (pytest.approx(whole), pytest.approx(each.mean()))
    half_width = 2.2621571628 * math.sqrt(np.mean((each - whole) ** 2) / 9)  # t with 9 degrees
    assert half_width < found.half_width < 1.1 * half_width


def test_sections_too_short_for_their_quantile_give_a_reason():
    values = np.random.default_rng(49).exponential(size=10_000)
    assert steady.quantile(values, 0.99).reason == ""
    assert "holds 9.99 values beyond" in steady.quantile(values[10:], 0.99).reason
    assert "beyond" in steady.quantile(values, 0.001).reason


def test_intervals_of_a_dependent_run_cover_as_often_as_they_say():
    # 1,000 experiments of 8,000 values whose integrated correlation is 3: batches of 400 are 130 times as long. The
    # band is 4 binomial sd about 95 %, and as much again above, as what a short run may hide is in; the seed is fixed.
    rng = np.random.default_rng(50)
    covered = np.zeros(2)
    for _ in range(1000):
        values = autoregressive(rng, 8000, 0.5)
        found = (steady.batch_means(values), steady.quantile(values, 0.5))  # symmetric: the median is the mean
        covered += [e.ci_low is None or e.ci_low <= 10.0 <= e.ci_high for e in found]
    assert np.all(covered / 1000 >= 0.95 - 0.028) and covered[0] / 1000 <= 0.95 + 0.028


SERIES = np.random.default_rng(51).normal(size=1000)
GOOD = {
    "truncation": (SERIES,),
    "memory": (SERIES,),
    "batch_means": (SERIES,),
    "quantile": (SERIES, 0.5, "sectioning"),
}
NO_SERIES = [None, "1", 3.0, [], [[[1.0]]], [1.0, math.nan], [math.inf], ["a"]]
NO_SHARE = [0, 1, 95, math.nan, None, "0.9"]
BAD = {
    ("truncation", 0): [*NO_SERIES, SERIES[:99]],
    ("memory", 0): [*NO_SERIES, SERIES[:99]],
    ("batch_means", 0): [*NO_SERIES, SERIES[:39]],
    ("quantile", 0): [*NO_SERIES, SERIES[:19]],
    ("quantile", 1): NO_SHARE,
    ("quantile", 2): ["order_statistics", None],
}


@pytest.mark.parametrize(("name", "place", "value"), [(*key, value) for key, values in BAD.items() for value in values])
def test_a_bad_argument_is_refused(name, place, value):
    good = GOOD[name]
    getattr(steady, name)(*good)
    with pytest.raises(InputError):
        getattr(steady, name)(*good[:place], value, *good[place + 1 :])


def test_every_public_function_is_in_the_fuzz():
    assert set(GOOD) | {"hidden", "is_random", "looks_independent"} == set(public(steady))


def test_nothing_to_truncate_and_systems_of_unequal_length_are_refused():
    with pytest.raises(InputError, match="systems: none"):
        steady.truncation()
    with pytest.raises(InputError, match=r"system 1: 500 requests .expected 1000"):
        steady.truncation(SERIES, SERIES[:500])
