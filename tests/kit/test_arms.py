"""What is tried, by its setting in order; and what carries most of it."""

import pytest

from book.kit import arms
from simlib import InputError


def test_settings_say_what_is_built_and_stand_in_order():
    assert {name: policy.batch_size for name, policy in arms.static((8, 4)).items()} == {"static, 8": 8, "static, 4": 4}
    (dynamic,) = arms.dynamic(2.0, [16]).values()
    assert (dynamic.d_sla, dynamic.variant.b_max) == (2.0, 16)
    bins = arms.bins(2.0, (2, 4), (8, 16), "{1} in {0}", "oldest_head")
    assert list(bins) == ["8 in 2", "16 in 2", "8 in 4", "16 in 4"]
    last = bins["16 in 4"]
    assert (last.k_bins, last.d_sla, last.bin_select, last.variant.b_max) == (4, 2.0, "oldest_head", 16)
    shortest = arms.shortest(0.1, (2, 4), (8,))["shortest of 4, 8"]
    assert (shortest.seconds_per_token, shortest.k_bins, shortest.batch_size) == (0.1, 4, 8)


def test_a_quarter_of_the_deadline_outweighs_a_mean_length():
    assert arms.ageing_s([100, 300], 40.0) == arms.ageing_s(200.0, 40.0) == 0.05


class Known:
    """A search whose roots are known, or why there are none."""

    def __init__(self, policies):
        self.policies = policies

    def table(self, seed):
        return seed

    def root(self, name, seed):
        if isinstance(self.policies[name], str):
            raise InputError(self.policies[name])
        return self.policies[name][seed - 5]


def test_what_carries_most_in_the_geometric_mean_is_picked():
    search = Known({"late": "late_share: missed", "uneven": [1.0, 9.0], "even": [4.0, 4.0], "again": [4.0, 4.0]})
    name, mean = arms.picked(search, 2, seed=5, progress=False)
    assert (name, mean) == ("even", pytest.approx(4.0))


def test_a_run_too_short_to_tell_is_no_miss():
    with pytest.raises(InputError, match="requests: too few"):
        arms.picked(Known({"all": "requests: too few"}), 1, seed=5, progress=False)
