"""Scrapes of an engine's metrics: exact means, quantiles as the bounds of their bucket, engines and models apart."""

import math

import pytest

import simlib
from simlib import traces
from simlib.requests.account import Account
from simlib.requests.formats import known
from simlib.requests.histograms import from_histograms


def histogram(name, buckets, total, labels='engine="0",model_name="org/model"'):
    lines = [f"# HELP {name} what it is", f"# TYPE {name} histogram"]
    lines += [f'{name}_bucket{{{labels},le="{edge}"}} {count}.0' for edge, count in buckets.items()]
    return "\n".join([*lines, f"{name}_count{{{labels}}} {max(buckets.values())}.0", f"{name}_sum{{{labels}}} {total}"])


def sample(name, value, labels='engine="0",model_name="org/model"'):
    return f"{name}{{{labels}}} {value}"


# 100 requests: 40 first tokens up to 0.1 s, 55 more up to 0.5 s, 4 more up to 1 s, one beyond.
SCRAPE = "\n".join(
    [
        histogram("vllm:time_to_first_token_seconds", {"0.1": 40, "0.5": 95, "1.0": 99, "+Inf": 100}, 25.0),
        histogram("vllm:inter_token_latency_seconds", {"0.01": 10, "0.025": 4990, "+Inf": 5000}, 100.0),
        histogram("vllm:request_prompt_tokens", {"1.0": 0, "100.0": 60, "200.0": 100, "+Inf": 100}, 9000.0),
        histogram("vllm:request_generation_tokens", {"1.0": 10, "50.0": 100, "+Inf": 100}, 2500.0),
        histogram("vllm:request_queue_time_seconds", {"0.3": 0, "+Inf": 0}, 0.0),
        "# TYPE vllm:request_success_total counter",
        sample("vllm:request_success_total", 90, 'engine="0",finished_reason="stop",model_name="org/model"'),
        sample("vllm:request_success_total", 7, 'engine="0",finished_reason="length",model_name="org/model"'),
        sample("vllm:request_success_total", 3, 'engine="0",finished_reason="abort",model_name="org/model"'),
        sample("vllm:request_success_created", 1.789e9),
        sample("vllm:prefix_cache_queries_total", 9000.0),
        sample("vllm:prefix_cache_hits_total", 2250.0),
        sample("vllm:num_requests_running", 12.0),
        sample("vllm:num_requests_waiting", 3.0),
        sample("vllm:num_requests_waiting_by_reason", 3.0, 'engine="0",model_name="org/model",reason="capacity"'),
        sample("vllm:kv_cache_usage_perc", 0.42),
        "process_resident_memory_bytes 1.0e9",
    ]
)


@pytest.fixture
def write(tmp_path):
    def to_file(text):
        path = tmp_path / "metrics.txt"
        path.write_text(text + "\n")
        return path

    return to_file


def test_means_are_exact_and_quantiles_are_the_bounds_of_their_bucket(write):
    summary = known.parse(write(SCRAPE))
    assert (summary.format, summary.version) == ("metrics", "vLLM")
    (load,) = summary.loads
    assert load.name == "org/model, engine 0"
    assert load.spreads["ttft_s"] == {"mean": 0.25, "median": (0.1, 0.5), "p99": (0.5, 1.0)}
    assert load.spreads["itl_s"] == {"mean": 0.02, "median": (0.01, 0.025), "p99": (0.01, 0.025)}
    assert load.spreads["prompt_tokens"] == {"mean": 90.0, "median": (1.0, 100.0), "p99": (100.0, 200.0)}
    assert "queue_s" not in load.spreads  # nothing was counted
    assert (load.requests, load.failed, load.cached_share) == (97, 3, 0.25)
    assert load.state == {"requests running": 12.0, "requests waiting": 3.0, "share of the KV cache in use": 0.42}


def test_a_quantile_beyond_the_last_edge_has_no_upper_bound(write):
    text = histogram("vllm:time_to_first_token_seconds", {"0.1": 40, "+Inf": 100}, 90.0)
    assert known.parse(write(text)).loads[0].spreads["ttft_s"]["p99"] == (0.1, math.inf)


