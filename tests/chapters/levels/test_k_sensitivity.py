"""The number of bins, against what was measured with the original system; contests between policies."""

import numpy as np
import pytest

import simlib
from book.chapters.levels import k_sensitivity
from simlib.checks import InputError


def test_k_sensitivity_returns_the_means_measured_with_the_original():
    # The original, seeds 0 to 29, round robin, K = 1, 2, 4, 8, levels 1 and 3, in per cent. Deterministic.
    measured = {"original-synthetic": (0.70, 0.62, 0.57, 1.68), "original-calibrated": (44.6, 28.2, 19.5, 25.9)}
    longest = {"original-synthetic": (0.70, 0.39, 0.64, 3.14), "original-calibrated": (44.6, 28.1, 21.1, 25.6)}
    for latency, digits in (("original-synthetic", 2), ("original-calibrated", 1)):
        table = k_sensitivity.k_sensitivity(
            k_values=(1, 2, 4, 8),
            selections=("round_robin", "longest_queue"),
            arrivals=("poisson",),
            latency=latency,
            seed=0,
        ).set_index(["bin_select", "k_bins"])
        for select, expected in (("round_robin", measured), ("longest_queue", longest)):
            ours = (100 * table.loc[select, "violation_share"]).round(digits)
            assert ours.tolist() == pytest.approx(expected[latency], abs=1.01 * 10.0**-digits)


def test_one_bin_differs_from_itself_by_nothing():
    table = k_sensitivity.k_sensitivity(k_values=(1, 2), arrivals=("on_off",), requests=200, replications=3)
    alone = table[table["k_bins"] == 1]
    assert (alone[["difference", "difference_ci_low", "difference_ci_high"]] == 0).all(axis=None)
    assert set(table["bin_select"]) == {"round_robin", "longest_queue", "oldest_head"}


def test_powers_of_two_end_with_the_largest():
    assert k_sensitivity.powers_of_two(16) == [1, 2, 4, 8, 16]
    assert k_sensitivity.powers_of_two(6) == [1, 2, 4, 6]
    assert k_sensitivity.powers_of_two(1) == [1]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: k_sensitivity.k_sensitivity(k_values=(0,)), "k_bins"),
        (lambda: k_sensitivity.k_sensitivity(selections=("fastest",), requests=5, replications=2), "bin_select"),
        (lambda: k_sensitivity.k_sensitivity(arrivals=("daily",)), "arrivals"),
        (lambda: k_sensitivity.k_sensitivity(replications=1), "replications"),
        (lambda: k_sensitivity.k_sensitivity(latency="fast", requests=5, replications=2), "latency"),
        (lambda: k_sensitivity.powers_of_two(0), "k_bins"),
        (lambda: k_sensitivity.k_sensitivity(seed="x"), "seed"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()


def test_a_study_is_the_same_every_time():
    once, again = (k_sensitivity.k_sensitivity(arrivals=("poisson",), requests=100, replications=2) for _ in range(2))
    assert np.array_equal(once.select_dtypes("number"), again.select_dtypes("number"))


def takes_eight(now_s, gpu, waiting, params, memory, note):
    return 0, 8


def test_a_contest_pairs_every_policy_with_the_last():
    policies = {
        "static": simlib.StaticFIFO(8),
        "bins": simlib.MultiBinDynamic(2),
        "mine": simlib.Custom("mine", takes_eight),
    }
    table = k_sensitivity.contest(policies, 3, requests=300, replications=4).set_index("scheduler")
    assert list(table.index) == list(policies)
    same = table.loc["static"]  # the last policy is the first by another name
    assert same["violation_share"] == table.loc["mine", "violation_share"]
    assert (same["difference"], same["difference_ci_low"], same["difference_ci_high"]) == (0, 0, 0)
    assert table.loc["bins", "difference"] == pytest.approx(
        table.loc["bins", "violation_share"] - same["violation_share"]
    )
    assert table["difference"].isna().tolist() == [False, False, True]
    assert set(table["backend"]) == {"compiled"}


@pytest.mark.parametrize("policies", [None, {}, {"one": simlib.StaticFIFO()}, [simlib.StaticFIFO()]], ids=repr)
def test_a_contest_has_at_least_two_policies(policies):
    with pytest.raises(simlib.InputError, match="policies"):
        k_sensitivity.contest(policies)
