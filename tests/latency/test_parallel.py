"""What several GPUs to a model add to a step, by hand."""

import numpy as np
import pytest

import simlib
from simlib.latency.parallel import Experts, Link, Parallel

LINK = Link(bandwidth_bytes_s=1e9, latency_s=1e-5)


def test_a_ring_sends_each_card_an_nth_of_the_data_n_minus_one_times_to_gather_and_again_to_reduce():
    assert LINK.gather_s(np.array([4e6]), 4) == pytest.approx([3 * (1e-5 + 1e-3)])
    assert LINK.all_reduce_s(np.array([4e6]), 4) == pytest.approx([6 * (1e-5 + 1e-3)])
    assert LINK.all_reduce_s(np.array([4e6]), 1) == pytest.approx([0])


def test_two_all_reduces_a_layer_of_what_a_token_is_between_layers():
    cut = Parallel(tensor=2, hidden_size=1000, element_bytes=2, link=LINK)
    assert cut.messages == 4
    assert cut.reduces_s(np.array([0.0, 10.0])) == pytest.approx([4e-5, 4 * (1e-5 + 10 * 1000 * 2 / 2 / 1e9)])
    assert Parallel(tensor=2).reduces_s(np.array([10.0])).tolist() == [0.0]


@pytest.fixture
def experts():
    """10 microseconds an expert that is woken; 8 of them, 2 a token."""
    seconds = 1e-5 * np.array([[2, np.nan, np.nan], [2, 4, np.nan], [2, 4, 8]])
    return Experts(np.array([1.0, 2.0, 4.0]), np.array([2.0, 4.0, 8.0]), seconds, experts=8, per_token=2)


def test_tokens_wake_experts_evenly_and_a_rank_has_its_part_of_them(experts):
    woken = 8 * (1 - (1 - 2 / 8) ** np.array([1, 2, 3, 100]))  # 2, 3.5, 4.6, 8
    assert experts.layer_s(np.array([1.0, 2.0, 3.0, 100.0])) == pytest.approx(1e-5 * woken, rel=1e-9)
    assert experts.layer_s(np.array([100.0]), ranks=2) == pytest.approx([4e-5])


def test_engines_that_share_experts_gather_tokens_before_and_scatter_them_after(experts):
    cut = Parallel(engines=2, expert=True, hidden_size=1000, link=LINK)
    assert cut.together and not Parallel(engines=2).together and not Parallel(expert=True).together
    tokens = np.array([100.0])
    assert cut.experts_s(experts, tokens) - experts.layer_s(tokens, 2) == pytest.approx(
        2 * (1e-5 + 1e5 / 1e9), rel=1e-6
    )


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: Link(0.0, 1e-5), "link bandwidth_bytes_s: 0"),
        (lambda: Link(1e9, 20.0), "link latency_s: 20"),  # meant in microseconds
        (lambda: Parallel(tensor=0), "tensor: 0"),
        (lambda: Parallel(tensor=2, link=LINK), "hidden_size: None"),
    ],
)
def test_what_cannot_be_is_named(make, named):
    with pytest.raises(simlib.InputError, match=named):
        make()
