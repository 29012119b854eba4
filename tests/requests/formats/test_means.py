"""Statistics that AIPerf, inference-perf and LLMPerf keep of a run, and what is said of them."""

import json

import pytest

import simlib
from simlib import traces
from simlib.requests.formats import known

AIPERF = {
    "schema_version": "1.0",
    "aiperf_version": "0.7.0",
    "request_throughput": {"unit": "requests/sec", "avg": 5.69},
    "request_latency": {"unit": "ms", "avg": 588.94, "p50": 572.59, "p99": 625.61, "min": 553.76},
    "time_to_first_token": {"unit": "us", "avg": 61_910.0, "p50": 44_210.0, "p99": 96_860.0},
    "input_sequence_length": {"unit": "tokens", "avg": 400.0, "p50": 300.0},
    "output_sequence_length": {"unit": "tokens", "avg": 37.25},
    "request_count": {"unit": "requests", "avg": 336.0},
    "error_request_count": {"unit": "requests", "avg": 35.0},
    "benchmark_duration": {"unit": "sec", "avg": 60.0},
}
STAGE = {
    "load_summary": {"count": 1657, "send_duration": 59.9, "requested_rate": 27.63, "achieved_rate": 27.65},
    "successes": {
        "count": 1650,
        "latency": {
            "request_latency": {"mean": 2.95, "median": 3.03, "p99": 3.55},
            "time_to_first_token": {"mean": 0.06, "median": 0.061, "p99": 0.087},
            "inter_token_latency": {"mean": 0.011, "median": 0.0001, "p99": 0.036},
        },
        "throughput": {"requests_per_sec": 26.9},
        "prompt_len": {"mean": 135.06, "median": 135.0, "p99": 142.0},
        "output_len": {"mean": 128.7, "median": 129.0, "p99": 133.0},
    },
    "failures": {"count": 7, "request_latency": None, "prompt_len": None},
}
LLMPERF = {
    "version": "2023-08-31",
    "num_concurrent_requests": 16,
    "results_ttft_s_mean": 5.36,
    "results_ttft_s_quantiles_p50": 6.56,
    "results_ttft_s_quantiles_p99": 7.93,
    "results_number_input_tokens_mean": 550.0,
    "results_number_input_tokens_min": "550",
    "results_number_output_tokens_mean": 159.3,
    "results_num_completed_requests": 112,
    "results_number_errors": 3,
    "results_num_completed_requests_per_min": 46.8,
}


@pytest.fixture
def summary(tmp_path, request):
    found, format = request.param
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(found))
    with pytest.raises(
        simlib.InputError, match=r"summary\.json: statistics.* and no row a request \(expected .*\); simlib"
    ):
        traces.read(path)
    return known.parse(path, format)


@pytest.mark.parametrize("summary", [(AIPERF, "aiperf_means")], indirect=True)
def test_aiperf(summary):
    (load,) = summary.loads
    assert (load.requests, load.failed, load.span_s, load.rate_rps) == (336, 35, 60.0, 5.69)
    assert load.spreads["latency_s"] == pytest.approx({"mean": 0.58894, "median": 0.57259, "p99": 0.62561})
    assert load.spreads["ttft_s"] == pytest.approx({"mean": 0.06191, "median": 0.04421, "p99": 0.09686})
    # A log-normal of mean 400 and median 300 has sigma sqrt(2 ln(4/3)) = 0.7585.
    assert "--rate 5.69 --prompt 300,0.76 --output 37.25,SIGMA" in summary.instead


@pytest.mark.parametrize("summary", [(STAGE, "inference_perf_stages")], indirect=True)
def test_inference_perf(summary):
    (load,) = summary.loads
    assert (load.requests, load.failed, load.span_s, load.rate_rps) == (1650, 7, 59.9, 27.65)
    assert load.spreads["itl_s"] == {"mean": 0.011, "median": 0.0001, "p99": 0.036}
    assert load.spreads["prompt_tokens"]["p99"] == 142.0 and "tpot_s" not in load.spreads
    assert "per_request: true" in summary.missing


@pytest.mark.parametrize("summary", [(LLMPERF, "llmperf_means")], indirect=True)
def test_llmperf(summary):
    (load,) = summary.loads
    assert (load.requests, load.failed, load.rate_rps) == (112, 3, pytest.approx(0.78))
    assert load.spreads["ttft_s"] == {"mean": 5.36, "median": 6.56, "p99": 7.93}
    assert load.spreads["prompt_tokens"] == {"mean": 550.0}


def test_a_unit_that_is_not_known_is_named(tmp_path):
    (path := tmp_path / "a.json").write_text(json.dumps(AIPERF | {"request_latency": {"unit": "min", "avg": 1.0}}))
    with pytest.raises(simlib.InputError, match=r"a\.json, request_latency, unit: 'min' \(expected one of ns, us, ms"):
        known.parse(path)
