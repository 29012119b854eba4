"""Conversations: what a turn's prompt has in it, what its blocks hold, and when it comes."""

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.requests.arrivals import Poisson
from simlib.requests.lengths import Fixed, LogNormal, Uniform
from simlib.requests.loops.conversations import Geometric, conversations
from simlib.requests.predictors import MultiplicativeNoise

OPEN = Poisson(1.0)


def blocks(table):
    return [ids.tolist() for ids in table.block_ids]


def test_a_turn_has_all_that_was_said_in_it():
    """System 20, turns of 10 words and answers of 6: prompts 30, 46, 62; blocks of 8 of prompt and answer."""
    table = conversations(1, OPEN, 3, Fixed(10), Fixed(6), 2.0, system_tokens=20, block_tokens=8)
    assert table.prompt_tokens.tolist() == [30, 46, 62] and table.previous.tolist() == [-1, 0, 1]
    assert blocks(table) == [list(range(4)), list(range(6)), list(range(8))]
    assert np.diff(table.arrival_s).tolist() == pytest.approx([2.0, 2.0])


def test_a_template_that_drops_half_of_an_answer_leaves_only_prompts_to_be_found():
    table = conversations(1, OPEN, 3, Fixed(10), Fixed(6), system_tokens=20, block_tokens=8, dropped_share=0.5)
    assert table.prompt_tokens.tolist() == [30, 43, 56] and blocks(table) == [[0, 1, 2], list(range(5)), list(range(7))]


def test_sessions_share_full_blocks_of_the_system_prompt_and_nothing_else():
    table = conversations(30, OPEN, Geometric(4.0), Uniform(1, 90), Uniform(1, 90), 1.0, system_tokens=40)
    client, ids = table.labels["client"], [set(each) for each in blocks(table)]
    for one in range(len(table)):
        for other in range(one):
            common = ids[one] & ids[other]
            if client[one] != client[other]:
                assert common == {0, 1}  # 40 tokens fill two blocks of 16
            else:  # the earlier turn, answer included, is the beginning of the later one
                assert (
                    common == ids[other] and len(ids[other]) == (table.prompt_tokens + table.output_tokens)[other] // 16
                )


def test_turns_wait_and_sessions_come_openly():
    """1,000 sessions at 1/s of 5 turns on average, seed 0: the mean within 5 standard errors (1e-6)."""
    table = conversations(1000, OPEN, Geometric(5.0), Fixed(10), Fixed(5), "exponential:3s")
    counts = np.bincount(table.labels["client"])
    assert abs(counts.mean() - 5.0) < 5 * np.sqrt(20.0 / 1000) and counts.min() == 1
    waits = table.previous >= 0
    assert (np.count_nonzero(~waits), (table.think_s[~waits] == 0).all()) == (1000, True)
    assert (table.labels["client"][table.previous[waits]] == table.labels["client"][waits]).all()
    np.testing.assert_array_equal(table.arrival_s[~waits], conversations(1000, OPEN, 1, Fixed(1), Fixed(1)).arrival_s)


def test_the_first_sessions_do_not_depend_on_how_many_follow():
    few, many = (
        conversations(n, OPEN, Geometric(3.0), LogNormal(50, 1.0), LogNormal(80, 1.0), "exponential:1s")
        for n in (5, 50)
    )
    same = many.rows(many.labels["client"] < 5)
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "previous", "think_s"):
        np.testing.assert_array_equal(getattr(few, name), getattr(same, name))
    assert blocks(few) == blocks(same)


def test_a_session_ends_before_a_turn_that_is_too_long():
    table = conversations(2, OPEN, 9, Fixed(10), Fixed(6), most_tokens=50)
    assert table.prompt_tokens.tolist().count(42) == 2 and table.prompt_tokens.max() == 42  # 58 + 6 > 50
    assert len(conversations(2, OPEN, 9, Fixed(100), Fixed(6), most_tokens=50)) == 2


def test_predictions_may_be_had():
    assert conversations(2, OPEN, 2, Fixed(5), Fixed(5), 0, MultiplicativeNoise(0.1)).predicted_output_tokens.shape == (
        4,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sessions": 0}, "sessions: 0"),
        ({"turns": 0}, "turns: 0"),
        ({"turns": Uniform(0, 0)}, r"turns: 0 from Uniform.*whole numbers from 1"),
        ({"turns": "many"}, "turns: 'many'"),
        ({"think": -2}, "think_s: -2"),
        ({"arrivals": 5.0}, "arrivals: 5.0"),
        ({"system_tokens": -1}, "system_tokens: -1"),
        ({"dropped_share": 1.5}, "dropped_share: 1.5"),
        ({"block_tokens": 0}, "block_tokens: 0"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    good = {"sessions": 2, "arrivals": OPEN, "turns": 2, "prompt": Fixed(5), "output": Fixed(5)}
    with pytest.raises(InputError, match=message):
        conversations(**(good | change))


def test_a_mean_number_of_turns_below_one_is_refused():
    with pytest.raises(InputError, match=r"mean_turns: 0.5"):
        Geometric(0.5)
