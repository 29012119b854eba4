"""Numbers as text: shares, times, intervals, differences with their sign, p-values; and texts as cells of a table."""

from __future__ import annotations

import math
import re

# What a spreadsheet takes for a formula, behind apostrophes of ours and of others; a plain number is none.
FORMULA = re.compile(r"'*[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def percent(share: float, digits: int = 1) -> str:
    """A share as text: 0.433 is ``43.3 %``."""
    return f"{100 * share:.{digits}f} %"


def seconds(value_s: float, digits: int = 3) -> str:
    """A time as text: 0.5 is ``0.500 s``."""
    return f"{value_s:.{digits}f} s"


def interval(low: float, high: float, digits: int = 1, points: bool = False) -> str:
    """An interval of shares as text: ``1.2 to 3.4 %``; of differences in points: ``−0.1 to +0.2 points``."""
    if points:
        return f"{signed(100 * low, digits)} to {signed(100 * high, digits)} points"
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"


def signed(value: float, digits: int = 2) -> str:
    """A difference as text, with its sign: ``+0.25``, ``−1.00``."""
    return f"{value:+.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """A p-value as text: ``0.03``, ``< 0.005``; a dash where there is none."""
    return "–" if math.isnan(p) else f"{p:.2f}" if p >= 0.005 else "< 0.005"


def many(count: int, what: str) -> str:
    """A count with its noun: ``1 GPU``, ``2,000 GPUs``."""
    return f"{count:,} {what}{'s' * (count != 1)}"


UNITS_S = (("days", 86_400, 172_800), ("h", 3600, 7200), ("min", 60, 600), ("s", 1, 1), ("ms", 1e-3, 1e-3))
UNITS_S += (("µs", 1e-6, 1e-6), ("ns", 1e-9, 0))


def three(value: float) -> str:
    """A number with three significant digits: 1234.5 is ``1,230``, 0.04321 ``0.0432``; a dash where there is none."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else "∞"
    value = float(f"{value:.3g}")
    if value == int(value):
        return f"{int(value):,}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits}f}" if digits < 7 else f"{value:.3g}"


def span(value_s: float) -> str:
    """A time with three significant digits, in the unit that a person takes: 0.0432 is ``43.2 ms``."""
    if not math.isfinite(value_s) or value_s == 0:
        return f"{three(value_s)} s" if value_s == 0 else three(value_s)
    size_s = float(f"{abs(value_s):.3g}")
    unit, unit_s = next((unit, unit_s) for unit, unit_s, least_s in UNITS_S if size_s >= least_s)
    return f"{three(value_s / unit_s)} {unit}"


def cell(text: str) -> str:
    """A text as a cell of a CSV, with an apostrophe before it where a spreadsheet would take it for a formula.

    Examples
    --------
    >>> cell("=1+1"), cell("-2"), cell("chat")
    ("'=1+1", '-2', 'chat')
    """
    return f"'{text}" if FORMULA.match(text) and not NUMBER.fullmatch(text) else text


def of_cell(text: str) -> str:
    """The text that `cell` made a cell of."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text
