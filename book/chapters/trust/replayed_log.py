"""How far a replayed log can be trusted: the law from its first requests, drawn again, and what the log does not tell.

Reads a log and a kernel profile (`simlib.calibration.replay`), returns the tables of the chapter. Not a simulation of a
population: one log, replayed; the draws say what hangs on which of its requests were seen, and on unknown prompts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib import datasets
from simlib.calibration import replay
from simlib.calibration.logs.engine_log import EngineLog, read_log
from simlib.calibration.logs.fitted import FITTED, affine_from_log, equations, fitted_law
from simlib.calibration.logs.served import serve_log, steps_of
from simlib.checks import InputError, check_integer
from simlib.continuous.serve import serve
from simlib.continuous.settings import Continuous
from simlib.latency import kernel_profile
from simlib.latency.steps import StepLaw

if TYPE_CHECKING:
    import pandas as pd


DRAWS, MORE_ROWS = 1000, 8
# Errors to be met by the law from the log: of means, and of the 99th percentiles.
REACH_PERCENT = {("ttft", "mean"): 2.0, ("tpot", "mean"): 1.5, ("e2e", "mean"): 1.5}
REACH_PERCENT |= {(metric, "p99"): 2.0 for metric in ("ttft", "tpot", "e2e")}
SPANS = ("filling", "decoding", "full")
TABLES = ("vllm_validation", "vllm_validation_spans", "vllm_validation_refits")


def refits(
    log: EngineLog, settings: Continuous, requests: int = FITTED, draws: int = DRAWS, seed: int = 0
) -> pd.DataFrame:
    """How far the law from the log, and with it its errors, depend on which requests were logged: a bootstrap.

    The fitted requests are drawn again, with replacement; each draw gives a law, and a replay with it is judged on the
    later requests.

    Parameters
    ----------
    requests : int
        How many the law is fitted to; fewer than the log has.
    draws, seed : int

    Returns
    -------
    pandas.DataFrame
        One row a draw: its law ``a_s, b_s, c_s, d_s``, and the signed errors in percent of the later requests, named
        ``metric_statistic``, as in ``ttft_mean``.
    """
    import pandas as pd

    count, draws = check_integer("requests", requests, 1, len(log.table) - 1), check_integer("draws", draws, 1)
    served = serve_log(log, affine_from_log(log, settings, count), settings)
    totals, times_s = equations(log, served, count)
    rng, rows, most = np.random.default_rng(seed), [], MORE_ROWS * len(steps_of(served)["steps"])
    for _ in range(draws):
        drawn = rng.integers(0, count, count)
        drawn = np.concatenate([drawn, drawn + count])  # a request is in both halves of the equations
        rows.append(_judged(log, fitted_law(totals[drawn], times_s[drawn]), settings, count, most))
    return pd.DataFrame(rows)


def prefix_hits(
    log: EngineLog, law: StepLaw, settings: Continuous, hit_tokens: int, requests: int = FITTED, draws: int = DRAWS,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """How far errors depend on what no log of lengths tells: which prompts began like one that was in the cache.

    Each draw takes requests at random, and of each its first blocks, any number of them with equal probability but
    never all, until so many tokens need no prefill. With `Continuous.share_cached` their blocks are another sequence's.

    Parameters
    ----------
    law : StepLaw
        Judged on the later requests.
    hit_tokens : int
        Tokens found in the cache, over all prompts; at most half of the prompts' tokens.
    requests : int
        How many come before those; fewer than the log has.
    draws, seed : int

    Returns
    -------
    pandas.DataFrame
        One row a draw, as by `refits`.
    """
    import pandas as pd

    prompts, block = log.table.prompt_tokens, settings.block_tokens
    count = check_integer("requests", requests, 1, len(prompts) - 1)
    check_integer("hit_tokens", hit_tokens, 0, int(prompts.sum()) // 2)
    rng, rows = np.random.default_rng(seed), []
    most = MORE_ROWS * len(steps_of(serve_log(log, law, settings))["steps"])
    for _ in range(check_integer("draws", draws, 1)):
        cached = block * rng.integers(1, np.maximum((prompts - 1) // block, 1) + 1) * (prompts > block)
        order = rng.permutation(len(prompts))
        before = np.cumsum(cached[order]) - cached[order]
        cached[order] = np.clip(hit_tokens - before, 0, cached[order])
        known = replace(log, table=replace(log.table, cached_prompt_tokens=cached))
        rows.append(_judged(known, law, settings, count, most))
    return pd.DataFrame(rows)


def _judged(log: EngineLog, law: StepLaw, settings: Continuous, count: int, most: int) -> dict[str, float]:
    """A law's numbers and its errors on the requests after so many, in a replay of at most so many rows of steps."""
    served = serve(log.table, law, settings, log_steps=most)
    off = _signed(log, served, slice(count, None))
    return dict(zip(("a_s", "b_s", "c_s", "d_s"), law.params, strict=False)) | off


