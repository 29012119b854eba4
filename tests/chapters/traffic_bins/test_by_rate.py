"""How many bins a load is worth: few where batches form slowly, more where they form at once."""

import pytest

from book.chapters.traffic_bins import by_rate
from simlib.checks import InputError


def test_forming_batches_takes_the_gain_back_at_low_rates():
    table = by_rate.by_rate(rates_rps=(0.1, 1e6), deadlines_s=(0.6,), replications=3, rows=600)
    slow, fast = (table[table["rate_rps"] == rate].set_index("rule") for rate in (0.1, 1e6))
    assert (slow["k_star"] == 1).all() and slow["gain"].max() < 1.02
    assert fast.loc["optimal", "k_star"] > 1 and fast.loc["optimal", "ci_low"] > 1.2
    assert fast.loc["equal_mass", "k_star"] == 1  # at this deadline half of the requests share the tail's small batch
    assert (table["k_share"] > 0.3).all() and (table["ci_low"] <= table["gain"]).all()


def test_a_deadline_that_nothing_meets_has_no_number_of_bins():
    table = by_rate.by_rate(rates_rps=(10,), deadlines_s=(0.02,), replications=2, rows=200, k_values=(1, 2))
    assert (table["k_star"] == 0).all()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"rates_rps": ()}, "rates_rps"),
        ({"rates_rps": (0,)}, "rate_rps"),
        ({"deadlines_s": (-1,)}, "deadline_s"),
        ({"k_values": (0,)}, "k_bins"),
        ({"budgets": (2,)}, "budget"),
        ({"source": "burst"}, "source"),
    ],
)
def test_bad_input_is_named(changed, word):
    with pytest.raises(InputError, match=word):
        by_rate.by_rate(**({"rates_rps": (1,), "deadlines_s": (1,), "replications": 2} | changed))
