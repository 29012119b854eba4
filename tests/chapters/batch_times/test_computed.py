"""A grid that was computed is told from one that was measured."""

import itertools

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import computed
from simlib.latency.measurements import TIMED

SHAPES = list(itertools.product((1, 8, 32, 64), (64, 256, 1024), (64, 256, 1024)))


def measured(seed: int) -> pd.DataFrame:
    """Three repetitions of each point of a grid that follows the formula, 5 % log-normal noise on each."""
    table = pd.DataFrame(SHAPES * 3, columns=TIMED[:3])
    b, length = table["batch_size"], table["prompt_tokens"] + table["output_tokens"]
    exact_s = 0.05 + 0.004 * length * (1 + 0.4 * (b - 1) / b)
    return table.assign(total_s=exact_s * np.exp(np.random.default_rng(seed).normal(0, 0.05, len(table))))


def original_grid() -> pd.DataFrame:
    """The original's 30 points, regenerated from the sentence that describes them."""
    grid = pd.DataFrame(itertools.product((1, 2, 4, 8, 16, 32), (128, 256, 512, 1024, 2048), (0,)), columns=TIMED[:3])
    b, length = grid["batch_size"], grid["prompt_tokens"]
    mean_s = 0.015 + 0.0003 * length * (1 + 0.4 * (b - 1) / b)
    return grid.assign(total_s=mean_s, std_s=0.05 * mean_s, repetitions=3)


def test_a_computed_grid_is_exposed_by_its_means_and_by_its_spread():
    found = computed.evidence(original_grid())
    assert found["largest_residual"] < 1e-12 and found["spread_variation"] < 1e-12
    assert found["residual_p"] < 1e-100 and found["spread_p"] < 0.001 and computed.computed(found)


def test_a_measured_grid_is_rarely_taken_for_a_computed_one():
    # 100 grids that follow the formula, with three repetitions and 5 % noise. Two tests at level 0.001: more than 3
    # false alarms among 100 have a probability below 1e-4. Seeds 0 to 99.
    alarms = sum(computed.computed(computed.evidence(measured(seed))) for seed in range(100))
    assert alarms <= 3


def test_what_is_no_table_is_named():
    with pytest.raises(simlib.InputError, match="data frame"):
        computed.evidence(None)
