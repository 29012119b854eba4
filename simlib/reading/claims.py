"""From a ledger of claims to sentences and tables."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.claims import VERDICTS

if TYPE_CHECKING:
    from IPython.display import HTML
    from pandas.io.formats.style import Styler

__all__ = [
    "claims_answer",
    "exceptions",
    "ledger_answer",
    "show_claims",
    "show_ledger",
    "show_twenty_two",
    "show_verdicts",
    "statement_numbers",
]

ODD = ("reproduced in sign only", "not reproduced", "erratum")
TESTED = VERDICTS[:5]


@reads_tables
def claims_answer(table: pd.DataFrame) -> str:
    """How many claims there are, and how many have which verdict."""
    counts = table["verdict"].value_counts()
    parts = [f"{counts[verdict]} {_plural(verdict, counts[verdict])}" for verdict in VERDICTS if verdict in counts]
    return f"Of {len(table)} claims {_listed(parts)}."


@reads_tables
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


@reads_tables
def statement_numbers(statements: pd.DataFrame) -> dict[str, int]:
    """How many statements a document makes, how many of them are no claims, and how many claims the others make."""
    silent = statements["no_claim"] != ""
    return {
        "statements": statements["statement"].nunique(),
        "no_claims": statements.loc[silent, "statement"].nunique(),
        "original": statements.loc[~silent, "claim"].nunique(),
    }


@reads_tables
def exceptions(table: pd.DataFrame) -> str:
    """What is reproduced in sign only, what is not, and what is a slip of the source, each by name."""
    sentences = []
    for verdict in ODD:
        rows = table[table["verdict"] == verdict].itertuples()
        named = "; ".join(f"{row.section}, {row.claim}: {_number(row.claimed)}, here {_found(row)}" for row in rows)
        if named:
            sentences.append(f"{verdict.capitalize()}: {named}.")
    return " ".join(sentences)


@reads_tables
def show_verdicts(table: pd.DataFrame, by: str = "section") -> Styler:
    """How many claims of each section, or source, got which verdict."""
    counts = pd.crosstab(table[by], table["verdict"]).loc[list(dict.fromkeys(table[by]))]
    counts = counts[[verdict for verdict in VERDICTS if verdict in counts]]
    return counts.reset_index().rename_axis(columns=None).style.hide(axis="index")


@reads_tables
def show_claims(table: pd.DataFrame) -> Styler:
    """Each claim: what the source gives, what we find, and the verdict with its rule."""
    rows = [
        {
            "where": row.section,
            "claim": row.claim,
            "claimed": _number(row.claimed),
            "ours (95 % interval)": _found(row),
            "verdict": row.verdict,
            "rule": row.rule,
        }
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


@reads_tables
def show_ledger(table: pd.DataFrame) -> HTML:
    """The whole ledger, to be unfolded source by source and in it verdict by verdict."""
    from IPython.display import HTML

    parts = []
    for source, rows in table.groupby("source", sort=False):
        inner = [
            f"<details><summary>{verdict}: {len(some)}</summary>{_rows(some)}</details>"
            for verdict in VERDICTS
            if len(some := rows[rows["verdict"] == verdict])
        ]
        parts.append(f"<details><summary><b>{source}</b>: {len(rows)} claims</summary>{''.join(inner)}</details>")
    return HTML(f'<div class="ledger">{"".join(parts)}</div>')


@reads_tables
def show_twenty_two(table: pd.DataFrame) -> Styler:
    """The figures of 22 % that are easily taken for one another: gains of capacity and of throughput."""
    of = table["claim"].str.contains("throughput|gain of capacity")
    rows = table[of & (table["claimed"].sub(0.22).abs() <= 0.005)]
    return show_claims(rows.assign(section=rows["source"] + ", " + rows["section"]))


def _rows(table: pd.DataFrame) -> str:
    shown = [
        {
            "where": html.escape(row.section),
            "claim": html.escape(row.claim),
            "claimed": _number(row.claimed),
            "ours (95 % interval)": _found(row),
            "runs": f"{row.replications:.0f}" if row.replications else "–",
            "rule": html.escape(row.rule),
            "chapter": f'<a href="{row.chapter}.html">{row.chapter}</a>' if row.chapter else "–",
        }
        for row in table.fillna({"chapter": ""}).itertuples()
    ]
    return pd.DataFrame(shown).style.hide(axis="index").to_html()


def _plural(verdict: str, count: int) -> str:
    verb = "is" if count == 1 else "are"
    noun = {"erratum": "an erratum" if count == 1 else "errata"}
    return f"{verb} {noun.get(verdict, verdict)}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _number(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.6g}".replace("-", "−")


def _found(row: Any) -> str:
    if pd.isna(row.ours):
        return "–"
    limits = "" if pd.isna(row.ci_low) or row.ci_low == row.ci_high else f" ({row.ci_low:.4g} to {row.ci_high:.4g})"
    return f"{row.ours:.4g}{limits}".replace("-", "−")
