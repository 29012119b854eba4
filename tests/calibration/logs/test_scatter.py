"""Limits of what is fitted to stamps: made walks, whose law is known."""

import numpy as np
import pytest

from simlib.calibration.logs.scatter import Stamps


def walk(rng, own_s, stamps=120, steps=600):
    """A constant of 0 a step, steps of 20 ms that are off by a tenth, stamps that are off by so much: fitted, reach."""
    late = np.cumsum(0.002 * rng.normal(size=steps))
    at = np.sort(rng.integers(1, steps + 1, stamps))
    late_s = late[at - 1] + own_s * rng.normal(size=stamps)
    influence = np.full((1, stamps), 1 / at.sum())
    fitted = float((influence @ late_s)[0])
    found = Stamps(late_s - fitted * at, 0.02**2 * at, np.zeros(stamps, int))
    return fitted, found.reach(influence)[0]


@pytest.mark.parametrize("own_s", [0.0, 0.01])
def test_limits_cover_what_they_promise(own_s):
    """400 walks, seed 0: were 95 % covered, fewer than 92 % had a probability of 0.5 %."""
    rng = np.random.default_rng(0)
    fitted, reach = np.array([walk(rng, own_s) for _ in range(400)]).T
    assert (np.abs(fitted) <= reach).mean() > 0.92
    assert np.median(reach) < 2 * 1.96 * fitted.std()  # and are not as wide as you like


def test_too_few_stamps_have_no_limits():
    few = Stamps(np.array([0.1, -0.1]), np.array([1.0, 2.0]), np.zeros(2, int))
    assert few.reach(np.full((2, 2), 0.5)) is None


def test_engines_scatter_each_for_itself():
    rng = np.random.default_rng(1)
    late = np.concatenate([np.cumsum(0.1 * rng.normal(size=200)) for _ in range(2)])
    clock, mean = np.tile(np.arange(1.0, 201.0), 2), np.full((1, 400), 1 / 400)
    apart = Stamps(late, clock, np.repeat([0, 1], 200)).reach(mean)
    assert apart[0] < Stamps(late, clock, np.zeros(400, int)).reach(mean)[0]
