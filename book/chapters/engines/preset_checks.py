"""Latency presets against measured engines: the same model, GPU, engine and precision, where there is such a pair.

And prefill's share, which presets assume that were measured at equal lengths: what the engine's runs at crossed lengths
say of it, read in two ways, since nobody tells how the clients' prompts overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import optimize, stats

from book.chapters.engines import closed_loops, rows, saturated
from simlib.checks import InputError
from simlib.latency import presets

if TYPE_CHECKING:
    import pandas as pd


MODELS = {
    "Llama-3.1-8B-Instruct": "llama3-8b",
    "Llama-3.1-70B-Instruct": "llama3-70b",
    "Llama-3.3-70B-Instruct": "llama3-70b",
}
SHORT = {"TensorRT-LLM": "trtllm", "vLLM": "vllm"}
MOST_CLIENTS = 16  # of the runs that the share is read from: at few clients times are a step's, not a queue's
PROMPTS = (100, 800)  # tokens, where the source gives none
COLUMNS = ("name", "source", "engine", "version", "model", "metric", "runs", "error_percent", "error_low", "error_high",
           "prefill_s", "share_low", "share_high")  # fmt: skip


def checks(closed: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """Each preset that has a measured engine beside it, from the two sources' tables: a row a preset and source.

    Returns
    -------
    pandas.DataFrame
        `COLUMNS`. ``error_percent``: the median signed error of the time between tokens, in the preset's measured
        range and at the share that it assumes; ``error_low, error_high``: over `presets.SPLIT_RANGE`, or over lengths
        of prompts, where the source gives none. ``share_low, share_high``: `shares`, missing where lengths are not
        crossed; ``prefill_s``: seconds a prompt token, of the reading that gives the higher share.
    """
    import pandas as pd

    return pd.DataFrame([*_closed(closed), *_full(full)], columns=list(COLUMNS))


def _preset(gpu: str, gpus: int, engine: str, model: str) -> str | None:
    name = f"{gpu.lower()}{f'x{gpus}' if gpus > 1 else ''}-{SHORT.get(engine)}-{MODELS.get(model)}"
    return name if name in presets.names() else None


def _closed(raw: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for said, series in closed_loops.engines(raw):
        placed = series[0].placed
        name = _preset(placed.card, placed.gpus, said["engine"], placed.network)
        if name is None or placed.precision != "bf16":
            continue
        model, off = presets.load(name), []
        span = model.measured
        inside = [one for one in series if max(one.prompt_tokens, one.output_tokens) <= span.prompt_tokens[1]]
        for share in (presets.SPLIT, *presets.SPLIT_RANGE):
            law = presets.load(name, split=share).step_law().params[:4]
            off.append([
                rows.error_percent(one.holds(clients)[1] @ law, tpot_s)
                for one in inside for clients, tpot_s in one.times_s["tpot"].items() if clients <= span.batch_size[1]
            ])  # fmt: skip
        middle, *ends = np.median(off, axis=1)
        both = presets.load(name, split=1.0).step_law().c_s
        low, high, prefill_s = shares(series, both)
        yield {"name": name, "source": said["source"], "engine": said["engine"], "version": said["version"]} | {
            "model": placed.network, "metric": "tpot", "runs": len(off[0]), "error_percent": rows.rounded(middle),
            "error_low": rows.rounded(min(ends)), "error_high": rows.rounded(max(ends)),
            "prefill_s": rows.rounded(prefill_s), "share_low": rows.rounded(low), "share_high": rows.rounded(high),
        }  # fmt: skip


def _full(raw: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for said, one in saturated.series(raw):
        placed = one.placed
        name = _preset(placed.card, placed.gpus, said["engine"], placed.network)
        if name is None or placed.precision != "bf16":
            continue
        model = presets.load(name)
        runs, law = one.runs[one.runs.index <= model.measured.batch_size[1]], model.step_law()
        ends = []
        for prompt in PROMPTS:
            context = runs.index * (prompt + runs["output_tokens_mean"] / 2)
            step_s = law.a_s + law.b_s * runs.index + law.d_s * context
            ends.append(np.median(rows.error_percent(step_s, runs["itl_p50_ms"] / 1e3)))
        yield {"name": name, "source": said["source"], "engine": said["engine"], "version": said["version"]} | {
            "model": placed.network, "metric": "itl", "runs": len(runs), "error_percent": rows.rounded(np.mean(ends)),
            "error_low": rows.rounded(min(ends)), "error_high": rows.rounded(max(ends)),
        }  # fmt: skip


def shares(series: list[closed_loops.Series], both_s: float) -> tuple[float, float, float]:
    """Prefill's share of what a preset says that a token adds, by two readings of runs with few clients; and a time.

    What a prompt's token takes, c, comes of TPOT over crossed lengths. If clients go on as they began, all at once,
    some prompts share a step and delay nobody; if they have drifted apart each delays all others. The first needs a
    larger c for the same TPOT. Reading the cache is the card's; a and b are fitted beside it.

    Parameters
    ----------
    series : list of closed_loops.Series
        Of one engine, at several lengths.
    both_s : float
        Seconds that a token of prompt and one of output add together, in the preset.

    Returns
    -------
    low, high, prefill_s : float
        Both shares, with the ends of 95 % intervals by the jackknife over lengths; c of the larger.
    """
    low, high, largest_s = np.inf, -np.inf, 0.0
    for apart in (False, True):
        held, lengths, tpot_s = [], [], []
        for number, one in enumerate(series):
            for clients, time_s in one.times_s["tpot"][one.times_s.index <= MOST_CLIENTS].items():
                own = one.holds(clients)[1].copy()
                if apart:
                    own[2] = (clients - 1) * one.prompt_tokens / (one.output_tokens - 1)
                held.append(own)
                lengths.append(number)
                tpot_s.append(time_s)
        found = _prefill_s(np.array(held), np.array(tpot_s), np.array(lengths), series[0].placed.context_s)
        low, high, largest_s = min(low, found[1] / both_s), max(high, found[2] / both_s), max(largest_s, found[0])
    return low, high, largest_s


def _prefill_s(
    held: np.ndarray, tpot_s: np.ndarray, lengths: np.ndarray, context_s: float
) -> tuple[float, float, float]:
    """c and the ends of its interval, seconds."""
    different = np.unique(lengths)
    if len(different) < 3:
        raise InputError(f"lengths: {len(different)} (expected at least 3 pairs, crossed)")

    def fitted(kept: np.ndarray) -> float:
        left = 1.0 - held[kept, 3] * context_s / tpot_s[kept]
        return float(optimize.nnls(held[kept, :3] / tpot_s[kept, None], left)[0][2])

    whole = fitted(np.ones(len(lengths), bool))
    parts = np.array([fitted(lengths != one) for one in different])
    spread = np.sqrt((len(parts) - 1) / len(parts) * np.sum((parts - parts.mean()) ** 2))
    reach = stats.t.ppf(0.975, len(parts) - 1) * spread
    return whole, whole - reach, whole + reach
