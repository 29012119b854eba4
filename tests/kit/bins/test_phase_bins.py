"""Bins and batch sizes under laws of prefill and decode: the definition, its special case, and simulation."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import simlib
from book.kit.bins import joint_bins, phase_bins
from simlib import levels
from simlib.latency import presets
from simlib.latency.interpolated import Table
from simlib.latency.measurements import TIMED
from simlib.latency.phases import Phases, Power

LAW = Phases(0.01, 1e-3, 0.02, 1e-3, 1e-5)
MEASURED = "h100x8-splitwise-llama2-70b"


def table(prompts, outputs, predicted=None) -> simlib.RequestTable:
    predicted = outputs if predicted is None else predicted
    return simlib.RequestTable(np.zeros(len(prompts)), prompts, outputs, predicted)


FEW = table([10, 400, 35, 80, 10], [9, 3, 60, 25, 100])
SAMPLE = levels.requests_of(3, 3000, 7)[0]


def by_definition(requests, model, size, allowance_s) -> tuple[float, float]:
    """Mean time of a batch and share of late ones, over all ordered batches that can be drawn."""
    rows = range(len(requests))
    batches = np.array(list(product(rows, repeat=size)))
    times_s = model.batch_time_s(
        size, requests.prompt_tokens[batches].max(axis=1), requests.output_tokens[batches].max(axis=1)
    )
    return times_s.mean(), (times_s > allowance_s).mean()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_bins_mean_and_late_share_are_those_of_all_batches_that_can_be_drawn(size):
    mean_s, late = by_definition(FEW, LAW, size, 2.0)
    found = phase_bins.capacity(FEW, [], size, LAW, allowance_s=2.0, gpus=3)
    assert found.costs_s[0] == pytest.approx(mean_s / size, rel=1e-12)
    assert found.late_share == pytest.approx(late, abs=1e-12)
    assert found.capacity_rps == pytest.approx(3 * size / mean_s, rel=1e-12)


def test_bins_are_of_predictions_and_times_of_the_truth():
    requests = table([10, 400, 35, 80], [9, 3, 60, 25], predicted=[5, 50, 5, 50])
    found = phase_bins.capacity(requests, [20], [2, 1], LAW)
    short, long = (requests.rows(np.array(rows)) for rows in ([0, 2], [1, 3]))
    expected = [by_definition(short, LAW, 2, 1.0)[0] / 2, by_definition(long, LAW, 1, 1.0)[0]]
    assert found.costs_s == pytest.approx(expected, rel=1e-12) and found.shares.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("model", [simlib.Affine(0.01, 2e-4, 0.3), Power(0.01, 2e-4, 0.5)], ids=repr)
def test_laws_of_totals_are_worth_what_the_other_programme_says(model):
    lengths = SAMPLE.output_tokens[:500] % 250 + 1
    requests = table(np.zeros(500, int), lengths)
    one = phase_bins.capacity(requests, [50, 120], [8, 4, 2], model, allowance_s=0.05)
    other = joint_bins.capacity(lengths, [50, 120], [8, 4, 2], model, allowance_s=0.05)
    assert one.costs_s == pytest.approx(other.costs_s, rel=1e-9)
    assert one.late_shares == pytest.approx(other.late_shares, abs=1e-9)


def test_no_bins_and_sizes_of_a_small_sample_carry_more():
    rng = np.random.default_rng(5)
    requests = table(rng.integers(1, 30, 40) * 10, rng.integers(1, 7, 40) * 10)
    found = phase_bins.joint_optimum(requests, 3, LAW, 3.0, max_batch=3, quantile=0.8)
    best = 0.0
    for edges in (e for k in range(3) for e in combinations(np.arange(20, 70, 10), k)):
        rows = np.bincount(np.searchsorted(edges, requests.output_tokens, side="right"), minlength=len(edges) + 1)
        if (rows == 0).any():
            continue
        for sizes in product((1, 2, 3), repeat=len(edges) + 1):
            one = phase_bins.capacity(requests, list(edges), list(sizes), LAW, allowance_s=3.0)
            allowed = (np.array(sizes) == 1) | ((one.late_shares <= 0.2 + 1e-9) & (rows >= 3 * np.array(sizes)))
            best = max(best, one.capacity_rps) if allowed.all() else best
    assert found.capacity_rps == pytest.approx(best, rel=1e-9)


def test_lengths_that_stand_together_move_the_result_by_little(monkeypatch):
    requests = levels.requests_of(4, 2000, 3, requests_from="population")[0]
    assert len(np.unique(requests.prompt_tokens)) > phase_bins.FINE
    together = phase_bins.capacity(requests, [60, 200], [8, 4, 2], MEASURED, allowance_s=30.0)
    monkeypatch.setattr(phase_bins, "FINE", 5000)
    exact = phase_bins.capacity(requests, [60, 200], [8, 4, 2], MEASURED, allowance_s=30.0)
    assert together.costs_s == pytest.approx(exact.costs_s, rel=2e-3)
    assert together.late_shares == pytest.approx(exact.late_shares, abs=0.01)


@pytest.mark.filterwarnings("ignore:latency")
@pytest.mark.parametrize("bounds", ["optimal", "equal_mass"])
@pytest.mark.parametrize("latency", [MEASURED, "h100-vllm-llama3-8b", "original-calibrated"])
def test_simulation_carries_what_the_formula_says(latency, bounds):
    """Ten replications of 20,000 requests that all wait, drawn from those that were cut; seeds fixed beforehand.

    The mean work a request may differ by the t quantile at a family-wise error rate of 0.1 % over six checks, and two
    one-sided t tests at 5 % hold it within 2 %.
    """
    model = presets.load(latency)
    deadline_s = 2 * float(simlib.simulate(SAMPLE.at_rate(1e9), "static_fifo", model).served.service_s.mean())
    found = phase_bins.joint_optimum(SAMPLE, 3, model, deadline_s, bounds=bounds, max_batch=32)
    policy = simlib.MultiBinFixed(found.batch_sizes, len(found.batch_sizes), found.edges)
    ratios = []
    for seed in range(10):
        rows = np.random.default_rng(100 + seed).integers(len(SAMPLE), size=20_000)
        columns = (SAMPLE.prompt_tokens, SAMPLE.output_tokens, SAMPLE.predicted_output_tokens)
        run = simlib.simulate(table(*(column[rows] for column in columns)), policy, model)
        ratios.append(run.summary()["makespan_s"] / 20_000 * found.capacity_rps)
    error = stats.sem(ratios)
    assert abs(np.mean(ratios) - 1) < stats.t.isf(0.001 / (2 * 6), 9) * error
    assert abs(np.mean(ratios) - 1) + stats.t.isf(0.05, 9) * error < 0.02


def test_the_deadline_is_kept_by_the_share_asked_for_and_a_budget_is_taken_off():
    found = phase_bins.joint_optimum(SAMPLE, 4, MEASURED, 24.0, quantile=0.9, max_batch=16)
    crowded = found.batch_sizes > 1
    assert crowded.any() and (found.late_shares[crowded] <= 0.11).all()  # 0.1, but for lengths that stand together
    less = phase_bins.joint_optimum(SAMPLE, 4, MEASURED, 30.0, waiting_budget_s=6.0, quantile=0.9, max_batch=16)
    assert less.batch_sizes.tolist() == found.batch_sizes.tolist() and less.capacity_rps == found.capacity_rps


def summed(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    return 0.001 * sum_prompt


def of_both(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    return 0.1 * (max_prompt + max_output)


def as_law(size, max_prompt, sum_prompt, max_output, sum_output, max_total):
    steps = max(max_output - 1, 0)
    return 0.01 + 1e-3 * size * max_prompt + steps * (0.02 + 1e-3 * size + 1e-5 * size * (max_prompt + max_output / 2))


def test_a_law_may_be_a_function_of_the_longest_members():
    exact = phase_bins.capacity(FEW, [50], [3, 2], LAW)
    assert phase_bins.capacity(FEW, [50], [3, 2], as_law).costs_s == pytest.approx(exact.costs_s, rel=1e-12)
    # The longest prompt and the longest output: not the largest total, though the law treats both alike.
    found = phase_bins.capacity(FEW, [], 2, of_both)
    prompts, outputs = FEW.prompt_tokens, FEW.output_tokens
    both = [max(prompts[i], prompts[j]) + max(outputs[i], outputs[j]) for i, j in product(range(5), repeat=2)]
    assert found.costs_s[0] == pytest.approx(0.1 * np.mean(both) / 2)


def test_a_law_may_be_a_table_of_measured_times():
    points = pd.DataFrame(list(product((1, 8), (5, 800), (1, 200))), columns=TIMED[:3])
    like = Phases(0.0, 0.01, 0.02, 0.001)  # linear between any two points
    measured = Table.of(points.assign(total_s=like.batch_time_s(*(points[name] for name in TIMED[:3]))))
    costs_s = [phase_bins.capacity(FEW, [50], [8, 1], model).costs_s for model in (measured, like)]
    assert costs_s[0] == pytest.approx(costs_s[1], rel=1e-9)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"latency": summed}, r"latency.*longest prompt and output"),
        ({"latency": Phases(*LAW.params, tokens="packed")}, r"latency.*alone"),
        ({"latency": simlib.GivenTimes([1.0] * 5)}, r"latency: GivenTimes"),
        ({"latency": simlib.GivenBatchTimes([1.0] * 5)}, r"latency: GivenBatchTimes"),
        ({"latency": "fast"}, "latency"),
        ({"latency": Phases(0, 0, 0, 0)}, "latency: no batch takes any time"),
        ({"requests": [1, 2]}, "requests"),
        ({"requests": simlib.RequestTable([0], [1], [1])}, "predicted_output_tokens: missing"),
        ({"deadline_s": 0.5}, r"deadline_s: 0.5, of which 0 s .* 0.4 of them make it"),
        ({"deadline_s": 3.0, "waiting_budget_s": 2.9}, r"deadline_s: 3, of which 2.9 s"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"waiting_budget_s": -1}, "waiting_budget_s"),
        ({"quantile": 1}, "quantile"),
        ({"max_batch": 0}, "max_batch"),
        ({"k_bins": 0}, "k_bins"),
        ({"bounds": "mass"}, "bounds"),
        ({"gpus": 0}, "gpus"),
    ],
)
def test_what_has_no_optimum_is_refused(changed, message):
    usual = {"requests": FEW, "k_bins": 2, "latency": LAW, "deadline_s": 9.0}
    with pytest.raises(simlib.InputError, match=message):
        phase_bins.joint_optimum(**(usual | changed))


@pytest.mark.parametrize(
    ("edges", "sizes", "message"),
    [([5, 5], 1, "bounds"), ("optimal", 1, "edges"), (5, 1, "edges"), ([5], [1], "batch_size"), ([5], [1, 0], "batch")],
)
def test_bins_that_cannot_be_judged_are_refused(edges, sizes, message):
    with pytest.raises(simlib.InputError, match=message):
        phase_bins.capacity(FEW, edges, sizes, LAW)


def test_the_other_programme_points_here():
    with pytest.raises(simlib.InputError, match="phase_bins"):
        joint_bins.joint_optimum([1, 2, 3], 1, LAW, 9.0)
