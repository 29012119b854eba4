"""Chains: the order of a table, and what becomes of who waits when somebody is left out."""

import numpy as np
import pytest

from simlib.requests.loops.chains import in_order, kept, roots
from simlib.requests.table import RequestTable


def test_rows_follow_the_earliest_that_they_could_arrive():
    start_s, think_s = np.array([5.0, 0, 1.0, 0, 0]), np.array([0, 2.0, 0, 4.0, 6.0])
    order, arrival_s, previous = in_order(start_s, np.array([-1, 0, -1, 2, 3]), think_s)
    assert order.tolist() == [2, 0, 3, 1, 4] and arrival_s.tolist() == [1.0, 5.0, 5.0, 7.0, 11.0]
    assert previous.tolist() == [-1, -1, 0, 1, 2]


def test_of_one_instant_an_answer_comes_before_who_waits_for_it():
    order, _, previous = in_order(np.zeros(4), np.array([-1, 0, 1, -1]), np.zeros(4))
    assert order.tolist() == [0, 3, 1, 2] and (previous < np.arange(4)).all()


def test_who_waits_for_one_that_is_left_out_waits_for_the_one_before_and_thinks_for_both():
    previous, think_s = np.array([-1, 0, 1, 2, -1, 4]), np.array([0, 1.0, 2.0, 4.0, 0, 8.0])
    before, thinks_s = kept(np.array([True, False, False, True, False, True]), previous, think_s)
    assert before.tolist() == [-1, 0, -1] and thinks_s.tolist() == [0.0, 7.0, 0.0]


def test_random_chains_are_in_order_whatever_the_rows():
    """200 chains, seed 1: no row waits for one below it, arrivals ascend and are what the chain says."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        rows = int(rng.integers(1, 30))
        previous = np.array([int(rng.integers(-1, row)) if row else -1 for row in range(rows)])
        think_s = np.where(previous < 0, 0, rng.integers(0, 3, rows)).astype(float)
        order, arrival_s, before = in_order(rng.integers(0, 5, rows).astype(float), previous, think_s)
        assert (
            sorted(order) == list(range(rows)) and (np.diff(arrival_s) >= 0).all() and (before < np.arange(rows)).all()
        )
        waits = before >= 0
        assert (arrival_s[waits] == arrival_s[before[waits]] + think_s[order][waits]).all()
        assert (order[before[waits]] == previous[order][waits]).all()
        assert (np.sort(roots(before)) == np.sort(np.argsort(order)[roots(previous)])).all()


def test_a_table_at_another_rate_keeps_the_times_to_think():
    table = RequestTable([0.0, 1.0, 4.0], [10, 20, 30], [1, 2, 3], previous=[-1, 0, -1], think_s=[0.0, 1.0, 0.0])
    fast = table.at_rate(8.0)
    assert fast.arrival_s.tolist() == [0.0, 0.5, 1.0] and fast.prompt_tokens.tolist() == [10, 30, 20]
    assert fast.previous.tolist() == [-1, -1, 0] and fast.think_s.tolist() == [0.0, 0.0, 1.0]
    assert fast.at_rate(1 / 8).arrival_s == pytest.approx(table.arrival_s)
