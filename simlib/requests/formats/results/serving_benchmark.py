"""The detailed result of vLLM's ``bench serve`` or SGLang's ``bench_serving``: one JSON object of arrays."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

import numpy as np

from simlib.checks import InputError, check_number
from simlib.lazy import pd
from simlib.requests.formats.clocks import told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, Log, numbers, refuse_first, seconds, shown, token_counts

DETAILS = "vLLM records one entry a request with --save-result --save-detailed, SGLang with --output-details"
ENDLESS = ("inf", "Infinity", float("inf"), None)


def read(document: Document, asked: Asked) -> Log:
    """The requests of one result, or of several one after the other is refused; failed ones are marked."""
    source = document.source
    if len(document) > 1:
        raise InputError(f"{source}: {len(document)} results (expected the result of one benchmark)")
    result = document.records[0]
    details = _advice(result)
    for name in ("input_lens", "output_lens"):
        if not isinstance(result.get(name), list):
            raise InputError(f"{source}, {name}: {shown(result.get(name))} (expected an array: {details})")
    rows = len(result["input_lens"])
    columns = {"input_lens": "prompt, tokens", "output_lens": "output, tokens"}
    for name in ("output_lens", "ttfts", "itls", "start_times", "errors"):
        if isinstance(result.get(name), list) and len(result[name]) != rows:
            raise InputError(f"{source}, {name}: {len(result[name])} entries (expected {rows}, as in input_lens)")
    if rows == 0:
        raise InputError(f"{source}, input_lens: no values (expected at least 1 request)")
    frame = {
        "prompt_tokens": token_counts(source, "input_lens", result["input_lens"]),
        "output_tokens": token_counts(source, "output_lens", result["output_lens"]),
    }
    failed = frame["output_tokens"] == 0
    if isinstance(result.get("errors"), list):
        failed |= np.array([bool(error) for error in result["errors"]])
        columns["errors"] = "why a request failed"
    if isinstance(result.get("ttfts"), list):
        frame["ttft_s"] = seconds(source, "ttfts", result["ttfts"])
        failed |= ~(frame["ttft_s"] > 0)
        columns["ttfts"] = "time to first token, seconds"
    if isinstance(result.get("itls"), list):
        frame["itl_s"] = gaps(source, "itls", result["itls"])
        columns["itls"] = "times between tokens, seconds"
    frame["failed"] = failed
    ticks, clock, starts = _starts(source, result, frame, asked)
    if ticks is not None:
        frame["clock"] = ticks
        columns |= {"start_times": f"arrival, {clock}"} if clock is not None else {}
    unused = tuple(key for key, value in result.items() if isinstance(value, list) and key not in columns)
    version = str(result.get("backend") or result.get("endpoint_type") or "")
    return Log(
        source, "serving_benchmark", pd.DataFrame(frame), columns, clock, "start_times", version,
        unused=unused, starts=starts,
    )  # fmt: skip


def gaps(source: str, column: str, values: list[Any], ticks_per_s: float = 1.0) -> pd.Series:
    """A column of arrays of gaps between tokens, in seconds."""
    found = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        ticks = numbers(pd.Series(value, dtype=object)) if isinstance(value, list) and value else np.zeros(0)
        if not isinstance(value, list) or not (np.isfinite(ticks) & (ticks >= 0)).all():
            raise InputError(f"{source}, row {row}, {column}: {shown(value)} (expected an array of times >= 0)")
        found[row] = ticks / ticks_per_s
    return pd.Series(found)


def _advice(result: Mapping[str, Any]) -> str:
    """How this engine's benchmark records what is missing."""
    if "sglang" in str(result.get("backend")):
        return "SGLang records one entry a request with --output-details"
    return (
        "vLLM records one entry a request with --save-result --save-detailed" if "endpoint_type" in result else DETAILS
    )


def _starts(source: str, result: Mapping[str, Any], frame: Mapping[str, Any], asked: Asked) -> tuple[Any, Any, str]:
    """When requests were sent, in ticks and as how it is known; nothing where only a finite rate is."""
    rows, failed = len(frame["prompt_tokens"]), frame["failed"]
    if isinstance(result.get("start_times"), list):
        given = pd.Series(result["start_times"], dtype=object)
        ticks = numbers(given)
        # A request that failed may never have been sent.
        unsent = failed & ~(ticks > 0)
        refuse_first(source, "start_times", given, ~(unsent | (ticks >= 0)), "expected seconds >= 0")
        if unsent.all():
            return np.zeros(rows), None, "unknown: none was sent"
        ticks = pd.Series(np.where(unsent, np.nan, ticks)).ffill().bfill().to_numpy()
        return ticks, told(f"{source}, start_times", ticks, "s", False, asked.time_unit), "recorded"
    limit = result.get("max_concurrency")
    if result.get("request_rate") not in ENDLESS:
        raise InputError(
            f"{source}, start_times: missing, and request_rate {shown(result['request_rate'])} with max_concurrency "
            f"{shown(limit)} does not say when each request was sent (expected start_times, which vLLM saves since "
            "January 2026; or --request-rate inf)"
        )
    if limit is None:
        return np.zeros(rows), None, "rebuilt: all were sent at once"
    if "ttft_s" not in frame or "itl_s" not in frame:
        raise InputError(
            f"{source}, start_times: missing (expected them, or ttfts and itls, as {limit} were in flight)"
        )
    latency_s = np.where(failed, 0.0, np.nan_to_num(frame["ttft_s"]) + [gap.sum() for gap in frame["itl_s"]])
    free_s = [0.0] * int(check_number(f"{source}, max_concurrency", limit, 1.0))
    ticks = np.array([heapq.heapreplace(free_s, free_s[0] + time_s) for time_s in latency_s])
    return ticks, None, f"rebuilt: each when one of {limit} in flight had ended"


FORMAT = Format(
    "serving_benchmark",
    "the detailed result of vLLM's or SGLang's serving benchmark",
    (("input_lens", "output_lens"), ("request_rate", "completed")),
    read,
)
