"""A ledger of claims in sentences: how many have which verdict, and which are the exceptions."""

from __future__ import annotations

import pandas as pd

from book.chapters.claims.tables import found, number
from book.kit.evidence import VERDICTS

ODD = ("reproduced in sign only", "not reproduced", "erratum")
TESTED = VERDICTS[:5]


def claims_answer(table: pd.DataFrame) -> str:
    """How many claims there are, and how many have which verdict."""
    counts = table["verdict"].value_counts()
    parts = [f"{counts[verdict]} {_plural(verdict, counts[verdict])}" for verdict in VERDICTS if verdict in counts]
    return f"Of {len(table)} claims {_listed(parts)}."


def ledger_answer(table: pd.DataFrame) -> str:
    """For each source, how many of the claims that could be tested are reproduced, and what becomes of the rest."""
    sentences = []
    for source, rows in table.groupby("source", sort=False):
        counts = rows["verdict"].value_counts()
        tested = int(sum(counts.get(verdict, 0) for verdict in TESTED))
        others = [f"{counts[v]} {_plural(v, counts[v])}" for v in TESTED[1:] if v in counts]
        rest = f", {_listed(others)}" if others else ""
        reproduced = counts.get("reproduced", 0)
        away = f"; {len(rows) - tested} more cannot be tested here, or not yet" if len(rows) > tested else ""
        share = f"of {tested} claims that are tested, {reproduced} {_plural('reproduced', reproduced)}{rest}{away}"
        sentences.append(f"{source}: {share}.")
    return " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences)


def statement_numbers(statements: pd.DataFrame) -> dict[str, int]:
    """How many statements a document makes, how many of them are no claims, and how many claims the others make."""
    silent = statements["no_claim"] != ""
    return {
        "statements": statements["statement"].nunique(),
        "no_claims": statements.loc[silent, "statement"].nunique(),
        "original": statements.loc[~silent, "claim"].nunique(),
    }


def exceptions(table: pd.DataFrame) -> str:
    """What is reproduced in sign only, what is not, and what is a slip of the source, each by name."""
    sentences = []
    for verdict in ODD:
        rows = table[table["verdict"] == verdict].itertuples()
        named = "; ".join(f"{row.section}, {row.claim}: {number(row.claimed)}, here {found(row)}" for row in rows)
        if named:
            sentences.append(f"{verdict.capitalize()}: {named}.")
    return " ".join(sentences)


def _plural(verdict: str, count: int) -> str:
    verb = "is" if count == 1 else "are"
    noun = {"erratum": "an erratum" if count == 1 else "errata"}
    return f"{verb} {noun.get(verdict, verdict)}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))
