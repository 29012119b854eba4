"""Public measurements of engines and cards, and the laws that are fitted to them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simlib.calibration import fit
from simlib.checks import check_frame
from simlib.datasets import locate
from simlib.latency.forms import EQUAL, NAMES
from simlib.latency.measurements import POINT, TIMED
from simlib.latency.presets import COEFFICIENTS, GROUP, KEYS, MOST_MAPE, PRESETS, SPAN, SPLIT, SPLIT_RANGE
from simlib.lazy import pd

ARGONNE = "argonne-llm-inference-bench/All_results.csv.gz"
SPLITWISE = "splitwise-perf/perf_model.csv.gz"
FEWEST_POINTS, FEWEST_VALUES = 10, 3
AGREES = 0.06  # share by which an end-to-end time may exceed the sum of its phases
SCALED = "h100-80gb-pcap"
SHORT_FRAMEWORKS = {"TensorRT-LLM": "trtllm", "Deepspeed-MII": "dsmii"}


def argonne(path: str | Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """LLM-Inference-Bench as measurements, and the groups that were left out.

    Parameters
    ----------
    path : str or Path, optional
        Its ``All_results.csv``, gz or not; by default below ``SIMLIB_DATA_DIR``.

    Returns
    -------
    points : pandas.DataFrame
        `GROUP` and ``batch_size, prompt_tokens, output_tokens, total_s``.
    left_out : pandas.DataFrame
        `GROUP`, ``n_points, reason``.

    Notes
    -----
    A row counts if throughput times latency is the batch's tokens, b (P + O), within 1 %. It is one sequence's tokens
    for llama.cpp, whose latency is then not the batch's.
    """
    raw = pd.read_csv(locate(ARGONNE) if path is None else path)
    names = {"Hardware": "gpu", "Num of Hardware": "gpu_count", "Framework": "framework", "Model": "model"}
    names |= {"Input Output Length": "prompt_tokens", "Batch Size": "batch_size", "Latency": "total_s"}
    points = check_frame("LLM-Inference-Bench", raw, (*names, "Throughput")).rename(columns=names)
    points = points.assign(source="LLM-Inference-Bench", output_tokens=points["prompt_tokens"])
    tokens = points["batch_size"] * 2 * points["prompt_tokens"]
    agrees = np.abs(points["Throughput"] * points["total_s"] / tokens - 1) < 0.01
    kept, reason = points[agrees], "throughput × latency is not the tokens of the batch"
    return _usable(kept, points, reason)


def splitwise(path: str | Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splitwise's profile as measurements, phases apart, and the groups that were left out; as `argonne`.

    Notes
    -----
    A batch's time is prefill + decode × (output − 1): the end-to-end times of long outputs are of generations that
    stopped early. Where the end-to-end time *exceeds* that sum by more than 6 %, the batch was not served at once, and
    the row is left out. The power-capped H100 is left out whole: each of its prefill times is 1.3 times the uncapped
    one's, to the last digit, and its decode times are the same.
    """
    raw = pd.read_csv(locate(SPLITWISE) if path is None else path)
    names = {"prompt_size": "prompt_tokens", "token_size": "output_tokens", "hardware": "gpu"}
    names |= {"tensor_parallel": "gpu_count"}
    columns = (*names, "model", "batch_size", "prompt_time", "token_time", "e2e_time")
    points = check_frame("Splitwise", raw, columns).rename(columns=names)
    points = points.assign(source="Splitwise", framework="Splitwise profile", prefill_s=points["prompt_time"] / 1e3)
    points["decode_s"] = points["token_time"] * (points["output_tokens"] - 1) / 1e3
    points["total_s"] = points["prefill_s"] + points["decode_s"]
    at_once = points["e2e_time"] / 1e3 <= (1 + AGREES) * points["total_s"]
    kept = points[at_once & (points["gpu"] != SCALED)]
    return _usable(kept, points, "computed from the uncapped one: prefill × 1.3 exactly, decode the same")


