"""Times to think: their means, their spellings, and what is refused."""

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.requests.arrivals import GammaArrivals
from simlib.requests.loops.think import Constant, Exponential, LogNormal, think_of, thinks_s


@pytest.mark.parametrize("think", [Constant(0.5), Exponential(2.0), LogNormal(1.0, 0.5), think_of(GammaArrivals(4, 2))])
def test_the_mean_is_that_of_many_draws_and_more_draws_begin_as_fewer(think):
    """20,000 draws, seed 1; within 5 standard errors, which chance leaves once in a million."""
    found = thinks_s(think, 20_000, np.random.default_rng(1))
    assert abs(found.mean() - think.mean_s) <= 5 * found.std() / np.sqrt(len(found)) + 1e-12
    np.testing.assert_allclose(thinks_s(think, 100, np.random.default_rng(1)), found[:100], rtol=1e-12)


def test_a_time_may_be_written():
    assert think_of("500ms") == Constant(0.5) and think_of("0s") == Constant(0.0) and think_of(2) == Constant(2.0)
    assert think_of("exponential:2min") == Exponential(120.0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (-1, r"think_s: -1 \(expected a finite number >= 0"),
        ("-1s", "think_s: -1"),
        ("exponential:0s", "think_s: 0"),
        ("2 weeks", "think_s: '2 weeks'"),
        ("gamma:2s", "think_s: 'gamma:2s'"),
        (None, r"think_s: None \(expected seconds, 500ms"),
        (True, "think_s: True"),
        (Exponential, "think_s: <class"),
        (float("nan"), "think_s: nan"),
    ],
)
def test_what_is_no_time_to_think_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        think_of(given)


def test_a_users_own_is_looked_at_when_it_has_drawn():
    class Mine:
        mean_s = 1.0

        def sample(self, n, rng):
            return np.full(n, -1.0)

    with pytest.raises(InputError, match=r"think_s: -1 from .*\(expected 3 times >= 0\)"):
        thinks_s(think_of(Mine()), 3, np.random.default_rng(1))
