"""Numbers as text: shares, times, intervals, differences with their sign, p-values."""

from __future__ import annotations

import math


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
