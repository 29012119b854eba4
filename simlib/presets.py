"""Measured latency models by name: coefficients, intervals, held-out errors and ranges of public GPU measurements.

Reads ``data/latency_presets.csv``, one row a preset and form, which `rows_of` makes of measurements; hands models to
`latency.resolve`. The original's two formulas are in the table too, marked as assumed.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simlib import fitting, gpu_benchmarks
from simlib.checks import InputError, check_choice, check_frame, check_number
from simlib.datasets import shipped
from simlib.latency import PRESETS, Affine, LatencyModel
from simlib.phases import Phases, Power
from simlib.validity import Measured, Range

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DEFAULT_FORM",
    "FORMS",
    "LISTED",
    "MOST_MAPE",
    "SPLIT",
    "SPLIT_RANGE",
    "Refit",
    "assumed",
    "load",
    "model_of",
]
__all__ += ["names", "refit", "rows_of", "table"]

FORMS = ("affine", "power", "phase4", "phase5")
DEFAULT_FORM = "phase5"
MOST_MAPE = 0.25  # a group that every form misses by more is listed, and not offered
# Prefill's share c1 / (c1 + d1) of what a token adds, where prompt and output were measured at equal lengths only. The
# range is that of the eight groups of Splitwise's profile, which has both phases, rounded outward.
SPLIT, SPLIT_RANGE = 0.4, (0.25, 0.65)
SPAN = {"batch": "batch_size", "prompt": "prompt_tokens", "output": "output_tokens"}
KEYS = ["name", "form", *gpu_benchmarks.GROUP, "tokens", "n_points", "cv_folds", "cv_r2", "cv_mape", "cv_worst"]
LISTED = [*KEYS[:7], "n_points", "cv_r2", "cv_mape", "note"]  # without ranges and coefficients
COEFFICIENTS = list(dict.fromkeys(name for form in fitting.FORMS.values() for name in form.coefficients))


@functools.lru_cache(maxsize=1)
def table() -> pd.DataFrame:
    """All presets, one row a preset and form.

    Examples
    --------
    >>> table().set_index("name").loc["original-synthetic", "note"]
    'assumed, not measured'
    """
    import pandas as pd

    return pd.read_csv(shipped("latency_presets.csv"))


def names() -> list[str]:
    """The names that `load` takes."""
    rows = table()
    return list(dict.fromkeys(rows.loc[~_unfitted(rows), "name"]))


def load(name: str, form: str | None = None, split: float | None = None) -> LatencyModel:
    """A preset's model.

    Parameters
    ----------
    name : str
        One of `names`, such as ``"a100-vllm-llama3-8b"``.
    form : {"affine", "power", "phase4", "phase5"}, optional
        By default phase5; the original's two have affine only.
    split : float, optional
        Prefill's share of what a token adds, in [0, 1], where it was not measured; by default `SPLIT`. A study shows
        both ends of `SPLIT_RANGE`.

    Raises
    ------
    InputError
        If there is no such preset, or no model fits its group, with the reason.

    Examples
    --------
    >>> load("a100x8-splitwise-llama2-70b").measured.batch_size
    (1.0, 64.0)
    """
    if name in PRESETS and form in (None, "affine"):
        return PRESETS[name]
    rows = table()
    rows = rows[rows["name"] == name]
    if rows.empty:
        near = ", ".join(difflib.get_close_matches(str(name), names(), n=3)) or ", ".join(PRESETS)
        raise InputError(f"latency: {name!r} (no such preset; near: {near}; `simlib presets` lists them all)")
    if _unfitted(rows).any():
        raise InputError(f"latency: {name!r} is offered by no form ({rows['note'].iloc[0]})")
    kinds = rows["form"].str.removesuffix(fitting.EQUAL)
    kind = check_choice("form", DEFAULT_FORM if form is None else form, list(kinds))
    row = rows[kinds == kind].iloc[0]
    span = Range(
        *((float(row[f"{part}_min"]), float(row[f"{part}_max"])) for part in SPAN),
        equal_lengths=row["form"].endswith(fitting.EQUAL),
    )
    return Measured(model_of(row["form"], row, split), name, span)


def model_of(form: str, coefficients: Any, split: float | None = None) -> LatencyModel:
    """The model of a form and its coefficients by name, as `fitting.fit` and `table` name them.

    Parameters
    ----------
    form : str
        A key of `fitting.FORMS`.
    coefficients : mapping of str to float
    split : float, optional
        As for `load`.

    Examples
    --------
    >>> model_of("phase5_equal_lengths", {"a_s": 0, "c1_plus_d1_s_per_token": 1e-4, "d0_s_per_token": 0.01,
    ...     "d2_s_per_token2": 0}, split=0.25).c1_s_per_token
    2.5e-05
    """
    check_choice("form", form, fitting.FORMS)
    share = check_number("split", SPLIT if split is None else split, 0.0, 1.0)
    given = {name: float(coefficients[name]) for name in fitting.FORMS[form].coefficients}
    if form == "affine":
        return Affine(*given.values(), floor_s=0.0)
    if form == "power":
        return Power(*given.values())
    both = given.pop(fitting.S1, None)
    if both is not None:
        given |= {fitting.C1: share * both, fitting.D1: (1 - share) * both}
    return Phases(**given)


def rows_of(points: pd.DataFrame, folds: int | None = 5, forms: Iterable[str] = FORMS) -> tuple[Any, Any]:
    """Fit every form to every group of measurements.

    Parameters
    ----------
    points : pandas.DataFrame
        From `gpu_benchmarks`.
    folds : int or None
        As for `fitting.cross_validate`, seed 0.

    Returns
    -------
    rows : pandas.DataFrame
        As `table`.
    residuals : pandas.DataFrame
        Of the points left out: ``name, form`` and the columns of `fitting.Validation.residuals`.
    """
    import pandas as pd

    check_frame("points", points, (*gpu_benchmarks.GROUP, *fitting.COLUMNS))
    rows, residuals = [], []
    for group, measured in points.groupby(gpu_benchmarks.GROUP, sort=True):
        name, own = gpu_benchmarks.slug(*group[1:]), []
        for form in forms:
            found = fitting.fit(measured, form)
            held_out = fitting.cross_validate(measured, form, folds=folds)
            own.append(_row(name, group, found, held_out))
            residuals.append(held_out.residuals.assign(name=name, form=found.form))
        if min(row["cv_mape"] for row in own) > MOST_MAPE:
            note = gpu_benchmarks.early_stop(measured) or "no form follows the times"
            own = [row | {"note": f"no model fits: {note}"} for row in own]
        rows += own
    order = ["name", "form", *fitting.COLUMNS, "predicted_s", "residual"]
    return pd.DataFrame(rows, columns=_columns()), pd.concat(residuals, ignore_index=True)[order]


class Refit(NamedTuple):
    """What the public measurements give: `table`'s rows, residuals of points left out, groups that were left out."""

    rows: pd.DataFrame
    residuals: pd.DataFrame
    left_out: pd.DataFrame


