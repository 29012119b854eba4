"""The chat of the chapter on caches: what its prompts have in common, and what a rate moves."""

import numpy as np
import pytest

from book.chapters.prefix_cache.traffic import SYSTEM_TOKENS, TURNS, Chat, trace
from simlib.checks import InputError

CHAT = Chat(60)


@pytest.fixture(scope="module")
def table():
    return CHAT.draw(2.0, seed=1)


def test_a_turns_prompt_is_all_that_was_said_before_and_begins_with_the_same_blocks(table):
    later = np.flatnonzero(table.previous >= 0)
    before = table.previous[later]
    said = table.prompt_tokens[before] + table.output_tokens[before]
    assert len(later) > 100 and (table.prompt_tokens[later] > said).all()
    assert (table.labels["client"][later] == table.labels["client"][before]).all()
    for row, previous in zip(later, before, strict=True):
        known = table.block_ids[previous]
        assert table.block_ids[row][: len(known)].tolist() == known.tolist()


def test_two_conversations_have_the_system_prompt_in_common_and_nothing_else(table):
    first = np.flatnonzero(table.previous < 0)
    shared = SYSTEM_TOKENS // CHAT.block_tokens
    own = [set(table.block_ids[row][shared:].tolist()) for row in first]
    assert {tuple(table.block_ids[row][:shared]) for row in first} == {tuple(range(shared))}
    assert len(set().union(*own)) == sum(map(len, own))


def test_a_rate_moves_when_conversations_begin_and_nothing_else(table):
    slower = CHAT.draw(0.5, seed=1)
    by_length = [np.lexsort((one.prompt_tokens, one.labels["client"])) for one in (table, slower)]
    for column in ("prompt_tokens", "output_tokens", "think_s"):
        fast, slow = (getattr(one, column)[order] for one, order in zip((table, slower), by_length, strict=True))
        assert (fast == slow).all(), column
    begins = [one.arrival_s[one.previous < 0] for one in (table, slower)]
    assert begins[1] == pytest.approx(4 * begins[0])


def test_its_rate_is_the_one_that_is_asked_for_within_four_standard_errors():
    """Of 2,000 conversations: their number in a time and their turns (geometric); false alarms 1 in 16,000."""
    table = Chat(2000).draw(2.0, seed=3)
    spans = table.arrival_s[table.previous < 0].max()
    errors = np.hypot(1, np.sqrt(1 - 1 / TURNS)) / np.sqrt(2000)
    assert len(table) / spans == pytest.approx(2.0, rel=4 * errors)


def test_without_the_trace_it_says_which_file_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(InputError, match=r"mooncake/synthetic_trace\.jsonl\.gz: not found"):
        trace()