def _signed(log: EngineLog, served: Any, judged: slice) -> dict[str, float]:
    return {f"{row[1]}_{row[2]}": row[-1] for row in replay.errors("", log, served, judged) if row[2] != "mape"}


def spans(log: EngineLog, served: Any) -> list[tuple[str, float, float, float]]:
    """How long an overload's three parts take, which are different work: errors of one sign may hide those of another.

    `SPANS`: until the last first token before the first request ends; from there until it ends, where all that runs
    decodes; from there until the last token, with a full cache.

    Returns
    -------
    list of tuple
        ``span, engine_s, simulated_s, error_percent``.
    """
    sides = []
    for first_s, last_s in (
        (log.first_token_s - log.queued_s[0], log.last_token_s - log.queued_s[0]),
        (served.first_token_s, served.completion_s),
    ):
        ends = [0.0, first_s[first_s < last_s.min()].max(), last_s.min(), last_s.max()]
        sides.append(np.diff(ends))
    real_s, ours_s = sides
    return list(zip(SPANS, real_s.tolist(), ours_s.tolist(), (100 * (ours_s / real_s - 1)).tolist(), strict=True))


def study(
    settings: Continuous, hit_tokens: int, draws: int = DRAWS, folder: str = "llmservingsim"
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, str]:
    """The tables of the chapter, and where they are from: the shared log, or what is committed.

    Parameters
    ----------
    settings : simlib.Continuous
    hit_tokens : int
        Of `prefix_hits`.
    draws : int

    Returns
    -------
    table : pandas.DataFrame
        The rows of `replay.validate` for all models.
    parts : pandas.DataFrame
        `spans` of all models: ``step_model, span, engine_s, simulated_s, error_percent``.
    drawn : pandas.DataFrame
        The law from the log on the later requests: ``metric, statistic, error_percent``, with 95 % limits over
        `refits` and over `prefix_hits`, their blocks their own (``own_low, own_high``) or another's (``shared_low,
        shared_high``); ``profile_percent``, the error of the kernels' own law on these requests; and
        ``refits_in_reach``, the share of the draws within `REACH_PERCENT`.
    source : str
    """
    import pandas as pd

    try:
        found = datasets.locate(folder)
    except InputError:
        return *(pd.read_csv(datasets.committed(name)) for name in TABLES), "not re-executed: data absent"
    logs = sorted(found.glob("*requests.jsonl.gz"))
    if len(logs) != 1:
        raise InputError(f"{found}: {len(logs)} logs *requests.jsonl.gz (expected one)")
    replayed, log = replay.validate(found, logs[0], settings), read_log(logs[0])
    table, fitted = replayed.rows, replayed.settings["laws"]
    kernels = kernel_profile.read(found).with_overhead(fitted["profile"]["overhead_s"])
    laws = {"profile": kernels, **{name: StepLaw(**fitted[name]) for name in replay.MODELS[1:]}}
    replays, law = {name: serve_log(log, one, settings) for name, one in laws.items()}, laws["affine-from-log"]
    parts = [(name, *part) for name, served in replays.items() for part in spans(log, served)]
    drawn = refits(log, settings, draws=draws)
    hits = {
        name: prefix_hits(log, law, replace(settings, share_cached=share), hit_tokens, draws=draws)
        for name, share in (("own", False), ("shared", True))
    }
    kernels_off = _signed(log, replays["profile"], slice(FITTED, None))
    rows = []
    for row in table[(table["step_model"] == "affine-from-log") & (table["statistic"] != "mape")].itertuples():
        name, reach = f"{row.metric}_{row.statistic}", REACH_PERCENT.get((row.metric, row.statistic))
        low, high = drawn[name].quantile([0.025, 0.975])
        ends = {"low": 0.025, "high": 0.975}
        limits = {f"{kind}_{end}": hits[kind][name].quantile(share) for kind in hits for end, share in ends.items()}
        rows.append(
            {"metric": row.metric, "statistic": row.statistic, "error_percent": row.error_percent, "ci_low": low}
            | {"ci_high": high, "profile_percent": kernels_off[name]}
            | limits
            | {"draws": len(drawn), "reach_percent": reach}
            | {"refits_in_reach": None if reach is None else (drawn[name].abs() <= reach).mean()}
        )
    columns = ("step_model", "span", "engine_s", "simulated_s", "error_percent")
    return table, pd.DataFrame(parts, columns=columns), pd.DataFrame(rows), f"replayed from {logs[0].name}"
