"""Several figures of one run, as normal theory has them."""

import numpy as np
import pytest

from book.kit.joint import together


def test_figures_of_one_run_are_judged_together_as_normal_theory_has_it():
    # Correlated normals: the distance is Mahalanobis's, and the rank agrees with chi-square of two degrees.
    runs = np.random.default_rng(3).multivariate_normal([0.0, 0.0], [[1.0, 0.95], [0.95, 1.0]], 400)
    apart = np.array([1.0, -1.0])
    direct = np.sqrt(apart @ np.linalg.inv(np.cov(runs.T)) @ (apart - 2 * runs.mean(axis=0)))
    far, near = together(apart, [0.0, 0.0], runs), together([1.0, 1.0], [0.0, 0.0], runs)
    assert far.distance == pytest.approx(direct, rel=0.05) and far.p_value == pytest.approx(1 / 401)
    assert near.p_value == pytest.approx(np.exp(-(near.distance**2) / 2), abs=0.06)
    few, alike = together(apart, [0.0, 0.0], runs[:4]), together(apart, [0.0, 0.0], runs[:, [0, 0]] * [1.0, 0.0])
    assert np.isnan([*few, *alike]).all()
    rounded = together(apart, [1.0, 1.0], runs)  # the digits leave room for a point that is nothing unusual
    assert rounded.distance < 0.2 and rounded.p_value > 0.9
