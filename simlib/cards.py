"""A calibration card: what a latency model was measured on, how far it can be trusted, and where it ends.

Of one's own measurements (`Calibration`), and of each preset (`preset`); shown in a notebook and on the book's page of
cards.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simlib import fitting, presets
from simlib.checks import InputError, check_choice
from simlib.datasets import committed
from simlib.latency import LatencyModel
from simlib.residual_svg import residual_svg
from simlib.validity import Measured, Range

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["Calibration", "Card", "preset"]

GOOD, MISSES = 0.1, presets.MOST_MAPE


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
        Of points left out, under the form that is used, as in `fitting.Validation`; may be empty.
    """

    name: str
    facts: Mapping[str, str]
    forms: pd.DataFrame
    coefficients: pd.DataFrame
    residuals: pd.DataFrame

    def figure(self) -> Figure:
        """Relative residuals of points left out by batch size, prompt and output."""
        from simlib.figures.latency import residuals

        if self.residuals.empty:
            raise InputError(f"card {self.name}: no residuals (expected measurements, not coefficients alone)")
        return residuals(self.residuals)

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
    fits: Mapping[str, fitting.Fit]
    validations: Mapping[str, fitting.Validation]

    @classmethod
    def of(
        cls,
        measured: Any,
        forms: Iterable[str] = presets.FORMS,
        *,
        folds: int | None = 5,
        seed: int = 0,
        name: str = "own measurements",
    ) -> Calibration:
        """Fit and validate.

        Parameters
        ----------
        measured : str, Path, measurements.Measurements or pandas.DataFrame
            A measurement CSV, what was read of one, or its columns.
        forms, folds, seed
            As for `fitting.fit` and `fitting.cross_validate`. A form that the grid is too small for is left out.
        name : str
            For warnings and the card, if the measurements are a data frame.

        Raises
        ------
        InputError
            If the measurements are too few for every form; with the first one's reason.

        Examples
        --------
        >>> from simlib import presets
        >>> truth = presets.load("a100x8-splitwise-llama2-70b")
        >>> grid = [(b, p, o) for b in (1, 8, 64) for p in (128, 1024) for o in (32, 256)]
        >>> import pandas as pd
        >>> frame = pd.DataFrame(grid, columns=["batch_size", "prompt_tokens", "output_tokens"])
        >>> frame["total_s"] = [truth.batch_time_s(*shape) for shape in grid]
        >>> Calibration.of(frame).best
        'phase5'
        """
        from simlib import measurements

        header: Mapping[str, str] = {}
        if isinstance(measured, (str, Path)):
            measured = measurements.read(measured)
        if isinstance(measured, measurements.Measurements):
            name, header, measured = Path(measured.source).name, measured.header, measured.frame
        fits, validations, problems = {}, {}, []
        for form in forms:
            try:
                fits[form] = fitting.fit(measured, form)
                validations[form] = fitting.cross_validate(measured, form, folds=folds, seed=seed)
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
        fit = self.fits[check_choice("form", self.best if form is None else form, self.fits)]
        span = Range(*fit.span.values(), equal_lengths=fit.form.endswith(fitting.EQUAL))
        return Measured(presets.model_of(fit.form, fit.coefficients, split), self.name, span)

    def card(self, form: str | None = None) -> Card:
        """The card, by default of the best form."""
        import pandas as pd

        form = check_choice("form", self.best if form is None else form, self.fits)
        fit, chosen = self.fits[form], self.validations[form]
        rows = [(v.form, v.r2, v.mape, v.worst) for v in self.validations.values()]
        coefficients = [(name, value, fit.low[name], fit.high[name]) for name, value in fit.coefficients.items()]
        facts = dict(self.header) | {"grid": f"{fit.n_points} points", "form": fit.form, "tokens": "padded"}
        span = Range(*fit.span.values(), equal_lengths=fit.form.endswith(fitting.EQUAL))
        return Card(
            self.name,
            facts | _limits(span, chosen.mape, f"{chosen.folds} folds", chosen.worst_point),
            pd.DataFrame(rows, columns=["form", "cv_r2", "cv_mape", "cv_worst"]),
            pd.DataFrame(coefficients, columns=["coefficient", "value", "low", "high"]),
            chosen.residuals,
        )


def preset(name: str, residuals: pd.DataFrame | None = None) -> Card:
    """The card of a preset, one that no form fits included.

    Parameters
    ----------
    name : str
        As `simlib presets` lists it.
    residuals : pandas.DataFrame, optional
        From `presets.refit`, for the figure; by default those of the last study, under phase5.

    Examples
    --------
    >>> preset("a100x8-splitwise-llama2-70b").facts["GPU"]
    '8 × a100-80gb'
    """
    import pandas as pd

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
        span = Range(
            *((row[f"{part}_min"], row[f"{part}_max"]) for part in presets.SPAN),
            equal_lengths=row["form"].endswith(fitting.EQUAL),
        )
        folds = "leave-one-out" if row["cv_folds"] == row["n_points"] else f"{row['cv_folds']:.0f} folds"
        facts |= _limits(span, row["cv_mape"], folds)
    if isinstance(row["note"], str):
        facts["note"] = row["note"]
    names = fitting.FORMS[row["form"]].coefficients
    coefficients = [(n, row[n], row[f"{n}_low"], row[f"{n}_high"]) for n in names]
    known = _residuals() if residuals is None else residuals
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
    import pandas as pd

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
