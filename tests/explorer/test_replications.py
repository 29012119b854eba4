"""Runs of one position, each on its own seed: as many late as in a direct call, and one run where nothing is random."""

import numpy as np

from book.explorer.replications import Replications, replicated
from book.explorer.state import Position

SMALL = {"requests": 200, "schedulers": ["dynamic_no_bins"], "d_sla": 0.5}


def replications(position: Position, count: int, first: int = 0) -> tuple[Replications, int]:
    """What is served, and into how many pieces the work falls."""
    work, pieces = replicated(position, count, first), 0
    while True:
        try:
            next(work)
        except StopIteration as done:
            return done.value, pieces
        pieces += 1


def test_each_replication_is_a_direct_run_of_its_seed():
    found, pieces = replications(Position(**SMALL), 3, first=2)
    direct = [Position(seed=seed, **SMALL).runs() for seed in (44, 45, 46)]
    shares = [run.summary()["sla_violation_share"] for (run,) in direct]
    np.testing.assert_allclose(found.shares("dynamic_no_bins"), shares)
    assert found.trials == [200] * 3 and pieces >= 6  # it can be left off


def test_where_nothing_is_random_one_run_says_all():
    found, _ = replications(Position(workload="burstgpt", predictor="oracle", **SMALL), 20)
    assert len(found.tables) == 1
