"""Sizes that suit: chosen by mean capacity on other seeds, and said as a table shows them."""

import pytest

from book.chapters.capacity import sized
from simlib import InputError, StaticFIFO, levels, workload
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.policies.shortest_first import ShortestPredictedFirst


class Named:
    """A search whose capacities are known: the batch size, and 100 for size 3; it keeps the seeds it is asked for."""

    seeds: set[int] = set()  # noqa: RUF012

    def __init__(self, policies):
        self.policies = policies

    def table(self, seed):
        self.seeds.add(seed)

    def root(self, name, table):
        size = self.policies[name].batch_size
        return 100.0 if size == 3 else size


def test_the_best_candidate_is_chosen_on_other_seeds():
    arms = {("static_fifo", 1): [StaticFIFO(2), StaticFIFO(3), StaticFIFO(8)], ("other", 1): [StaticFIFO(9)]}
    found = sized.best_of(arms, Named, seed=5, replications=2)
    assert found["static_fifo", 1][0] == StaticFIFO(3)
    assert Named.seeds == {5 + sized.TUNING_SEED, 6 + sized.TUNING_SEED}
    assert sized.first_of(found, ("static_fifo", "other")) == ("static_fifo", 1)
    assert sized.first_of(found, ("other",)) == ("other", 1)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (StaticFIFO(12), "12"),
        (DynamicNoBins(1.0, Rules(b_max=16)), "16"),
        (ShortestPredictedFirst(0.1, 2, 8), "8, 2 lines"),
        (MultiBinDynamic(4, 1.0, variant=Rules(b_max=24)), "24"),
        (MultiBinDynamic(2, 1.0, bounds=[95.0], batch_sizes=[32, 8]), "32 and 8"),
        (MultiBinDynamic(3, 1.0, bounds=[9.0, 95.0], batch_sizes=[32, 8, 4]), "32, 8 and 4"),
    ],
)
def test_sizes_are_said(policy, said):
    assert sized.at_most(policy) == said


def test_a_contest_has_each_scheduler_with_its_size_and_dynamic_batching_without_a_cap(monkeypatch):
    monkeypatch.setattr(sized, "CAPS", (2, 8))

    def search(policies):
        return sized.capacity.Search(policies, levels.draw_of(3), levels.of(3).latency, 2, 1.0, 0.05, 600)

    found = sized.contest(3, search, 1.0, 4, seed=1, replications=2)
    assert found.best in sized.NO_BINS and set(found.policies) == {sized.UNCAPPED, "multi_bin_dynamic", *sized.NO_BINS}
    assert found.policies["static_fifo"] == StaticFIFO(8)  # two a batch carry less
    assert found.policies[sized.UNCAPPED].variant.b_max == 8


@pytest.mark.parametrize(("caps", "k_bins", "word"), [((0,), (2,), "caps"), ((8,), (1,), "k_bins")])
def test_a_bad_choice_is_named(caps, k_bins, word):
    with pytest.raises(InputError, match=word):
        sized.candidates(workload.original(50, 1), 1.0, caps, k_bins)
