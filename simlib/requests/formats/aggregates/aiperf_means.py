"""AIPerf's ``profile_export_aiperf.json``: statistics of each metric, https://github.com/ai-dynamo/aiperf.

Each metric is an object with its ``unit`` and ``avg, p1 … p99, min, max, std``; the requests lie beside it, in
``profile_export.jsonl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simlib.checks import InputError
from simlib.requests.formats.aggregates.summary import Load, Summary, spread
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, shown

NAMES = {"mean": ("avg",), "median": ("p50",), "p99": ("p99",)}
SPREADS = {
    "prompt_tokens": "input_sequence_length",
    "output_tokens": "output_sequence_length",
    "ttft_s": "time_to_first_token",
    "tpot_s": "inter_token_latency",
    "latency_s": "request_latency",
}
COUNTS = {"requests": "request_count", "failed": "error_request_count"}
UNITS = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0, "sec": 1.0, "tokens": 1.0, "requests": 1.0, "requests/sec": 1.0}
MISSING = "statistics and no row a request (expected AIPerf's profile_export.jsonl, which it writes beside this file)"


def read(document: Document, asked: Asked) -> Summary:
    """The statistics of the run."""
    source, found = document.source, (document.records or [{}])[0]
    spreads = {ours: known for ours, theirs in SPREADS.items() if (known := _known(source, found, theirs))}
    counts = {ours: _known(source, found, theirs).get("mean") for ours, theirs in COUNTS.items()}
    load = Load(
        requests=None if counts["requests"] is None else int(counts["requests"]),
        failed=None if counts["failed"] is None else int(counts["failed"]),
        span_s=_known(source, found, "benchmark_duration").get("mean"),
        rate_rps=_known(source, found, "request_throughput").get("mean"),
        spreads=spreads,
    )
    columns = {theirs: ours.replace("_", " ") for ours, theirs in (SPREADS | COUNTS).items() if theirs in found}
    version = str(found.get("aiperf_version") or "")
    return Summary(source, "aiperf_means", (load,), columns, MISSING, version)


def _known(source: str, found: Mapping[str, Any], metric: str) -> dict[str, float]:
    statistics = found.get(metric)
    if not isinstance(statistics, Mapping):
        return {}
    if str(statistics.get("unit")) not in UNITS:
        raise InputError(
            f"{source}, {metric}, unit: {shown(statistics.get('unit'))} (expected one of {', '.join(UNITS)})"
        )
    return spread(statistics, NAMES, UNITS[statistics["unit"]])


FORMAT = Format(
    "aiperf_means",
    "AIPerf's statistics of a run",
    (
        ("aiperf_version", "request_latency"),
        ("input_config", "request_latency"),
        ("request_throughput", "request_latency"),
    ),
    read,
)
