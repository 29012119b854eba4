"""Qwen-Bailian's traces: Mooncake's keys with seconds, blocks of 16, and chats that have parents."""

import pytest

from simlib.checks import InputError
from simlib.requests.formats.blocks import cached_prefix_tokens

PARENTS = [-1, -1, 10, -1, 12, 11, -1, -1, 17, 18]
ROWS = [
    {
        "chat_id": 10 + row, "parent_chat_id": parent, "timestamp": round(0.298 + 0.57 * row, 3), "turn": 1,
        "input_length": 40 + row, "output_length": 20 + row, "type": "text",
        "hash_ids": [1, 2, 100 + row, 200][: 3 + (row > 8)],
    }
    for row, parent in enumerate(PARENTS)
]  # fmt: skip


def test_ten_requests(parsed):
    log = parsed(ROWS)
    assert (log.format, log.clock.unit, log.block_tokens, log.warnings) == ("bailian", "s", 16, ())
    assert log.seconds(log.frame["clock"].to_numpy())[-1] == pytest.approx(9 * 0.57)
    # Two blocks of 16 are of all; of the third, which no two share, nothing is.
    cached = cached_prefix_tokens(log.frame["hash_ids"].tolist(), log.frame["prompt_tokens"].tolist(), None, 16)
    assert cached.tolist() == [0] + [32] * 9


def test_a_chat_belongs_to_the_conversation_of_its_parent_if_that_is_in_the_file(parsed):
    sessions = parsed(ROWS).frame["session"].tolist()
    assert sessions == ["10", "11", "10", "13", "10", "11", "16", "17", "17", "17"]
    assert parsed(ROWS[2:]).frame["session"].tolist()[0] == "12"


def test_the_same_in_milliseconds_is_seen_and_said(parsed):
    log = parsed([record | {"timestamp": round(1000 * record["timestamp"])} for record in ROWS])
    assert log.clock.unit == "ms" and "though the format counts in seconds" in log.warnings[0]


def test_blocks_of_512_are_not_the_formats_and_are_seen_all_the_same(parsed):
    log = parsed([record | {"hash_ids": list(range(-(-4000 // 512))), "input_length": 4000} for record in ROWS])
    assert log.block_tokens == 512


def test_an_impossible_number_of_blocks_is_named(parsed):
    with pytest.raises(InputError, match=r"row 4, hash_ids: 1 blocks for 44 tokens \(expected 3, at 16"):
        parsed([*ROWS[:4], ROWS[4] | {"hash_ids": [7]}, *ROWS[5:]])
