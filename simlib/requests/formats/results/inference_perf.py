"""inference-perf's ``per_request_lifecycle_metrics.json``, https://github.com/kubernetes-sigs/inference-perf.

An array of objects with ``start_time`` and ``end_time`` (seconds of one monotonic clock, as all times are), ``error``
and ``info``, where lengths and ``output_token_times`` stand (since 2026 in ``request_metrics.text`` and
``response_metrics`` there). See
``inference_perf/reportgen/base.py`` and ``inference_perf/apis/base.py`` there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.lazy import pd
from simlib.requests.formats.clocks import told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import LONGEST_TICKS, Asked, Format, Log, shown
from simlib.requests.formats.results import contents, measured

TIMES = "output_token_times"


def read(document: Document, asked: Asked) -> Log:
    """The requests of all stages, one after the other as they were sent; those with an error have failed."""
    source = document.source
    frame = measured.tidy([_request(source, row, record) for row, record in enumerate(document.records or ())])
    clock = told(f"{source}, start_time", frame["clock"].to_numpy(), "s", True, asked.time_unit)
    columns = {
        "start_time": f"arrival, {clock}",
        "end_time": "latency, on the same clock",
        "input_tokens": "prompt, tokens",
        "output_tokens": "output, tokens",
        TIMES: "times of tokens, on the same clock",
        "error": "why a request failed",
    }
    if "itl_s" not in frame:
        columns.pop(TIMES)
    named = pd.Series(contents.pieces([record.get("request") for record in document.records or ()]), dtype=object)
    if named.map(len).any():
        frame, columns["request"] = frame.assign(pieces=named), "what prompts contain"
    log = Log(source, "inference_perf", measured.in_order(frame), columns, clock, "start_time")
    return measured.check_seconds(log, TIMES, TIMES, measured.OVERLOADED_TTFT_S)


def _request(source: str, row: int, record: Mapping[str, Any]) -> dict[str, Any]:
    place = f"{source}, row {row}"
    info = measured.object_in(source, row, record, "info")
    answer = measured.object_in(source, row, info, "response_metrics") or info
    usage = measured.object_in(source, row, answer, "server_usage")
    details = measured.object_in(source, row, usage, "prompt_tokens_details")
    output = measured.first_of({**answer, **usage}, ("completion_tokens", "output_tokens"))
    asked = measured.object_in(source, row, measured.object_in(source, row, info, "request_metrics"), "text")
    prompt = measured.first_of({**usage, **asked, **info}, ("input_tokens", "prompt_tokens"))
    cached = details.get("cached_tokens")
    failed = bool(record.get("error")) or not info or output == 0
    start, end = (
        np.nan
        if failed and record.get(name) is None
        else check_number(f"{place}, {name}", record.get(name), 0.0, LONGEST_TICKS)
        for name in ("start_time", "end_time")
    )
    prompt = measured.length(f"{place}, input_tokens", prompt, failed)
    times = answer.get(TIMES) or []
    if not isinstance(times, list):
        raise InputError(f"{place}, {TIMES}: {shown(times)} (expected an array of seconds)")
    token_s = np.array([check_number(f"{place}, {TIMES}", time, start, LONGEST_TICKS) for time in times])
    return {
        "clock": start,
        "prompt_tokens": prompt,
        "output_tokens": measured.length(f"{place}, output_tokens", output, failed),
        "cached_prompt_tokens": np.nan
        if cached is None
        else min(check_integer(f"{place}, cached_tokens", cached, 0), prompt),
        "ttft_s": token_s[0] - start if len(token_s) else np.nan,
        "itl_s": np.maximum(np.diff(token_s), 0.0),
        "latency_s": end - start,
        "failed": failed,
    }


FORMAT = Format(
    "inference_perf", "inference-perf's requests, one a record", (("start_time", "end_time", "info"),), read
)
