"""Scrapes of an engine's metrics, written by hand: counts since it was started, as text and as documents."""

from simlib.planning.deployed.scrapes import Scrape
from simlib.requests.formats.document import Document

LABELS = 'engine="0",model_name="org/model"'
# What the engine had counted of 100 requests: by the ends of buckets, and the sum of all.
BEFORE = {
    "time_to_first_token_seconds": ({"0.5": 90, "1.0": 98, "2.5": 100, "+Inf": 100}, 30.0),
    "request_time_per_output_token_seconds": ({"0.025": 95, "0.05": 100, "+Inf": 100}, 2.0),
    "e2e_request_latency_seconds": ({"1.0": 10, "5.0": 99, "+Inf": 100}, 300.0),
    "inter_token_latency_seconds": ({"0.025": 4000, "+Inf": 5000}, 100.0),
    "request_prompt_tokens": ({"100.0": 60, "+Inf": 100}, 10_000.0),
    "request_generation_tokens": ({"50.0": 50, "+Inf": 100}, 5_000.0),
    "iteration_tokens_total": ({"16.0": 500, "+Inf": 1000}, 15_000.0),
}
# And ten minutes later: 200 more, whose first tokens took up to 0.5 s (150), 1 s (40), 2.5 s (9) and longer (1).
AFTER = {
    "time_to_first_token_seconds": ({"0.5": 240, "1.0": 288, "2.5": 299, "+Inf": 300}, 110.0),
    "request_time_per_output_token_seconds": ({"0.025": 285, "0.05": 300, "+Inf": 300}, 6.0),
    "e2e_request_latency_seconds": ({"1.0": 30, "5.0": 297, "+Inf": 300}, 900.0),
    "inter_token_latency_seconds": ({"0.025": 13_000, "+Inf": 15_000}, 340.0),
    "request_prompt_tokens": ({"100.0": 160, "+Inf": 300}, 34_000.0),
    "request_generation_tokens": ({"50.0": 150, "+Inf": 300}, 15_000.0),
    "iteration_tokens_total": ({"16.0": 1500, "+Inf": 3000}, 75_000.0),
}
COUNTS = {
    "request_success_total": {"stop": 90, "length": 10, "abort": 0},
    "prefix_cache_queries_total": 10_000, "prefix_cache_hits_total": 1_000, "num_preemptions_total": 2,
    "num_requests_running": 2, "num_requests_waiting": 0,
}  # fmt: skip
LATER = {
    "request_success_total": {"stop": 270, "length": 20, "abort": 10},
    "prefix_cache_queries_total": 34_000, "prefix_cache_hits_total": 7_000, "num_preemptions_total": 5,
    "num_requests_running": 12, "num_requests_waiting": 5,
}  # fmt: skip


def text(histograms, counts, engine="vllm", labels=LABELS, created=1.79e9, at_ms=""):
    """A scrape's text; `at_ms` is written behind each value, as Prometheus' ``/federate`` does."""
    lines = []
    for name, (buckets, total) in histograms.items():
        lines.append(f"# TYPE {engine}:{name} histogram")
        lines += [f'{engine}:{name}_bucket{{{labels},le="{edge}"}} {count}' for edge, count in buckets.items()]
        lines += [f"{engine}:{name}_count{{{labels}}} {buckets['+Inf']}", f"{engine}:{name}_sum{{{labels}}} {total}"]
    for name, count in counts.items():
        parts = count.items() if isinstance(count, dict) else [(None, count)]
        for reason, value in parts:
            more = f',finished_reason="{reason}"' if reason else ""
            lines.append(f"{engine}:{name}{{{labels}{more}}} {value}")
    lines.append(f"{engine}:request_success_created{{{labels}}} {created}")
    config = f'block_size="16",num_gpu_blocks="1001",{labels}'
    lines.append(
        f"vllm:cache_config_info{{{config}}} 1"
        if engine == "vllm"
        else f"sglang:max_total_num_tokens{{{labels}}} 16000"
    )
    return "".join(f"{line} {at_ms}".rstrip() + "\n" if not line.startswith("#") else f"{line}\n" for line in lines)


def before(**more):
    return text(BEFORE, COUNTS, **more)


def after(**more):
    return text(AFTER, LATER, **more)


def scrape(written, source="scrape.prom"):
    return Scrape.of(Document(source, text=written))
