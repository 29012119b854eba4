"""The numbers of a run with their intervals: of the law alone, or of traffic, too."""

import numpy as np
import pytest

import simlib
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust
from simlib.predicted import runs

ENGINE = simlib.Continuous(max_seqs=16)
DRAWN = StepLaw(
    0.01, 1e-4, trust=Trust("mine.csv", {}, draws=tuple((0.01 * (1 + k / 500), 1e-4, 0, 0, 0) for k in range(41)))
)


def found(table, law=DRAWN):
    def serve(other, by):
        return simlib.simulate(other, "fcfs", by, execution=ENGINE)

    return runs.intervals(serve(table, law), serve)


def test_of_few_requests_the_law_alone_is_drawn():
    # One answer of 101 tokens: 101 steps of 10 ms to 10.8 ms and 0.1 ms each but the first.
    one = found(simlib.RequestTable([0.0], [10], [101]))["latency_mean_s"]
    assert one == pytest.approx((101 * 0.0104 + 0.01, 101 * 0.01002 + 0.01, 101 * 0.01078 + 0.01), rel=1e-3)


def test_of_many_that_come_by_themselves_the_traffic_is_drawn_too():
    rng = np.random.default_rng(1)
    columns = np.sort(rng.random(200)) * 50, rng.integers(10, 500, 200), rng.integers(2, 300, 200)
    table = simlib.RequestTable(*columns)
    assert runs.draws_traffic(table) and not runs.draws_traffic(table.head(60))
    wide, narrow = found(table)["latency_mean_s"], found(table.head(60))["latency_mean_s"]
    assert (wide.high - wide.low) / wide.value > 2 * (narrow.high - narrow.low) / narrow.value


def test_a_law_without_draws_has_no_intervals():
    assert found(simlib.RequestTable([0.0], [10], [5]), StepLaw(0.01)) == {}
