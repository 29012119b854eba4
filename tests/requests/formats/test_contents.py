"""What prompts of a benchmark share, from texts, bodies, tokens and names of blocks."""

import json

import pytest

from simlib.requests.formats.results.contents import pieces, repeated

SYSTEM = "You answer briefly, and in the language of the question. " * 4  # 228 letters: three pieces, and 36 more


def test_texts_share_what_they_begin_with_and_no_more():
    named = pieces([SYSTEM + "a" * 92, SYSTEM + "b" * 92, "c" + SYSTEM, SYSTEM[:63]])
    assert [len(own) for own in named] == [5, 5, 3, 0]
    assert named[0][:3] == named[1][:3] and named[0][3] != named[1][3]  # a piece ends in what differs
    assert repeated(named).tolist() == [0.0, 0.6, 0.0, 0.0]


def body(text):
    return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("form", [lambda text: json.dumps({"prompt": text, "seed": len(text)}), body, str])
def test_bodies_of_requests_are_read_for_what_the_model_is_given(form):
    one, same, other = (pieces([form(SYSTEM), form(SYSTEM * times)])[1] for times in (1, 1, 2))
    assert repeated([one, same])[1] == 1.0 and len(other) > len(one)
    assert repeated(pieces([form(SYSTEM), form("x" + SYSTEM)]))[1] == 0.0


def test_tokens_and_texts_are_never_the_same():
    assert repeated(pieces([[1] * 16, "1" * 64, [1] * 40])).tolist() == [0.0, 0.0, 0.5]


def test_names_of_blocks_are_pieces_already():
    assert repeated(pieces([["a", "b"], ["a", "c", "d"], [[1]], None], named=True)).round(3).tolist() == [
        0,
        0.333,
        0,
        0,
    ]


@pytest.mark.parametrize("prompt", [None, 7, {}, {"messages": None}, [[[]]], "{" * 5000, {"prompt": {"prompt": 1}}])
def test_whatever_else_a_prompt_is_it_is_no_error(prompt):
    assert len(pieces([prompt])) == 1


def test_a_list_without_end_is_no_error():
    endless = []
    for _ in range(100_000):
        endless = [endless]
    assert pieces([{"messages": endless}]) == [[]]
