"""A ledger of claims as tables: verdicts counted, claims to be unfolded."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from book.kit.evidence import VERDICTS

if TYPE_CHECKING:
    from IPython.display import HTML
    from pandas.io.formats.style import Styler


def statement_numbers(statements: pd.DataFrame) -> dict[str, int]:
    """How many statements a document makes, how many of them are no claims, and how many claims the others make."""
    silent = statements["no_claim"] != ""
    return {
        "statements": statements["statement"].nunique(),
        "no_claims": statements.loc[silent, "statement"].nunique(),
        "original": statements.loc[~silent, "claim"].nunique(),
    }


def show_verdicts(table: pd.DataFrame) -> Styler:
    """How many claims of each section got which verdict."""
    counts = pd.crosstab(table["section"], table["verdict"]).loc[list(dict.fromkeys(table["section"]))]
    counts = counts[[verdict for verdict in VERDICTS if verdict in counts]]
    return counts.reset_index().rename_axis(columns=None).style.hide(axis="index")


def show_sections(table: pd.DataFrame) -> HTML:
    """Each claim with our figure, the verdict and its rule, to be unfolded section by section."""
    from IPython.display import HTML

    return HTML(_ledger(_folded(name, len(rows), _rows(rows)) for name, rows in table.groupby("section", sort=False)))


def show_ledger(table: pd.DataFrame) -> HTML:
    """The whole ledger, to be unfolded source by source and in it verdict by verdict."""
    from IPython.display import HTML

    parts = []
    for source, rows in table.groupby("source", sort=False):
        by_verdict = ((verdict, rows[rows["verdict"] == verdict]) for verdict in VERDICTS)
        inner = (_folded(verdict, len(some), _rows(some, False)) for verdict, some in by_verdict if len(some))
        parts.append(_folded(f"<b>{source}</b>", len(rows), "".join(inner)))
    return HTML(_ledger(parts))


def show_twenty_two(table: pd.DataFrame) -> HTML:
    """The figures of 22 % that are easily taken for one another: gains of capacity and of throughput."""
    from IPython.display import HTML

    of = table["claim"].str.contains("throughput|gain of capacity")
    rows = table[of & (table["claimed"].sub(0.22).abs() <= 0.005)]
    return HTML(_ledger([_rows(rows.assign(section=rows["source"] + ", " + rows["section"]))]))


def _ledger(parts: Iterable[str]) -> str:
    return f'<div class="ledger">{"".join(parts)}</div>'


def _folded(name: str, count: int, inside: str) -> str:
    return f"<details><summary>{name}: {count} claim{'s' if count > 1 else ''}</summary>{inside}</details>"


def _rows(table: pd.DataFrame, with_verdict: bool = True) -> str:
    """A table of few columns, which a phone can show: where a claim stands and what it was held against in small."""
    shown = [
        {
            "claim": _above(row.claim, _where(row.section)),
            "claimed": number(row.claimed),
            "ours (95 % interval)": found(row),
        }
        | ({"verdict": row.verdict} if with_verdict else {})
        | {"rule": _above(row.rule, _chapter(row))}
        for row in table.fillna({"chapter": ""}).itertuples()
    ]
    return pd.DataFrame(shown).style.hide(axis="index").to_html()


def _above(text: str, small: str) -> str:
    return html.escape(text) + (f"<br><small>{small}</small>" if small else "")


def _where(sections: str) -> str:
    first, *others = sections.split("; ")
    return html.escape(first) + (f", and {len(others)} more" if others else "")


def _chapter(row: Any) -> str:
    runs = f", {row.replications:.0f} runs" if row.replications else ""
    return f'<a href="{row.chapter}.html">{row.chapter}</a>{runs}' if row.chapter else ""


def number(value: float) -> str:
    """A claimed figure, a dash where words claim."""
    return "–" if pd.isna(value) else f"{value:.6g}".replace("-", "−")


def found(row: Any) -> str:
    """Our figure, with its interval where it has one."""
    if pd.isna(row.ours):
        return "–"
    limits = "" if pd.isna(row.ci_low) or row.ci_low == row.ci_high else f" ({row.ci_low:.4g} to {row.ci_high:.4g})"
    return f"{row.ours:.4g}{limits}".replace("-", "−")
