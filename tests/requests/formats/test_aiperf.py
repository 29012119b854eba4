"""AIPerf's records: units by their own word, warm-up and cancelled requests left out, failed ones marked."""

import json

import pytest

import simlib
from simlib import traces
from simlib.calibration import engine_benchmarks
from simlib.requests.formats import known

START = 1_780_000_000_000_000_000


def record(number, start_ns, phase="profiling", turn=0, cancelled=False, **metrics):
    metadata = {"session_num": number, "x_correlation_id": f"c{number % 2}", "turn_index": turn}
    metadata |= {"request_start_ns": START + start_ns, "benchmark_phase": phase, "was_cancelled": cancelled}
    found = {
        "input_sequence_length": {"value": 100 + number, "unit": "tokens"},
        "output_sequence_length": {"value": 3, "unit": "tokens"},
        "time_to_first_token": {"value": 50.0, "unit": "ms"},
        "inter_chunk_latency": {"value": [10.0, 20.0], "unit": "ms"},
        "request_latency": {"value": 80.0, "unit": "ms"},
    }
    return {"metadata": metadata, "metrics": found | metrics, "error": None}


def failed(number, start_ns):
    error = {"code": 503, "type": "HTTPError", "message": "Service Unavailable"}
    return record(number, start_ns) | {"metrics": {"error_isl": {"value": 77, "unit": "tokens"}}, "error": error}


# As they ended, not as they began: the last but one was sent first.
RECORDS = [
    record(0, 0, phase="warmup"),
    record(1, 1_000_000_000),
    record(2, 1_500_000_000, time_to_first_token={"value": 60_000.0, "unit": "us"}),
    record(3, 2_000_000_000, inter_chunk_latency={"value": [0.03], "unit": "sec"}),
    record(4, 2_500_000_000, cancelled=True),
    failed(5, 3_000_000_000),
    record(6, 3_500_000_001),
    record(7, 4_000_000_000, request_latency={"value": 90_000_000, "unit": "ns"}),
    record(8, 500_000_000),
    record(9, 4_500_000_000),
]


@pytest.fixture
def write(tmp_path):
    def to_file(records):
        path = tmp_path / "profile_export.jsonl"
        path.write_text("\n".join(json.dumps(one) for one in records))
        return path

    return to_file


def test_records_of_the_measured_phase_are_read_in_order_of_their_start(write):
    log = known.parse(write(RECORDS))
    assert log.format == "aiperf" and (log.clock.unit, log.clock.epoch) == ("ns", True)
    assert log.dropped == {"of the phase warmup": 1, "cancelled by the client": 1}
    frame = log.frame
    assert frame["prompt_tokens"].tolist() == [108, 101, 102, 103, 77, 106, 107, 109]
    assert frame["output_tokens"].tolist() == [3, 3, 3, 3, 0, 3, 3, 3] and frame["failed"].tolist().index(True) == 4
    assert frame["ttft_s"][[1, 2]].tolist() == [0.05, 0.06] and frame["itl_s"][3].tolist() == [0.03]
    assert frame["latency_s"][6] == 0.09 and "session" not in frame
    assert log.seconds(frame["clock"].to_numpy())[5] == 3.000000001  # whole nanoseconds


def test_a_trace_of_them_begins_at_0_without_those_that_failed(write):
    trace = traces.read(write(RECORDS))
    assert trace.requests.arrival_s == pytest.approx([0.0, 0.5, 1.0, 1.5, 3.0, 3.5, 4.0], abs=1e-8)
    assert trace.failed_dropped == 1


def test_turns_are_sessions(write):
    frame = known.parse(write([record(n, n * 10**9, turn=n // 2) for n in range(10)])).frame
    assert frame["session"].tolist() == ["c0", "c1"] * 5


def test_the_first_versions_names_are_read(write):
    old = record(1, 0)
    old["metadata"] = {"timestamp_ns": START, "credit_phase": "profiling"}
    old["metrics"]["ttft"] = old["metrics"].pop("time_to_first_token")
    assert known.parse(write([old])).frame["ttft_s"].tolist() == [0.05]


@pytest.mark.filterwarnings("ignore")
def test_it_calibrates(write):
    """Steps of 10 ms and 0.1 ms a decode, 0.02 ms a prompt's token: alone, one after the other."""
    records = [
        record(
            n,
            n * 10**9,
            input_sequence_length={"value": 100 * (n + 1), "unit": "tokens"},
            time_to_first_token={"value": 10 + 0.02 * 100 * (n + 1), "unit": "ms"},
            inter_chunk_latency={"value": [10.1] * 2, "unit": "ms"},
        )
        for n in range(10)
    ]
    law = engine_benchmarks.from_bench(write(records))
    assert law.law.step_s(1, 0, 0) == pytest.approx(0.0101, rel=1e-3)
    assert law.law.step_s(0, 500, 0) == pytest.approx(0.02, rel=1e-3)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"time_to_first_token": {"value": 1.0, "unit": "parsecs"}}, r"row 0, time_to_first_token: unit 'parsecs'"),
        ({"output_sequence_length": {"value": -1, "unit": "tokens"}}, r"row 0, output_sequence_length: -1 \(expected"),
        ({"input_sequence_length": None}, r"row 0, input_sequence_length: None"),
        ({"inter_chunk_latency": {"value": ["x"], "unit": "ms"}}, r"row 0, inter_chunk_latency: 'x'"),
        ({"inter_chunk_latency": {"value": [10.0], "unit": "s"}}, r"inter_chunk_latency: a median of 10 s"),
    ],
)
def test_what_is_wrong_is_named(write, changed, says):
    with pytest.raises(simlib.InputError, match=rf"profile_export\.jsonl, {says}"):
        known.parse(write([record(0, 0, **changed)]))


def test_nothing_but_a_warm_up_is_refused(write):
    with pytest.raises(simlib.InputError, match=r"no request of the measured phase \(1 of the phase warmup; expected"):
        known.parse(write(RECORDS[:1]))


def test_records_without_gaps_have_their_mean_and_records_that_lack_them_among_others_are_counted(write):
    mean = {"inter_token_latency": {"value": 15.0, "unit": "ms"}}
    rows = [record(number, 500_000_000 * number, **mean) for number in range(3)]
    assert known.parse(write(rows)).warnings == ()
    del rows[1]["metrics"]["inter_chunk_latency"]
    assert known.parse(write(rows)).warnings == ("inter_chunk_latency: none in 1 of 3 requests of two tokens or more",)
    for row in rows:
        row["metrics"].pop("inter_chunk_latency", None)
    log = known.parse(write(rows))
    assert log.frame["tpot_s"].tolist() == [0.015] * 3 and "inter_token_latency" in log.columns
