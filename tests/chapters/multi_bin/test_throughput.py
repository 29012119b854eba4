"""The Multi-Bin paper's experiments: against its theorems, its worked example, and figures counted by hand.

Tolerances of simulated means are 4 standard errors of 10 or more replications (Student's t with 9 degrees of freedom:
0.3 % false alarms each) unless they say otherwise; seeds are fixed, so that a test that passes goes on passing.
"""

import numpy as np
import pytest

import simlib
from book.chapters.multi_bin import throughput
from simlib.checks import InputError
from simlib.requests import lengths
from simlib.requests.arrivals import Poisson
from simlib.theory import bins


def met(table, mean, against, errors=4.0):
    """Whether theory lies within so many standard errors of each mean."""
    standard_error = (table["ci_high"] - table[mean]) / 2.262  # t quantile, 95 %, 9 degrees of freedom
    return (np.abs(table[mean] - table[against]) <= errors * standard_error).all()


def test_the_worked_example_of_figure_1b():
    # Times 1, 5, 2, 6 s in batches of two: first come, first served 5 + 6 s; bins [1, 3] and [4, 6] 2 + 6 s.
    times = np.array([1000, 5000, 2000, 6000])
    table = simlib.RequestTable(np.zeros(4), np.zeros(4, int), times, times)
    for k_bins, edges, expected in ((1, [], [5.0, 6.0]), (2, [3500.0], [2.0, 6.0])):
        run = simlib.simulate(table, simlib.MultiBinFixed(2, k_bins, edges), throughput.MILLISECONDS)
        assert run.served.service_s.tolist() == expected


def test_throughput_is_counted_in_three_ways():
    # Five arrive each second from 0 on, batches of two take 1 s and follow each other from 0.2 s on; one is left over.
    table = simlib.RequestTable(np.arange(25) / 5, [0] * 25, [1000] * 25, [1000] * 25)
    run = simlib.simulate(table, simlib.MultiBinFixed(2, 1), throughput.MILLISECONDS)
    counted = [throughput.throughput_rps(run, 2, way) for way in throughput.COUNTED]
    assert counted == pytest.approx([25 / 13.2, 24 / 12.2, 2.0])


def test_parts_add_up_to_the_mean_latency():
    table = simlib.workload.generate(
        500, Poisson(5.0), lengths.Fixed(0), throughput.UNIFORM, simlib.predictors.Oracle()
    )
    run = simlib.simulate(table, simlib.MultiBinFixed(16, 3, throughput.equal_width(3)), throughput.MILLISECONDS)
    parts = throughput.parts_s(run)
    assert sum(parts.values()) == pytest.approx(run.summary()["latency_mean_s"], rel=1e-12)
    assert min(parts.values()) >= 0


def test_a_sweep_has_the_requests_of_the_other_studies_and_scaled_gaps():
    # Below saturation in both: makespans are inversely proportional to the rate but for the service of the last batch.
    runs = throughput.by_rate(k_values=(2,), rates_rps=(1.0, 2.0), batch_size=4, requests=400, replications=2)
    table = throughput.requests_of(400, 2.0, 42, 1)
    run = simlib.simulate(table, simlib.MultiBinFixed(4, 2, throughput.equal_width(2)), throughput.MILLISECONDS)
    same = runs[(runs["rate_rps"] == 2.0) & (runs["replication"] == 1)]
    assert same["latency_mean_s"].item() == run.summary()["latency_mean_s"]
    assert np.array_equal(throughput.requests_of(400, 1.0, 42, 1).arrival_s, 2 * table.arrival_s)


def test_throughput_of_a_finite_run_lies_between_the_flush_and_theorem_4_2():
    runs = throughput.by_rate(rates_rps=(4.0, 12.0), requests=32_000)
    table = throughput.throughputs(runs)
    assert list(table) == ["k", "rate_rps", "throughput_rps", "ci_low", "ci_high", "theory_rps", "replications"]
    busy = table[table["rate_rps"] == 12.0]
    assert (busy["throughput_rps"] / busy["theory_rps"]).between(0.96, 1.0).all()  # 0.7 % at four times the length
    assert (busy["throughput_rps"].diff().dropna() > 0).all()


def test_a_long_run_without_its_warm_up_meets_theorem_4_2_for_up_to_32_bins():
    runs = throughput.overloaded(k_values=(1, 2, 5, 16, 32), counted=["warm_up_removed"], requests=160_000)
    table = throughput.carried(runs)
    assert met(table, "throughput_rps", "theory_rps")
    assert (table["throughput_rps"] / table["theory_rps"] - 1).abs().max() < 0.002


def test_flush_and_filling_cost_more_with_more_bins():
    runs = throughput.overloaded(k_values=(1, 5), rate_rps=12.0, requests=32_000)
    share = throughput.costs(runs).set_index(["k", "cost"])["share"]
    assert share[1, "fill"] < share[5, "fill"] and abs(share[1, "flush"]) < share[5, "flush"] < 0.02


def test_many_servers_meet_lemma_5_1_and_one_lies_above_it():
    parts = throughput.latency_parts(k_values=(1, 3), rates_rps=(4.0,), requests=32_000)
    many = parts[(parts["gpus"] == 16) & (parts["part"] != "waiting_s")]
    assert met(many, "mean_s", "lemma_s")
    waiting = parts[parts["part"] == "waiting_s"].set_index(["k", "gpus"])
    assert waiting.loc[[(1, 16), (3, 16)], "mean_s"].max() == 0.0
    assert waiting.loc[(1, 1), "mean_s"] < 0.05 < waiting.loc[(3, 1), "ci_low"]


def test_latencies_have_the_lemma_beside_them():
    table = throughput.latencies(throughput.by_rate(k_values=(2,), rates_rps=(8.0,), requests=2000, replications=2))
    assert list(table) == ["k", "rate_rps", "latency_mean_s", "ci_low", "ci_high", "lemma_s", "replications"]
    assert table["lemma_s"].item() == bins.multi_bin_latency_s(8.0, 1.0, 20.0, 128, 2)


def test_the_papers_readings_agree_with_its_formulas():
    limits = throughput.paper("3", "plateau_rps").set_index("k")["value"]
    for k, value in limits.items():
        assert value == pytest.approx(bins.multi_bin_throughput_rps(1.0, 20.0, 128, k), rel=0.008)
    assert throughput.paper("5", "output_tokens")["value"].is_monotonic_increasing
    assert set(throughput.paper("6", "threshold_rps")["read"]) == {"printed"}


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: throughput.by_rate(requests=100), "requests"),
        (lambda: throughput.by_rate(k_values=()), "k_values"),
        (lambda: throughput.by_rate(rates_rps=(0.0,)), "rate_rps"),
        (lambda: throughput.overloaded(requests=200, replications=2), "full batches"),
        (lambda: throughput.overloaded(counted=["some"], requests=2000, replications=2), "counted"),
        (lambda: throughput.latency_parts(gpus=(0,)), "gpus"),
        (lambda: throughput.equal_width(0), "k_bins"),
        (lambda: throughput.paper("3", "latency"), "quantity"),
        (lambda: throughput.paper("30", "plateau_rps"), "figure"),
        (lambda: throughput.parts_s(None), "run"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
