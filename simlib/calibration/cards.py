"""A calibration card: what a latency model was measured on, how far it can be trusted, and where it ends.

Of one's own measurements (`Calibration`), and of each preset (`preset`); shown in a notebook and on the book's page of
cards.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlib.calibration import fit
from simlib.calibration.fit import Fit, Validation
from simlib.checks import InputError, check_choice, check_frame
from simlib.datasets import committed
from simlib.latency import measurements, presets
from simlib.latency.forms import FORMS, NAMES
from simlib.latency.measured import Measured, Range
from simlib.latency.models import LatencyModel
from simlib.latency.trust import GOOD_MAPE
from simlib.lazy import pd

GOOD, MISSES = GOOD_MAPE, presets.MOST_MAPE


@dataclass(frozen=True)
class Card:
    """What one must know of a latency model before using it; a notebook shows it as tables with a residual figure.

    Attributes
    ----------
    name : str
    facts : mapping of str to str
        Hardware, versions, grid, range of validity, assumptions.
    forms : pandas.DataFrame
        One row a form: ``form, cv_r2, cv_mape, cv_worst``.
    coefficients : pandas.DataFrame
        Of the form that is used: ``coefficient, value, low, high``.
    residuals : pandas.DataFrame
        Of points left out, under the form that is used, as in `fit.Validation`; may be empty.
    """

    name: str
    facts: Mapping[str, str]
    forms: pd.DataFrame
    coefficients: pd.DataFrame
    residuals: pd.DataFrame

    def _repr_html_(self) -> str:
        facts = "".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in self.facts.items())
        tables = [
            frame.to_html(index=False, border=0, float_format="{:.4g}".format)
            for frame in (self.coefficients, self.forms)
        ]
        drawn = "" if self.residuals.empty else f"<p>Points left out:</p>{residual_svg(self.residuals)}"
        return f"<b>{html.escape(self.name)}</b><table>{facts}</table>{''.join(tables)}{drawn}"


@dataclass(frozen=True)
class Calibration:
    """Measurements of one model on one device, with every form fitted to them and held against points left out.

    Made by `of`; `model` is what `simulate` takes for its latency.
    """

    name: str
    header: Mapping[str, str]
    fits: Mapping[str, Fit]
    validations: Mapping[str, Validation]

    @classmethod
    def of(cls, measured: Any, forms: Iterable[str] = NAMES, *, folds: int | None = 5, seed: int = 0) -> Calibration:
        """Fit and validate.

        Parameters
        ----------
        measured : str, Path, measurements.Measurements or pandas.DataFrame
            A measurement CSV, what was read of one, or its columns.
        forms, folds, seed
            As for `fit.fit` and `fit.cross_validate`. A form that the grid is too small for is left out.

        Raises
        ------
        InputError
            If the measurements are too few for every form; with the first one's reason.

        Examples
        --------
        >>> from simlib.latency import measurements, presets
        >>> truth = presets.load("a100x8-splitwise-llama2-70b")
        >>> grid = [(b, p, o) for b in (1, 8, 64) for p in (128, 1024) for o in (32, 256)]
        >>> import pandas as pd
        >>> frame = pd.DataFrame(grid, columns=["batch_size", "prompt_tokens", "output_tokens"])
        >>> frame["total_s"] = [truth.batch_time_s(*shape) for shape in grid]
        >>> Calibration.of(frame).best
        'phase5'
        """
        name, header = "own measurements", {}
        if isinstance(measured, (str, Path)):
            measured = measurements.read(measured)
        if isinstance(measured, measurements.Measurements):
            name, header, measured = Path(measured.source).name, measured.header, measured.frame
        fits, validations, problems = {}, {}, []
        for form in forms:
            try:
                fits[form] = fit.fit(measured, form)
                validations[form] = fit.cross_validate(measured, form, folds=folds, seed=seed)
            except InputError as problem:
                problems.append(problem)
        if not fits:
            raise InputError(f"latency {name}: {problems[0]}")
        return cls(name, header, fits, validations)

    @property
    def best(self) -> str:
        """The form with the smallest mean error on points left out."""
        return min(self.validations, key=lambda form: self.validations[form].mape)

    def model(self, form: str | None = None, split: float | None = None) -> LatencyModel:
        """The latency model, by default of the best form; `split` as for `presets.load`."""
        form = check_choice("form", self.best if form is None else form, self.fits)
        fitted, chosen = self.fits[form], self.validations[form]
        model = presets.model_of(fitted.form, fitted.coefficients, split)
        return Measured(model, self.name, fitted.measured, chosen.mape, chosen.r2)

    def card(self, form: str | None = None) -> Card:
        """The card, by default of the best form."""
        form = check_choice("form", self.best if form is None else form, self.fits)
        fitted, chosen = self.fits[form], self.validations[form]
        rows = [(v.form, v.r2, v.mape, v.worst) for v in self.validations.values()]
        coefficients = [(n, value, fitted.low[n], fitted.high[n]) for n, value in fitted.coefficients.items()]
        facts = dict(self.header) | {"grid": f"{fitted.n_points} points", "form": fitted.form, "tokens": "padded"}
        return Card(
            self.name,
            facts | _limits(fitted.measured, chosen.mape, f"{chosen.folds} folds", chosen.worst_point),
            pd.DataFrame(rows, columns=["form", "cv_r2", "cv_mape", "cv_worst"]),
            pd.DataFrame(coefficients, columns=["coefficient", "value", "low", "high"]),
            chosen.residuals,
        )


def preset(name: str) -> Card:
    """The card of a preset, one that no form fits included.

    Parameters
    ----------
    name : str
        As `simlib presets` lists it.

    Examples
    --------
    >>> preset("a100x8-splitwise-llama2-70b").facts["GPU"]
    '8 × a100-80gb'
    """
    rows = presets.table()
    rows = rows[rows["name"] == name]
    if rows.empty:
        raise InputError(f"preset: {name!r} (expected one that `simlib presets` lists)")
    row = rows.iloc[-1]  # the richest form
    facts = {"source": row["source"], "form": row["form"]}
    if row["n_points"]:
        facts |= {"GPU": f"{row['gpu_count']:.0f} × {row['gpu']}", "framework": row["framework"], "model": row["model"]}
        facts |= {"grid": f"{row['n_points']} points", "tokens": f"{row['tokens']}, static batches"}
        facts["versions"] = "not given by the source"
        folds = "leave-one-out" if row["cv_folds"] == row["n_points"] else f"{row['cv_folds']:.0f} folds"
        facts |= _limits(presets.measured_of(row), row["cv_mape"], folds)
    if told := presets.checked(name):
        facts["against a measured engine"] = "; ".join(told)
    if "assumption" in facts:
        facts["assumption"] += _supported(name)
    if isinstance(row["note"], str):
        facts["note"] = row["note"]
    names = FORMS[row["form"]].coefficients
    coefficients = [(n, row[n], row[f"{n}_low"], row[f"{n}_high"]) for n in names]
    known = _residuals()  # those of the last study, under phase5
    own = known[(known["name"] == name) & (known["form"] == row["form"])]
    return Card(
        name,
        facts,
        rows[["form", "cv_r2", "cv_mape", "cv_worst"]],
        pd.DataFrame(coefficients, columns=["coefficient", "value", "low", "high"]),
        own,
    )


@functools.lru_cache(maxsize=1)
def _residuals() -> pd.DataFrame:
    return pd.read_csv(committed("batch_times_residuals_fit"))


def _limits(span: Range, mape: float, folds: str, worst: tuple[int, int, int] | None = None) -> dict[str, str]:
    """Range, error and assumptions, in words."""
    at = f"; worst at batch {worst[0]}, prompt {worst[1]}, output {worst[2]}" if worst else ""
    verdict = "good" if mape <= GOOD else "rough" if mape <= MISSES else "no model"
    facts = {"measured range": str(span), "error on points left out": f"{mape:.1%} ({folds}{at}): {verdict}"}
    if span.equal_lengths:
        low, high = presets.SPLIT_RANGE
        facts["assumption"] = (
            f"prefill's share of what a token adds is {presets.SPLIT:g} ({low:g} to {high:g}): prompt and output were "
            "measured at equal lengths only"
        )
    return facts


def _supported(name: str) -> str:
    """What a measured engine's runs say of the share that is assumed."""
    told = presets.checks()[presets.checks()["name"] == name].dropna(subset=["share_low"])
    if told.empty:
        return "; no measured engine tells it"
    row = told.iloc[0]
    return f"; runs of {row['engine']} {row['version']} support {row['share_low']:.2f} to {row['share_high']:.2f}"


AXES = {"batch_size": "Batch size", "prompt_tokens": "Prompt (tokens)", "output_tokens": "Output (tokens)"}
LEFT, TOP, WIDTH, HEIGHT, GAP, FOOT = 62, 8, 180, 96, 24, 38
MOST_TICKS, POINT = 4, "#0072B2"


def residual_svg(residuals: pd.DataFrame) -> str:
    """An ``<svg>`` of three panels that share their vertical axis.

    Parameters
    ----------
    residuals : pandas.DataFrame
        ``batch_size, prompt_tokens, output_tokens, residual``, the last relative, as in `fit.Validation`.

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
