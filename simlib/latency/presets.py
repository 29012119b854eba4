"""Measured latency models by name: coefficients, intervals, held-out errors and ranges of public GPU measurements.

Reads ``data/latency_presets.csv``, one row a preset and form, which `public.rows_of` makes of measurements; hands
models to `named.latency_of`. The original's two formulas are in the table too, marked as assumed.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from simlib.checks import NEAREST, InputError, check_choice, check_number, nearest
from simlib.datasets import shipped
from simlib.latency import forms
from simlib.latency.measured import Measured, Range
from simlib.latency.models import Affine, LatencyModel
from simlib.latency.phases import Phases, Power
from simlib.lazy import pd

# Assumed by the original system, not measured: its synthetic numbers, and those that it called calibrated.
PRESETS = {"original-synthetic": Affine(0.010, 0.0002, 0.3), "original-calibrated": Affine(0.015, 0.0003, 0.4)}
MOST_MAPE = 0.25  # a group that every form misses by more is listed, and not offered
# Prefill's share c1 / (c1 + d1) of what a token adds, where prompt and output were measured at equal lengths only. The
# range is that of the eight groups of Splitwise's profile, which has both phases, rounded outward.
SPLIT, SPLIT_RANGE = 0.4, (0.25, 0.65)
SPAN = {"batch": "batch_size", "prompt": "prompt_tokens", "output": "output_tokens"}
GROUP = ["source", "gpu", "gpu_count", "framework", "model"]
KEYS = ["name", "form", *GROUP, "tokens", "n_points", "cv_folds", "cv_r2", "cv_mape", "cv_worst"]
LISTED = [*KEYS[:7], "n_points", "cv_r2", "cv_mape", "note"]  # without ranges and coefficients
COEFFICIENTS = list(dict.fromkeys(name for form in forms.FORMS.values() for name in form.coefficients))


@functools.lru_cache(maxsize=1)
def table() -> pd.DataFrame:
    """All presets, one row a preset and form.

    Examples
    --------
    >>> table().set_index("name").loc["original-synthetic", "note"]
    'assumed, not measured'
    """
    return pd.read_csv(shipped("latency_presets.csv"))


def names() -> list[str]:
    """The names that `load` takes."""
    rows = table()
    return list(dict.fromkeys(rows.loc[~_unfitted(rows), "name"]))


def near(name: str) -> str:
    """Names that may be meant, as the part of a sentence that follows what they are near to; or nothing."""
    found = nearest(name, names())
    more = f" and {len(found) - NEAREST} more" if len(found) > NEAREST else ""
    return f"; near: {', '.join(found[:NEAREST])}{more}" if found else ""


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
        raise InputError(f"latency: {name!r} (no such preset{near(name)}; `simlib presets` lists them all)")
    if _unfitted(rows).any():
        raise InputError(f"latency: {name!r} is offered by no form ({rows['note'].iloc[0]})")
    kinds = rows["form"].str.removesuffix(forms.EQUAL)
    kind = check_choice("form", "phase5" if form is None else form, list(kinds))
    row = rows[kinds == kind].iloc[0]
    return Measured(model_of(row["form"], row, split), name, measured_of(row), row["cv_mape"], row["cv_r2"])


def measured_of(row: Any) -> Range:
    """What a row of `table` was measured at."""
    ends = ((float(row[f"{part}_min"]), float(row[f"{part}_max"])) for part in SPAN)
    return Range(*ends, equal_lengths=row["form"].endswith(forms.EQUAL))


def model_of(form: str, coefficients: Any, split: float | None = None) -> LatencyModel:
    """The model of a form and its coefficients by name, as `fit.fit` and `table` name them.

    Parameters
    ----------
    form : str
        A key of `forms.FORMS`.
    coefficients : mapping of str to float
    split : float, optional
        As for `load`.

    Examples
    --------
    >>> model_of("phase5_equal_lengths", {"a_s": 0, "c1_plus_d1_s_per_token": 1e-4, "d0_s_per_token": 0.01,
    ...     "d2_s_per_token2": 0}, split=0.25).c1_s_per_token
    2.5e-05
    """
    check_choice("form", form, forms.FORMS)
    share = check_number("split", SPLIT if split is None else split, 0.0, 1.0)
    given = {name: float(coefficients[name]) for name in forms.FORMS[form].coefficients}
    if form == "affine":
        return Affine(*given.values(), floor_s=0.0)
    if form == "power":
        return Power(*given.values())
    both = given.pop(forms.S1, None)
    if both is not None:
        given |= {forms.C1: share * both, forms.D1: (1 - share) * both}
    return Phases(**given)


def _unfitted(rows: pd.DataFrame) -> np.ndarray:
    return rows["note"].fillna("").str.startswith("no model fits").to_numpy()
