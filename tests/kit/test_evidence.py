"""A verdict follows from the figures alone."""

import math

import numpy as np
import pytest

from book.kit.evidence import (
    COLUMNS,
    VERDICTS,
    Change,
    Circular,
    Claim,
    Counted,
    Derived,
    Equal,
    Foremost,
    OneRun,
    Repeated,
    Unfounded,
    by_claim,
    contradiction,
    judge,
    ledger,
    relative_change,
)
from book.kit.joint import Together
from simlib.checks import InputError

RUNS = np.arange(1.0, 101.0)  # central 95 %: 3.475 to 97.525
PAIRS = {"a": RUNS * 0.5, "b": RUNS}  # each run's change is -50 %
SPREAD = {"a": np.linspace(0.3, 0.7, 101), "b": np.ones(101)}  # changes from -70 to -30 %, central 95 %: -69 to -31


def claim(evidence, claimed=10.0, slack=0.05, against="", part_of=""):
    return Claim("a paper", "1", "a figure", claimed, slack, evidence, "chapter", against, part_of)


@pytest.mark.parametrize(
    ("evidence", "claimed", "verdict"),
    [
        (OneRun(RUNS), 50.0, "reproduced"),
        (OneRun(RUNS), 97.57, "reproduced"),  # beyond the quantile by less than the slack
        (OneRun(RUNS), 97.60, "not reproduced"),
        (OneRun(RUNS), 3.4, "not reproduced"),
        (OneRun(RUNS, joint=Together(9.2, 0.01)), 50.0, "reproduced alone"),
        (OneRun(RUNS, joint=Together(9.2, 0.01)), 3.4, "not reproduced"),
        (OneRun(RUNS, joint=Together(1.2, 0.5)), 50.0, "reproduced"),
        (Change(**SPREAD, p_holm=0.01), -0.5, "reproduced"),
        (Change(**SPREAD, p_holm=0.01), -0.9, "reproduced in sign only"),
        (Change(**SPREAD, p_holm=0.06), -0.5, "not reproduced"),
        (Change(**SPREAD, p_holm=0.01), 0.5, "not reproduced"),  # the opposite sign
        (Change(**PAIRS, p_holm=0.01, sign=-1), math.nan, "reproduced"),
        (Change(**PAIRS, p_holm=0.01, sign=1), math.nan, "not reproduced"),
        (Foremost([(-1.0, -2.0, -0.5, 0.01), (-0.1, -0.2, -0.05, 0.05)], 9), math.nan, "reproduced"),
        (Foremost([(-1.0, -2.0, -0.5, 0.01), (-0.1, -0.2, 0.05, 0.06)], 9), math.nan, "not reproduced"),
        (Foremost([(-1.0, -2.0, -0.5, 0.01), (0.1, 0.05, 0.2, 0.01)], 9), math.nan, "not reproduced"),
        (Equal(0.001, -0.009, 0.0095, 0.01, 9), 0.0, "reproduced"),
        (Equal(0.001, -0.009, 0.0105, 0.01, 9), 0.0, "not reproduced"),
        (Repeated(10.0, 9.9, 10.1), 10.149, "reproduced"),  # reaches it by less than the figure's own accuracy
        (Repeated(10.2, 10.16, 10.3), 10.0, "reproduced"),  # within 5 %
        (Repeated(10.5, 10.4, 10.6), 10.0, "not reproduced"),
        (Repeated(10.0, 9.0, 11.0), 10.0, "undecided"),  # too wide to tell
        (Repeated(1.5, 1.4, 1.6, base=1.0), 1.2, "reproduced in sign only"),
        (Repeated(1.5, 0.9, 2.1, base=1.0), 3.2, "not reproduced"),  # that it is a gain is not established
        (Derived(10.04), 10.0, "reproduced"),
        (Derived(10.06), 10.0, "erratum"),
        (Derived(10.06, strict=False), 10.0, "not reproduced"),
        (Counted(6, 6), 1.0, "reproduced"),
        (Counted(5, 6), 1.0, "undecided"),
        (Counted(1, 6), 1.0, "undecided"),  # at most 0.56 of the runs
        (Counted(0, 6), 1.0, "not reproduced"),  # at most 0.39
        (Circular(10.0, computed=True), 10.0, "circular"),
        (Circular(10.0, computed=False), 10.0, "reproduced"),
        (Circular(11.0, computed=False), 10.0, "not reproduced"),
        (Unfounded("needs a GPU"), 10.0, "not testable here"),
    ],
)
def test_a_verdict_follows_the_rule(evidence, claimed, verdict):
    assert judge(claim(evidence, claimed)).verdict == verdict