def _usable(kept: pd.DataFrame, points: pd.DataFrame, reason: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cut to the groups that have enough points; the others with the reason."""
    groups, left_out = dict(iter(kept.groupby(GROUP))), []
    for group, rows in points.groupby(GROUP):
        if group in groups and usable(groups[group]):
            continue
        why = reason if usable(rows) else f"fewer than {FEWEST_POINTS} points, or {FEWEST_VALUES} batches or lengths"
        left_out.append((*group, len(rows.drop_duplicates(list(POINT))), why))
    frame = pd.DataFrame(left_out, columns=[*GROUP, "n_points", "reason"])
    names = pd.MultiIndex.from_frame(kept[GROUP])
    good = ~names.isin(pd.MultiIndex.from_frame(frame[GROUP]))
    phases = [name for name in ("prefill_s", "decode_s") if name in kept]
    columns = [*GROUP, *POINT, *phases, "total_s"]
    return kept.loc[good, columns].reset_index(drop=True), frame


def original_grid() -> pd.DataFrame:
    """The grid that the original calls measured, regenerated from its description; computed, not measured.

    Returns
    -------
    pandas.DataFrame
        30 rows, ``batch_size, prompt_tokens, output_tokens, total_s, std_s, repetitions``; its ``max_seq_len`` is in
        ``prompt_tokens``, as the formula has only their sum.

    Notes
    -----
    b in 1 … 32 by L in 128 … 2,048; means 0.015 + 0.0003 L (1 + 0.4 (b-1)/b), deviations 5 % of these, three trials.

    Examples
    --------
    >>> round(float(original_grid()["total_s"].iloc[0]), 4)
    0.0534
    """
    shapes = [(b, length, 0) for b in (1, 2, 4, 8, 16, 32) for length in (128, 256, 512, 1024, 2048)]
    grid = pd.DataFrame(shapes, columns=list(POINT))
    time_s = PRESETS["original-calibrated"].batch_time_s(grid["batch_size"], grid["prompt_tokens"])
    return grid.assign(total_s=time_s, std_s=0.05 * time_s, repetitions=3)


def capped_ratio(path: str | Path | None = None) -> np.ndarray:
    """Prefill times of Splitwise's power-capped H100 over those of the uncapped one, row by row."""
    raw = pd.read_csv(locate(SPLITWISE) if path is None else path)
    capped, free = (raw.loc[raw["hardware"] == gpu, "prompt_time"].to_numpy() for gpu in (SCALED, "h100-80gb"))
    return capped / free


def usable(points: pd.DataFrame) -> bool:
    """Whether a group has at least 10 points, 3 batch sizes and 3 lengths."""
    lengths = len((points["prompt_tokens"] + points["output_tokens"]).unique())
    grid = points.drop_duplicates(list(POINT))
    enough = points["batch_size"].nunique() >= FEWEST_VALUES and lengths >= FEWEST_VALUES
    return len(grid) >= FEWEST_POINTS and enough


def early_stop(points: pd.DataFrame) -> str:
    """The first place at which a longer batch of the same size takes half the time or less, in words; else nothing.

    A generation that stopped early leaves such points: no model of the batch's shape fits these.
    """
    for size, rows in points.sort_values("prompt_tokens").groupby("batch_size"):
        tokens = (rows["prompt_tokens"] + rows["output_tokens"]).to_numpy()
        time_s = rows["total_s"].to_numpy()
        falls = np.flatnonzero((tokens[1:] > tokens[:-1]) & (time_s[1:] < time_s[:-1] / 2))
        if len(falls):
            at = falls[0]
            return (
                f"at batch {size} the time falls from {time_s[at]:.3g} s for {tokens[at]} tokens to "
                f"{time_s[at + 1]:.3g} s for {tokens[at + 1]}: generation stopped early"
            )
    return ""


def slug(gpu: str, gpu_count: int, framework: str, model: str) -> str:
    """The name of a preset.

    Examples
    --------
    >>> slug("Nvidia A100 GPU", 1, "vLLM", "meta-llama/Meta-Llama-3-8B")
    'a100-vllm-llama3-8b'
    >>> slug("h100-80gb", 8, "Splitwise profile", "bloom-176b")
    'h100x8-splitwise-bloom-176b'
    """
    card = re.sub(r"nvidia |amd |intel |habana |sambanova | gpu|-80gb", "", gpu.lower()).replace(" ", "-")
    engine = SHORT_FRAMEWORKS.get(framework, framework.lower().split()[0])
    name = re.sub(r"^meta-|-hf$|-v0\.1$", "", model.split("/")[-1].lower()).replace("llama-2", "llama2")
    return f"{card}{f'x{gpu_count}' if gpu_count > 1 else ''}-{engine}-{name.replace('llama-3', 'llama3')}"


def rows_of(points: pd.DataFrame, folds: int | None = 5, forms: Iterable[str] = NAMES) -> tuple[Any, Any]:
    """Fit every form to every group of measurements.

    Parameters
    ----------
    points : pandas.DataFrame
        From `argonne` or `splitwise`.
    folds : int or None
        As for `fit.cross_validate`, seed 0.

    Returns
    -------
    rows : pandas.DataFrame
        As `presets.table`.
    residuals : pandas.DataFrame
        Of the points left out: ``name, form`` and the columns of `fit.Validation.residuals`.
    """
    check_frame("points", points, (*GROUP, *TIMED))
    rows, residuals = [], []
    for group, measured in points.groupby(GROUP, sort=True):
        name, own = slug(*group[1:]), []
        for form in forms:
            found = fit.fit(measured, form)
            held_out = fit.cross_validate(measured, form, folds=folds)
            own.append(_row(name, group, found, held_out))
            residuals.append(held_out.residuals.assign(name=name, form=found.form))
        if min(row["cv_mape"] for row in own) > MOST_MAPE:
            note = early_stop(measured) or "no form follows the times"
            own = [row | {"note": f"no model fits: {note}"} for row in own]
        rows += own
    order = ["name", "form", *TIMED, "predicted_s", "residual"]
    return pd.DataFrame(rows, columns=_columns()), pd.concat(residuals, ignore_index=True)[order]


class Refit(NamedTuple):
    """What the public measurements give: rows of `presets.table`, residuals of points left out, groups left out."""

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
    fitted, left_out = [], []
    for read, folds in ((argonne, 5), (splitwise, None)):
        points, others = read()
        fitted.append(rows_of(points, folds))
        left_out.append(others)
    rows = pd.concat([assumed().dropna(axis=1, how="all"), *(rows for rows, _ in fitted)], ignore_index=True)
    residuals = pd.concat([residuals for _, residuals in fitted], ignore_index=True)
    return Refit(rows[_columns()], residuals, pd.concat(left_out, ignore_index=True))


def assumed() -> pd.DataFrame:
    """The rows of the original's two formulas."""
    rows = [
        {"name": name, "form": "affine", "source": "original system", "n_points": 0, "note": "assumed, not measured"}
        | {"alpha_s": model.alpha_s, "beta_s_per_token": model.beta_s_per_token, "gamma": model.gamma}
        for name, model in PRESETS.items()
    ]
    return pd.DataFrame(rows, columns=_columns())


def _row(name: str, group: tuple, found: fit.Fit, held_out: fit.Validation) -> dict[str, Any]:
    row = {"name": name, "form": found.form, **dict(zip(GROUP, group, strict=True)), "tokens": "padded"}
    row |= {"n_points": found.n_points, "cv_folds": held_out.folds, "cv_r2": held_out.r2, "cv_mape": held_out.mape}
    row |= {"cv_worst": held_out.worst, "note": ""}
    for part, column in SPAN.items():
        row[f"{part}_min"], row[f"{part}_max"] = getattr(found.measured, column)
    for coefficient, value in found.coefficients.items():
        row[coefficient] = value
        row[f"{coefficient}_low"], row[f"{coefficient}_high"] = found.low[coefficient], found.high[coefficient]
    if found.form.endswith(EQUAL):
        row |= {"split": SPLIT, "split_low": SPLIT_RANGE[0], "split_high": SPLIT_RANGE[1]}
    return row


def _columns() -> list[str]:
    spans = [f"{part}_{end}" for part in SPAN for end in ("min", "max")]
    values = [f"{name}{end}" for name in COEFFICIENTS for end in ("", "_low", "_high")]
    return [*KEYS, *spans, "split", "split_low", "split_high", *values, "note"]
