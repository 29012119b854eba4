"""Conversations of a file: turns that wait come after an answer, in a table's order, whatever is left out."""

import json

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.requests.traces import read

ROWS = [  # AIPerf's form: milliseconds
    {"session_id": "a", "timestamp": 1000, "input_length": 10, "output_length": 1},
    {"session_id": "a", "delay": 5000, "input_length": 20, "output_length": 2},
    {"session_id": "a", "delay": 500, "input_length": 30, "output_length": 3},
    {"session_id": "b", "timestamp": 2000, "input_length": 40, "output_length": 4},
    {"session_id": "b", "delay": 100, "input_length": 50, "output_length": 5},
]


@pytest.fixture
def file(tmp_path):
    def written(rows, name="t.jsonl"):
        path = tmp_path / name
        path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
        return path

    return written


def columns(table):
    return [getattr(table, name).tolist() for name in ("prompt_tokens", "previous", "think_s")]


def test_turns_stand_where_they_could_arrive_first(file):
    trace = read(file(ROWS))
    assert columns(trace.requests) == [[10, 40, 50, 20, 30], [-1, -1, 1, 0, 3], [0, 0, 0.1, 5.0, 0.5]]
    np.testing.assert_allclose(trace.requests.arrival_s, [0, 1, 1.1, 5, 5.5])
    assert "5 requests, of which 3 wait for an answer, 2 conversations at 1 per second" in str(trace)
    assert trace.rate_rps == 1.0


def test_a_turn_that_is_left_out_counts_as_answered_at_once(file):
    failed = [ROWS[0], ROWS[1] | {"output_length": 0}, *ROWS[2:]]
    assert columns(read(file(failed)).requests) == [[10, 40, 50, 30], [-1, -1, 1, 0], [0, 0, 0.1, 5.5]]
    first = [ROWS[0] | {"output_length": 0}, *ROWS[1:]]
    table = read(file(first)).requests
    assert columns(table) == [[40, 50, 20, 30], [-1, 0, -1, 2], [0, 0.1, 0, 0.5]]
    np.testing.assert_allclose(table.arrival_s, [0, 0.1, 4, 4.5])
    assert columns(read(file(ROWS), rows=3).requests) == [[10, 40, 50], [-1, -1, 1], [0, 0, 0.1]]


def test_a_rate_is_of_conversations_and_leaves_the_waits(file):
    table = read(file(ROWS), rate_rps=10.0).requests
    np.testing.assert_allclose(table.arrival_s, [0, 0.1, 0.2, 5, 5.5])
    assert table.think_s.tolist() == [0, 0, 0.1, 5.0, 0.5]


def test_conversations_without_times_begin_at_a_rate(file):
    timeless = [{key: value for key, value in row.items() if key != "timestamp"} for row in ROWS]
    with pytest.raises(InputError, match=r"lengths and no times of arrival .expected the option --rate"):
        read(file(timeless))
    table = read(file(timeless), rate_rps=1.0, seed=1).requests
    assert sorted(table.prompt_tokens) == [10, 20, 30, 40, 50] and np.count_nonzero(table.previous < 0) == 2
    waits = table.previous >= 0
    np.testing.assert_allclose(table.arrival_s[waits], table.arrival_s[table.previous[waits]] + table.think_s[waits])
    assert read(file(timeless), at_once=True).requests.arrival_s.tolist() == [0, 0, 0.1, 5.0, 5.5]


def test_turns_that_all_have_times_are_replayed_by_them(file):
    recorded = [row | {"timestamp": 1000 * number} for number, row in enumerate(ROWS)]
    table = read(file(recorded)).requests
    assert not table.closed and table.arrival_s.tolist() == [0, 1, 2, 3, 4]


def test_a_turn_with_a_time_before_the_turn_above_it_is_named(file):
    rows = [*ROWS, {"session_id": "a", "timestamp": 7000, "input_length": 1, "output_length": 1}]
    assert read(file(rows)).requests.previous.tolist() == [-1, -1, 1, 0, 3, -1]
    with pytest.raises(
        InputError, match=r"t.jsonl, row 5, timestamp: 6400 \(expected 6500 or later: row 2 is an earlier"
    ):
        read(file([*ROWS, rows[-1] | {"timestamp": 6400}]))


def test_conversations_that_begin_out_of_order_are_refused_or_sorted(file):
    rows = [*ROWS[3:], *ROWS[:3]]
    with pytest.raises(InputError, match=r"row 2, timestamp: 1000 .expected ascending"):
        read(file(rows))
    assert columns(read(file(rows), unsorted="sort").requests) == columns(read(file(ROWS)).requests)


def test_turns_cannot_be_made_more_by_a_bootstrap(file):
    with pytest.raises(InputError, match=r"extend: 'bootstrap' .expected none: turns of t.jsonl wait for each other"):
        read(file(ROWS), rows=10, extend="bootstrap")


def test_earlier_turns_may_be_put_before_a_prompt(file):
    """Session a: 10 + 1, then 20 more and an answer of 2, then 30: prompts of 10, 31, 63; b: 40, 94."""
    table = read(file(ROWS), history="add").requests
    assert table.prompt_tokens.tolist() == [10, 40, 94, 31, 63]
    assert [ids.tolist() for ids in table.block_ids] == [[], [4, 5], [4, 5, 6, 7, 8, 9], [0, 1], [0, 1, 2, 3]]
    with pytest.raises(InputError, match=r"history: 'add' .expected 'as_given': t.jsonl has no conversations"):
        read(file([{"timestamp": 0, "input_length": 1, "output_length": 1}] * 2), history="add")


def test_a_request_table_has_sessions_or_its_own_columns(file):
    text = "session_id,arrival_ms,delay_ms,prompt_tokens,output_tokens\na,500,,10,1\na,,250,20,2\nb,600,,30,3\n"
    table = read(file(text, "t.csv")).requests
    assert columns(table) == [[10, 30, 20], [-1, -1, 0], [0, 0, 0.25]] and table.arrival_s.tolist() == [0.5, 0.6, 0.75]
    again = read(file(table.frame().to_csv(index=False), "again.csv")).requests
    assert columns(again) == columns(table) and again.arrival_s.tolist() == table.arrival_s.tolist()
    with pytest.raises(InputError, match=r"t.csv, row 1, previous: 1 \(expected the number of a row above"):
        read(file("arrival_s,prompt_tokens,output_tokens,previous,think_s\n0,1,1,-1,0\n0,1,1,1,2\n", "t.csv"))
    with pytest.raises(InputError, match=r"t.csv, row 1, think_s: -2"):
        read(file("arrival_s,prompt_tokens,output_tokens,previous,think_s\n0,1,1,-1,0\n0,1,1,0,-2\n", "t.csv"))
