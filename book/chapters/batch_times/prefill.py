"""What prefill's share of a token's time is where prompt and output were crossed: engines in a closed loop, measured.

Reads a table of mean times of engines that batch continuously; where it is not found, the committed result. A preset
that was measured at equal lengths only assumes this share (`presets.SPLIT`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, stats

from simlib import datasets
from simlib.checks import InputError
from simlib.latency import presets

if TYPE_CHECKING:
    import pandas as pd


FILE, ENERGY = "aic-silicon/h100_h200.csv", "ml-energy/h100.csv"
TABLE, STEPS_TABLE = "batch_times_prefill_fit", "batch_times_steps_fit"
ENGINES = {"vllm": "vLLM", "trtllm": "TensorRT-LLM", "sglang": "SGLang"}
GROUP = ["system", "backend", "backend_version", "model_path", "precision", "tp_size"]
FEWEST_POINTS, FEWEST_SHAPES = 15, 6
DIGITS = 4
COLUMNS = ("batch_size", "isl", "osl", "silicon_ttft_ms", "silicon_tpot_ms")
# A saturated engine whose prompts nobody gives, the preset of that GPU, and lengths that prompts may have had.
ENERGY_MODEL, ENERGY_PRESET, PROMPTS, MOST_PLACES = (
    "meta-llama/Llama-3.1-8B-Instruct",
    "h100-vllm-llama3-8b",
    (100, 800),
    64,
)


def shares() -> tuple[pd.DataFrame, str]:
    """Prefill's share c / (b + c) by engine, model and number of GPUs, and why it was not fitted anew, if so.

    Returns
    -------
    table : pandas.DataFrame
        ``model, precision, gpu, gpus, engine, version, points, shapes``, the coefficients of a step ``a_s, b_s, c_s,
        d_s``, ``error`` (mean, relative, on shapes left out), ``share, share_low, share_high``.
    note : str

    Notes
    -----
    With n clients that each send their next request at once, a cycle takes TTFT + (O − 1) TPOT, in which each client
    decodes for (O − 1) TPOT and brings P tokens of prompt. A step is then, on average, a + b n' + c p + d n' (P + O/2),
    with n' that decode and p prompt tokens in it, and takes TPOT. Coefficients are never below zero and are fitted to
    relative errors. The interval of the share: jackknife over the shapes (P, O), of a fit without that bound.
    """
    import pandas as pd

    try:
        raw = pd.read_csv(datasets.locate(FILE))
    except InputError as reason:
        return pd.read_csv(datasets.committed(TABLE)), f"Not fitted anew: data absent ({reason})."
    times = raw.dropna(subset=["silicon_tpot_ms", "silicon_ttft_ms"])
    rows = []
    for key, group in times.groupby(GROUP, dropna=False):
        shapes = group.groupby(["isl", "osl"]).ngroup().to_numpy()
        if len(group) < FEWEST_POINTS or len(set(shapes)) < FEWEST_SHAPES:
            continue
        system, engine, version, model, precision, gpus = key
        rows.append(
            {"model": model.split("/")[-1], "precision": "bf16" if pd.isna(precision) else precision}
            | {"gpu": system.split("_")[0].upper(), "gpus": int(gpus), "engine": ENGINES[engine], "version": version}
            | {"points": len(group), "shapes": len(set(shapes))}
            | share_of(terms(*(group[name].to_numpy(float) for name in COLUMNS)), shapes)
        )
    table = pd.DataFrame(rows).sort_values(["gpus", "model", "gpu", "engine"], ignore_index=True)
    return table, "Fitted anew here."


def implied() -> pd.DataFrame:
    """What a member adds to a decode step of a saturated engine, and the share of prefill that a preset then has.

    Returns
    -------
    pandas.DataFrame
        One row a length that prompts may have had: ``model, preset, prompt_tokens, output_tokens, a_s, member_s,
        share``. The step is the median time between tokens, a + member n; the preset's decode adds (1 − share) of its
        coefficient for a token, and the cache's term. Where the data is not found, the committed table.
    """
    import pandas as pd

    try:
        raw = pd.read_csv(datasets.locate(ENERGY))
    except InputError:
        return pd.read_csv(datasets.committed(STEPS_TABLE))
    runs = raw[(raw["model"] == ENERGY_MODEL) & (raw["max_num_seqs"] <= MOST_PLACES)]
    step_s = runs["itl_p50_ms"].to_numpy() / 1e3
    a_s, member_s = _fit(np.stack((np.ones_like(step_s), runs["batch_size_mean"]), axis=1) / step_s[:, None])
    output, decode_only = runs["output_tokens_mean"].mean(), presets.load(ENERGY_PRESET, split=0.0).step_law()
    both, cache = decode_only.b_s, decode_only.d_s
    rows = [
        {"model": ENERGY_MODEL.split("/")[-1], "preset": ENERGY_PRESET, "prompt_tokens": prompt}
        | {"output_tokens": _rounded(output), "a_s": _rounded(a_s), "member_s": _rounded(member_s)}
        | {"share": _rounded(1 - (member_s - cache * (prompt + output / 2)) / both)}
        for prompt in PROMPTS
    ]
    return pd.DataFrame(rows)


def terms(
    clients: np.ndarray, prompt: np.ndarray, output: np.ndarray, ttft_ms: np.ndarray, tpot_ms: np.ndarray
) -> np.ndarray:
    """What a step holds on average, over the time it takes: a row a run, a column a coefficient, shape (n, 4).

    Examples
    --------
    >>> one = terms(*(np.array([value]) for value in (10.0, 100.0, 11.0, 100.0, 10.0)))
    >>> (one * 0.01).round(6).tolist()
    [[1.0, 5.0, 50.0, 527.5]]
    """
    step_s = tpot_ms / 1e3
    cycle_s = ttft_ms / 1e3 + step_s * (output - 1)
    decoding = clients * step_s * (output - 1) / cycle_s
    prefilled = clients * prompt * step_s / cycle_s
    columns = (np.ones_like(step_s), decoding, prefilled, decoding * (prompt + output / 2))
    return np.stack(columns, axis=1) / step_s[:, None]


def share_of(held: np.ndarray, shapes: np.ndarray) -> dict[str, Any]:
    """Coefficients of `terms`, their error on shapes left out, and prefill's share with its 95 % interval."""
    found = _fit(held)
    errors, partial = [], []
    for shape in np.unique(shapes):
        kept = shapes != shape
        errors.append(np.abs(held[~kept] @ _fit(held[kept]) - 1))
        partial.append(_share(np.linalg.lstsq(held[kept], np.ones(kept.sum()), rcond=None)[0]))
    count = len(partial)
    spread = np.sqrt((count - 1) / count * np.sum((np.array(partial) - np.mean(partial)) ** 2))
    middle, reach = np.mean(partial), stats.t.ppf(0.975, count - 1) * spread
    share = _share(found)
    return {name: _rounded(value) for name, value in zip(("a_s", "b_s", "c_s", "d_s"), found, strict=True)} | {
        "error": _rounded(np.concatenate(errors).mean()),
        "share": _rounded(share),
        "share_low": _rounded(min(max(middle - reach, 0.0), share)),
        "share_high": _rounded(max(min(middle + reach, 1.0), share)),
    }


def _fit(held: np.ndarray) -> np.ndarray:
    return optimize.nnls(held, np.ones(len(held)))[0]


def _share(coefficients: np.ndarray) -> float:
    return float(coefficients[2] / (coefficients[1] + coefficients[2]))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