def refit() -> Refit:
    """Fit all presets anew, five folds for LLM-Inference-Bench, leave-one-out for Splitwise's profile.

    Raises
    ------
    InputError
        If the public measurements are not found, with the place where they are looked for.
    """
    import pandas as pd

    fitted, left_out = [], []
    for read, folds in ((gpu_benchmarks.argonne, 5), (gpu_benchmarks.splitwise, None)):
        points, others = read()
        fitted.append(rows_of(points, folds))
        left_out.append(others)
    rows = pd.concat([assumed().dropna(axis=1, how="all"), *(rows for rows, _ in fitted)], ignore_index=True)
    residuals = pd.concat([residuals for _, residuals in fitted], ignore_index=True)
    return Refit(rows[_columns()], residuals, pd.concat(left_out, ignore_index=True))


def assumed() -> pd.DataFrame:
    """The rows of the original's two formulas."""
    import pandas as pd

    rows = [
        {"name": name, "form": "affine", "source": "original system", "n_points": 0, "note": "assumed, not measured"}
        | {"alpha_s": model.alpha_s, "beta_s_per_token": model.beta_s_per_token, "gamma": model.gamma}
        for name, model in PRESETS.items()
    ]
    return pd.DataFrame(rows, columns=_columns())


def _row(name: str, group: tuple, found: fitting.Fit, held_out: fitting.Validation) -> dict[str, Any]:
    row = {"name": name, "form": found.form, **dict(zip(gpu_benchmarks.GROUP, group, strict=True)), "tokens": "padded"}
    row |= {"n_points": found.n_points, "cv_folds": held_out.folds, "cv_r2": held_out.r2, "cv_mape": held_out.mape}
    row |= {"cv_worst": held_out.worst, "note": ""}
    for part, column in SPAN.items():
        row[f"{part}_min"], row[f"{part}_max"] = found.span[column]
    for coefficient, value in found.coefficients.items():
        row[coefficient] = value
        row[f"{coefficient}_low"], row[f"{coefficient}_high"] = found.low[coefficient], found.high[coefficient]
    if found.form.endswith(fitting.EQUAL):
        row |= {"split": SPLIT, "split_low": SPLIT_RANGE[0], "split_high": SPLIT_RANGE[1]}
    return row


def _columns() -> list[str]:
    spans = [f"{part}_{end}" for part in SPAN for end in ("min", "max")]
    values = [f"{name}{end}" for name in COEFFICIENTS for end in ("", "_low", "_high")]
    return [*KEYS, *spans, "split", "split_low", "split_high", *values, "note"]


def _unfitted(rows: pd.DataFrame) -> np.ndarray:
    return rows["note"].fillna("").str.startswith("no model fits").to_numpy()
