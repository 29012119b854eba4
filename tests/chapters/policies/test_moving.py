"""The live figure of who pays: what its answer says, in the library's own runs."""

import numpy as np
import pytest
from who_pays import GPUS, PLACES, thirds_of

from book.chapters.policies import moving
from book.chapters.policies.study import BATCHES, STEPS

NEAR_CAPACITY, OVER_CAPACITY = (0.8, 0.95, 1.1, 1.3), (1.1, 1.2, 1.3)


def sure(values):
    """Means over draws and the half widths of their 95 % intervals."""
    return values.mean(axis=0), 2.093 * values.std(axis=0, ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("load", NEAR_CAPACITY)
def test_in_batches_both_orders_spare_the_short_most_and_only_bins_let_all_wait_alike(load):
    first = thirds_of(BATCHES, load, "first")
    for order in ("shortest", "bins"):
        other = thirds_of(BATCHES, load, order)
        waits_s, totals_s = other["wait"], other["total"]
        gained, half = sure(first["total"] - totals_s)
        assert gained[0] - half[0] > 0 and gained[0] > gained[1] > gained[2], order
        served_s = (totals_s - waits_s).mean(axis=0), (first["total"] - first["wait"]).mean(axis=0)
        assert (served_s[0] < served_s[1])[:2].all(), order
        short, _, long = waits_s.mean(axis=0)
        assert long > 1.35 * short if order == "shortest" else abs(long - short) < 0.1 * short


@pytest.mark.parametrize("order", ["shortest", "bins"])
@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_in_an_engine_below_capacity_no_order_changes_much(load, order):
    first, other = (thirds_of(STEPS, load, name)["total"] for name in ("first", order))
    difference, half = sure(other - first)
    assert (np.abs(difference) + half < 0.05).all()


@pytest.mark.parametrize("load", OVER_CAPACITY)
def test_in_an_overloaded_engine_shortest_first_takes_waiting_from_the_short_and_gives_it_to_the_long(load):
    first, other = (thirds_of(STEPS, load, name)["wait"] for name in ("first", "shortest"))
    difference, half = sure(other - first)
    assert difference[0] + half[0] < 0 < difference[2] - half[2]


def test_its_document_says_what_it_simulates():
    about = moving.about(PLACES, GPUS)
    assert {control["name"] for control in about["controls"]} == set(about["start"])
    assert set(about["executions"]) == {BATCHES, STEPS} and about["gpus"] == GPUS
    assert not set(moving.PICKED_BY) & set(range(about["seed"], about["seed"] + about["draws"]))
