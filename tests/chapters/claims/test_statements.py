"""The enumerating rule: what in a document is a statement."""

import pytest

from book.chapters.claims.statements import statements
from simlib.checks import InputError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A is 36.1% better than B", [("percentage", "36.1%"), ("comparison", "better")]),
        ("~3-4x vs synthetic, R²=1.0", [("factor", "3-4x"), ("factor", "R²=1.0")]),
        ("0.227s → 0.209s at 2.03 req/s", [("amount", "0.227s"), ("amount", "0.209s"), ("amount", "2.03 req/s")]),
        ("static ≈ dynamic", [("comparison", "≈")]),
        ("equal-mass bins of 1000 requests", []),
        ("a bestseller", []),
    ],
)
def test_a_line_of_text(text, found):
    assert [(one.kind, one.text) for one in statements(text)] == found


def test_cells_with_a_number_a_grade_or_a_winner_count_and_heads_do_not():
    table = "| policy | Improvement 2% |\n|---|---|\n| static | Baseline |\n| bins | **-42%** ✓ |\n| both | High |\n"
    assert [(one.line, one.text) for one in statements(table)] == [(4, "-42%"), (5, "High")]


def test_headings_name_the_section_and_claim_nothing():
    (one,) = statements("## 3. Best results\n```bash\n# the best comment\n```\nIt wins.")[1:]
    assert (one.section, one.line, one.text) == ("Best results", 5, "wins")


def test_what_is_no_text_is_named():
    with pytest.raises(InputError, match="document"):
        statements(None)
