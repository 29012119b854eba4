"""Bins and batch sizes under a deadline: brute force, the trial that the claim rests on, and simulation."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

import simlib
from book.kit.bins import joint_bins
from book.kit.bins.joint_bins import capacity, joint_optimum
from simlib.engine.compiled import compiled
from simlib.requests.lengths import Empirical, LogNormal

LAW = "original-synthetic"
LOG_NORMAL = LogNormal(median_tokens=150, sigma=1.0)
TRIAL = LOG_NORMAL.sample(20_000, np.random.default_rng(1))


def least_cost_s(members, model, allowance_s, quantile, max_batch) -> float:
    """c of one bin from the definition: the least E[T]/b of the batches that are allowed."""
    members, places = np.sort(members), np.arange(len(members) + 1) / len(members)
    costs = []
    for size in range(1, max_batch + 1):
        longest = np.diff(places**size)
        times_s = model.batch_time_s(size, members)
        in_time = longest[times_s <= allowance_s].sum()
        if size == 1 or (in_time >= quantile * (1 - 1e-12) and len(members) >= 3 * size):
            costs.append(longest @ times_s / size)
    return min(costs)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(
    st.lists(st.integers(1, 60), min_size=3, max_size=20).map(np.array),
    st.integers(1, 4),
    st.sampled_from([0.3, 0.55, 0.8]),
    st.floats(15.0, 60.0),
)
def test_no_bins_and_batches_of_a_small_sample_carry_more(lengths, k_bins, quantile, deadline_s):
    model, values = simlib.Affine(4.0, 0.7, 0.4), np.unique(lengths)
    assume(k_bins <= len(values))
    assume(np.mean(model.batch_time_s(1, lengths) <= deadline_s) >= quantile)
    works = []
    for bins in range(1, k_bins + 1):
        for edges in combinations(values[1:], bins - 1):
            bin_of = np.searchsorted(edges, lengths, side="right")
            parts = [lengths[bin_of == i] for i in range(bins)]
            works.append(sum(len(p) * least_cost_s(p, model, deadline_s, quantile, 5) for p in parts) / len(lengths))
    found = joint_optimum(lengths, k_bins, model, deadline_s, quantile=quantile, max_batch=5)
    assert 1 / found.capacity_rps == pytest.approx(min(works), rel=1e-9)
    assert len(found.edges) == len(found.batch_sizes) - 1 < k_bins
    allowed = (found.late_shares <= 1 - quantile + 1e-9) | (found.batch_sizes == 1)
    assert allowed.all()


def test_the_kernel_agrees_with_its_twin_to_the_last_bit():
    values = np.arange(1.0, 61.0)
    times_s = np.ascontiguousarray(
        simlib.Affine(1.0, 0.1, 0.3).batch_time_s(np.arange(1, 33)[None, :], values[:, None])
    )
    fits = np.array([np.searchsorted(column, 6.0, side="right") for column in times_s.T])
    law = (times_s, np.arange(61.0) * 3, fits, 0.9 ** (1 / np.arange(1, 33)), 3.0 * np.arange(1, 33))
    found = []
    for kernel in (joint_bins.cheapest_costs, compiled(joint_bins.cheapest_costs)):
        costs, sizes = np.zeros(61), np.zeros(61, np.int64)
        kernel(5, *law, costs, sizes, np.zeros(32))
        found.append((costs.tobytes(), sizes.tobytes()))
    assert found[0] == found[1]


def test_a_tail_of_its_own_carries_three_times_the_load_of_equal_mass():
    """The trial: the original's law, log-normal lengths (median 150, sigma 1), a deadline of 0.3 s, two bins."""
    found = joint_optimum(TRIAL, 2, LAW, 0.3)
    equal_mass = joint_optimum(TRIAL, 2, LAW, 0.3, bounds="equal_mass")
    assert found.batch_sizes.tolist() == [128, 1] and equal_mass.batch_sizes.tolist() == [128, 2]
    assert 0.975 < found.shares[0] < 0.985
    assert 95 < found.capacity_rps < 115 and 27 < equal_mass.capacity_rps < 30
    # On lengths unseen: 200,000 others, on which the same bins and batches carry the same within 2 %.
    unseen = LOG_NORMAL.sample(200_000, np.random.default_rng(2))
    for fitted in (found, equal_mass):
        judged = capacity(unseen, fitted.edges, fitted.batch_sizes, LAW, allowance_s=0.3)
        assert judged.capacity_rps == pytest.approx(fitted.capacity_rps, rel=0.02)


