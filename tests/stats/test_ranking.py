"""Sequential stopping and selection of the best: guarantees measured, stages by hand, bad input named."""

import math

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.stats.intervals import mean_interval
from simlib.stats.ranking import select_best, until_precise


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


def race(means, noise_seed, correlation, **settings):
    """Selection among normal systems that share a part of their noise."""
    names = [f"system {i}" for i in range(len(means))]

    def metric(system, seed):
        rng = np.random.default_rng([noise_seed, seed])
        shared, own = rng.normal(), rng.normal(size=len(means))[names.index(system)]
        return means[names.index(system)] + math.sqrt(correlation) * shared + math.sqrt(1 - correlation) * own

    return select_best(metric, names, seed=0, **settings)


def test_the_best_is_selected_at_least_as_often_as_promised():
    # The least favourable case: three systems worse by just the indifference zone. 150 races: at exactly 90 %, fewer
    # than 124 correct ones have probability 0.3 %; the procedure is conservative, and common random numbers shorten it.
    means = [0.25, 0.0, 0.25, 0.25]
    races = {c: [race(means, s, c, indifference=0.25, probability=0.9) for s in range(150)] for c in (0.0, 0.8)}
    for found in races.values():
        assert sum(selection.best == "system 1" for selection in found) >= 124
    work = {c: np.mean([sum(s.replications.values()) for s in found]) for c, found in races.items()}
    assert work[0.8] < 0.75 * work[0.0]


def test_the_clearly_worse_are_dropped_early():
    found = race([0.2, 0.0, 9.0], 1, 0.5, indifference=0.2)
    assert found.best == "system 1"
    assert found.replications["system 2"] == 20 < found.replications["system 1"]
    assert found.means["system 2"] == pytest.approx(9.0, abs=1.0)


def test_screening_is_that_of_kim_and_nelson():
    # Two systems whose difference in replication r is d[r]: the slower one is out at the first r, from 20 on, at which
    # its mean lag exceeds max(0, h2 S2 / (2 delta r) - delta / 2).
    d = np.random.default_rng(62).normal(0.05, 1.0, 2000)
    delta, alpha = 0.1, 0.05
    h2 = 19 * ((2 * alpha) ** (-2 / 19) - 1)
    slack = [max(0.0, h2 * np.var(d[:20], ddof=1) / (2 * delta * r) - delta / 2) for r in range(1, 2001)]
    out = next(r for r in range(20, 2001) if abs(d[:r].mean()) > slack[r - 1])
    found = select_best(lambda name, seed: d[seed] if name == "b" else 0.0, ["a", "b"], indifference=delta, seed=0)
    assert out > 20
    assert found.replications == {"a": out, "b": out}
    assert found.best == ("a" if d[:out].mean() > 0 else "b")


def test_equal_systems_are_settled_by_name_and_a_race_cut_short_is_not():
    assert select_best(lambda name, seed: float(seed), ["a", "b"], indifference=0.1, seed=0).best == "a"
    short = race([0.01, 0.0], 2, 0.0, indifference=0.01, most=25)
    assert short.best is None
    assert short.replications == {"system 0": 25, "system 1": 25}


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"function": None}, "^function"),
        ({"function": lambda name, seed: math.nan}, r"^a, replication 0 \(seed 5\): nan"),
        ({"function": lambda name, seed: 1.0 if seed < 9 else None}, r"^a, replication 4 \(seed 9\): None"),
        *(({"systems": value}, "^systems") for value in (None, "ab", [], ["a"], ["a", "a"], ["a", 1])),
        *(({"indifference": value}, "^indifference") for value in (*NO_NUMBER, 0, -1)),
        *(({"probability": value}, "^probability") for value in (*NO_NUMBER, 0.5, 1, 95)),
        *(({"most": value}, "^most") for value in (19, 1.5, None)),
        *(({"seed": value}, "^seed") for value in (-1, 2**32, None)),
    ],
)
def test_bad_input_to_select_best_is_named(changed, message):
    good = {"function": lambda name, seed: float(name == "a"), "systems": ["a", "b"], "indifference": 0.1, "seed": 5}
    assert select_best(**good).best == "b"
    with pytest.raises(InputError, match=message):
        select_best(**{**good, **changed})
