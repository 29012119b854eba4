"""Bin boundaries by each rule, and who falls where."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simlib
from simlib.policies import bins as policies_bins
from simlib.policies.bins import assign, equal_mass, lemma_a1

LENGTHS = st.lists(st.integers(0, 4096), min_size=1, max_size=60).map(np.array)


def test_a_length_on_an_edge_belongs_to_the_bin_above_it():
    edges = np.array([28.0, 41.0, 88.0])
    assert assign(np.array([27, 28, 40, 41, 87, 88, 10_000]), edges).tolist() == [0, 1, 1, 2, 2, 3, 3]


def test_what_lies_below_the_lowest_edge_falls_into_the_first_bin():
    assert assign(np.array([0, 1, 9]), np.array([28.0, 41.0])).tolist() == [0, 0, 0]


def test_one_bin_takes_everything():
    assert policies_bins.edges("equal_mass", np.array([1, 2, 3]), 1).tolist() == []
    assert assign(np.array([1, 2, 3]), np.zeros(0)).tolist() == [0, 0, 0]


def test_equal_mass_edges_are_interpolated_quantiles():
    # Places i/4 of 0..3 in (10, 20, 30, 50): 0.75, 1.5, 2.25.
    lengths = np.array([50, 10, 30, 20])
    assert policies_bins.edges("equal_mass", lengths, 4).tolist() == [17.5, 25.0, 35.0]
    assert policies_bins.edges("equal_mass_integer", lengths, 4).tolist() == [17.0, 25.0, 35.0]


def test_equal_width_edges_cut_the_range():
    assert policies_bins.edges("equal_width", np.array([7, 1, 1, 1, 21]), 4).tolist() == [6.0, 11.0, 16.0]


def test_the_original_workloads_bins_are_9_28_41_88():
    table = simlib.workload.original(1000, seed=42)
    assert table.predicted_output_tokens.min() == 9
    assert policies_bins.edges("equal_mass_integer", table.predicted_output_tokens, 4).tolist() == [28.0, 41.0, 88.0]
    assert simlib.MultiBinDynamic(4).plan(table, 1).edges.tolist() == [28.0, 41.0, 88.0]


@settings(deadline=None, derandomize=True)
@given(st.integers(1, 9).flatmap(lambda k: st.tuples(st.just(k), st.integers(1, 12))), st.randoms())
def test_equal_mass_bins_of_distinct_lengths_are_equally_full(shape, random):
    k_bins, each = shape
    lengths = np.array(random.sample(range(10_000), k_bins * each))
    bins = assign(lengths, policies_bins.edges("equal_mass", lengths, k_bins))
    assert np.bincount(bins, minlength=k_bins).tolist() == [each] * k_bins


@settings(deadline=None, derandomize=True)
@given(LENGTHS, st.integers(1, 12), st.sampled_from(["equal_mass", "equal_mass_integer", "equal_width"]))
def test_every_length_has_a_bin_and_longer_ones_no_lower_bin(lengths, k_bins, rule):
    edges = policies_bins.edges(rule, lengths, k_bins)
    bins = assign(np.sort(lengths), edges)
    assert edges.shape == (k_bins - 1,)
    assert (np.diff(edges) >= 0).all()
    assert bins.min() >= 0 and bins.max() < k_bins
    assert (np.diff(bins) >= 0).all()


def test_tied_lengths_leave_fewer_distinct_bins():
    lengths = np.array([5] * 15 + [9] * 5)
    for rule in ("equal_mass", "equal_width"):
        assert len(set(assign(lengths, policies_bins.edges(rule, lengths, 4)).tolist())) == 2
    assert len(set(assign(np.array([5] * 9), policies_bins.edges("equal_mass", np.array([5] * 9), 2)).tolist())) == 1


# Lemma A.1 of the Multi-Bin paper; values of its example, B = 200 and mean length 10.


@pytest.mark.parametrize(
    ("k_bins", "edges"),
    [
        (1, []),
        (2, [17.7122]),
        (3, [10.1929, 27.9051]),
        (4, [7.0275, 17.2203, 34.9326]),
        (5, [5.3224, 12.3499, 22.5428, 40.2550]),
    ],
)
def test_lemma_a1_gives_the_papers_boundaries(k_bins, edges):
    assert lemma_a1(10.0, k_bins, 200) == pytest.approx(edges, abs=6e-5)


@pytest.mark.parametrize(
    ("k_bins", "masses"),
    [(2, [0.8299, 0.1701]), (3, [0.6391, 0.2995, 0.0614]), (5, [0.4127, 0.2964, 0.1859, 0.0871, 0.0179])],
)
def test_lemma_a1_bins_have_the_papers_masses(k_bins, masses):
    tails = np.exp(-np.append(0.0, lemma_a1(10.0, k_bins, 200)) / 10.0)
    assert -np.diff(np.append(tails, 0.0)) == pytest.approx(masses, abs=6e-5)


def test_lemma_a1_minimises_its_bound():
    def bound(edges):
        harmonic = sum(1 / i for i in range(1, 201))
        tails = np.exp(-np.append(0.0, edges) / 10.0)
        masses = -np.diff(np.append(tails, 0.0))
        return masses[:-1] @ edges + masses[-1] * (edges[-1] + 10 * harmonic)

    best = lemma_a1(10.0, 3, 200)
    assert bound(best) == pytest.approx(20.1929, abs=6e-5)
    for i in range(2):
        for step in (-0.1, 0.1):
            moved = best.copy()
            moved[i] += step
            assert bound(moved) > bound(best)


def test_lemma_a1_scales_with_the_lengths_mean():
    lengths = np.array([5, 15, 10, 10])
    assert policies_bins.edges("lemma_a1", lengths, 3, batch_size=200) == pytest.approx([10.1929, 27.9051], abs=6e-5)
    assert policies_bins.edges("lemma_a1", lengths * 7, 3, batch_size=200) == pytest.approx([71.350, 195.336], abs=1e-3)


# Given edges


def test_given_edges_are_taken_as_they_are():
    assert policies_bins.edges([3, 7.5], np.array([1]), 3).tolist() == [3.0, 7.5]
    assert policies_bins.edges(np.array([3, 7.5]), np.array([1]), 3).tolist() == [3.0, 7.5]


@pytest.mark.parametrize("kind", [list, tuple, np.array], ids=["list", "tuple", "array"])
@pytest.mark.parametrize("policy", [simlib.MultiBinDynamic, simlib.MultiBinFixed])
def test_policies_take_given_edges_in_any_sequence(policy, kind):
    lengths = np.array([1, 10, 20, 30])
    table = simlib.RequestTable([0, 0, 0, 0], lengths, lengths, lengths)
    run = simlib.simulate(table, policy(k_bins=4, bounds=kind([5, 15, 25])), backend="interpreted")
    assert run.requests["bin"].tolist() == [0, 1, 2, 3]


@given(st.integers(1, 400), st.integers(1, 64), st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_counted_lengths_have_the_quantiles_of_sorted_ones_to_the_last_bit(requests, k_bins, longest, seed):
    lengths = np.random.default_rng(seed).integers(0, longest, requests)
    expected = np.quantile(lengths.astype(float), np.arange(1, k_bins) / k_bins)
    assert equal_mass(lengths, k_bins).tobytes() == expected.tobytes()
    edges = np.unique(expected)
    assert assign(lengths, edges).tolist() == np.searchsorted(edges, lengths, side="right").tolist()