def test_requests_can_be_drawn_from_its_lengths(write):
    summary = known.parse(write(SCRAPE))
    with pytest.raises(
        simlib.InputError, match=r"metrics\.txt: counts .* and no row a request .*from_histograms draws"
    ):
        traces.read(write(SCRAPE))
    lengths = summary.loads[0].histograms
    assert lengths["prompt_tokens"] == ([1.0, 2.0, 101.0, 200.0], [0.0, 60.0, 40.0])
    table = from_histograms(20_000, *lengths["prompt_tokens"], *lengths["output_tokens"], rate_rps=5.0)
    assert table.prompt_tokens.max() <= 200 and (table.output_tokens == 1).mean() == pytest.approx(0.1, abs=0.02)


def test_engines_and_models_are_told_apart(write):
    other = SCRAPE.replace('engine="0"', 'engine="1"')
    lines = [line for line in other.splitlines() if not line.startswith("#")]
    summary = known.parse(write("\n".join([SCRAPE, *lines])))
    assert [load.name for load in summary.loads] == ["org/model, engine 0", "org/model, engine 1"]


def test_sglangs_own_names_are_read_and_ranks_count_once(write):
    labels = 'model_name="qwen",tp_rank="0",le='
    text = "\n".join(
        [
            histogram(
                "sglang:time_to_first_token_seconds", {"0.1": 5, "+Inf": 10}, 2.0, 'model_name="qwen",tp_rank="0"'
            ),
            histogram(
                "sglang:time_to_first_token_seconds", {"0.1": 5, "+Inf": 10}, 2.0, 'model_name="qwen",tp_rank="1"'
            ),
            sample("sglang:num_running_reqs", 8.0, labels.removesuffix(",le=")),
            sample("sglang:token_usage", 0.58, labels.removesuffix(",le=")),
            sample("sglang:num_requests_total", 12.0, 'model_name="qwen"'),
            sample("sglang:num_aborted_requests_total", 2.0, 'model_name="qwen"'),
            sample("sglang:prompt_tokens_total", 1000.0, 'model_name="qwen"'),
            sample("sglang:cached_tokens_total", 300.0, 'cache_source="device",model_name="qwen"'),
            sample("sglang:cached_tokens_total", 20.0, 'cache_source="host",model_name="qwen"'),
        ]
    )
    summary = known.parse(write(text))
    assert summary.version == "SGLang"
    (load,) = summary.loads
    assert load.spreads["ttft_s"] == {"mean": 0.2, "median": (0.0, 0.1), "p99": (0.1, math.inf)}
    assert (load.requests, load.failed, load.cached_share) == (10, 2, 0.32)
    assert load.state["requests running"] == 8.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (sample("vllm:num_requests_running", 1.0), "no histogram of requests"),
        (histogram("vllm:time_to_first_token_seconds", {"0.1": 5, "0.2": 4, "+Inf": 9}, 1), "counts that fall"),
        (histogram("vllm:time_to_first_token_seconds", {"0.1": 5}, 1), r"no bucket le=.\+Inf"),
        (SCRAPE + '\nvllm:num_requests_running{engine="0" 1', "not Prometheus' text format"),
    ],
)
def test_what_is_wrong_is_named(write, text, says):
    with pytest.raises(simlib.InputError, match=rf"metrics\.txt.*{says}"):
        known.parse(write(text))


def test_a_series_twice_is_refused(write):
    with pytest.raises(
        simlib.InputError, match=r"vllm:time_to_first_token_seconds_bucket: .* twice .expected one scrape"
    ):
        known.parse(write(SCRAPE + "\n" + SCRAPE))


def test_requests_that_failed_are_said(write):
    text = (
        SCRAPE
        + "\n"
        + "\n".join(
            sample("vllm:request_success_total", count, f'engine="7",finished_reason="{reason}"')
            for reason, count in (("stop", 90.0), ("abort", 10.0))
        )
    )
    assert any("requests failed" in text for text in Account.of(known.parse(write(text))).warnings)
