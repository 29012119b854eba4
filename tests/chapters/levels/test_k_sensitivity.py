"""The recipes beside the levels, against what was measured with the original system."""

import numpy as np
import pytest

import simlib
from book.chapters.controller import study
from book.chapters.levels import k_sensitivity
from book.chapters.workloads import traffic
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


def test_dynamic_batching_is_a_static_batch_of_64():
    # Measured with the original: 100 of 100 seeds at level 1, 99 at level 3.
    assert study.equals_static(1, seed=0) == 1.0
    assert study.equals_static(3, seed=0) == 0.99
    assert study.equals_static(1, batch_size=8, seed=0, replications=5) == 0.0


def test_the_controller_takes_one_branch_at_the_documents_deadline_and_all_under_a_tight_one():
    table = study.controller_branches((3,), deadlines_s=(1.0, 0.5), replications=3)
    dynamic = table[table["scheduler"] == "dynamic_no_bins"].pivot_table(
        index="d_sla_s", columns="branch", values="share"
    )
    assert dynamic.loc[1.0, "too slow"] == dynamic.loc[1.0, "within tolerance"] == 0.0
    assert (dynamic.loc[0.5] > 0).all()
    assert table.groupby(["d_sla_s", "scheduler"])["share"].sum().tolist() == pytest.approx([1.0] * 4)


def test_the_collapse_needs_several_times_the_static_schedulers_time():
    clearing = study.clearing_times(study.collapse()).set_index(["scheduler", "variant"])
    static, collapsed = clearing.loc[("static_fifo", "")], clearing.loc[("dynamic_no_bins", "original")]
    assert collapsed["clearing_s"] > 5 * static["clearing_s"]
    assert collapsed["batch_size_mean"] < 2
    assert clearing.loc[("dynamic_no_bins", "paper"), "clearing_s"] < static["clearing_s"]


def test_the_backlog_starts_at_the_burst_and_ends_empty():
    import simlib

    burst = study.collapse()
    time_s, number = study.backlog(simlib.simulate(burst, "static_fifo"))
    assert time_s[0] >= 0 and number[-1] == 0
    assert 300 < number.max() <= study.BURST


def test_late_alone_is_a_floor_under_every_scheduler():
    from simlib import levels

    floor = traffic.late_alone(100.0, 0.3, 42, 1000, 50.0).set_index("level")["late_alone_share"]
    runs = levels.runs_of(1, replications=1, d_sla=0.3).set_index("scheduler")["sla_violation_share"]
    assert 0 < floor[1] <= runs.min()


def test_bin_edges_are_those_of_the_recipe():
    edges = traffic.bin_edges(4, 42, 1000, 50.0).set_index("workload")
    assert edges.loc["synthetic recipe", "edges_tokens"] == "28, 41, 88"
    assert 0.3 < edges.loc["synthetic recipe", "rank_correlation"] < 0.55


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
        (lambda: study.equals_static(1, replications=0), "replications"),
        (lambda: study.equals_static(9), "level"),
        (lambda: study.controller_branches((1,), (0.0,), requests=5, replications=2), "d_sla"),
        (lambda: study.collapse(long_requests=0), "long_requests"),
        (lambda: study.collapse(burst=0), "burst"),
        (lambda: k_sensitivity.powers_of_two(0), "k_bins"),
        (lambda: traffic.bin_edges(0, 1, 10, 50.0), "k_bins"),
        (lambda: traffic.late_alone(100.0, float("nan"), 1, 10, 50.0), "d_sla"),
        (lambda: k_sensitivity.k_sensitivity(seed="x"), "seed"),
        (lambda: study.equals_static(1, seed=None), "seed"),
        (lambda: study.equals_static([1]), "level"),
        (lambda: study.controller_branches((1,), (1.0,), seed=-1), "seed"),
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
