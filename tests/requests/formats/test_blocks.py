"""What a prefix cache has of a prompt: full blocks only, of as many tokens as the rows say, never the last token."""

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.requests.formats.blocks import (
    cached_prefix_tokens,
    check_counts,
    engine_blocks,
    names_of,
    shared_in_part,
    tokens_of,
)


def size(counts, prompts, convention=None):
    return tokens_of("f.jsonl", np.array(counts), np.array(prompts), convention)


@pytest.mark.parametrize("block_tokens", [1, 16, 24, 64, 512])
@pytest.mark.parametrize("rounded", [np.ceil, np.floor])
def test_the_rows_say_how_many_tokens_a_block_has(block_tokens, rounded):
    prompts = np.random.default_rng(3).integers(1, 9000, 400)
    assert size(
        rounded(prompts / block_tokens).astype(int), prompts, convention=16 if block_tokens == 512 else 512
    ) == (block_tokens)


def test_the_format_says_it_where_the_rows_leave_several():
    assert size([1, 1], [110, 300], 512) == 512
    assert size([3, 4], [1200, 1800], 512) == 512
    assert size([0, 1], [0, 5], 512) == 512


def test_one_usual_size_among_those_that_fit_is_taken():
    assert size([2, 3], [20, 40]) == 16  # 14 to 19


def test_sizes_that_all_fit_are_asked_about():
    with pytest.raises(
        InputError, match=r"f.jsonl, hash_ids: blocks of 300 to .* fit .*--block-tokens, block_tokens= in"
    ):
        size([1, 1], [110, 300])


def test_a_number_of_blocks_that_a_prompt_cannot_have_is_named_with_the_one_it_should_have():
    with pytest.raises(
        InputError, match=r"row 0, hash_ids: 1 blocks for 2100 tokens \(expected 5, at 512 tokens a block"
    ):
        size([1, 1, 40], [2100, 2100, 110], 512)
    with pytest.raises(
        InputError, match=r"row 3, hash_ids: 9 blocks for 100 tokens \(expected 7, at 16 tokens a block"
    ):
        size([2, 3, 7, 9, 1], [32, 40, 100, 100, 9], 512)
    with pytest.raises(InputError, match=r"row 1, hash_ids: 2 blocks for 100 tokens \(expected 7, at 16"):
        check_counts("f.jsonl", np.array([6, 2]), np.array([100, 100]), 16)


def test_rows_that_name_the_last_block_and_rows_that_do_not_are_not_taken_together():
    with pytest.raises(InputError, match=r"row 3, hash_ids: 6 blocks for 100 tokens \(expected 7, at 16"):
        size([2, 3, 7, 6], [32, 40, 100, 100], 512)


def test_only_the_run_of_blocks_from_the_first_on_is_found():
    # Hand-worked: row 1 has 1 and 2; row 2 begins with a new block; row 3 has 1, and then another.
    ids, prompts = [[1, 2], [1, 2, 3], [4, 2], [1, 5]], [1024, 1500, 1024, 1000]
    assert cached_prefix_tokens(ids, prompts).tolist() == [0, 1024, 0, 512]


def test_a_block_that_is_not_full_is_no_hit_and_the_last_token_is_always_computed():
    # 700 tokens: the second block holds 188. 1,024: both are full, but a token must be computed: 63 blocks of 16.
    assert cached_prefix_tokens([[1, 2], [1, 2]], [700, 700]).tolist() == [0, 512]
    assert cached_prefix_tokens([[1, 2], [1, 2]], [1024, 1024]).tolist() == [0, 1008]
    assert cached_prefix_tokens([[1], [1]], [16, 16], block_tokens=16).tolist() == [0, 0]
    assert cached_prefix_tokens([[1], [1]], [17, 17], block_tokens=16).tolist() == [0, 16]
    assert cached_prefix_tokens([[], []], [0, 0]).tolist() == [0, 0]


def test_hits_are_whole_blocks_of_the_engine():
    assert cached_prefix_tokens([[1, 2], [1, 2]], [90, 90], block_tokens=40).tolist() == [0, 80]
    assert cached_prefix_tokens([[1, 2], [1, 3]], [90, 90], block_tokens=40).tolist() == [0, 32]


