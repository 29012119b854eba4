"""A scrape of an engine's ``/metrics``, vLLM's or SGLang's: Prometheus' text with counters, gauges and histograms.

What production has where nobody has run a benchmark: histograms of lengths and times since the engine was started. A
mean is exact, a sum over a count; a quantile is known by the bucket that it lies in, and given as its two bounds.
See https://github.com/vllm-project/vllm, ``vllm/v1/metrics/loggers.py``, and https://github.com/sgl-project/sglang,
``python/sglang/srt/metrics/collector.py``.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from simlib.checks import InputError, number_in
from simlib.requests.formats.aggregates.summary import Known, Load, Summary
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format, shown

ENGINES = {"vllm": "vLLM", "sglang": "SGLang"}
HISTOGRAMS = {
    "prompt_tokens": ("request_prompt_tokens", "prompt_tokens_histogram"),
    "output_tokens": ("request_generation_tokens", "generation_tokens_histogram"),
    "ttft_s": ("time_to_first_token_seconds",),
    "itl_s": ("inter_token_latency_seconds", "time_per_output_token_seconds"),
    "tpot_s": ("request_time_per_output_token_seconds",),
    "latency_s": ("e2e_request_latency_seconds",),
    "queue_s": ("request_queue_time_seconds", "queue_time_seconds"),
}
STATE = {
    "requests running": ("num_requests_running", "num_running_reqs"),
    "requests waiting": ("num_requests_waiting", "num_queue_reqs"),
    "share of the KV cache in use": ("kv_cache_usage_perc", "gpu_cache_usage_perc", "token_usage"),
    "share of the prefix cache that hits": ("cache_hit_rate",),
}
QUERIES, HITS = ("prefix_cache_queries_total", "gpu_prefix_cache_queries_total"), (
    "prefix_cache_hits_total", "gpu_prefix_cache_hits_total",
)  # fmt: skip
FINISHED, FAILURES = "request_success_total", ("abort", "error")
LABELS = ("model_name", "engine", "dp_rank")
RANKS = ("tp_rank", "pp_rank", "moe_ep_rank")  # each counts the same requests
SUMS = ("_bucket", "_sum", "_count", "_total")
CACHED, PROMPTS = "cached_tokens_total", "prompt_tokens_total"  # SGLang's, as the next two
MADE, ABORTED = "num_requests_total", "num_aborted_requests_total"
MISSING = (
    "counts of all requests since the engine was started, and no row a request (expected a benchmark's result or a "
    "log of requests)"
)
COUNTS = {
    "requests by how they ended, those with abort and error have failed": (FINISHED, MADE, ABORTED),
    "share of prompt tokens in the prefix cache": (*QUERIES, *HITS, CACHED, PROMPTS),
    **STATE,
}
Buckets = dict[float, float]


def read(document: Document, asked: Asked) -> Summary:
    """The histograms of each model behind each engine."""
    source = document.source
    groups: dict[tuple[str, ...], dict[str, Any]] = defaultdict(dict)
    version = ""
    seen = set()
    for name, labels, value, *_ in samples(source, document.text or ""):
        engine, _, name = name.partition(":")
        again = labels.get("priority") or any(labels.get(rank, "0") not in ("", "0") for rank in RANKS)
        if engine not in ENGINES or not name or again:
            continue
        sample = (name, *sorted(labels.items()))
        if sample in seen:
            said = ", ".join(f"{label}={text}" for label, text in sample[1:])
            raise InputError(f"{source}, {engine}:{name}: {shown(said)} twice (expected one scrape in a file)")
        seen.add(sample)
        version = version or ENGINES[engine]
        series = groups[tuple(labels.get(label, "") for label in LABELS)]
        if name.endswith("_bucket") or name == FINISHED:
            label = "le" if name.endswith("_bucket") else "finished_reason"
            part = labels.get(label) if label != "le" else upper_edge(labels.get(label))
            if part is None or not 0 <= value < math.inf:
                raise InputError(
                    f"{source}, {name}: {label}={shown(labels.get(label))} {value:g} (expected a count >= 0)"
                )
            parts = series.setdefault(name, defaultdict(float))
            parts[part] += value
        elif name.endswith(SUMS):
            series[name] = series.get(name, 0.0) + value
        else:
            series.setdefault(name, value)
    loads = tuple(_load(source, key, series) for key, series in groups.items())
    loads = tuple(load for load in loads if load.spreads or load.requests)
    if not loads:
        raise InputError(
            f"{source}: no histogram of requests (expected vLLM's or SGLang's metrics, after some requests)"
        )
    found = {name for series in groups.values() for name in series}
    columns = {
        theirs: ours.removesuffix("_s").replace("_", " ") + (", seconds" if ours.endswith("_s") else "")
        for ours, names in HISTOGRAMS.items() for theirs in names if f"{theirs}_bucket" in found
    } | {theirs: ours for ours, names in COUNTS.items() for theirs in names if theirs in found}  # fmt: skip
    warned = ("counts since the engine was started: a busy hour and a quiet night are one mean",)
    return Summary(source, "metrics", loads, columns, MISSING, version, warnings=warned)


def upper_edge(text: str | None) -> float | None:
    """The upper edge of a bucket."""
    number = math.inf if text == "+Inf" else number_in(text or "")
    return None if math.isnan(number) else number


def samples(source: str, text: str) -> Iterable[Any]:
    """Every sample of a scrape: name, labels, value, and the time in seconds where it has one."""
    from prometheus_client import parser

    try:
        for family in parser.text_string_to_metric_families(text.partition("\n# EOF")[0] + "\n"):
            yield from family.samples
    except (ValueError, KeyError, IndexError) as problem:
        raise InputError(f"{source}: not Prometheus' text format ({problem})") from None


def _load(source: str, key: tuple[str, ...], series: Mapping[str, Any]) -> Load:
    name = ", ".join(
        part if label == LABELS[0] else f"{label} {part}" for label, part in zip(LABELS, key, strict=True) if part
    )
    spreads: dict[str, dict[str, Known]] = {}
    histograms = {}
    for ours, names in HISTOGRAMS.items():
        theirs = next((name for name in names if series.get(f"{name}_bucket")), None)
        if theirs is None:
            continue
        buckets: Buckets = dict(sorted(series[f"{theirs}_bucket"].items()))
        _check(f"{source}, {theirs}", buckets)
        count = max(buckets.values())
        if count <= 0:
            continue
        total = series.get(f"{theirs}_sum")
        spreads[ours] = {} if total is None else {"mean": total / count}
        spreads[ours] |= {name: bounds(buckets, share * count) for name, share in (("median", 0.5), ("p99", 0.99))}
        if ours.endswith("_tokens") and count == max((n for edge, n in buckets.items() if edge < math.inf), default=0):
            histograms[ours] = _histogram(buckets)
    finished = series.get(FINISHED, {})
    made = sum(finished.values()) if finished else series.get(MADE)
    failed = sum(finished.get(reason, 0.0) for reason in FAILURES) if finished else series.get(ABORTED, 0.0)
    served = None if made is None else int(made - failed)
    state = {ours: series[name] for ours, names in STATE.items() for name in names if name in series}
    return Load(
        name, served, None if made is None else int(failed), None, None, spreads, histograms, _cached(series), state
    )


def _check(place: str, buckets: Buckets) -> None:
    counts = list(buckets.values())
    if any(later < earlier for earlier, later in itertools.pairwise(counts)):
        raise InputError(f"{place}: counts that fall from one bucket to the next (expected cumulative ones)")
    if math.inf not in buckets:
        raise InputError(f'{place}: no bucket le="+Inf" (expected it last)')


def bounds(buckets: Buckets, rank: float) -> tuple[float, float]:
    """The bucket in which the request of this rank lies."""
    below = 0.0
    for edge, count in buckets.items():
        if count >= rank:
            return below, edge
        below = edge
    return below, math.inf


def _histogram(buckets: Buckets) -> tuple[list[float], list[float]]:
    """Edges and counts as `from_histograms` takes them: a bucket has its upper edge, a cell its lower one."""
    edges = [1.0] + [edge + 1.0 for edge in buckets if 1.0 <= edge < math.inf]
    sums = [0.0] + [count for edge, count in buckets.items() if 1.0 <= edge < math.inf]
    return [*edges[:-1], edges[-1] - 1.0], np.diff(sums).tolist()


def _cached(series: Mapping[str, Any]) -> float | None:
    queries, hits = (next((series[name] for name in names if name in series), None) for names in (QUERIES, HITS))
    if queries and hits is not None:
        return hits / queries
    cached, prompts = series.get(CACHED), series.get(PROMPTS)
    return None if cached is None or not prompts else min(cached / prompts, 1.0)


FORMAT = Format(
    "metrics",
    "a scrape of vLLM's or SGLang's /metrics",
    tuple(
        (f"{engine}:{name}",)
        for engine, names in (
            ("vllm", ("time_to_first_token_seconds_bucket", "num_requests_running")),
            ("sglang", ("time_to_first_token_seconds_bucket", "num_running_reqs")),
        )
        for name in names
    ),
    read,
)
