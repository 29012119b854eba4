"""Which batch size is picked: fewest late over requests of no replication, then the least latency."""

import numpy as np

import simlib
from book.chapters.policies import sizes


def law(size, *longest):
    return 10.0 + size


def test_the_size_that_is_picked_leaves_fewest_late():
    table = simlib.RequestTable(
        [0.0] * 24, [1] * 24, [1] * 24
    )  # a batch of 24 takes 34 s, two of 12 take 22 s and 44 s
    found = sizes.scores(sizes.static(), [table], law, 1, 34.0)
    assert found["static, 12"] == (0.5, 33.0)
    assert found["static, 24"] == (0.0, 34.0)
    assert sizes.picked(sizes.static(), [table], law, 1, 34.0) == "static, 24"


def test_where_nobody_is_late_the_least_latency_decides():
    table = simlib.RequestTable([0.0] * 4, [1] * 4, [1] * 4)
    found = sizes.scores(sizes.static(), [table, table], law, 1, 100.0)
    assert set(found.values()) == {(0.0, 14.0)}
    assert sizes.picked(sizes.static(), [table], law, 1, 100.0) == "static, 4"


def test_variants_say_what_they_are_and_bad_rates_do_not_change_order():
    table = simlib.RequestTable([0.0, 1.0, 2.0], [1] * 3, [1] * 3)
    assert len(sizes.bins(1.0, (4, 2, 2))) == len(sizes.shortest(table, 1.0, (2, 4))) == 2 * len(sizes.CAPS)
    policy, how = sizes.bins(1.0, (2,))["2 bins, 12"]
    assert (policy.k_bins, policy.variant.b_max, how) == (2, 12, "run_to_completion")
    table = sizes.at_rate(table, 4.0)
    np.testing.assert_allclose(table.arrival_s, [0.0, 0.25, 0.5])
