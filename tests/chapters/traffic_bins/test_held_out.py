"""Rules of cutting on real lengths: estimates by hand, by theory and by brute force; what too few rows refuse."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from book.chapters.traffic_bins import held_out
from book.chapters.traffic_bins.held_out import Rows, expected_of_longest
from simlib import datasets
from simlib.checks import InputError
from simlib.theory import maxima


def uniform(n, seed=1):
    return Rows(np.zeros(n, int), np.random.default_rng(seed).integers(1, 2001, n))


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_longest_of_a_batch_is_the_mean_over_all_batches(size):
    lengths = np.array([1.0, 2.0, 2.0, 7.0, 9.0])
    batches = [max(batch) for batch in combinations(lengths, size)]
    found = expected_of_longest(lengths, np.ones((1, 5), int), size)
    assert found == pytest.approx([np.mean(batches)])
    again = expected_of_longest(lengths, np.ones((1, 5), int), size, replace=True)
    assert again == pytest.approx(maxima.bin_max_s(lengths, (), size))


def test_a_resample_counts_a_row_as_often_as_it_occurs():
    found = expected_of_longest(np.array([1.0, 2.0, 3.0]), np.array([[2, 0, 2], [0, 3, 0]]), 2)
    assert found == pytest.approx([3 - 2 * (1 / 6), 2.0])


def test_uniform_lengths_give_theorem_4_2_and_no_rule_better_than_equal_mass():
    """4,000 rows, seed fixed; a band covers the theorem's value with 95 %, and here all of eight do."""
    table = held_out.rules(uniform(4000), k_values=(2, 4), batch_sizes=(8, 32))
    for row in table[table["rule"] != "lemma_a1"].itertuples():
        half = (2000 / row.k_bins) * (row.batch_size / (row.batch_size + 1) - 0.5)
        assert row.ci_low < 1000 + half < row.ci_high
    optimal = table[table["rule"] == "optimal"]
    assert optimal["over_equal_mass"].between(0.98, 1.02).all()


def test_in_sample_optimal_bins_are_the_best():
    rows = Rows(np.zeros(3000, int), np.random.default_rng(2).lognormal(5, 1, 3000).astype(int) + 1)
    table = held_out.rules(rows, k_values=(2,), batch_sizes=(32,)).set_index("rule")
    assert table["in_sample_tokens"].idxmin() == "optimal"
    assert table.loc["optimal", "over_low"] > 1.1


def test_a_predictor_that_knows_nothing_makes_bins_useless():
    rows = uniform(3000)
    predicted = np.random.default_rng(3).permutation(rows.output_tokens)
    half = held_out.halves(rows.output_tokens.astype(float), predicted)[0]
    one, four = (held_out.judged_tokens(half, edges, 8)[0] for edges in (np.zeros(0), np.array([500, 1000, 1500])))
    assert four == pytest.approx(one, rel=0.01)


def test_400_rows_do_not_support_batches_of_128():
    rows = held_out.lengths_of("burstgpt_sample", 1000)
    table = held_out.rules(rows, k_values=(2,), batch_sizes=(8, 128)).set_index(["batch_size", "rule"])
    assert (table.loc[128, "refused"] == "383 rows, 768 wanted").all()
    assert (table.loc[8, "refused"] == "").all()
    assert np.isnan(table.loc[(128, "optimal"), "held_out_tokens"])


def test_halves_share_no_row_and_turn_about():
    lengths = np.arange(101)
    first, second = held_out.halves(lengths, lengths, resamples=3)
    assert set(first.fitted) == set(second.unseen) and not set(first.fitted) & set(first.unseen)
    assert (first.counts.sum(axis=1) == len(first.unseen)).all()


def test_the_condition_nears_the_programme_as_batches_grow():
    table = held_out.condition([8, 128], points=1500)
    gap = table.pivot_table("largest_gap", "law", "batch_size")
    assert (gap[128] <= gap[8]).all() and gap.loc["uniform", 128] < 1e-3
    assert (table["special_case_gap"].dropna() < 1e-6).all()


def test_an_absent_trace_leaves_its_committed_rows(monkeypatch, tmp_path):
    kept = pd.DataFrame({"source": ["azure_2023", "burstgpt_like"], "predictor": "oracle", "refused": ["", "few"]})
    file = tmp_path / "t.csv"
    kept.to_csv(file, index=False)
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "committed", lambda name: file)
    table, absent = held_out.gathered(
        lambda rows, name, seed: pd.DataFrame({"predictor": [name], "refused": [""]}),
        "t", {"burstgpt_sample": 9, "azure_2023": 9}, ("oracle",),
    )  # fmt: skip
    assert absent == ["azure_2023"]
    assert table["source"].tolist() == ["burstgpt_sample", "azure_2023"] and table["refused"].tolist() == ["", ""]


def test_a_trace_that_is_there_is_read(data_dir):
    rows = held_out.lengths_of("azure_2023", 500)
    assert len(rows.output_tokens) == 500 and rows.prompt_tokens.mean() > rows.output_tokens.mean()


def test_the_trials_law_is_log_normal():
    """10,000 draws: the median lies within 4 standard errors (1.25 sigma / sqrt(n) in the logarithm) of 150."""
    lengths = held_out.lengths_of("log_normal", 10_000).output_tokens
    assert abs(np.log(np.median(lengths) / 150)) < 4 * 1.2533 / 100
    assert stats.skew(np.log(lengths)) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: held_out.lengths_of("burst", 9), "source"),
        (lambda: held_out.lengths_of("log_normal", 1), "rows"),
        (lambda: held_out.lengths_of("log_normal", 9, -1), "seed"),
        (lambda: held_out.rules(uniform(99), "prophet"), "predictor"),
        (lambda: held_out.rules(uniform(99), k_values=(1,)), "k_values"),
        (lambda: held_out.rules(uniform(99), batch_sizes=(0,)), "batch_sizes"),
        (lambda: held_out.condition([1]), "batch_sizes"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
