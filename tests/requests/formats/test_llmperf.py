"""LLMPerf's responses: lengths and times of each request, and no starts."""

import json

import pytest

import simlib
from simlib import traces
from simlib.requests.formats import known


def response(number, error=None):
    found = {"error_code": error, "error_msg": "", "inter_token_latency_s": 0.1, "ttft_s": 0.0 if error else 2.0}
    found |= {"end_to_end_latency_s": 0 if error else 3.0, "request_output_throughput_token_per_s": 4.0}
    return found | {
        "number_total_tokens": 9,
        "number_output_tokens": 0 if error else 11,
        "number_input_tokens": 500 + number,
    }


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "individual_responses.json"
    file.write_text(json.dumps([response(n, 429 if n == 3 else None) for n in range(10)], indent=4))
    return file


def test_lengths_and_times_are_read_and_the_starts_are_missing(path):
    log = known.parse(path)
    assert log.format == "llmperf" and "clock" not in log.frame and "inter_token_latency_s" in log.unused
    assert log.frame["failed"].tolist().index(True) == 3 and log.frame["failed"].sum() == 1
    # 11 tokens in 3 s, the first after 2 s: the file's 0.1 s a token has the first in it only by chance.
    assert log.frame["tpot_s"][0] == pytest.approx(0.1) and log.frame["ttft_s"][0] == 2.0


def test_arrivals_have_to_be_drawn(path):
    with pytest.raises(
        simlib.InputError, match=r"LLMPerf does not say when each request was sent \(expected the option --rate"
    ):
        traces.read(path)
    assert len(traces.read(path, rate_rps=2.0).requests) == 9
