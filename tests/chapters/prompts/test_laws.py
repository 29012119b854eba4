"""What is left of an answer: against answers that were drawn, under a normal logarithm and under Student's t."""

from __future__ import annotations

import math

import numpy as np
import pytest

from book.chapters.prompts import laws
from simlib import InputError


@pytest.mark.parametrize("freedom", [math.inf, 3.0])
def test_what_is_left_is_what_answers_that_are_longer_have(freedom):
    """One prompt of log-sd 0.5, a million answers, seed 3; tables, which are coarse, to 7 %."""
    rng = np.random.default_rng(3)
    away = rng.standard_normal(10**6) if freedom == math.inf else rng.standard_t(freedom, 10**6)
    answers = np.minimum(np.exp(math.log(100) + 0.5 * away), laws.MOST_TOKENS)
    shares = laws.longer(np.log([100.0]), np.array([0.5]), freedom)
    for place in np.searchsorted(laws.FROM_TOKENS, (0, 60, 150, 300)):
        tokens = laws.FROM_TOKENS[place]
        left = answers[answers > tokens] - tokens
        assert laws.mean_left(shares)[0, place] == pytest.approx(left.mean(), rel=0.07)
        assert laws.quantile_left(shares, 0.5)[0, place] == pytest.approx(np.median(left), rel=0.07)
        assert laws.quantile_left(shares, 0.9)[0, place] == pytest.approx(np.quantile(left, 0.9), rel=0.07)


def test_the_index_is_no_more_than_the_mean_and_equals_it_where_answers_come_no_closer_to_their_end():
    shares = laws.longer(np.log([100.0, 100.0]), np.array([0.2, 1.2]))
    assert (laws.index_left(shares) <= laws.mean_left(shares) + 1e-9).all()
    sure, unsure = laws.index_left(shares)[:, 0] / laws.mean_left(shares)[:, 0]
    assert sure > 0.95 and unsure < 0.8  # an unsure prompt is worth a try: most of its answers are short


def test_a_prompt_without_spread_is_as_long_as_its_median_until_it_is_longer():
    left = laws.mean_left(laws.longer(np.log([100.0]), np.zeros(1)))[0]
    before = np.searchsorted(laws.FROM_TOKENS, 50)
    assert left[before] == pytest.approx(100 - laws.FROM_TOKENS[before], rel=0.1)
    assert left[np.searchsorted(laws.FROM_TOKENS, 200)] == 1.0  # it has outlived its law
    with pytest.raises(InputError, match="freedom: 0"):
        laws.longer(np.zeros(1), np.ones(1), 0.0)
