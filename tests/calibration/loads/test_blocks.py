"""Steps of several loads: least squares, paces of their own, and how far these differ."""

import numpy as np
import pytest

from simlib.calibration.loads.blocks import DRIFTS, Blocks
from simlib.calibration.step_fit import Steps, solve

LAW = np.array([0.02, 4e-4, 6e-5, 2e-7, 0.01])


def steps(paces, noise, seed, each=400):
    """Steps of loads that are so much slower, one after the other, with the number of each one's load."""
    rng, rows = np.random.default_rng(seed), each * len(paces)
    decodes = rng.integers(1, 20, rows).astype(float)
    prompts, context = 50.0 * rng.integers(0, 4, rows), decodes * rng.integers(50, 300, rows)
    design = np.column_stack([np.ones(rows), decodes, prompts, context, rng.integers(0, 2, rows)])
    load = np.repeat(np.arange(len(paces)), each)
    step_s = design @ LAW * np.array(paces)[load] * np.exp(noise * rng.standard_normal(rows))
    return Steps(design, step_s, np.ones(rows)), load


def test_without_drift_it_is_the_least_squares_of_all_steps():
    data, load = steps([1.0, 1.0], 0.05, 1)
    value = solve(data)
    blocks = Blocks(data, load, value)
    assert blocks.solve(blocks.once, 0.0) == pytest.approx(value, rel=1e-6)
    whole = blocks.solve(3 * blocks.once, 0.0)  # as if all had been seen three times
    assert whole == pytest.approx(value, rel=1e-6)


def test_paces_of_their_own_do_not_bend_the_law():
    # The slower load has the more decodes: taken for one pace, each of them seems to cost more.
    data, load = steps([1.0, 1.1], 0.0, 2)
    data.design[load == 1, 1] += 20
    data = data._replace(step_s=data.design @ LAW * np.array([1.0, 1.1])[load])
    blocks = Blocks(data, load, solve(data))
    one, own = blocks.solve(blocks.once, 0.0), blocks.solve(blocks.once, 0.3)
    assert one[1] / one[0] > 1.2 * LAW[1] / LAW[0]
    assert own / own[0] == pytest.approx(LAW / LAW[0], rel=0.03)
    assert np.divide(*blocks.paces(own[None])[0]) == pytest.approx(1 / 1.1, rel=0.01)


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_drift_is_found_by_restricted_maximum_likelihood(drift):
    """Twelve loads, 40 seeds (from 3): the mean square of what is found is the drift's own within 30 %, four standard
    errors of a chi square on eleven degrees; without drift it is a tenth of the noise of a load's mean at most."""
    found = []
    for seed in range(3, 43):
        paces = np.exp(drift * np.random.default_rng(seed).standard_normal(12))
        data, load = steps(paces, 0.05, seed, each=100)
        found.append(Blocks(data, load, solve(data)).drift())
    assert set(found) <= set(DRIFTS)
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(drift, rel=0.3, abs=0.005)


def test_blocks_are_drawn_so_that_the_spread_is_that_of_the_mean():
    """Seed 7, 4,000 draws: the variance of a mean of ten blocks is that of one over ten, within 9 %, four standard
    errors."""
    data, load = steps([1.0], 0.05, 7)
    blocks, rng = Blocks(data, load, solve(data)), np.random.default_rng(7)
    values = rng.standard_normal(10)
    means = [float(blocks.drawn(rng)[0] @ values) / 10 for _ in range(4000)]
    assert np.var(means) == pytest.approx(values.var(ddof=1) / 10, rel=0.09)
