"""Bins under a deadline when predictions err: brute force, the trial held out, and simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

import simlib
from book.chapters.traffic_bins import deadline, held_out
from book.chapters.traffic_bins.deadline import Plan, choose
from book.kit.bins import phase_bins
from simlib.checks import InputError

LAW = "original-synthetic"


def judged_work_s(plan, lengths, predicted, model):
    """c of a plan from the definition: batches drawn with replacement from what is predicted into each bin."""
    bin_of, work = np.searchsorted(plan.edges, predicted, side="right"), 0.0
    for i, size in enumerate(plan.sizes):
        members = np.sort(lengths[bin_of == i])
        if len(members):
            longest = np.diff((np.arange(len(members) + 1) / len(members)) ** size)
            work += len(members) / len(lengths) * (longest @ model.batch_time_s(size, members)) / size
    return work


def test_with_errors_the_choice_is_the_best_of_all_edges_among_the_candidates():
    rng = np.random.default_rng(5)
    lengths = rng.integers(10, 300, 60)
    predicted = (lengths * np.exp(0.4 * rng.standard_normal(60))).astype(int)
    model, allowance_s = simlib.Affine(0.01, 0.001, 0.3), 0.35
    plan = choose(lengths, predicted, "joint", 2, model, allowance_s, late_share=0.2, max_batch=8)
    works = []
    for edges in [(), *combinations(np.unique(np.quantile(predicted, phase_bins.CUTS)), 1)]:
        bin_of, sizes = np.searchsorted(edges, predicted, side="right"), []
        for i in range(len(edges) + 1):
            members = np.sort(lengths[bin_of == i])
            best = (np.inf, 1)
            for size in (1, 2, 3, 4, 6, 8) if len(members) else ():
                longest = np.diff((np.arange(len(members) + 1) / len(members)) ** size)
                times_s = model.batch_time_s(size, members)
                fits = longest[times_s <= allowance_s].sum() >= 0.8 - 1e-12 and len(members) >= 3 * size
                if size == 1 or fits:
                    best = min(best, (longest @ times_s / size, size))
            sizes.append(best[1])
        works.append(judged_work_s(Plan(np.array(edges), np.array(sizes)), lengths, predicted, model))
    assert judged_work_s(plan, lengths, predicted, model) == pytest.approx(min(works), rel=1e-9)


def test_without_errors_the_choice_is_the_joint_optimum():
    rows = held_out.lengths_of("log_normal", 3000)
    lengths, predicted = deadline.totals(rows)
    plan = choose(lengths, predicted, "joint", 2, LAW, 0.3)
    assert plan.sizes.tolist() == [128, 1] and 0.95 < np.mean(lengths < plan.edges[0]) < 0.99
    assert choose(lengths, predicted, "one_bin", 2, LAW, 0.3).edges.tolist() == []


def test_the_trial_holds_on_lengths_unseen_and_errors_take_some_of_it():
    rows = held_out.lengths_of("log_normal", 6000)
    table = deadline.by_deadline(rows, k_values=(2,), deadlines_s=(0.3,)).set_index("choice")
    assert table.loc["joint", "ratio_low"] > 2.5 and table.loc["one_bin", "ratio"] == 1.0
    over = table.loc["joint", ["held_out_rps", "over_equal"]]
    assert over["held_out_rps"] / table.loc["equal_mass", "held_out_rps"] == pytest.approx(over["over_equal"])
    noisy = deadline.by_deadline(rows, "rank 0.7", k_values=(2,), deadlines_s=(0.3,)).set_index("choice")
    assert 1.0 < noisy.loc["joint", "ratio"] < table.loc["joint", "ratio_low"]


def test_a_deadline_that_batches_of_one_miss_is_refused_with_every_predictor():
    rows = held_out.lengths_of("log_normal", 500)
    for name in ("oracle", "rank 0.4"):
        table = deadline.by_deadline(rows, name, k_values=(2,), deadlines_s=(0.03,))
        assert table["refused"].str.contains("deadline_s").all() and len(table) == 3


def test_a_plan_is_served_in_its_own_batches():
    lengths = np.array([10] * 40 + [500] * 4)
    plan = Plan(np.array([100.0]), np.array([8, 2]))
    table = simlib.RequestTable(np.zeros(44), np.zeros(44, int), lengths, lengths)
    for kind in ("fixed", "greedy"):
        batches = simlib.simulate(table, deadline.policy(plan, kind), LAW).batches
        assert batches.groupby("bin")["size"].max().tolist() == [8, 2]


def test_saturated_servers_carry_what_the_formula_says():
    """Ten replications, seeds fixed: each ratio within 4 standard errors of 1 (0.3 % false alarms each of six)."""
    lengths = held_out.lengths_of("log_normal", 4000).output_tokens
    plans = {choice: choose(lengths, lengths, choice, 2, LAW, 0.3) for choice in ("equal_mass", "joint")}
    table = deadline.saturated(lengths, lengths, plans, gpus=(1, 2, 8), requests=50_000)
    errors = (table["ci_high"] - table["ratio"]) / stats.t.isf(0.025, 9)
    assert ((table["ratio"] - 1).abs() < 4 * errors + 0.005).all()  # and half a per cent for what is left over


def test_waiting_takes_the_gain_back_on_one_gpu_and_less_on_eight():
    rows = held_out.lengths_of("log_normal", 6000)
    table = deadline.carried(rows, gpus=(1, 8), budgets=(0.5, 0.75), requests=3000, replications=6)
    greedy = table[(table["choice"] == "joint") & (table["kind"] == "greedy")].set_index("gpus")
    assert greedy.loc[1, "ratio"] < 1.0 < greedy.loc[8, "ratio"]  # 3 to 4 without a queue
    assert greedy.loc[8, "p_holm"] < 0.05
    assert greedy.loc[8, "over_equal_low"] > 1
    alone = table[table["choice"] == "no_bins"]
    assert len(alone) == 2 and alone["ratio"].isna().all() and alone["policy"].str.contains("one bin|shortest").all()
    full = table[(table["choice"] == "joint") & (table["kind"] == "fixed")]
    assert full["refused"].str.contains("late even at").all()  # 128 requests do not come together in time


LENGTHS = np.array([10, 20, 30] * 20)
ROWS = held_out.Rows(np.zeros(60, int), LENGTHS)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: choose(LENGTHS, LENGTHS, "best", 2, LAW, 1.0), "choice"),
        (lambda: choose(LENGTHS, LENGTHS, "joint", 0, LAW, 1.0), "k_bins"),
        (lambda: choose(LENGTHS, LENGTHS, "joint", 2, "fast", 1.0), "latency"),
        (lambda: choose(LENGTHS, LENGTHS + 1, "joint", 2, LAW, -1.0), "deadline_s"),
        (lambda: choose(LENGTHS, LENGTHS, "joint", 2, LAW, 1.0, late_share=0), "late_share"),
        (lambda: deadline.by_deadline(ROWS, "prophet"), "predictor"),
        (lambda: deadline.by_deadline(ROWS, k_values=(1,)), "k_bins"),
        (lambda: deadline.by_deadline(ROWS, deadlines_s=(0,)), "deadline_s"),
        (lambda: deadline.carried(ROWS, budgets=(1.0,)), "budgets"),
        (lambda: deadline.carried(ROWS, gpus=(0,)), "gpus"),
        (lambda: deadline.policy(Plan(np.zeros(0), np.array([1])), "some"), "kind"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
