"""Sequential stopping: its guarantee measured, stages by hand, bad input named."""

import math

import numpy as np
import pytest

from benchmarks.stopping import until_precise
from simlib.checks import InputError
from simlib.stats.intervals import mean_interval


def exponential(seed):
    return {"latency_s": np.random.default_rng(seed).exponential(2.0), "seed": seed}


def test_replications_go_on_until_the_interval_is_narrow_enough_and_not_much_further():
    found = until_precise(exponential, "latency_s", half_width=0.3, seed=7)
    values = found.runs["latency_s"].to_numpy()
    assert found.reached and len(values) > 100
    assert found.interval == mean_interval(values)
    assert found.interval.ci_high - found.interval.mean <= 0.3
    assert found.runs["seed"].tolist() == list(range(7, 7 + len(values)))
    assert found.runs.index.tolist() == list(range(len(values)))
    # What the final variance asks for, within a tenth: stages do not overshoot.
    assert len(values) <= 1.1 * (1.96 * found.interval.std / 0.3) ** 2


def test_the_first_stage_is_made_in_full_and_the_most_is_never_passed():
    assert until_precise(exponential, "latency_s", half_width=1e6, seed=7).interval.replications == 20
    stopped = until_precise(exponential, "latency_s", half_width=1e-6, seed=7, most=47)
    assert (stopped.reached, stopped.interval.replications) == (False, 47)


def test_stopping_at_a_half_width_costs_little_coverage():
    # 1,000 experiments of normal values that need some 60 replications. Stopping when the variance happens to be small
    # costs one point; the bound of 92 % is 3.5 binomial sd below 94 %.
    values = np.random.default_rng(61).normal(size=(1000, 200))
    covered = 0
    for row in values:
        found = until_precise(lambda seed, row=row: {"x": row[seed]}, "x", half_width=0.25, seed=0, most=200)
        covered += found.interval.ci_low <= 0.0 <= found.interval.ci_high
    assert covered >= 920


NO_NUMBER = [math.nan, math.inf, "1", None]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"metric": "late"}, r"metric: 'late' .expected one of latency_s, seed"),
        ({"metric": 3}, "^metric"),
        *(({"half_width": value}, "^half_width") for value in (*NO_NUMBER, 0, -1)),
        *(({"most": value}, "^most") for value in (19, 1.5, None)),
        *(({"seed": value}, "^seed") for value in (-1, 2**32, None)),
        ({"function": None}, "^function"),
    ],
)
def test_bad_input_to_until_precise_is_named(changed, message):
    good = {"function": exponential, "metric": "latency_s", "half_width": 5.0, "seed": 0}
    with pytest.raises(InputError, match=message):
        until_precise(**{**good, **changed})
