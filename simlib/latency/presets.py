"""Measured latency models by name: coefficients, intervals, held-out errors and ranges of public GPU measurements.

Reads ``data/latency_presets.csv``, one row a preset and form that was fitted to measurements; hands models to
`named.latency_of`. The original's two formulas are in the table too, marked as assumed.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from simlib.checks import NEAREST, InputError, check_choice, check_number, nearest
from simlib.datasets import committed, shipped
from simlib.latency import forms
from simlib.latency.measured import Measured, Range
from simlib.latency.models import Affine, LatencyModel
from simlib.latency.phases import Phases, Power
from simlib.lazy import pd
from simlib.text import signed

# Assumed by the original system, not measured: its synthetic numbers, and those that it called calibrated.
PRESETS = {"original-synthetic": Affine(0.010, 0.0002, 0.3), "original-calibrated": Affine(0.015, 0.0003, 0.4)}
MOST_MAPE = 0.25  # a group that every form misses by more is listed, and not offered
# Prefill's share c1 / (c1 + d1) of what a token adds, where prompt and output were measured at equal lengths only. The
# range is that of the eight groups of Splitwise's profile, which has both phases, rounded outward. No share holds
# for all: of the engines in `checks` it falls with the number of GPUs.
SPLIT, SPLIT_RANGE = 0.4, (0.25, 0.65)
SPAN = {"batch": "batch_size", "prompt": "prompt_tokens", "output": "output_tokens"}
GROUP = ["source", "gpu", "gpu_count", "framework", "model"]
KEYS = ["name", "form", *GROUP, "tokens", "n_points", "cv_folds", "cv_r2", "cv_mape", "cv_worst"]
LISTED = [*KEYS[:7], "n_points", "cv_r2", "cv_mape", "note"]  # without ranges and coefficients
MOST_OFF_PERCENT = 10.0  # of a measured engine's time between tokens: beyond it the preset's card says so
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


@functools.lru_cache(maxsize=1)
def checks() -> pd.DataFrame:
    """Presets beside measured engines of the same model, GPU and framework: a row a preset and source.

    Written by the book's chapter on engines: ``name, source, engine, version, model, runs``; ``error_percent``, the
    median signed error of the time between tokens, with ``error_low, error_high`` over what is assumed; ``share_low,
    share_high``, of prefill in what a token adds, where the engine's runs tell.
    """
    return pd.read_csv(committed("engines_presets"))


def checked(name: str) -> list[str]:
    """What measured engines say of a preset, a sentence each.

    Examples
    --------
    >>> checked("h100x4-trtllm-llama3-8b")[0].split(" (")[0]
    'time between tokens +29 % against TensorRT-LLM 1.0.0rc3'
    """
    said = []
    for row in checks()[checks()["name"] == name].itertuples():
        engine = row.engine if row.version == "not given" else f"{row.engine} {row.version}"
        off = f"; off by more than {MOST_OFF_PERCENT:g} %" if abs(row.error_percent) > MOST_OFF_PERCENT else ""
        said.append(
            f"time between tokens {signed(row.error_percent, 0)} % against {engine} ({row.model}, {row.runs} runs of "
            f"{row.source}; {signed(row.error_low, 0)} to {signed(row.error_high, 0)} % over what is assumed){off}"
        )
    return said


def off_percent() -> dict[str, float]:
    """The presets that are off a measured engine by more than `MOST_OFF_PERCENT`, with their largest error, signed."""
    largest = checks().sort_values("error_percent", key=np.abs).groupby("name")["error_percent"].last()
    return largest[largest.abs() > MOST_OFF_PERCENT].to_dict()


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
