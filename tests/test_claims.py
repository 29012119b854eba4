"""A verdict follows from the figures alone."""

import math

import pytest

from simlib.checks import InputError
from simlib.claims import Claim, judge, ledger


def claim(kind="estimate", claimed=10.0, slack=0.05, ours=10.0, low=9.9, high=10.1, reason=""):
    return Claim("1", "a figure", kind, claimed, slack, ours, low, high, reason)


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (claim(claimed=10.1), "holds"),  # on the limit
        (claim(claimed=10.149), "holds"),  # beyond it by less than the figure's own accuracy
        (claim(claimed=10.16, ours=10.1), "holds within 1 %"),
        (claim(claimed=12.0), "does not hold"),
        (claim(claimed=-10.0), "does not hold"),
        (claim(claimed=10.9, ours=9.95), "holds within 10 %"),
        (claim("equation", 12.3, 0.05, 12.19, 12.19, 12.19), "erratum"),
        (claim("equation", 12.2, 0.05, 12.19, 12.19, 12.19), "holds"),
        (Claim("1", "a run on a GPU", "untestable", 0.6, 0.001, reason="needs a GPU"), "cannot be checked"),
    ],
)
def test_a_verdict_follows_the_rule(given, verdict):
    assert judge(given) == verdict


def test_a_ledger_has_a_row_a_claim():
    table = ledger([claim(), claim(claimed=12.0)])
    assert table["verdict"].tolist() == ["holds", "does not hold"]
    assert table["difference"].tolist() == [0.0, -2.0]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: claim("guess"), "kind"),
        (lambda: claim(slack=-1.0), "slack"),
        (lambda: claim(ours=11.0), "ours"),
        (lambda: claim(ours=math.nan), "ours"),
        (lambda: claim("untestable"), "reason"),
        (lambda: claim(reason="none"), "reason"),
    ],
)
def test_a_claim_that_says_two_things_is_refused(call, word):
    with pytest.raises(InputError, match=word):
        call()
