"""Queues, batches, bins and maxima: every function of theirs, every argument out of range, every kind of number."""

import math
from fractions import Fraction

import numpy as np
import pytest
from names import public
from scipy import stats

from simlib.checks import InputError
from simlib.theory import batches, bins, maxima, queues

THEORY = public(batches, bins, maxima, queues)
PAPER = {"low_s": 1.0, "high_s": 20.0, "batch_size": 128}  # the multi-bin paper's setting
EXPONENTIAL, BINS = stats.expon(), {"edges_s": [1.0], "confusion": [[0.75, 0.25], [0.0, 1.0]]}


def test_numbers_of_any_kind_give_plain_floats():
    for number in (np.float32(0.5), Fraction(1, 2), 0.5):
        for value in (
            queues.mm1_latency_s(number, 1),
            queues.mg1_latency_s(number, 1, number),
            queues.full_batch_latency_s(number, 1, np.int64(4)),
            queues.greedy_batch_latency_s(number, 1, 4.0),
            bins.multi_bin_latency_s(number, number, 1, 4, 2),
            maxima.binned_batch_s([1, 2], (), 2),
        ):
            assert type(value) is float


GOOD = {
    "mm1_latency_s": {"rate_rps": 0.5, "service_mean_s": 1.0},
    "mg1_latency_s": {"rate_rps": 0.5, "service_mean_s": 1.0, "service_std_s": 1.0},
    "md1_late_share": {"rate_rps": 0.5, "service_s": 1.0, "deadline_s": 3.0},
    "mg1_priority_latencies_s": {
        **{"rates_rps": [0.2, 0.3], "service_means_s": [1.0, 0.5], "service_stds_s": [0.0, 1.0]}
    },
    "mmc_waiting_share": {"rate_rps": 0.5, "service_mean_s": 1.0, "servers": 2},
    "mmc_latency_s": {"rate_rps": 0.5, "service_mean_s": 1.0, "servers": 2},
    "full_batch_waiting_share": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "full_batch_latency_s": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "greedy_batch_idle_share": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "greedy_batch_latency_s": {"rate_rps": 0.5, "batch_mean_s": 1.0, "batch_size": 4},
    "uniform_max_s": PAPER,
    "exponential_max_s": {"mean_s": 1.0, "batch_size": 4},
    "multi_bin_batch_s": {**PAPER, "k_bins": 2},
    "multi_bin_throughput_rps": {**PAPER, "k_bins": 2},
    "multi_bin_throughput_limit_rps": PAPER,
    "bins_needed": {**PAPER, "shortfall_rps": 1.0},
    "exponential_edges_s": {"mean_s": 1.0, "k_bins": 2, "batch_size": 4},
    "exponential_bound_s": {"mean_s": 1.0, "edges_s": [1.0], "batch_size": 4},
    "bin_shares": {"times": EXPONENTIAL, **BINS},
    "bin_max_s": {"times": EXPONENTIAL, "batch_size": 4, **BINS},
    "binned_batch_s": {"times": EXPONENTIAL, "batch_size": 4, **BINS},
    "binned_throughput_rps": {"times": [1.0, 2.0], "batch_size": 4, **BINS},
    "batch_chain": {"rate_rps": 0.5, "batch_s": lambda size: 1.0, "least": 1, "most": 4},
    "processor_sharing_latency_s": {
        **{"rate_rps": 0.5, "mean_tokens": 2.0, "fixed_s": 0.5, "per_request_s": 0.1, "most": 4}
    },
    "formation_delay_s": {"batch_size": 8, "k_bins": 4, "rate_rps": 14.0},
    "multi_bin_latency_s": {"rate_rps": 4.0, **PAPER, "k_bins": 2},
}
NEVER = [math.nan, math.inf, -math.inf, -1, "1", None, True, [1.0], 1e300]
NO_TIMES = [math.nan, "1", None, 3.0, [], [[1.0]], [[1.0], [1.0, 2.0]], ["1"], [1.0, math.nan], [-1.0], {}]
BAD = {
    "batch_size": [*NEVER, 0, 1.5],
    "k_bins": [*NEVER, 0, 2.5],
    "servers": [*NEVER, 0, 1.5, 10**7],
    "sample_s": NO_TIMES,
    **{name: [*NO_TIMES, [1.0]] for name in ("rates_rps", "service_means_s", "service_stds_s")},
    "low_s": [*NEVER, 21.0],
    "high_s": [*NEVER, 0, 0.5],
    "service_std_s": NEVER,
    "edges_s": [*NEVER[:-2], [math.nan], [2.0, 1.0], [1.0, 1.0], [-1.0], [[1.0]]],
    "times": [
        math.nan,
        "1",
        None,
        3.0,
        [],
        [[1.0]],
        ["1"],
        [1.0, math.nan],
        [-1.0],
        {},
        stats.norm(),
        stats.poisson(3),
    ],
    "confusion": ["x", 1, [[1.0]], [[0.5, 0.4], [0.0, 1.0]], [[-1, 2], [0, 1]], [[0, 0], [1, 1]], [[1, 0], [1]]],
    "batch_s": [1.0, None, lambda size: -1.0, lambda size: math.nan, lambda size: "1", lambda size: ([1.0], [0.5])],
    "least": [*NEVER, 0, 1.5, 5],
    "most": [*(value for value in NEVER if value is not None), 0, 1.5],
    "per_request_s": NEVER,
    "shortfall_rps": [*NEVER, 0, bins.multi_bin_throughput_limit_rps(**PAPER)],
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
    with pytest.raises(InputError, match=f"{argument}|high_s|load|classes"):
        THEORY[name](**{**GOOD[name], argument: value})


def test_every_public_function_is_in_the_fuzz_and_runs_on_its_good_arguments():
    records_and_makers = {"BatchChain", "longest_member"}
    checks = {"ascending", "count", "positive", "stable", "times_of"}
    assert set(GOOD) | records_and_makers | checks == set(THEORY)
    for name, good in GOOD.items():
        assert np.isfinite(THEORY[name](**good)).all()


@pytest.mark.parametrize("argument", ["fixed_s", "per_request_s", "per_token_s", "per_request_token_s"])
@pytest.mark.parametrize("value", NEVER)
def test_a_coefficient_out_of_range_is_named(argument, value):
    with pytest.raises(InputError, match=argument):
        batches.longest_member([1, 2], **{argument: value})


@pytest.mark.parametrize("tokens", [None, [], "x", [[1]], [-1], [math.nan]])
def test_lengths_that_are_none_are_named(tokens):
    with pytest.raises(InputError, match="tokens"):
        batches.longest_member(tokens)


@pytest.mark.parametrize(
    "name", [name for name, good in GOOD.items() if {"service_mean_s", "batch_mean_s"} & set(good)]
)
@pytest.mark.parametrize("load", [1.0, 1.25, 1e6])
def test_an_unstable_load_is_named_with_its_value(name, load):
    good = GOOD[name]
    served = good.get("servers", good.get("batch_size", 1))
    with pytest.raises(InputError, match=rf"load rate_rps \* .*: {load:.12g} \(expected below 1"):
        THEORY[name](**{**good, "rate_rps": load * served})


@pytest.mark.parametrize(("offered", "batch_size"), [(1e-18, 1), (1e-18, 10**9), (0.999e9, 10**9), (1 - 2e-9, 1)])
def test_extreme_but_stable_queues_have_finite_latencies(offered, batch_size):
    batch_s = 1e-9 if offered < 1e-9 else 1.0
    for name in ("full_batch_latency_s", "greedy_batch_latency_s"):
        latency = THEORY[name](offered / batch_s, batch_s, batch_size)
        assert math.isfinite(latency)
        assert latency >= batch_s
