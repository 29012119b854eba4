"""inference-perf's ``stage_N_lifecycle_metrics.json`` and ``summary_lifecycle_metrics.json``: statistics of a stage.

Seconds and tokens, under ``successes`` and ``failures``; https://github.com/kubernetes-sigs/inference-perf,
``inference_perf/reportgen/base.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simlib.requests.formats.aggregates.summary import Load, Summary, is_number, spread
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format

NAMES = {"mean": ("mean",), "median": ("median",), "p99": ("p99",)}
TIMES = {
    "ttft_s": "time_to_first_token",
    "itl_s": "inter_token_latency",
    "tpot_s": "time_per_output_token",
    "latency_s": "request_latency",
}
LENGTHS = {"prompt_tokens": "prompt_len", "output_tokens": "output_len"}
MISSING = (
    "statistics of a stage and no row a request (expected per_request_lifecycle_metrics.json, which inference-perf "
    "writes with report.request_lifecycle.per_request: true)"
)


def read(document: Document, asked: Asked) -> Summary:
    """The statistics of the stage."""
    found = (document.records or [{}])[0]
    load, served, failures = (_part(found, name) for name in ("load_summary", "successes", "failures"))
    latency, throughput = _part(served, "latency"), _part(served, "throughput")
    spreads = {ours: known for ours, theirs in LENGTHS.items() if (known := spread(_part(served, theirs), NAMES))}
    spreads |= {ours: known for ours, theirs in TIMES.items() if (known := spread(_part(latency, theirs), NAMES))}
    numbers = [load.get("achieved_rate"), throughput.get("requests_per_sec")]
    columns = {f"successes.{theirs}": ours.replace("_", " ") for ours, theirs in LENGTHS.items() if ours in spreads}
    columns |= {f"successes.latency.{theirs}": ours for ours, theirs in TIMES.items() if ours in spreads}
    counts = [part.get("count") for part in (served, failures)]
    stage = Load(
        "",
        *(int(count) if is_number(count) else None for count in counts),
        load.get("send_duration") if is_number(load.get("send_duration")) else None,
        next((float(number) for number in numbers if is_number(number)), None),
        spreads,
    )
    return Summary(document.source, "inference_perf_stages", (stage,), columns, MISSING)


def _part(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = found.get(name)
    return part if isinstance(part, Mapping) else {}


FORMAT = Format(
    "inference_perf_stages",
    "inference-perf's statistics of a stage",
    (("load_summary", "successes", "failures"),),
    read,
)
