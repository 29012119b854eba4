"""inference-perf's requests: both forms of its records, token times, what the server counted, errors."""

import json

import pytest

import simlib
from simlib import traces
from simlib.calibration import engine_benchmarks
from simlib.requests.formats import known


def old(number, **changed):
    start = 1393.0 + 2 * number
    info = {"input_tokens": 100 * (number + 1), "output_tokens": 4, "lora_adapter": None}
    first = start + 0.010 + 0.00002 * 100 * (number + 1)
    info["output_token_times"] = [first, first + 0.0101, first + 0.0202, first + 0.0303]
    found = {"start_time": start, "end_time": start + 0.05, "request": "{}", "response": "x", "info": info}
    return found | {"error": None} | changed


def recent(number):
    found = old(number)
    answer = {name: found["info"].pop(name) for name in ("output_tokens", "output_token_times")}
    usage = {"completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 64}}
    found["info"] |= {
        "request_metrics": {"text": {"input_tokens": 100}},
        "response_metrics": answer | {"server_usage": usage},
    }
    return found


FAILED = {"start_time": 1400.5, "end_time": 1401.0, "info": {"input_tokens": 0}, "error": {"error_type": "Timeout"}}


@pytest.fixture
def write(tmp_path):
    def to_file(records):
        path = tmp_path / "per_request_lifecycle_metrics.json"
        path.write_text(json.dumps(records))
        return path

    return to_file


def test_requests_are_read_in_order_of_their_start(write):
    log = known.parse(write([old(n) for n in reversed(range(9))] + [FAILED]))
    assert log.format == "inference_perf" and log.clock.unit == "s"
    frame = log.frame
    assert frame["clock"].tolist() == [1393.0, 1395, 1397, 1399, 1400.5, 1401, 1403, 1405, 1407, 1409]
    assert frame["failed"].tolist() == [False] * 4 + [True] + [False] * 5
    assert frame["ttft_s"][0] == pytest.approx(0.012) and frame["itl_s"][0] == pytest.approx([0.0101] * 3)
    assert frame["latency_s"][0] == pytest.approx(0.05) and "cached_prompt_tokens" not in frame
    assert len(traces.read(write([old(0), old(1), FAILED])).requests) == 2


def test_the_servers_own_counts_are_taken_where_there_are_any(write):
    frame = known.parse(write([recent(n) for n in range(10)])).frame
    assert frame["output_tokens"].tolist() == [5] * 10 and frame["cached_prompt_tokens"].tolist() == [64] * 10


@pytest.mark.filterwarnings("ignore")
def test_it_calibrates_and_what_was_cached_is_no_prefill(write):
    law = engine_benchmarks.from_bench(write([old(n) for n in range(10)])).law
    assert law.step_s(0, 500, 0) == pytest.approx(0.02, rel=1e-3)
    requests = [recent(n) for n in range(10)]
    for request in requests:  # with half of each prompt cached, a token that is computed takes twice as long
        usage = request["info"]["response_metrics"]["server_usage"]
        usage["prompt_tokens_details"]["cached_tokens"] = request["info"]["input_tokens"] // 2
    law = engine_benchmarks.from_bench(write(requests))
    assert law.law.step_s(0, 250, 0) == pytest.approx(0.02, rel=1e-3) and "were cached" in law.card()


def test_what_was_not_streamed_has_no_token_times(write):
    records = [old(n) for n in range(10)]
    for record in records:
        record["info"]["output_token_times"] = []
    frame = known.parse(write(records)).frame
    assert {"ttft_s", "itl_s"}.isdisjoint(frame) and frame["latency_s"].notna().all()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"start_time": "now"}, r"row 0, start_time: 'now'"),
        ({"info": "x"}, r"row 0, info: 'x' \(expected an object\)"),
        (
            {"info": {"input_tokens": 1, "output_tokens": 2, "output_token_times": [5.0]}},
            r"row 0, output_token_times: 5",
        ),
        ({"info": {"output_tokens": 2}}, r"row 0, input_tokens: None"),
    ],
)
def test_what_is_wrong_is_named(write, changed, says):
    with pytest.raises(simlib.InputError, match=rf"per_request_lifecycle_metrics\.json, {says}"):
        known.parse(write([old(0, **changed)]))


def test_lengths_are_found_where_the_record_has_them_no_more_itself(write):
    rows = [recent(n) for n in range(3)]
    for row in rows:
        del row["info"]["input_tokens"]
    assert known.parse(write(rows)).frame["prompt_tokens"].tolist() == [100] * 3


def test_bodies_of_requests_say_what_prompts_share(write):
    bodies = [json.dumps({"prompt": "a" * 64 + str(n) * 64}) for n in range(9)]
    log = known.parse(write([old(n, request=bodies[n]) for n in reversed(range(9))]))
    first, *others = log.frame["pieces"]
    assert all(own[0] == first[0] and own[1] != first[1] for own in others)
    assert "pieces" not in known.parse(write([old(n) for n in range(9)])).frame
