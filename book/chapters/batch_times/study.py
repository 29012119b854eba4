"""How long a batch takes on measured GPUs: errors of each form on points left out, and whether a grid was computed.

Reads `public` and `presets`; where the raw measurements are not found, the committed tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from book.chapters.batch_times import computed, public
from simlib import datasets
from simlib.checks import InputError
from simlib.latency import forms, measurements, presets

if TYPE_CHECKING:
    import pandas as pd


SHOWN = ("a100-vllm-llama3-8b", "h100-vllm-llama3-8b", "h100-trtllm-llama3-8b", "mi250x4-vllm-llama3-8b")
TABLES = ("batch_times_fit", "batch_times_residuals_fit", "batch_times_left_out", "batch_times_evidence_fit")
ERRORS = ["name", "form", *presets.GROUP, "n_points", "cv_folds", "cv_r2", "cv_mape", "cv_worst", "note"]
DIGITS = 7
FORM_NAMES = {
    "affine": "the original's formula",
    "power": "a power of the batch size",
    "phase4": "prefill and decode",
    "phase5": "prefill, decode and cache",
}


class Study(NamedTuple):
    """What `study` finds.

    `errors` has one row a group and form: points, R², mean and worst relative error of points left out, and the reason
    where no form fits. `residuals` are of points left out: phase5 for every group, affine beside it for the groups
    `SHOWN`. `left_out` are groups that were not fitted, with the reason; `evidence` is as the function gives it; `note`
    is empty, or says that the raw measurements were not found; `deviation` is the largest relative difference of the
    coefficients from the committed presets, NaN if not executed.
    """

    errors: pd.DataFrame
    residuals: pd.DataFrame
    left_out: pd.DataFrame
    evidence: pd.DataFrame
    note: str
    deviation: float


def study() -> Study:
    """Fit everything anew, or read the committed tables where the raw measurements are not found."""
    import pandas as pd

    try:
        found = public.refit()
    except InputError as reason:
        committed = (pd.read_csv(datasets.committed(name)) for name in TABLES)
        note = f"Not re-executed: data absent. Tables and figures are those of the last execution ({reason})."
        return Study(*committed, note, np.nan)
    kind = found.residuals["form"].str.removesuffix(forms.EQUAL)
    shown = (kind == "phase5") | ((kind == "affine") & found.residuals["name"].isin(SHOWN))
    tables = (found.rows[found.rows["n_points"] > 0][ERRORS], found.residuals[shown], found.left_out, evidence())
    rounded = (table.reset_index(drop=True).apply(_rounded) for table in tables)
    return Study(*rounded, "", deviation(found.rows, presets.table()))


def by_form(errors: pd.DataFrame) -> pd.DataFrame:
    """Medians over the groups of each source and form, and how many a form fits well or not at all."""
    grouped = errors.assign(form=errors["form"].str.removesuffix(forms.EQUAL)).groupby(["source", "form"], sort=False)
    return grouped.agg(
        groups=("name", "size"),
        r2_median=("cv_r2", "median"),
        mape_median=("cv_mape", "median"),
        within_10_percent=("cv_mape", lambda error: float((error <= 0.1).mean())),
        beyond_25_percent=("cv_mape", lambda error: int((error > presets.MOST_MAPE).sum())),
    ).reset_index()


def deviation(rows: pd.DataFrame, committed: pd.DataFrame) -> float:
    """Largest relative difference of two tables of presets in any coefficient.

    Examples
    --------
    >>> deviation(presets.table(), presets.table())
    0.0
    """
    keys = ["name", "form"]
    both = rows[[*keys, *presets.COEFFICIENTS]].merge(committed[[*keys, *presets.COEFFICIENTS]], "outer", keys)
    one, other = (both[[f"{name}_{side}" for name in presets.COEFFICIENTS]].to_numpy() for side in "xy")
    if (np.isnan(one) != np.isnan(other)).any():
        return float("inf")
    difference = np.abs(one - other) / np.maximum(np.abs(other), 1e-300)
    return float(np.nanmax(np.where(one == other, 0.0, difference)))


def evidence() -> pd.DataFrame:
    """What speaks for a computed grid: of the original's, and of measured ones for control.

    Returns
    -------
    pandas.DataFrame
        ``grid, form, points`` and what `computed.evidence` finds, ``computed``. Measured grids are held against phase5,
        the form that comes nearest; of LLM-Inference-Bench, which has no repetitions, the group with the smallest
        residual stands for all.
    """
    import pandas as pd

    rows = [_evidence("the original's, regenerated", "affine", public.original_grid())]
    measured = public.splitwise()[0]
    for group, points in measured.groupby(presets.GROUP):
        rows.append(_evidence(public.slug(*group[1:]), "phase5", points))
    ratio = public.capped_ratio()
    rows.append(
        {"grid": "Splitwise's power-capped H100, prefill over the uncapped one's", "form": "a constant"}
        | {"points": len(ratio), "largest_residual": float(np.abs(ratio / ratio.mean() - 1).max()), "computed": True}
    )
    rows[-1]["computed"] = rows[-1]["largest_residual"] < computed.EXACT
    groups = public.argonne()[0].groupby(presets.GROUP)
    single = [_evidence(f"LLM-Inference-Bench, nearest of {len(groups)} groups", "phase5", p) for _, p in groups]
    rows.append(min(single, key=lambda row: row["largest_residual"]))
    return pd.DataFrame(rows)


def _evidence(name: str, form: str, points: pd.DataFrame) -> dict[str, Any]:
    found = computed.evidence(points, form)
    size = len(points.drop_duplicates(list(measurements.POINT[:3])))
    return {"grid": name, "form": form, "points": size, **found, "computed": computed.computed(found)}


def _rounded(column: pd.Series) -> pd.Series:
    return column.map(lambda value: float(f"{value:.{DIGITS}g}")) if column.dtype.kind == "f" else column