def test_what_the_source_contradicts_itself_is_an_erratum_whatever_the_runs_say():
    found = judge(claim(OneRun(RUNS), 50.0, against=contradiction(2569 / 2215 - 1, 0.26, 0.0005)))
    assert found.verdict == "erratum" and found.rule.startswith("own figures: they give 0.16; percentile 49.5")
    assert contradiction(math.inf, -1.0, 0.1) == "they rise from zero"


def test_a_change_is_of_means_with_the_interval_of_a_ratio():
    # Fieller's and the linearised interval agree where the denominator hardly varies; pairs of a fixed ratio have none.
    a, b = np.array([1.0, 2.0, 3.0, 2.0]), np.array([4.0, 4.0, 4.0, 4.0])
    change, low, high, count = relative_change(a, b)
    half = 3.182446 * np.std(a, ddof=1) / 2 / 4  # t of 3 degrees
    assert (change, low, high, count) == pytest.approx((-0.5, -0.5 - half, -0.5 + half, 4))
    assert relative_change(a, np.zeros(4))[0] == math.inf


def test_the_rule_says_what_it_went_by():
    assert judge(claim(OneRun(RUNS, same_seed=61.7), 50.0)).rule == "percentile 49.5 of 100 runs; its seed gives 61.7"
    assert "opposite sign established" in judge(claim(Change(**PAIRS, p_holm=0.01), 0.5)).rule
    assert judge(claim(Unfounded("needs a GPU"))).rule == "needs a GPU"


def test_a_ledger_has_a_row_a_claim_and_no_chapter_for_what_is_not_tested():
    table = ledger([claim(Derived(10.0)), claim(Derived(12.0)), claim(Unfounded("needs a GPU"))])
    assert tuple(table) == COLUMNS and set(table["verdict"]) <= set(VERDICTS)
    assert table["verdict"].tolist() == ["reproduced", "erratum", "not testable here"]
    assert table["chapter"].tolist() == ["chapter", "chapter", ""]


@pytest.mark.parametrize(
    ("ours", "claimed", "slack", "said"),
    [
        (5.3234, 5.323, 0.01, "the same to the digits given"),
        (5.3146, 5.323, 0.01, "within the figure's accuracy (±0.01)"),
        (5.3146, 5.323, 0.005, "another figure"),
        (9.4, 9.6, 0.1, "another figure"),
        (100.0, 100.0, 0.0, "the same to the digits given"),
    ],
)
def test_the_same_to_the_digits_given_is_said_only_where_it_is_so(ours, claimed, slack, said):
    assert judge(claim(Derived(ours), claimed, slack)).rule == f"equation: {said}"


def test_a_formula_is_one_claim_at_however_many_points():
    points = [claim(Derived(ours), part_of="a formula") for ours in (10.0, 10.0, 12.0)]
    untestable = [claim(Unfounded("needs a GPU"), part_of="a bar")] * 2 + [claim(Derived(10.0))]
    mixed = [claim(Derived(10.0), part_of="both"), claim(Unfounded("needs a GPU"), part_of="both")]
    found = by_claim(ledger([*points, *untestable, *mixed])).set_index("claim")
    assert found["points"].tolist() == [3, 2, 1, 2] and found["held"].tolist() == [2, 0, 1, 1]
    assert found["verdict"].tolist() == ["erratum", "not testable here", "reproduced", "reproduced"]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: claim(Derived(1.0), slack=-1.0), "slack"),
        (lambda: claim("a guess"), "evidence"),
        (lambda: Repeated(11.0, 9.0, 10.0), "ours"),
        (lambda: Repeated(math.nan, 9.0, 10.0), "ours"),
        (lambda: Unfounded(""), "reason"),
    ],
)
def test_evidence_that_cannot_be_is_refused(call, word):
    with pytest.raises(InputError, match=word):
        call()
