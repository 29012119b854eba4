"""The residual figure of a card: relative residuals of points left out by batch size, prompt and output, as plain SVG.

Drawn by hand, as the page of cards has more than a hundred: a few kilobytes each, in the page's own colours. For print
there is `figures.latency.residuals`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simlib.checks import InputError, check_frame

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["residual_svg"]

AXES = {"batch_size": "Batch size", "prompt_tokens": "Prompt (tokens)", "output_tokens": "Output (tokens)"}
LEFT, TOP, WIDTH, HEIGHT, GAP, FOOT = 62, 8, 180, 96, 24, 38
MOST_TICKS, POINT = 4, "#0072B2"


def residual_svg(residuals: pd.DataFrame) -> str:
    """An ``<svg>`` of three panels that share their vertical axis.

    Parameters
    ----------
    residuals : pandas.DataFrame
        ``batch_size, prompt_tokens, output_tokens, residual``, the last relative, as in `fitting.Validation`.

    Raises
    ------
    InputError
        If a column is missing, or a residual is not finite.

    Examples
    --------
    >>> import pandas as pd
    >>> text = residual_svg(pd.DataFrame({"batch_size": [1, 8], "prompt_tokens": 64, "output_tokens": 16,
    ...     "residual": [0.03, -0.01]}))
    >>> text.count("<circle"), "-5 %" in text
    (6, True)
    """
    check_frame("residuals", residuals, (*AXES, "residual"))
    values = residuals["residual"].to_numpy(float)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise InputError(f"residuals, row {row}, residual: {values[row]} (expected a finite number)")
    limit = _nice(float(np.abs(values).max()))
    width = LEFT + len(AXES) * (WIDTH + GAP)
    parts = [
        f'<svg role="img" viewBox="0 0 {width} {TOP + HEIGHT + FOOT}" style="max-width:{width}px;width:100%" '
        'font-size="11" fill="currentColor" aria-label="Relative residuals of points left out, by batch size, prompt '
        f'and output; the largest is {100 * np.abs(values).max():.1f} %">',
        f'<text transform="translate(12,{TOP + HEIGHT / 2:g}) rotate(-90)" text-anchor="middle">'
        "Relative residual</text>",
    ]
    for share in (-limit, 0.0, limit):
        parts.append(f'<text x="{LEFT - 6}" y="{_y(share, limit) + 4:g}" text-anchor="end">{100 * share:g} %</text>')
    for panel, (column, label) in enumerate(AXES.items()):
        parts += _panel(LEFT + panel * (WIDTH + GAP), label, residuals[column].to_numpy(float), values, limit)
    return "".join([*parts, "</svg>"])


def _panel(left: float, label: str, x: np.ndarray, values: np.ndarray, limit: float) -> list[str]:
    """One panel: frame, zero line, points, and a few ticks on a logarithmic axis."""
    logs, inset = np.log(np.maximum(x, 1)), 10
    span = max(logs.max() - logs.min(), 1e-9)
    place = left + inset + (logs - logs.min()) / span * (WIDTH - 2 * inset)
    place = place if len(np.unique(x)) > 1 else np.full(len(x), left + WIDTH / 2)
    line = 'stroke="currentColor" fill="none"'
    parts = [
        f'<rect x="{left}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" {line} stroke-opacity="0.35"/>',
        f'<path d="M{left} {_y(0.0, limit):g}h{WIDTH}" {line}/>',
        f'<text x="{left + WIDTH / 2:g}" y="{TOP + HEIGHT + 32}" text-anchor="middle">{label}</text>',
    ]
    different, first = np.unique(x, return_index=True)
    ticks = np.unique(np.linspace(0, len(different) - 1, min(len(different), MOST_TICKS)).round().astype(int))
    for tick in ticks:
        at = f'x="{place[first[tick]]:.1f}" y="{TOP + HEIGHT + 15}"'
        parts.append(f'<text {at} text-anchor="middle">{different[tick]:g}</text>')
    dots = "".join(
        f'<circle cx="{a:.1f}" cy="{_y(b, limit):.1f}" r="2.5"/>' for a, b in zip(place, values, strict=True)
    )
    return [*parts, f'<g fill="{POINT}" fill-opacity="0.65">{dots}</g>']


def _y(share: float, limit: float) -> float:
    return TOP + HEIGHT / 2 * (1 - 0.92 * share / limit)


def _nice(largest: float) -> float:
    """The next of 1, 2 and 5 times a power of ten, and one in a thousand at least."""
    power = 10.0 ** math.floor(math.log10(max(largest, 1e-3)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= max(largest, 1e-3) * (1 - 1e-9))