def test_a_small_cache_loses_the_end_of_what_is_oldest_first():
    ids, prompts = [[1, 2, 3], [4], [1, 2, 3]], [100, 100, 100]
    assert cached_prefix_tokens(ids, prompts, 3, block_tokens=32).tolist() == [0, 0, 64]  # 4 took the place of 3
    assert cached_prefix_tokens(ids, prompts, 0, block_tokens=32).tolist() == [0, 0, 0]
    assert cached_prefix_tokens(ids, prompts, 4, block_tokens=32).tolist() == [0, 0, 96]


def test_a_large_cache_is_one_without_a_limit():
    draw = np.random.default_rng(5)
    ids = [draw.integers(0, 40, count).cumsum().tolist() for count in draw.integers(0, 9, 300)]
    prompts = [16 * len(blocks) + 1 for blocks in ids]
    unlimited = cached_prefix_tokens(ids, prompts, block_tokens=16)
    assert unlimited.any() and (cached_prefix_tokens(ids, prompts, 10_000, block_tokens=16) == unlimited).all()


def test_names_of_any_size_and_kind():
    huge = 2**64 - 1
    assert cached_prefix_tokens([[huge, "a"], [huge, "b"]], [40, 40], block_tokens=16).tolist() == [0, 16]
    with pytest.raises(InputError, match="hash_ids, row 1"):
        cached_prefix_tokens([[1], [[2]]], [16, 16])


def test_last_blocks_that_are_shared_though_not_full_are_counted():
    # Rows 1 and 3 name a last block that was named before; that of row 3 is full.
    ids, prompts = [[1, 2], [1, 2], [1, 3], [1]], np.array([20, 20, 20, 16])
    assert shared_in_part(ids, prompts, 16) == 1
    assert shared_in_part([[1], [1]], np.array([20, 20]), 16) == 0  # only full blocks have names here


def test_tokens_are_named_by_blocks_with_all_before_them():
    assert names_of([[1, 2, 3, 4], [3, 4, 3, 4], [1, 2, 3], []], 2) == [[0, 1], [2, 3], [0], []]


@pytest.mark.parametrize(
    ("engine_block_tokens", "blocks"),
    [
        # Prompts of 10 and 11 tokens in blocks of 4: two full ones each, of which the second differs.
        (2, [[0, 1, 2, 3, 6], [0, 1, 4, 5, 7]]),
        (4, [[0, 1], [0, 2]]),
        (8, [[2], [4]]),  # told by the trace's block that it ends with
        (3, [[0, 3, 9], [0, 6, 10]]),  # tokens 3 to 5 end in the second block, 6 to 8 in the third, which is not full
        (16, [[], []]),
    ],
)
def test_blocks_of_an_engine_are_told_by_those_of_the_trace(engine_block_tokens, blocks):
    found = engine_blocks([["a", "b", "x"], ["a", "c", "x"]], np.array([10, 11]), 4, engine_block_tokens)
    assert [row.tolist() for row in found] == blocks


@pytest.mark.parametrize("engine_block_tokens", [1, 2, 3, 4, 6, 8, 16])
def test_a_cache_without_limit_finds_of_them_what_is_cached_of_the_trace(engine_block_tokens):
    rng = np.random.default_rng(7)
    prompts = [(rng.random(rng.integers(1, 40)) < 0.1).astype(int).tolist() for _ in range(80)]
    lengths = np.array([len(prompt) for prompt in prompts])
    names = names_of(prompts, 4)
    known, hits = {}, []
    for prompt, ids in zip(prompts, engine_blocks(names, lengths, 4, engine_block_tokens), strict=True):
        leading = next((place for place, block in enumerate(ids) if block not in known), len(ids))
        hits.append(min(leading, (len(prompt) - 1) // engine_block_tokens) * engine_block_tokens)
        for place, block in enumerate(ids, 1):
            tokens = prompt[: place * engine_block_tokens]
            assert known.setdefault(block, tokens) == tokens
    cached = cached_prefix_tokens(names, lengths, None, 4, engine_block_tokens)
    assert cached.sum() > 0
    assert hits == cached.tolist()
