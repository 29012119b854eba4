"""A small part of the experiment near saturation, and the committed table against what the book says of it."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage_edge
from simlib import datasets
from simlib.planning.carried import capacity
from simlib.stats import steady


def test_lindleys_recursion_serves_as_the_engine_does():
    fast = coverage_edge.search("mm1", 10.0, 2000)
    slow = coverage_edge.search("mm1", 10.0, 2000, capacity.Search)
    table = fast.table(3)
    completions_s = [each.run("fifo", table, 0.8).times.completion_s for each in (fast, slow)]
    np.testing.assert_allclose(*completions_s, rtol=1e-9)
    assert fast.share("fifo", table, 0.8) == pytest.approx(slow.share("fifo", table, 0.8), abs=2 / 1600)


@pytest.mark.parametrize(
    ("queue", "deadline_s", "rate_rps"),
    [("mm1", 10.0, 0.70043), ("mm1", 40.0, 0.92511), ("md1", 10.0, 0.84808), ("md1", 40.0, 0.96240)],
)
def test_capacities_are_those_of_an_independent_reckoning(queue, deadline_s, rate_rps):
    assert coverage_edge.capacity_rps(queue, deadline_s) == pytest.approx(rate_rps, abs=1e-5)


def test_the_plain_interval_is_students_t_over_twenty_sections():
    values = np.random.default_rng(1).exponential(size=20_003)
    parts = values[3:].reshape(20, -1)
    low, high = coverage_edge.plain(values, None)
    assert (high - low) / 2 == pytest.approx(2.0930240544 * parts.mean(axis=1).std(ddof=1) / np.sqrt(20))
    low, high = coverage_edge.plain(values, 0.9)
    assert (low + high) / 2 == pytest.approx(np.quantile(parts, 0.9))


def test_a_small_part_covers():
    # 60 runs of 400 memories at a load of 0.95: were the coverage 92 %, fewer than 49 of 60 have a probability of 4e-3.
    requests, truths = 400 * 800, coverage_edge.truths_of("md1")
    made = (coverage_edge.found_in_a_run("md1", requests, truths, seed) for seed in range(900, 960))
    rows = pd.DataFrame(coverage_edge.measure("md1", 0.95, requests, 400, made)).set_index(["quantity", "method"])
    for key in (("mean", "batch_means"), ("p95", "sectioning"), ("p99", "sectioning")):
        assert rows.loc[key, "given_share"] >= 58 / 60 and rows.loc[key, "coverage"] >= 49 / 60
    assert rows.loc[("p99", "plain sections"), "coverage"] < rows.loc[("p99", "sectioning"), "coverage"]


def test_the_committed_table_shows_what_is_promised():
    table = pd.read_csv(datasets.committed("coverage_edge"))
    assert (table["experiments"] >= 2000).all() and set(table["queue"]) == set(coverage_edge.QUEUES)
    good = table[table["recommended"]]
    rates = good[good["quantity"].str.startswith("capacity")]
    assert len(rates) == 4 and rates["coverage"].between(0.93, 0.97).all() and (rates["given_share"] == 1).all()
    runs = good.drop(rates.index)
    long, short = runs[runs["memories"] >= 200], runs[runs["memories"] <= 50]
    assert long["coverage"].min() >= 0.92 and long["given_share"].min() >= 0.97
    assert short["given_share"].max() <= 0.02
    assert steady.FEWEST_MEMORIES == 100  # what the chapter says of runs between