SIMULATED = [("optimal", 1), ("equal_mass", 8)]


@pytest.mark.parametrize(("bounds", "gpus"), SIMULATED)
def test_simulation_carries_what_the_formula_says(bounds, gpus):
    """Ten replications of 200,000 requests that all wait from the start, drawn from the lengths that were cut.

    Seeds fixed beforehand. The mean work a request may differ from the formula by the t quantile at a family-wise error
    rate of 0.1 % over both checks; two one-sided t tests at 5 % hold it within 2 %.
    """
    found = joint_optimum(TRIAL, 2, LAW, 0.3, bounds=bounds, gpus=gpus)
    policy = simlib.MultiBinFixed(found.batch_sizes, 2, found.edges)
    ratios = []
    for seed in range(10):
        lengths = Empirical(TRIAL).sample(200_000, np.random.default_rng(100 + seed))
        requests = simlib.RequestTable(np.zeros(200_000), np.zeros(200_000, int), lengths, lengths)
        run = simlib.simulate(requests, policy, LAW, gpus)
        ratios.append(run.summary()["makespan_s"] / 200_000 * found.capacity_rps)
    error = stats.sem(ratios)
    assert abs(np.mean(ratios) - 1) < stats.t.isf(0.001 / (2 * len(SIMULATED)), 9) * error
    assert abs(np.mean(ratios) - 1) + stats.t.isf(0.05, 9) * error < 0.02


def test_servers_add_up_and_a_waiting_budget_is_taken_off_the_deadline():
    one, eight = (joint_optimum(TRIAL[:2000], 2, LAW, 0.3, gpus=gpus, max_batch=16) for gpus in (1, 8))
    assert eight.capacity_rps == pytest.approx(8 * one.capacity_rps)
    later = joint_optimum(TRIAL[:2000], 2, LAW, 0.4, waiting_budget_s=0.1, max_batch=16)
    assert later.edges.tolist() == one.edges.tolist() and later.capacity_rps == pytest.approx(one.capacity_rps)


def test_batches_form_within_the_waiting_budget_where_a_rate_is_given():
    # Equal mass, 2 bins: (b - 1) / (2 * 0.5 * rate) <= 0.1 s, so that at 31 requests/s b is at most 4.
    ways = {"waiting_budget_s": 0.1, "bounds": "equal_mass", "quantile": 0.5}
    assert joint_optimum(TRIAL[:2000], 2, LAW, 9.0, rate_rps=31.0, **ways).batch_sizes.tolist() == [4, 4]
    few, many, ample = (joint_optimum(TRIAL[:2000], 2, LAW, 0.4, waiting_budget_s=0.1, rate_rps=r, max_batch=32)
                        for r in (5.0, 50.0, 1e6))  # fmt: skip
    never = joint_optimum(TRIAL[:2000], 2, LAW, 0.4, waiting_budget_s=0.1, max_batch=32)
    assert few.capacity_rps < many.capacity_rps < ample.capacity_rps == never.capacity_rps
    alone = joint_optimum(TRIAL[:2000], 2, LAW, 0.4, rate_rps=50.0, max_batch=32)  # no budget: no company
    assert set(alone.batch_sizes.tolist()) == {1}


def test_a_prompt_lengthens_every_request():
    shifted = joint_optimum(TRIAL[:2000] + 100, 2, LAW, 0.4, max_batch=16)
    with_prompt = joint_optimum(TRIAL[:2000], 2, LAW, 0.4, max_batch=16, prompt_tokens=100)
    assert (with_prompt.edges + 100).tolist() == shifted.edges.tolist()
    assert with_prompt.capacity_rps == pytest.approx(shifted.capacity_rps)


