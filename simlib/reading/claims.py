"""From a ledger of claims to sentences and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["claims_answer", "exceptions", "show_claims", "show_verdicts"]


@reads_tables
def claims_answer(table: pd.DataFrame) -> str:
    """How many claims there are, and how many of them hold."""
    verdicts = table["verdict"]
    return (
        f"Of {len(table)} claims {(verdicts == 'holds').sum()} hold, {verdicts.str.startswith('holds within').sum()} "
        f"hold within 10 %; {(verdicts == 'does not hold').sum()} do not, {(verdicts == 'erratum').sum()} are slips of "
        f"the paper, and {(verdicts == 'cannot be checked').sum()} cannot be checked here."
    )


@reads_tables
def exceptions(table: pd.DataFrame) -> str:
    """What does not hold, and what is a slip of the paper, each by name."""
    sentences = []
    for verdict, lead in (("does not hold", "What does not hold"), ("erratum", "The slips")):
        rows = table[table["verdict"] == verdict].itertuples()
        named = "; ".join(f"{row.section}, {row.claim}: {row.claimed:.6g}, where we find {_found(row)}" for row in rows)
        if named:
            sentences.append(f"{lead}: {named}.")
    return " ".join(sentences)


@reads_tables
def show_verdicts(table: pd.DataFrame) -> Styler:
    """How many claims of each section got which verdict."""
    counts = pd.crosstab(table["section"], table["verdict"]).loc[list(dict.fromkeys(table["section"]))]
    return counts.reset_index().rename_axis(columns=None).style.hide(axis="index")


@reads_tables
def show_claims(table: pd.DataFrame) -> Styler:
    """Each claim: what the paper gives, what we find, and the verdict."""
    rows = [
        {
            "where": row.section,
            "claim": row.claim,
            "paper": f"{row.claimed:.6g}",
            "ours (95 % interval)": _found(row),
            "difference": "–" if pd.isna(row.difference) else f"{row.difference:+.2g}".replace("-", "−"),
            "verdict": row.verdict if row.kind != "untestable" else f"{row.verdict}: {row.reason}",
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def _found(row: Any) -> str:
    if pd.isna(row.ours):
        return "–"
    return f"{row.ours:.6g}" + ("" if row.ci_low == row.ci_high else f" ({row.ci_low:.6g} to {row.ci_high:.6g})")
