"""The loop whose order is renewed: the engine's times where nobody loses a place, and by hand where somebody does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from book.chapters.prompts import renewed
from simlib import InputError
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests.table import RequestTable
from simlib.simulation import simulate

LAW = StepLaw(0.0078, 0.00004, 0.00003, 6e-8)
TWO = RequestTable([0.0, 1.5], [1, 1], [5, 2])  # the second one, of two tokens, comes while the first one runs


@pytest.mark.parametrize("places", [3, 32])
@pytest.mark.parametrize("weight_s", [0.0, 0.01, None])
@pytest.mark.parametrize("rate_rps", [5.0, 40.0])
def test_where_nobody_loses_a_place_it_is_the_engine(rate_rps, weight_s, places):
    """400 requests, prompts of up to twice a step's budget, seed 1: the same times to 1e-9."""
    rng = np.random.default_rng(1)
    prompt, output = rng.integers(1, 4000, 400), rng.integers(1, 300, 400)
    table = RequestTable(np.cumsum(rng.exponential(1 / rate_rps, 400)), prompt, output, rng.integers(1, 10**6, 400))
    engine = simulate(table, ShortestPredictedFirst(weight_s, 4096), LAW, 1, Continuous(max_seqs=places))
    said = table.predicted_output_tokens[:, None].astype(float)
    weight_s = math.inf if weight_s is None else weight_s
    ours = renewed.serve(table, renewed.Order(said, np.zeros(1, int), False, weight_s), LAW, places)
    assert ours.completion_s == pytest.approx(engine.times.completion_s, rel=1e-9)
    assert ours.first_s == pytest.approx(engine.times.first_token_s, rel=1e-9) and not ours.lost.any()


@pytest.mark.parametrize(
    ("rules", "completion_s", "lost"),
    [
        ({"keeps_memory": True}, [7.2, 4.2], 1),  # 1.1, 2.1; the other: 3.2, 4.2; 5.2, 6.2, 7.2
        ({}, [7.5, 4.2], 1),  # and three tokens to compute again, for 0.3 s
        ({"until": 0.2}, [5.1, 7.2], 0),  # it has made more than a fifth
        ({"until": 0.0}, [5.1, 7.2], 0),
        ({"reluctance": 3.0}, [5.1, 7.2], 0),  # one token is won, 3 times 0.3 * 2 would be lost
        ({"weight_s": 1.0}, [5.1, 7.2], 0),  # by its arrival it comes later: 1.5 + 2.1 > 0 + 3
    ],
)
def test_a_place_is_taken_by_hand(rules, completion_s, lost):
    left = TWO.output_tokens[:, None].astype(float)
    order = renewed.Order(left, np.zeros(1, int), **({"until": math.inf} | rules))
    served = renewed.serve(TWO, order, StepLaw(1.0, c_s=0.1), 1)
    assert served.completion_s == pytest.approx(completion_s) and served.lost.tolist() == [lost, 0]


def test_what_is_renewed_is_looked_up_at_its_tokens():
    """Said to be short, the first one turns out to be long at two tokens, and makes place."""
    left = np.array([[1.0, 9.0], [2.0, 2.0]])
    for start, completion_s in (([0, 2], [7.0, 4.0]), ([0, 9], [5.0, 7.0])):
        order = renewed.Order(left, np.array(start), counts_down=False, until=math.inf, keeps_memory=True)
        assert renewed.serve(TWO, order, StepLaw(1.0), 1).completion_s.tolist() == completion_s


def test_memory_that_is_kept_counts_and_bad_tables_are_refused():
    left = TWO.output_tokens[:, None].astype(float)
    kept = renewed.Order(left, np.zeros(1, int), until=math.inf, keeps_memory=True)
    assert renewed.serve(TWO, kept, StepLaw(1.0), 1).most_tokens == 5  # 1 + 5 - 1; while it is put aside 2 and 2
    with pytest.raises(InputError, match=r"left_tokens: shape \(1, 1\) \(expected \(2, 1\)"):
        renewed.serve(TWO, renewed.Order(left[:1], np.zeros(1, int)), StepLaw(1.0), 1)
    with pytest.raises(InputError, match="places: 0"):
        renewed.serve(TWO, kept, StepLaw(1.0), 0)