def test_bins_that_would_leave_too_few_rows_for_their_batches_are_not_cut():
    lengths = np.arange(100, 124)  # 24 rows: one batch of eight, or smaller ones from more bins
    found = joint_optimum(lengths, 4, simlib.Affine(1.0, 1e-6, 0.0), 10.0)
    assert found.batch_sizes.tolist() == [8] and found.edges.tolist() == []
    assert joint_optimum(lengths, 4, simlib.Affine(1.0, 1e-6, 0.0), 10.0, bounds="equal_width").batch_sizes.max() == 2


def test_a_law_is_a_model_or_a_function_of_size_and_total():
    def as_preset(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
        return max(0.001, 0.010 + 0.0002 * max_total * (1 + 0.3 * (size - 1) / size))

    few = TRIAL[:300]
    by_name, by_function = (joint_optimum(few, 2, law, 0.3, max_batch=8) for law in (LAW, as_preset))
    assert by_name.edges.tolist() == by_function.edges.tolist()
    assert by_name.capacity_rps == pytest.approx(by_function.capacity_rps)
    assert capacity(few, by_name.edges, by_name.batch_sizes, as_preset).capacity_rps == by_function.capacity_rps


def test_an_empty_bin_costs_nothing():
    found = capacity([5, 5, 5], [1, 10], 2, simlib.Affine(0.0, 1.0, 0.0))
    assert found.shares.tolist() == [0, 1, 0] and found.capacity_rps == pytest.approx(0.4)


FEW = np.arange(1, 41)


def rises_with_prompts(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    return 0.1 * sum_prompt


def falls_with_length(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    return 1.0 / max_total


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"deadline_s": 0.015}, r"deadline_s: 0.015, of which 0 s for waiting \(expected 0.0172 s or more"),
        ({"deadline_s": 1.0, "waiting_budget_s": 0.99}, r"deadline_s: 1, of which 0.99 s .*0.0172 s or more"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"deadline_s": "1"}, "deadline_s"),
        ({"waiting_budget_s": -1}, "waiting_budget_s"),
        ({"waiting_budget_s": 1.5}, "waiting_budget_s"),
        ({"quantile": 0}, "quantile"),
        ({"quantile": 1}, "quantile"),
        ({"max_batch": 0}, "max_batch"),
        ({"max_batch": 2000}, "max_batch"),
        ({"k_bins": 41}, "k_bins: 41 .expected at most 40, the number of distinct lengths"),
        ({"k_bins": 0}, "k_bins"),
        ({"lengths_tokens": []}, "lengths_tokens"),
        ({"lengths_tokens": [-1.0]}, "lengths_tokens"),
        ({"prompt_tokens": -1}, "prompt_tokens"),
        ({"rate_rps": 0}, "rate_rps"),
        ({"bounds": "mass"}, "bounds"),
        ({"bounds": [5, 5], "k_bins": 3}, "bounds"),
        ({"gpus": 0}, "gpus"),
        ({"latency": "fast"}, "latency"),
        ({"latency": rises_with_prompts}, r"latency.*alone"),
        ({"latency": falls_with_length}, r"latency.*fall"),
        ({"latency": simlib.GivenTimes([1.0] * 40)}, r"latency.*alone"),
        ({"latency": simlib.GivenBatchTimes([1.0] * 40)}, r"latency.*alone"),
        ({"latency": simlib.Affine(0, 0, 0, 0)}, "latency"),
    ],
)
def test_what_has_no_optimum_is_refused(changed, message):
    usual = {"lengths_tokens": FEW, "k_bins": 2, "latency": LAW, "deadline_s": 1.0}
    with pytest.raises(simlib.InputError, match=message):
        joint_optimum(**(usual | changed))


@pytest.mark.parametrize(
    ("edges", "sizes", "message"),
    [
        ([5, 5], 1, "bounds"),
        ([9, 5], 1, "bounds"),
        ("optimal", 1, "edges"),
        (5, 1, "edges"),
        ([5], [1], "batch_size"),
        ([5], [1, 0], "batch_size"),
    ],
)
def test_bins_that_cannot_be_judged_are_refused(edges, sizes, message):
    with pytest.raises(simlib.InputError, match=message):
        capacity(FEW, edges, sizes, LAW)
