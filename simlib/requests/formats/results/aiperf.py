"""AIPerf's records, ``profile_export.jsonl``: one object a request, https://github.com/ai-dynamo/aiperf.

``metadata`` has starts in nanoseconds since 1970 (``request_start_ns``; ``timestamp_ns`` in the first versions), the
phase and the conversation; ``metrics`` has values, each with its own unit. A failed request has an ``error`` and no
metrics. See ``docs/tutorials/working-with-profile-exports.md`` and ``src/aiperf/common/models/record_models.py`` there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simlib.checks import InputError, check_integer, check_number
from simlib.requests.formats.clocks import told
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import LONGEST_TICKS, Asked, Format, Log, shown
from simlib.requests.formats.results import measured

STARTS, PHASES = ("request_start_ns", "timestamp_ns"), ("benchmark_phase", "credit_phase")
SESSIONS = ("x_correlation_id", "conversation_id", "session_num")
PROMPT, OUTPUT = "input_sequence_length", "output_sequence_length"
FIRST, BETWEEN, WHOLE = ("time_to_first_token", "ttft"), ("inter_chunk_latency",), ("request_latency",)
MEAN = ("inter_token_latency",)
TICKS_PER_S = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0, "sec": 1.0}
LATEST_NS = 2**63 - 1
CANCELLED = "RequestCancellationError"
COLUMNS = {
    "prompt_tokens": (PROMPT, "prompt, tokens"),
    "output_tokens": (OUTPUT, "output, tokens"),
    "ttft_s": (FIRST[0], "time to first token, by its own unit"),
    "itl_s": (BETWEEN[0], "times between messages of tokens, by their own unit"),
    "tpot_s": (MEAN[0], "mean time between tokens, by its own unit"),
    "latency_s": ("request_end_ns", "latency, since the start"),
    "failed": ("error", "why a request failed"),
    "session": (SESSIONS[0], "session"),
}


def read(document: Document, asked: Asked) -> Log:
    """The requests of the measured phase; those of the warm-up and cancelled ones are left out and counted."""
    source, dropped, rows = document.source, Counter(), []
    for row, record in enumerate(document.records or ()):
        metadata, error = measured.object_in(source, row, record, "metadata"), record.get("error")
        phase = measured.first_of(metadata, PHASES) or "profiling"
        kind = error.get("type") if isinstance(error, Mapping) else ""
        if phase != "profiling":
            dropped[f"of the phase {str(phase)[:40]}"] += 1
        elif metadata.get("was_cancelled") or kind == CANCELLED:
            dropped["cancelled by the client"] += 1
        else:
            rows.append(_request(source, row, metadata, measured.object_in(source, row, record, "metrics"), error))
    if not rows:
        why = ", ".join(f"{count} {what}" for what, count in dropped.items())
        raise InputError(f"{source}: no request of the measured phase ({why or 'no rows'}; expected at least 1)")
    frame = measured.tidy(rows)
    if "itl_s" in frame:
        frame = frame.drop(columns="tpot_s", errors="ignore")  # the mean of these
    clock = told(f"{source}, {STARTS[0]}", frame["clock"].to_numpy(float), "ns", True, asked.time_unit)
    columns = {STARTS[0]: f"arrival, {clock}"} | {
        theirs: meaning for ours, (theirs, meaning) in COLUMNS.items() if ours in frame
    }
    log = Log(source, "aiperf", measured.in_order(frame), columns, clock, STARTS[0], dropped=dict(dropped))
    if "itl_s" in frame:
        several = (frame["output_tokens"] > 1) & ~frame["failed"]
        missing = int((several & (frame["itl_s"].map(len) == 0)).sum())
        if missing:
            log = log.warned(f"{BETWEEN[0]}: none in {missing:,} of {several.sum():,} requests of two tokens or more")
    return measured.check_seconds(log, FIRST[0], BETWEEN[0], measured.OVERLOADED_TTFT_S)


def _request(
    source: str, row: int, metadata: Mapping[str, Any], metrics: Mapping[str, Any], error: Any
) -> dict[str, Any]:
    place = f"{source}, row {row}"
    output = _value(metrics, (OUTPUT, "output_token_count"))
    failed = bool(error) or output == 0
    prompt = _value(metrics, (PROMPT, "error_isl"))
    start, end = measured.first_of(metadata, STARTS), metadata.get("request_end_ns")
    between, whole = (_seconds(place, metrics, names) for names in (BETWEEN, WHOLE))
    if whole is None and end is not None and isinstance(start, int):
        whole = np.array([check_integer(f"{place}, request_end_ns", end, start, LATEST_NS) - start]) / 1e9
    return {
        "clock": None if failed and start is None else check_integer(f"{place}, {STARTS[0]}", start, 0, LATEST_NS),
        "prompt_tokens": measured.length(f"{place}, {PROMPT}", prompt, failed),
        "output_tokens": measured.length(f"{place}, {OUTPUT}", output, failed),
        "ttft_s": _one(_seconds(place, metrics, FIRST)),
        "itl_s": np.zeros(0) if between is None else np.atleast_1d(between),
        "tpot_s": _one(_seconds(place, metrics, MEAN)),
        "latency_s": _one(whole),
        "failed": failed,
        "session": str(measured.first_of(metadata, SESSIONS)),
        "turn": metadata.get("turn_index"),
    }


def _value(metrics: Mapping[str, Any], names: Sequence[str]) -> Any:
    found = measured.first_of(metrics, names)
    return found.get("value") if isinstance(found, Mapping) else found


def _seconds(place: str, metrics: Mapping[str, Any], names: Sequence[str]) -> np.ndarray | None:
    """A metric in seconds, by the unit that it has."""
    found = measured.first_of(metrics, names)
    if found is None:
        return None
    unit = found.get("unit") if isinstance(found, Mapping) else None
    if str(unit) not in TICKS_PER_S:
        raise InputError(f"{place}, {names[0]}: unit {shown(unit)} (expected one of {', '.join(TICKS_PER_S)})")
    value = found.get("value")
    ticks = [
        check_number(f"{place}, {names[0]}", tick, 0.0, LONGEST_TICKS)
        for tick in (value if isinstance(value, list) else [value])
    ]
    return np.array(ticks) / TICKS_PER_S[unit]


def _one(times_s: np.ndarray | None) -> float:
    return float(times_s[0]) if times_s is not None and len(times_s) else np.nan


FORMAT = Format("aiperf", "AIPerf's records, one a request", (("metadata", "metrics"),), read)
