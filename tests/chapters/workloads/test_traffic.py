"""Measures of traffic on streams whose answers are known."""

import matplotlib
import numpy as np
import pytest
from drawn import texts

from book.chapters.workloads import figures, traffic
from simlib import datasets, levels
from simlib.checks import InputError
from simlib.requests import arrivals, traces, workload
from simlib.requests.lengths import Fixed
from simlib.requests.table import RequestTable

matplotlib.use("Agg")


def table(arrival_s) -> RequestTable:
    ones = np.ones(len(arrival_s), dtype=int)
    return RequestTable(arrival_s, ones, ones)


def test_evenly_spaced_arrivals_do_not_vary():
    assert traffic.dispersion_index(np.arange(1000.0), 10.0) == 0.0
    assert traffic.gap_variation(np.arange(1000.0)) == 0.0


def test_pairs_of_arrivals_double_the_dispersion_of_a_poisson_stream():
    # Seed 1; the index of n/2 Poisson pairs is 2 with a standard deviation of 2 sqrt(2 / 2000) = 0.063: 5 sigma.
    pairs = np.repeat(np.cumsum(np.random.default_rng(1).exponential(1.0, 20_000)), 2)
    assert traffic.dispersion_index(pairs, 10.0) == pytest.approx(2.0, abs=0.32)


def test_a_poisson_stream_lies_in_its_own_range():
    # Seed 3; each of three windows leaves its 95 % range with probability 5 %: the seed is fixed, one is checked.
    stream = workload.generate(2000, arrivals.Poisson(1.0), Fixed(1), Fixed(1), replication=3)
    row = traffic.burstiness(stream, windows_s=(10.0,), replications=100).iloc[0]
    assert row["poisson_low"] <= row["dispersion_index"] <= row["poisson_high"]
    assert row["poisson_low"] < 1 < row["poisson_high"]


def test_the_sample_is_far_burstier_than_poisson_over_ten_minutes():
    bursts = traffic.burstiness(traces.read(datasets.sample()).requests, replications=50).set_index("window_s")
    assert bursts.loc[600.0, "dispersion_index"] > 5 * bursts.loc[600.0, "poisson_high"]


def test_hours_count_every_request_once():
    hours = traffic.arrivals_by_hour(traces.read(datasets.sample(), failed="keep").requests, offset_s=5.0)
    assert hours["requests"].sum() == 400
    assert hours["hour"].tolist() == list(range(11))
    assert hours["covered_share"].iloc[-1] == pytest.approx((37274 - 36000) / 3600)


def test_lengths_are_summarised_for_each_workload_and_part():
    lengths = traffic.length_table({"two": RequestTable([0.0, 1.0], [10, 30], [1, 3])}).set_index("part")
    assert lengths.loc["prompt_tokens", "mean_tokens"] == 20
    assert lengths.loc["output_tokens", "p50_tokens"] == 2


def test_traffic_figures_name_poisson():
    table = levels.requests_of(1, 2000, 42)[0]
    assert "Poisson" in texts(figures.burstiness(traffic.burstiness(table, (1.0, 10.0), 20)))
    assert "Poisson" in texts(figures.hours(traffic.arrivals_by_hour(table)))


def test_late_alone_is_a_floor_under_every_scheduler():
    floor = traffic.late_alone(100.0, 0.3, 42, 1000, 50.0).set_index("level")["late_alone_share"]
    runs = levels.runs_of(1, replications=1, d_sla=0.3).set_index("scheduler")["sla_violation_share"]
    assert 0 < floor[1] <= runs.min()


def test_bin_edges_are_those_of_the_recipe():
    edges = traffic.bin_edges(4, 42, 1000, 50.0).set_index("workload")
    assert edges.loc["synthetic recipe", "edges_tokens"] == "28, 41, 88"
    assert 0.3 < edges.loc["synthetic recipe", "rank_correlation"] < 0.55


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: traffic.dispersion_index(np.arange(10.0), 0.0), "window_s"),
        (lambda: traffic.dispersion_index(np.arange(10.0), 9.0), "window_s"),
        (lambda: traffic.dispersion_index(np.zeros(0), 1.0), "arrival_s"),
        (lambda: traffic.gap_variation(np.zeros(5)), "arrival_s"),
        (lambda: traffic.gap_variation("soon"), "arrival_s"),
        (lambda: traffic.dispersion_index(np.array([0.0, np.nan, 9.0]), 1.0), "arrival_s"),
        (lambda: traffic.burstiness(None), "table"),
        (lambda: traffic.arrivals_by_hour([1.0]), "table"),
        (lambda: traffic.length_table([table(np.arange(5.0))]), "tables"),
        (lambda: traffic.gap_variation(np.arange(2.0)), "arrival_s"),
        (lambda: traffic.burstiness(table(np.arange(50.0)), (1.0,), replications=1), "replications"),
        (lambda: traffic.arrivals_by_hour(table(np.arange(5.0)), float("nan")), "offset_s"),
        (lambda: traffic.bin_edges(0, 1, 10, 50.0), "k_bins"),
        (lambda: traffic.late_alone(100.0, float("nan"), 1, 10, 50.0), "d_sla"),
    ],
)
def test_a_bad_argument_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
