"""Welch's moving average, by hand."""

import numpy as np
import pytest

import simlib
from book.chapters.trust.warm_up import welch


def test_welch_is_a_moving_average_over_replications():
    values = np.random.default_rng(44).normal(size=(3, 40))
    mean, found = values.mean(axis=0), welch(values, 6)
    assert len(found) == 34
    for i, average in enumerate(found):
        reach = min(i, 6)
        assert average == pytest.approx(mean[i - reach : i + reach + 1].mean())
    assert welch(values, 0) == pytest.approx(mean)


@pytest.mark.parametrize("half_window", [-1, 21, 1.5, None])
def test_a_window_that_does_not_fit_is_named(half_window):
    with pytest.raises(simlib.InputError, match="half_window"):
        welch(np.ones(40), half_window)
