"""Closed forms for the rules' fixed points: the paper's examples, and contraction against its own recurrence."""

import numpy as np
import pytest

import simlib
from book.chapters.sla_paper import control


@pytest.mark.parametrize(("d_sla", "expected"), [(0.050, 90.9), (0.080, 227.3)])
def test_the_deadline_is_met_where_figure_3_says(d_sla, expected):
    assert control.sla_batch(0.030, 0.00022, d_sla) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(("epsilon", "expected"), [(0.05, 142.6), (0.01, 137.9), (0.5, 154.8)])
def test_equation_12_gives_the_examples_batches(epsilon, expected):
    assert control.memory_batch(100_000, 646, 400, epsilon) == pytest.approx(expected, abs=0.05)


def test_the_printed_buffer_grows_without_bound():
    sizes = control.printed_memory_batches(646, 400, 0.05, start=50, updates=2000)
    assert [round(size) for size in sizes[:3]] == [57, 65, 73]
    assert (np.diff(sizes) > 7).all() and sizes[-1] > 1e5


@pytest.mark.parametrize("slope", [0.00013, 0.00022, 0.00055, 0.002])
@pytest.mark.parametrize("window", [1, 5, 40])
def test_errors_of_a_window_shrink_by_the_factor_and_to_the_noise(slope, window):
    """The sketch's bound, on sizes that mix the last window with random weights, with bounded noise on the mean."""
    rng, beta, a, d_sla, noise_s = np.random.default_rng(window), 0.00022, 0.030, 0.050, 1e-4
    goal, factor = control.sla_batch(a, beta, d_sla), control.contraction(beta, slope)
    assert factor < 1
    sizes = list(rng.uniform(1, 300, window))
    bound = max(abs(size - goal) for size in sizes)
    for _ in range(30):
        for _ in range(window):
            mean = rng.dirichlet(np.ones(window)) @ sizes[-window:]
            sizes.append(mean + (d_sla - (a + beta * mean) - rng.uniform(-noise_s, noise_s)) / slope)
        before, bound = bound, factor * bound + noise_s / slope
        bound = bound if bound < before else before
        assert max(abs(size - goal) for size in sizes[-window:]) <= bound + 1e-9
    assert bound < noise_s / slope / (1 - factor) * 1.5 + 1e-6 or factor > 0.8


def test_a_slope_of_half_the_truth_no_longer_contracts():
    assert control.contraction(0.00022, 0.00011) == pytest.approx(1.0)


def test_a_deadline_below_the_fastest_step_is_named():
    with pytest.raises(simlib.InputError, match="fastest step"):
        control.sla_batch(0.030, 0.00022, 0.030)
