"""From measured batch times to the coefficients of a latency model, with intervals and errors on points left out.

Reads a table of measurements (`measurements`), hands coefficients to `presets.model_of` and `cards`; writes
no file. Coefficients are never below zero and are fitted to relative errors, so that a batch of a tenth
of a second counts as much as one of a minute.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simlib.checks import InputError, check_choice, check_frame, check_integer
from simlib.latency.forms import EQUAL, FORMS, NAMES, Form
from simlib.latency.measured import Range
from simlib.latency.measurements import GRID_COLUMNS, TIMED, Measurements, Points, points_of, read
from simlib.latency.models import Affine
from simlib.lazy import pd

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Fit:
    """A model fitted to measurements.

    Attributes
    ----------
    form : str
        A key of `FORMS`; ends in ``_equal_lengths`` where every prompt was as long as its output.
    coefficients, low, high : dict of str to float
        Estimates in seconds and tokens, and their 95 % intervals.
    n_points : int
        Points of the grid; repetitions do not count.
    measured : Range
        Smallest and largest batch, prompt and output that were measured.
    """

    form: str
    coefficients: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]
    n_points: int
    measured: Range

    def predict(self, batch_size: Any, prompt_tokens: Any, output_tokens: Any) -> np.ndarray:
        """Times of batches in which all prompts and all outputs have one length, seconds."""
        b, p, o = np.broadcast_arrays(*(np.asarray(v, float) for v in (batch_size, prompt_tokens, output_tokens)))
        return _predict(FORMS[self.form], np.array(list(self.coefficients.values())), b, p, o)


@dataclass(frozen=True)
class Validation:
    """Errors on grid points that the fit had not seen.

    Attributes
    ----------
    r2, mape, worst : float
        R² of the pooled predictions, mean and largest relative error.
    worst_point : tuple of int
        Batch size, prompt and output tokens of the largest error.
    folds : int
        Into how many parts the points were cut; as many as there are points: leave-one-out.
    residuals : pandas.DataFrame
        ``batch_size, prompt_tokens, output_tokens, total_s, predicted_s, residual``, the last relative to the measured.
    """

    form: str
    r2: float
    mape: float
    worst: float
    worst_point: tuple[int, int, int]
    folds: int
    residuals: pd.DataFrame


def fit(points: pd.DataFrame, form: str = "phase5", *, relative: bool = True) -> Fit:
    """Fit a latency model to measured batches by least squares with no coefficient below zero.

    Parameters
    ----------
    points : pandas.DataFrame
        ``batch_size, prompt_tokens, output_tokens, total_s``, one row a measurement, times in seconds; with
        ``prefill_s`` and ``decode_s`` both phases are fitted together, their errors relative to the batch's time.
    form : {"affine", "power", "phase4", "phase5"}
        affine: T = alpha + beta L (1 + gamma (b-1)/b); power: T = alpha + beta L b^exponent, with L = P + O;
        phase4: T = a + c1 b P + (O - 1) (d0 + d1 b), as prefill ends with the first token; phase5: the same +
        d2 b (O - 1) (P + O/2), the growth of the KV cache.
    relative : bool
        Relative errors, or errors in seconds.

    Returns
    -------
    Fit
        Where prompt and output have the same length throughout, c1 and d1 are one coefficient, their sum; phases that
        were measured tell them apart all the same.

    Raises
    ------
    InputError
        Naming column and row of what is no measurement; or what the grid lacks for the form.

    Notes
    -----
    Intervals are the estimate ± Student's t times the delete-a-group jackknife's standard error, a group being a grid
    point with all its repetitions; cut at zero.

    Examples
    --------
    >>> import pandas as pd
    >>> grid = pd.MultiIndex.from_product([(1, 4, 16), (64, 256), (32, 128)], names=TIMED[:3]).to_frame(index=False)
    >>> b, p, o = (grid[name] for name in TIMED[:3])
    >>> found = fit(grid.assign(total_s=0.01 + 2e-5 * b * p + (o - 1) * (0.02 + 1e-4 * b)), "phase4")
    >>> {name: round(value, 8) for name, value in found.coefficients.items()}
    {'a_s': 0.01, 'c1_s_per_token': 2e-05, 'd0_s_per_token': 0.02, 'd1_s_per_token': 0.0001}
    """
    data = points_of(points)
    kind = _form(form, data)
    _check_grid(kind, data)
    value = _estimate(kind, data, relative)
    groups = int(data.point.max()) + 1
    without = np.array([_estimate(kind, data.rows(data.point != group), relative) for group in range(groups)])
    from scipy.stats import t

    spread = (groups - 1) / groups * np.sum((without - without.mean(axis=0)) ** 2, axis=0)
    half = t.ppf((1 + CONFIDENCE) / 2, max(groups - len(value), 1)) * np.sqrt(spread)
    named = [dict(zip(kind.coefficients, map(float, v), strict=True)) for v in (value, value - half, value + half)]
    named[1] = {name: max(0.0, low) for name, low in named[1].items()}
    ends = ((int(column.min()), int(column.max())) for column in data[:3])
    return Fit(kind.name, *named, groups, Range(*ends, equal_lengths=kind.name.endswith(EQUAL)))


def cross_validate(
    points: pd.DataFrame, form: str = "phase5", *, folds: int | None = 5, seed: int = 0, relative: bool = True
) -> Validation:
    """Errors of a form on points that it was not fitted to: grouped K-fold cross-validation.

    Parameters
    ----------
    points, form, relative
        As for `fit`.
    folds : int or None
        Parts into which the grid points are cut at random, a point's repetitions together; None: leave-one-out.
    seed : int
        Of the cut.

    Examples
    --------
    >>> import pandas as pd
    >>> grid = pd.MultiIndex.from_product([(1, 4, 16), (64, 256), (32, 128)], names=TIMED[:3]).to_frame(index=False)
    >>> b, p, o = (grid[name] for name in TIMED[:3])
    >>> made = grid.assign(total_s=0.01 + 2e-5 * b * p + (o - 1) * (0.02 + 1e-4 * b))
    >>> cross_validate(made, "phase4").mape < 1e-9 < cross_validate(made, "affine").mape
    True
    """
    data = points_of(points)
    kind = _form(form, data)
    _check_grid(kind, data)
    groups = int(data.point.max()) + 1
    folds = groups if folds is None else min(check_integer("folds", folds, 2), groups)
    order = np.random.default_rng(check_integer("seed", seed, 0)).permutation(groups)
    fold = np.empty(groups, int)
    fold[order] = np.arange(groups) % folds
    predicted = np.empty_like(data.total_s)
    for left_out in range(folds):
        out = fold[data.point] == left_out
        predicted[out] = _predict(kind, _estimate(kind, data.rows(~out), relative), *(c[out] for c in data[:3]))
    error = predicted - data.total_s
    share = error / data.total_s
    worst = int(np.argmax(np.abs(share)))
    spread = np.sum((data.total_s - data.total_s.mean()) ** 2)
    residuals = points[list(TIMED)].assign(predicted_s=predicted, residual=share).reset_index(drop=True)
    return Validation(
        kind.name,
        float(1 - np.sum(error**2) / spread),
        float(np.abs(share).mean()),
        float(np.abs(share[worst])),
        tuple(int(column[worst]) for column in data[:3]),
        folds,
        residuals,
    )


def _form(name: str, data: Points) -> Form:
    check_choice("form", name, NAMES)
    equal = name.startswith("phase") and data.phases_s is None and np.array_equal(data.p, data.o)
    return FORMS[name + EQUAL * equal]


def _check_grid(form: Form, data: Points) -> None:
    for name, values in zip(("batch_size", "prompt_tokens + output_tokens"), (data.b, data.p + data.o), strict=True):
        if len(np.unique(values)) < 2:
            raise InputError(f"measurements, {name}: {values[0]:g} throughout (expected at least 2 different ones)")
    needed = len(form.coefficients)
    design = _design(form, data, *((0.5,) if form.name == "power" else ()))
    design = design / np.maximum(np.abs(design).max(axis=0), 1e-300)
    points = int(data.point.max()) + 1
    if points < needed + 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise InputError(
            f"measurements: {points} points of batch size, prompt and output (expected at least {needed + 1}, which "
            f"tell the {needed} coefficients of {form.name} apart)"
        )


def _estimate(form: Form, data: Points, relative: bool) -> np.ndarray:
    """The coefficients of a form, in their order."""
    if form.name == "power":
        from scipy.optimize import minimize_scalar

        found = minimize_scalar(
            lambda e: _solve(form, data, relative, e)[1], bounds=(0.0, 2.0), options={"xatol": 1e-7}
        )
        return np.append(_solve(form, data, relative, found.x)[0], found.x)
    value = _solve(form, data, relative)[0]
    if form.name == "affine":
        value[2] = value[2] / value[1] if value[1] > 0 else 0.0
    return value


def _design(form: Form, data: Points, *exponent: float) -> np.ndarray:
    """What each coefficient is multiplied by; where phases were measured, the prefills first, then the decodes."""
    design = np.column_stack(form.columns(*data[:3], *exponent))
    if form.prefill and data.phases_s is not None:
        prompt = np.arange(design.shape[1]) < form.prefill
        return np.vstack([design * prompt, design * ~prompt])
    return design


def _solve(form: Form, data: Points, relative: bool, *exponent: float) -> tuple[np.ndarray, float]:
    from scipy.optimize import nnls

    weight = 1 / data.total_s if relative else np.ones_like(data.total_s)
    design, target_s = _design(form, data, *exponent), data.total_s
    if len(design) > len(target_s):
        target_s, weight = data.phases_s.T.ravel(), np.tile(weight, 2)
    design = design * weight[:, None]
    scale = np.maximum(np.abs(design).max(axis=0), 1e-300)
    value, norm = nnls(design / scale, target_s * weight)
    return value / scale, norm


def _predict(form: Form, value: np.ndarray, b: np.ndarray, p: np.ndarray, o: np.ndarray) -> np.ndarray:
    if form.name == "power":
        return np.column_stack(form.columns(b, p, o, value[2])) @ value[:2]
    if form.name == "affine":
        value = value * np.array([1.0, 1.0, value[1]])
    return np.column_stack(form.columns(b, p, o)) @ value


def from_grid(path: str | Path | Measurements) -> Affine:
    """Fit the formula to a measured grid by least squares, no coefficient below zero.

    Parameters
    ----------
    path : str, Path or measurements.Measurements
        CSV with the columns ``batch_size, max_seq_len, mean_latency_sec`` (the original's), one row a grid point.

    Raises
    ------
    InputError
        As `measurements.read`; or if the grid cannot tell alpha, beta and gamma apart.
    """
    from scipy.optimize import nnls

    measured = path if isinstance(path, Measurements) else read(path)
    path = measured.source
    grid = check_frame(f"latency file {path}", measured.frame, GRID_COLUMNS)
    size, length, time_s = (grid[column].to_numpy(dtype=float) for column in GRID_COLUMNS)
    design = np.column_stack([np.ones_like(length), length, length * (size - 1) / size])
    if np.linalg.matrix_rank(design) < 3:
        raise InputError(f"latency file {path}: too few batch sizes or lengths (expected at least 2 of each, 3 points)")
    alpha, beta, beta_gamma = nnls(design, time_s)[0]
    if beta == 0:
        raise InputError(f"latency file {path}: time does not grow with length (expected a positive slope)")
    return Affine(alpha, beta, beta_gamma / beta)
