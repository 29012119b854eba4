"""A served engine's log: a client's clock for arrivals, the engine's own for what it measured."""

import numpy as np
import pytest

from simlib.checks import InputError

ROWS = [
    {
        "request_id": f"bench-{row}", "input_toks": 100 + row, "output_toks": 11,
        "arrival_time": 1787267980.5 + 0.25 * row,
        "queued_ts": 27536.5 + 0.25 * row, "scheduled_ts": 27536.75 + 0.25 * row,
        "first_token_ts": 27537.0 + 0.25 * row,
        "last_token_ts": 27539.5 + 0.25 * row,
    }
    for row in range(10)
]  # fmt: skip
STAMPS = ("queued_ts", "scheduled_ts", "first_token_ts", "last_token_ts")


def test_ten_requests(parsed):
    log = parsed(ROWS)
    assert (log.format, log.clock.unit, log.clock.epoch, log.unused, log.warnings) == ("vllm_log", "s", True, (), ())
    assert log.seconds(log.frame["clock"].to_numpy()).tolist() == [0.25 * row for row in range(10)]
    for name, value in {"ttft_s": 0.5, "latency_s": 3.0, "tpot_s": 0.25}.items():
        assert log.frame[name].tolist() == [value] * 10


def test_a_log_without_stamps_has_arrivals_and_lengths(parsed):
    log = parsed([{k: v for k, v in record.items() if k not in STAMPS} for record in ROWS])
    assert "ttft_s" not in log.frame and len(log.frame) == 10


def test_arrivals_in_milliseconds_since_1970_are_seen_and_said(parsed):
    log = parsed([record | {"arrival_time": 1000 * record["arrival_time"]} for record in ROWS])
    assert log.seconds(log.frame["clock"].to_numpy()).tolist() == [0.25 * row for row in range(10)]
    assert log.warnings == (
        "arrival_time: taken for milliseconds since 1970 (by their size), though the format counts in seconds",
    )


def test_stamps_in_nanoseconds_are_seen_and_said(parsed):
    log = parsed([record | {name: int(1e9 * record[name]) for name in STAMPS} for record in ROWS])
    assert log.frame["ttft_s"].tolist() == [0.5] * 10 and "nanoseconds" in log.columns["queued_ts"]


def test_a_request_that_was_never_answered_has_no_times(parsed):
    log = parsed([ROWS[0] | {"first_token_ts": None, "last_token_ts": None}, *ROWS[1:]])
    assert np.isnan(log.frame["ttft_s"][0]) and log.frame["ttft_s"][1] == 0.5


def test_an_answer_before_its_question_is_named(parsed):
    with pytest.raises(InputError, match=r"row 1, first_token_ts: 27536 \(expected scheduled_ts or later\)"):
        parsed([ROWS[0], ROWS[1] | {"first_token_ts": 27536}, *ROWS[2:]])


def test_a_stamp_that_is_missing_is_said_and_of_who_failed_it_is_not_looked_at(parsed):
    rows = [dict(record) for record in ROWS]
    rows[3]["first_token_ts"] = None
    rows[4] |= {"output_toks": 0, "first_token_ts": 0, "last_token_ts": 0}
    assert parsed(rows).warnings[-1] == "first_token_ts: 1 of 9 served requests have none"
