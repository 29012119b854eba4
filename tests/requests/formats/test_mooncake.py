"""Mooncake's form: milliseconds, blocks of 512, and conversations whose later turns wait."""

import json

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.requests import traces
from simlib.requests.formats.traces import mooncake

ROWS = [
    {"timestamp": 300 * row, "input_length": 700 + row, "output_length": 9, "hash_ids": [1, 60 + row]}
    for row in range(10)
]
TURNS = [
    {"session_id": "a", "timestamp": 0, "input_length": 420, "output_length": 44},
    {"session_id": "a", "delay": 900, "input_length": 510, "output_length": 31},
    {"session_id": "a", "delay": 1500.5, "input_length": 90, "output_length": 3},
    {"session_id": "b", "timestamp": 1600, "input_length": 421, "output_length": 44},
    {"session_id": "b", "timestamp": 4000, "input_length": 511, "output_length": 31},
    {"timestamp": 4100, "input_length": 77, "output_length": 7},
    {"session_id": "c", "timestamp": 5000, "input_length": 3, "output_length": 1},
    {"session_id": "a", "delay": 0, "input_length": 8, "output_length": 8},
    {"session_id": "c", "delay": 60000, "input_length": 9, "output_length": 9},
    {"session_id": "d", "timestamp": 6000, "input_length": 11, "output_length": 2},
]


def without(records, row, *keys):
    return [
        {k: v for k, v in record.items() if number != row or k not in keys} for number, record in enumerate(records)
    ]


def test_ten_requests(parsed):
    log = parsed(ROWS)
    assert (log.format, log.clock.unit, log.block_tokens, log.warnings) == ("mooncake", "ms", 512, ())
    assert log.seconds(log.frame["clock"].to_numpy()).tolist() == [row * 300 / 1000 for row in range(10)]
    assert log.frame["hash_ids"].tolist()[3] == [1, 63]


def test_the_same_in_seconds_is_seen_and_said(parsed):
    log = parsed([record | {"timestamp": record["timestamp"] / 1000} for record in ROWS])
    assert log.clock.unit == "s" and "though the format counts in milliseconds" in log.warnings[0]


@pytest.mark.parametrize("row", [0, 3, 9])
@pytest.mark.parametrize("key", ["hash_ids", "timestamp", "input_length", "output_length"])
def test_a_key_that_a_record_lacks_is_named_with_its_row(parsed, row, key):
    with pytest.raises(InputError, match=rf"f.jsonl, row {row}, {key}: nothing \(expected"):
        parsed(without(ROWS, row, key))


def test_names_of_blocks_are_numbers_of_any_size_or_text(parsed):
    ids = [[2**63 + row, "salted"] for row in range(10)]
    log = parsed([record | {"hash_ids": names} for record, names in zip(ROWS, ids, strict=True)])
    assert log.frame["hash_ids"].tolist() == ids
    with pytest.raises(InputError, match="row 0, hash_ids"):
        parsed([record | {"hash_ids": [1.5, 2]} for record in ROWS])


def test_keys_that_are_not_read_are_named_once(parsed):
    assert parsed([record | {"priority": 1, "extra": {}} for record in ROWS]).unused == ("priority", "extra")


def test_rows_without_any_time_are_lengths(parsed):
    log = parsed([{"input_length": 5, "output_length": 6}] * 10)
    assert log.format == "mooncake" and log.clock is None and "clock" not in log.frame


def test_later_turns_wait_for_the_answer_before_them(parsed):
    log = parsed(TURNS)
    assert (log.version, log.frame["session"].nunique()) == ("multi-turn", 5)  # a row without a session is one
    np.testing.assert_array_equal(log.frame["clock"], [0, *[np.nan] * 2, 1600, 4000, 4100, 5000, *[np.nan] * 2, 6000])
    np.testing.assert_array_equal(log.frame["delay_s"], [np.nan, 0.9, 1.5005, *[np.nan] * 4, 0, 60, np.nan])
    assert log.frame["prompt_tokens"].tolist() == [420, 510, 90, 421, 511, 77, 3, 8, 9, 11]
    assert "AIPerf puts the conversation so far before a later turn's" in log.warnings[-1]
    assert not parsed([record | {"context_mode": mooncake.WHOLE} for record in TURNS]).warnings


def test_a_delay_beside_a_timestamp_is_not_used_and_this_is_said(parsed):
    log = parsed([*TURNS[:4], TURNS[4] | {"delay": 5}, *TURNS[5:]])
    assert np.isnan(log.frame["delay_s"][4]) and "delay: not used in 1 rows that have a timestamp too" in log.warnings


def test_conversations_that_do_not_say_when_they_begin_have_lengths_and_waits(parsed, tmp_path):
    log = parsed([{k: v for k, v in record.items() if k != "timestamp"} for record in TURNS[:3] + TURNS[6:7]])
    assert "clock" not in log.frame
    np.testing.assert_array_equal(log.frame["delay_s"], [np.nan, 0.9, 1.5005, np.nan])
    table = traces.read(tmp_path / "f.jsonl", rate_rps=2.0).requests
    assert sorted(table.think_s) == [0.0, 0.0, 0.9, 1.5005]


def test_turns_without_any_delay_follow_at_once_and_this_is_said(parsed):
    log = parsed(without(without(TURNS[:4], 1, "delay"), 2, "delay"))
    assert log.frame["delay_s"].tolist()[1:3] == [0.0, 0.0]
    assert "delay: in no row, so that each of 2 turns follows the answer at once" in log.warnings


def test_a_turn_that_has_neither_and_a_conversation_that_begins_with_a_delay_are_named(parsed):
    with pytest.raises(InputError, match=r"row 2, delay: nothing \(expected a wait, or a timestamp\)"):
        parsed(without(TURNS, 2, "delay"))
    with pytest.raises(InputError, match=r"row 6, timestamp: nothing \(expected milliseconds"):
        parsed(without(TURNS, 6, "timestamp"))
    with pytest.raises(InputError, match="row 1, delay: -1"):
        parsed([TURNS[0], TURNS[1] | {"delay": -1}, *TURNS[2:]])


def test_delays_are_in_the_unit_of_the_clock(parsed):
    log = parsed([
        record | ({"timestamp": record["timestamp"] / 1000} if "timestamp" in record else {"delay": 2})
        for record in TURNS
    ])  # fmt: skip
    assert log.clock.unit == "s" and log.frame["delay_s"].tolist()[1] == 2.0
    assert log.columns["delay"] == "wait after the answer before it, seconds"


def test_a_prompt_that_names_a_block_twice_is_said(parsed):
    rows = [{"timestamp": 500 * row, "input_length": 1029, "output_length": 5, "hash_ids": [1, 1, 1]} for row in (0, 1)]
    assert "2 prompts name a block twice" in parsed(rows).warnings[0]


def test_conversations_without_times_need_a_rate_to_begin_at(tmp_path):
    rows = [{"session_id": "a", "input_length": 9, "output_length": 5, "delay": 1}] * 2
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(InputError, match=r"lengths and no times of arrival .expected the option --rate"):
        traces.read(tmp_path / "f.jsonl")
