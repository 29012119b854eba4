"""LLMPerf's summary of a run, ``…_summary.json``: statistics in seconds, https://github.com/ray-project/llmperf."""

from __future__ import annotations

from simlib.requests.formats.aggregates.summary import Load, Summary, is_number, spread
from simlib.requests.formats.document import Document
from simlib.requests.formats.layout import Asked, Format

SPREADS = {
    "prompt_tokens": "results_number_input_tokens",
    "output_tokens": "results_number_output_tokens",
    "ttft_s": "results_ttft_s",
    "latency_s": "results_end_to_end_latency_s",
}
SERVED, FAILED, PER_MINUTE = (
    f"results_num{name}" for name in ("_completed_requests", "ber_errors", "_completed_requests_per_min")
)
MISSING = (
    "statistics and no row a request (expected LLMPerf's individual responses, which it writes beside this file with "
    "--results-dir)"
)


def read(document: Document, asked: Asked) -> Summary:
    """The statistics of the run; as many requests are in flight as were asked for."""
    found = (document.records or [{}])[0]
    spreads = {}
    for ours, theirs in SPREADS.items():
        names = {"mean": (f"{theirs}_mean",)}
        names |= {name: (f"{theirs}_quantiles_{short}",) for name, short in (("median", "p50"), ("p99", "p99"))}
        if known := spread(found, names):
            spreads[ours] = known
    counts = [int(found[name]) if is_number(found.get(name)) else None for name in (SERVED, FAILED)]
    rate = found.get(PER_MINUTE)
    load = Load("", *counts, None, rate / 60 if is_number(rate) else None, spreads)
    columns = {f"{theirs}_mean": ours.replace("_", " ") for ours, theirs in SPREADS.items() if ours in spreads}
    columns |= {PER_MINUTE: "rate, requests a minute"} if load.rate_rps is not None else {}
    return Summary(document.source, "llmperf_means", (load,), columns, MISSING)


FORMAT = Format("llmperf_means", "LLMPerf's statistics of a run", ((SERVED, "results_ttft_s_mean"),), read)
