"""A small part of the coverage of predicted intervals; `python -m benchmarks.predictions` makes the whole."""

import numpy as np
import pytest

from benchmarks import predictions


def test_what_clients_measure_of_a_run_is_the_run():
    load = predictions.load(6.0, 50, np.random.default_rng(1))
    gaps = [len(each) for each in load.requests["itl_s"]]
    assert gaps == (load.requests["output_tokens"] - 1).tolist()
    assert (load.ttft_s > predictions.TRUE.way_in_s).all()


@pytest.mark.parametrize("case", ["four loads, no drift"])
def test_intervals_hold_what_is_then_measured(case):
    """Seeds 0 to 4, six numbers each: were the coverage 95 % and each experiment's numbers as one, fewer than three of
    five would hold in 0.1 % of such tests."""
    inside = [predictions.experiment(*predictions.CASES[case], seed=seed, requests=60).mean() for seed in range(5)]
    assert np.mean(inside) >= 0.6
