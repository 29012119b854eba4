"""Intervals by drawing laws, by hand."""

import numpy as np
import pytest

from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust
from simlib.predicted.draws import predicted

DRAWS = tuple((float(k), 0.0, 0.0, 0.0, 0.0) for k in range(1, 42))


def test_the_median_and_the_ends_are_those_of_the_draws():
    law = StepLaw(7.0, trust=Trust("mine.csv", {}, draws=DRAWS))
    found = predicted(lambda one, draw: {"a": one.base.a_s, "draw": draw}, law, 1.0, draws=41)
    assert found["a"] == pytest.approx((21.0, 2.0, 40.0))
    assert found["draw"] == (20, 1, 39)


def test_noise_makes_it_wider_and_a_longer_run_less_so():
    law = StepLaw(1.0, trust=Trust("mine.csv", {}, draws=((1.0, 0.0, 0.0, 0.0, 0.0),), noise=0.1))
    widths = []
    for span_s in (1.0, 100.0):
        found = predicted(lambda one, _: {"a": one.base.a_s}, law, span_s, draws=2000, seed=1)["a"]
        widths.append(np.log(found.high / found.low))
    # Two times 1.96 standard deviations of 0.1, and of 0.01, each known to 3 % from 2,000 draws (seed 1).
    assert widths == pytest.approx([0.392, 0.0392], rel=0.1)
