"""All results on one page: a row a result, with its interval drawn as small as a word, or the series it stands in.

Reads what `study` collected and the ledger of claims; returns HTML, which a page's script makes sortable.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from IPython.display import HTML


WIDTH, HEIGHT, EDGE = 120.0, 20.0, 3.0
Point = tuple[float, float, float, float]  # place, value, low, high


def show_results(results: pd.DataFrame) -> HTML:
    """Each result with its drawing, its number with interval, and a link to its chapter.

    Bars of one table share a scale, so that a longer bar is a wider interval; a curve has its own.
    """
    rows = []
    for _, own in results.groupby("table", sort=False):
        single = [series[0] for series in own["series"] if len(series) == 1]
        for row in own.itertuples():
            points, references = (single, own["reference"]) if len(row.series) == 1 else (row.series, [row.reference])
            drawn = drawing(row.series, row.reference, _span(points, references), _told(row), row.at)
            number = f"{_number(row.value, row.unit)} <small>{_limits(row)}</small> {row.unit}"
            rows.append([_text(row.statement), drawn, (row.value, number), _chapter(row.chapter)])
    return _table("Results", ("result", "drawn", "value (95 % interval)", "chapter"), rows)


def show_claims(claims: pd.DataFrame) -> HTML:
    """Each claim of the ledger: what was claimed (the line), what we find with its interval, the verdict, where."""
    rows = []
    for row in claims.fillna({"chapter": ""}).itertuples():
        point = (0.0, row.ours, row.ci_low, row.ci_high)
        known = not math.isnan(row.ours)
        drawn = drawing([point], row.claimed, _span([point], [row.claimed])) if known else ""
        found = f"{_number(row.ours)} <small>{_limits(row)}</small>" if known else "–"
        told = f"<small>{html.escape(row.source)}:</small> {_text(row.claim)}"
        claimed = (row.claimed, "–" if math.isnan(row.claimed) else _number(row.claimed))
        rows.append([told, drawn, claimed, (row.ours, found), _text(row.verdict), _chapter(row.chapter)])
    names = ("claim", "drawn", "claimed", "ours (95 % interval)", "verdict", "chapter")
    return _table("Claims", names, rows)


def drawing(
    series: Sequence[Point], reference: float, span: tuple[float, float], told: str = "", at: float = 0.0
) -> str:
    """An interval, or a series of them, as a small SVG in the ink of the page; the reference as a thin line.

    Parameters
    ----------
    series : sequence of (place, value, low, high)
        One point: a bar from left to right. More: a curve, places in their order, with the band of the intervals.
    reference : float
        Where the thin line is; NaN for none.
    span : (float, float)
        The values at both ends of the scale.
    told : str
        What the drawing shows, for whoever does not see it; a drawing that says nothing more than the number beside
        it has none.
    at : float
        The place in a series that gets a dot.
    """
    if len(series) == 1:
        _, value, low, high = (_scaled(number, span, WIDTH) for number in series[0])
        parts = [] if math.isnan(reference) else [_path("reference", f"{_scaled(reference, span, WIDTH):.1f} 1V19")]
        parts += [] if math.isnan(low + high) else [_path("interval", f"{low:.1f} 10H{high:.1f}")]
        parts.append(f'<circle cx="{value:.1f}" cy="10" r="2.6"/>')
    else:
        parts = _curve(series, reference, span, at)
    role = f'role="img" aria-label="{html.escape(told)}"' if told else 'aria-hidden="true"'
    return f'<svg class="spark" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" {role}>{"".join(parts)}</svg>'


def _curve(series: Sequence[Point], reference: float, span: tuple[float, float], at: float) -> list[str]:
    """A series: its band, its line, a dot; places are as far apart as one another, whatever they are."""
    step = (WIDTH - 2 * EDGE) / (len(series) - 1)
    across = [EDGE + step * number for number in range(len(series))]
    down = [[HEIGHT - _scaled(number, span, HEIGHT) for number in point[1:]] for point in series]
    parts = []
    if not math.isnan(reference):
        parts.append(_path("reference", f"0 {HEIGHT - _scaled(reference, span, HEIGHT):.1f}H{WIDTH:g}"))
    if not any(math.isnan(y) for point in down for y in point):
        there = [f"{x:.1f} {high:.1f}" for x, (_, _, high) in zip(across, down, strict=True)]
        back = [f"{x:.1f} {low:.1f}" for x, (_, low, _) in zip(across, down, strict=True)]
        parts.append(_path("band", "L".join(there + back[::-1]) + "z"))
    middle = [(x, value) for x, (value, _, _) in zip(across, down, strict=True) if not math.isnan(value)]
    parts.append(_path("curve", "L".join(f"{x:.1f} {y:.1f}" for x, y in middle)))
    for (place, *_), x, (y, _, _) in zip(series, across, down, strict=True):
        if place == at and not math.isnan(y):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/>')
    return parts


def _path(kind: str, steps: str) -> str:
    return f'<path class="{kind}" d="M{steps}"/>'


def _scaled(value: float, span: tuple[float, float], length: float) -> float:
    """Where a value lies between the ends of a scale of that length, which has an edge."""
    low, high = span
    return EDGE + (length - 2 * EDGE) * (0.5 if high == low else (value - low) / (high - low))


def _told(row: Any) -> str:
    """A series in words: its ends and its extremes; nothing for a single interval, which the number says."""
    if len(row.series) == 1:
        return ""
    first, last = row.series[0], row.series[-1]
    values = [point[1] for point in row.series]
    ends = f"from {_number(first[1])} at {first[0]:g} to {_number(last[1])} at {last[0]:g}"
    return f"series {ends}, between {_number(min(values))} and {_number(max(values))}"


def _span(points: Sequence[Point], references: Any) -> tuple[float, float]:
    """The smallest and the largest of all values, limits and references that there are."""
    every = [number for point in points for number in point[1:]] + [float(number) for number in references]
    known = [number for number in every if not math.isnan(number)]
    return min(known), max(known)


def _table(name: str, columns: Sequence[str], rows: list[list[Any]]) -> HTML:
    """A table of HTML cells; a cell that is a pair sorts by its first part."""
    from IPython.display import HTML

    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return HTML(
        f'<table class="glance" aria-label="{name}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    )


def _cell(content: str | tuple[float, str]) -> str:
    if isinstance(content, str):
        return f"<td>{content}</td>"
    value, text = content
    return f'<td class="number" data-value="{"" if math.isnan(value) else f"{value:.9g}"}">{text}</td>'


def _text(words: str) -> str:
    """Names may break where their parts meet."""
    return html.escape(words).replace("_", "_<wbr>")


def _chapter(name: str) -> str:
    return f'<a href="{name}.html">{name.replace("_", " ")}</a>' if name else "–"


def _number(value: float, unit: str = "") -> str:
    sign = "+" if unit == "points" and value > 0 else ""
    return sign + f"{value:.3g}".replace("-", "−")


def _limits(row: Any) -> str:
    if math.isnan(row.ci_low) or row.ci_low == row.ci_high:
        return ""
    unit = getattr(row, "unit", "")
    return f"({_number(row.ci_low, unit)} to {_number(row.ci_high, unit)})"
