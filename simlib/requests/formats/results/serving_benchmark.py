"""The detailed result of vLLM's ``bench serve`` or SGLang's ``bench_serving``: one JSON object of arrays, or several.

Arrays with one entry a request, failed ones among them (https://github.com/vllm-project/vllm,
``vllm/benchmarks/serve.py``; https://github.com/sgl-project/sglang, ``python/sglang/bench_serving.py``); seconds.
Without them there are means, which `aggregates.serving_means` reads. A label that is asked for is an array, too, or one
value for all requests, such as vLLM's ``--metadata priority=0`` writes.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from simlib.checks import InputError, check_number
from simlib.lazy import pd
from simlib.requests.formats.aggregates import serving_means
from simlib.requests.formats.aggregates.serving_means import details, engine
from simlib.requests.formats.aggregates.summary import Summary, is_number
from simlib.requests.formats.clocks import Clock, told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import (
    OWN,
    Asked,
    Format,
    Log,
    chosen_runs,
    label,
    numbers,
    refuse_first,
    seconds,
    shown,
    token_counts,
    whole_numbers,
)
from simlib.requests.formats.results import contents
from simlib.requests.formats.results.measured import LONGEST_TTFT_S, OVERLOADED_TTFT_S, check_seconds, gaps, together

ARRAYS = {
    "input_lens": "prompt, tokens",
    "output_lens": "output, tokens",
    "ttfts": "time to first token, seconds",
    "itls": "times between tokens, seconds",
    "errors": "why a request failed",
}
UNLIKE = 300.0  # ratio of a file's times to what it says itself of them, above which their unit is another
ENDLESS = ("inf", "Infinity", float("inf"), None)


def read(document: Document, asked: Asked) -> Log | Summary:
    """The requests of each result, failed ones marked; several results are several loads."""
    source = document.source
    results = document.records
    if results is None or not any(_is_detailed(result) for result in results):
        return serving_means.read(document, asked)
    names = [_load(result) for result in results]
    runs = chosen_runs(source, names, asked.run)
    logs = dict(enumerate(_log(source, results[run], asked) for run in runs))
    return together(logs, [names[run] for run in runs])


def _is_detailed(result: Mapping[str, Any]) -> bool:
    return any(result.get(name) is not None for name in ("input_lens", "output_lens", "ttfts", "itls"))


def _load(result: Mapping[str, Any]) -> str:
    limit = result.get("max_concurrency")
    return f"rate {shown(result.get('request_rate'))}" + ("" if limit is None else f", {shown(limit)} in flight")


def _log(source: str, result: Mapping[str, Any], asked: Asked) -> Log:
    for name in ("input_lens", "output_lens"):
        if not isinstance(result.get(name), list):
            raise InputError(f"{source}, {name}: {shown(result.get(name))} (expected an array: {details(result)})")
    rows = len(result["input_lens"])
    if rows == 0:
        raise InputError(f"{source}, input_lens: no values (expected at least 1 request)")
    for name in (*ARRAYS, "start_times"):
        value = result.get(name)
        if value is not None and not isinstance(value, list):
            raise InputError(f"{source}, {name}: {shown(value)} (expected an array)")
        if value is not None and len(value) != rows:
            raise InputError(f"{source}, {name}: {len(value)} entries (expected {rows}, as in input_lens)")
    columns = {name: meaning for name, meaning in ARRAYS.items() if isinstance(result.get(name), list)}
    frame = {
        "prompt_tokens": token_counts(source, "input_lens", result["input_lens"]),
        "output_tokens": token_counts(source, "output_lens", result["output_lens"]),
    }
    failed = frame["output_tokens"] == 0
    if "errors" in columns:
        failed |= np.array([bool(error) for error in result["errors"]])
    if "ttfts" in columns:
        frame["ttft_s"] = seconds(source, "ttfts", result["ttfts"])
        failed |= ~(frame["ttft_s"] > 0)
    if "itls" in columns:
        frame["itl_s"] = gaps(source, "itls", result["itls"])
    if "ttfts" in columns and "itls" in columns:
        frame["latency_s"] = frame["ttft_s"] + [gap.sum() for gap in frame["itl_s"]]
    frame["failed"] = failed
    given = (name for name in contents.COLUMNS if isinstance(result.get(name), list) and len(result[name]) == rows)
    if (name := next(given, None)) is not None:
        frame["pieces"] = pd.Series(contents.pieces(result[name], named=name == "hash_ids"), dtype=object)
        columns[name] = "what prompts contain"
    for name in (each for each in asked.labels if result.get(each) is not None and each not in (*frame, *OWN)):
        given = result[name] if isinstance(result[name], list) else [result[name]] * rows
        if len(given) != rows:
            raise InputError(f"{source}, {name}: {len(given)} entries (expected {rows}, as in input_lens)")
        given = pd.Series(given, dtype=object)
        whole = name == "priority"
        frame[name] = whole_numbers(source, name, given) if whole else label(source, name, name, given)
        columns[name] = name if isinstance(result[name], list) else f"{name}, of all requests"
    ticks, clock, starts = _starts(source, result, frame, asked)
    if ticks is not None:
        frame["clock"] = ticks
    if isinstance(result.get("start_times"), list):
        columns["start_times"] = f"arrival, {clock}"
    unused = tuple(key for key, value in result.items() if isinstance(value, list) and key not in columns)
    log = Log(
        source, "serving_benchmark", pd.DataFrame(frame), columns, clock, "start_times", engine(result), unused=unused,
        starts=starts,
    )  # fmt: skip
    agreed = _check_own(log, result)
    return check_seconds(log, "ttfts", "itls", OVERLOADED_TTFT_S if agreed else LONGEST_TTFT_S)


def _check_own(log: Log, result: Mapping[str, Any]) -> bool:
    """Whether the result has a mean of its own of first tokens; `InputError` where its times are at odds with it."""
    served = log.frame[~log.frame["failed"]]
    times = {"ttfts": ("mean_ttft_ms", served.get("ttft_s")), "itls": ("mean_itl_ms", served.get("itl_s"))}
    for column, (name, found) in times.items():
        own_ms = result.get(name)
        if found is None or not len(found) or not is_number(own_ms) or own_ms <= 0:
            continue
        values = np.concatenate(found.to_list()) if column == "itls" else found.to_numpy()
        mean_s = float(np.nanmean(values)) if len(values) else 0.0
        if mean_s * 1e3 > UNLIKE * own_ms:
            raise InputError(
                f"{log.source}, {column}: a mean of {mean_s:.4g} s, where {name} is {own_ms:.4g} (expected seconds; "
                "these look like milliseconds)"
            )
    return is_number(result.get("mean_ttft_ms")) and result["mean_ttft_ms"] > 0


def _starts(
    source: str, result: Mapping[str, Any], frame: Mapping[str, Any], asked: Asked
) -> tuple[np.ndarray | None, Clock | None, str]:
    """When requests were sent, in ticks, and how it is known; nothing where only a finite rate is."""
    failed = frame["failed"]
    if isinstance(result.get("start_times"), list):
        return _recorded(source, result, failed, asked)
    limit, rate = result.get("max_concurrency"), result.get("request_rate")
    if rate not in ENDLESS:
        limited = "" if limit is None else f" with max_concurrency {shown(limit)}"
        saved = "" if engine(result) == "SGLang" else "vLLM saves them since January 2026 with --save-detailed, and "
        return None, None, (
            f"start_times: missing, and request_rate {shown(rate)}{limited} does not say when each request was sent; "
            f"{saved}--request-rate inf needs none"
        )  # fmt: skip
    if limit is None:
        return np.zeros(len(failed)), None, "rebuilt: all were sent at once"
    if "latency_s" not in frame:
        raise InputError(
            f"{source}, start_times: missing (expected them, or ttfts and itls, as {limit} were in flight)"
        )
    free_s = [0.0] * int(check_number(f"{source}, max_concurrency", limit, 1.0, 1e6))
    latency_s = np.where(failed, 0.0, np.nan_to_num(frame["latency_s"]))
    ticks = np.array([heapq.heapreplace(free_s, free_s[0] + time_s) for time_s in latency_s])
    return ticks, None, f"rebuilt: each when one of {limit} in flight had ended"


def _recorded(
    source: str, result: Mapping[str, Any], failed: np.ndarray, asked: Asked
) -> tuple[np.ndarray, Clock, str]:
    """The recorded starts; a request that failed may never have been sent, and takes the start before it."""
    given = pd.Series(result["start_times"], dtype=object)
    ticks = numbers(given)
    unsent = failed & ~(ticks > 0)
    refuse_first(source, "start_times", given, ~(unsent | (ticks >= 0)), "expected seconds >= 0")
    if unsent.all():
        return np.zeros(len(ticks)), Clock("s", "the format's"), "recorded for none: no request was sent"
    ticks = pd.Series(np.where(unsent, np.nan, ticks)).ffill().bfill().to_numpy()
    duration_s = result.get("duration")
    known = asked.time_unit is None and is_number(duration_s) and duration_s > 0
    if known and np.ptp(ticks) > UNLIKE * duration_s:
        raise InputError(
            f"{source}, start_times: {np.ptp(ticks):.4g} from first to last, where duration is {duration_s:.4g} "
            "(expected seconds, and at most as many; the option --time-unit, time_unit= in Python, says what they are)"
        )
    if known and np.ptp(ticks) <= 1.01 * duration_s:
        clock = Clock("s", "as its duration")
    else:
        clock = told(f"{source}, start_times", ticks, "s", True, asked.time_unit)
    return ticks, clock, "recorded" + (f", for all but {unsent.sum()} that failed" if unsent.any() else "")


FORMAT = Format(
    "serving_benchmark",
    "the result of vLLM's or SGLang's serving benchmark",
    (("input_lens", "output_lens"), ("request_rate", "completed"), ("request_rate", "duration")),
    read,
)
