"""All results on one page: a row a result, with its interval drawn as small as a word, or the series it stands in.

Reads what `study` collected and the ledger of claims; returns HTML, which a page's script makes sortable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def answer(results: pd.DataFrame, claims: pd.DataFrame) -> str:
    """How many results and claims there are, and of how many the interval leaves out what it is read against."""
    compared = results[results["unit"].isin(["points", "times"]) & results["reference"].notna()]
    apart = (compared["ci_low"] > compared["reference"]) | (compared["ci_high"] < compared["reference"])
    return (
        f"{len(results)} results of {results['chapter'].nunique()} chapters and {len(claims)} claims of "
        f"{claims['source'].nunique()} documents. Of {len(compared)} comparisons (differences and ratios), the 95 % "
        f"interval of {int(apart.sum())} leaves out no difference."
    )
