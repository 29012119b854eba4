"""What in a document counts as a claim: the rule by which a ledger of claims is complete, as code.

Each cell of a table that has a number, a grade or a word that compares; elsewhere each percentage, each factor, each
duration, rate or count of measurements, each word that compares. Knows no document; a ledger says of each statement
which claim it is part of, or why of none.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from simlib.checks import check_type

WORDS = (
    "best|better|worse|fewer|most|highest|higher|maximum|outperforms?|wins?|consistent(?:ly)?|preserved|same|distinct|"
    "perfect|robust|stricter|increases?|reduces?|improve(?:s|d|ments?)?|conservative|accurate"
)
PATTERNS = {
    "percentage": r"[+-]?\d+(?:\.\d+)?\s?%",
    "factor": r"\b\d+(?:\.\d+)?(?:-\d+(?:\.\d+)?)?x(?= vs)|R² ?= ?\d+(?:\.\d+)?",
    "amount": r"~?\b\d+(?:\.\d+)?\s?(?:req/s|seconds|s\b)|\bhalf a second|\b\d+ measurement points",
    "comparison": rf"≈|\b(?i:{WORDS})\b",
}
CELL = rf"\d|\b(?i:{WORDS}|high|medium|low|winner|multi-bin)\b"


class Statement(NamedTuple):
    """A figure or a word of a document that claims something.

    `line` counts from 1; `section` is the last heading before it; `kind` is ``cell`` or a key of `PATTERNS`; `text` is
    what was found, of a cell all of it without marks of emphasis.
    """

    line: int
    section: str
    kind: str
    text: str


def statements(document: str) -> list[Statement]:
    """All statements of a Markdown document, in its order; headings and heads of tables make none.

    Examples
    --------
    >>> text = "# Results\\n| policy | late |\\n|---|---|\\n| A | **1.5%** |\\n\\nA is better than B by 20%."
    >>> [(found.line, found.kind, found.text) for found in statements(text)]
    [(4, 'cell', '1.5%'), (6, 'percentage', '20%'), (6, 'comparison', 'better')]
    """
    lines = check_type("document", document, str, "a text").splitlines()
    found: list[Statement] = []
    section, in_code = "", False
    for number, line in enumerate(lines, 1):
        after = lines[number] if number < len(lines) else ""
        in_code ^= line.startswith("```")
        if line.startswith("#") and not in_code:
            section = re.sub(r"^[#\W\d]+|[^\w)]+$", "", line)
        elif line.startswith("|"):
            if not re.match(r"\|[\s:|-]+\|?$", after):  # the head of a table
                cells = (re.sub(r"[*✓✗⭐`]", "", cell).strip() for cell in line.strip("|").split("|"))
                found += [Statement(number, section, "cell", cell) for cell in cells if re.search(CELL, cell)]
        else:
            for kind, pattern in PATTERNS.items():
                found += [Statement(number, section, kind, match.group()) for match in re.finditer(pattern, line)]
    return found
