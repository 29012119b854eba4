"""A ledger of claims as tables: verdicts counted, claims to be unfolded."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pandas as pd

from book.kit.evidence import UNTESTED, VERDICTS, by_claim
from book.kit.names import SCHEDULER_NAMES
from book.kit.tables import as_texts
from simlib.text import p_value

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


def show_verdicts(table: pd.DataFrame, by: str = "section") -> Styler:
    """How many claims of each section, or source, got which verdict, a claim of many points counted once."""
    claims = by_claim(table)
    counts = pd.crosstab(claims[by], claims["verdict"]).loc[list(dict.fromkeys(claims[by]))]
    counts = counts[[verdict for verdict in VERDICTS if verdict in counts]]
    tested = counts.drop(columns=[verdict for verdict in UNTESTED if verdict in counts]).sum(axis=1)
    counts.insert(0, "tested", tested)
    return counts.reset_index().rename_axis(columns=None).style.hide(axis="index")


def show_together(table: pd.DataFrame) -> Styler:
    """Each documented run's figures beside ours, and how far they are from our runs when taken together."""

    def pair(metric: str, scale: float, digits: int) -> list[str]:
        both = zip(table[f"{metric}_claimed"], table[metric], strict=True)
        return [f"{scale * claimed:.{digits}f} / {scale * ours:.{digits}f}" for claimed, ours in both]

    shown = pd.DataFrame(
        {
            "level": table["level"],
            "scheduler": table["scheduler"].map(SCHEDULER_NAMES),
            "late (%): claimed / ours": pair("late", 100, 1),
            "mean latency (s)": pair("latency", 1, 2),
            "throughput (1/s)": pair("throughput", 1, 1),
            "distance (sd)": as_texts(table["distance"], "{:.1f}".format),
            "p": table["p_value"].map(p_value),
        }
    )
    return shown.style.hide(axis="index")


def show_sections(table: pd.DataFrame) -> HTML:
    """Each claim with our figure, the verdict and its rule, to be unfolded section by section."""
    from IPython.display import HTML

    claims = by_claim(table)["section"].value_counts()
    return HTML(
        _ledger(_folded(name, claims[name], _rows(rows)) for name, rows in table.groupby("section", sort=False))
    )


def show_ledger(table: pd.DataFrame) -> HTML:
    """The whole ledger, to be unfolded source by source and in it verdict by verdict, points at their claim's."""
    from IPython.display import HTML

    claims = by_claim(table)
    whole = table["part_of"].fillna("").where(lambda one: one != "", table["claim"])
    keys = ["source", "section", "whole"]
    verdicts = claims.rename(columns={"claim": "whole", "verdict": "of_claim"})[[*keys, "of_claim"]]
    rows = table.assign(whole=whole).merge(verdicts, on=keys)
    parts = []
    for source, own in claims.groupby("source", sort=False):
        counts = own["verdict"].value_counts()
        inner = (
            _folded(verdict, counts[verdict], _rows(rows[(rows["source"] == source) & (rows["of_claim"] == verdict)]))
            for verdict in VERDICTS
            if verdict in counts
        )
        parts.append(_folded(f"<b>{source}</b>", len(own), "".join(inner)))
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


def _rows(table: pd.DataFrame) -> str:
    """A table of few columns, which a phone can show: where a claim stands and what it was held against in small."""
    shown = [
        {
            "claim": _above(row.claim, _where(row.section)),
            "claimed": number(row.claimed),
            "ours (95 % interval)": found(row),
            "verdict": row.verdict,
            "rule": _above(row.rule, _chapter(row)),
        }
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
