"""A column of sequences: what it takes, how it is cut, what it refuses."""

import numpy as np
import pytest

from simlib import InputError
from simlib.requests.sequences import Sequences

LISTS = [[7, 8], [], [9], [1, 2, 3]]


def column():
    return Sequences.of("block_ids", LISTS, 4)


@pytest.mark.parametrize(
    "given",
    [
        LISTS,
        [np.array(row, np.uint64) for row in LISTS],
        np.array([np.array(row, np.int64) for row in LISTS], object),
        ["[7, 8]", "[]", " 9 ", "1 2 3"],
        column(),
    ],
    ids=["lists", "unsigned", "array of arrays", "text", "itself"],
)
def test_rows_may_be_lists_arrays_or_text(given):
    found = Sequences.of("block_ids", given, 4)
    assert [row.tolist() for row in found] == LISTS
    assert found.flat.dtype == np.int32


def test_rows_of_one_length_stay_rows():
    frame = Sequences.of("block_ids", [[1, 2], [3, 4]], 2).column()
    assert frame.shape == (2,)
    assert [row.tolist() for row in frame] == [[1, 2], [3, 4]]


def test_large_numbers_keep_all_their_digits():
    large = 2**63 - 1
    assert Sequences.of("block_ids", [[large], [1]], 2)[0].tolist() == [large]


@pytest.mark.parametrize(
    "which",
    [slice(1, 3), slice(0, 0), slice(0, 4, 2), np.array([True, False, False, True]), np.array([0, 2, 1, 3])],
    ids=str,
)
def test_some_rows_are_a_column_again(which):
    found = column()[which]
    assert [row.tolist() for row in found] == [LISTS[row] for row in np.arange(4)[which]]
    assert found.lengths.tolist() == [len(row) for row in found]


def test_rows_next_to_each_other_are_not_copied():
    whole = column()
    assert np.shares_memory(whole[2:].flat, whole.flat)


@pytest.mark.parametrize("numbers", [2, 5, 10**6])
def test_numbers_are_chained_as_the_rows_up_to_them(numbers):
    rng = np.random.default_rng(2)
    rows = [rng.integers(0, numbers, rng.integers(0, 6)).tolist() for _ in range(60)]
    rows += [rows[0], rows[1][:2]]
    chained = Sequences.of("block_ids", rows, 62).chained()
    beginnings = [tuple(row[: place + 1]) for row in rows for place in range(len(row))]
    assert len(set(zip(beginnings, chained.flat, strict=True))) == len(set(beginnings)) == len(set(chained.flat))
    assert set(chained.flat) == set(range(len(set(beginnings))))
    assert chained.chained().flat.tolist() == Sequences.of("block_ids", list(chained), 62).chained().flat.tolist()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[1], [2]], "block_ids: 2 rows .expected 4"),
        (7, "block_ids: 7 .expected a sequence"),
        ([[1], [-2], [], []], r"block_ids, row 1: \[-2\] .expected a sequence of integers"),
        ([[1], [2], [0.5], []], r"block_ids, row 2: \[0.5\]"),
        ([[1], None, [], []], "block_ids, row 1: None"),
        ([[1], 5, [], []], "block_ids, row 1: 5"),
        ([[1], [[2]], [], []], r"block_ids, row 1: \[\[2\]\]"),
        ([[1], ["a"], [], []], "block_ids, row 1"),
        (["1", "2 x", "", ""], "block_ids, row 1: '2 x'"),
        (["1", "1_0", "", ""], "block_ids, row 1: '1_0'"),
        (["1", "٣", "", ""], "block_ids, row 1: '٣'"),
        (["1", "9" * 30, "", ""], "block_ids, row 1: '999"),
        ([[1], [2**63], [], []], "block_ids, row 1"),
    ],
)
def test_what_is_no_sequence_is_named_by_its_row(given, message):
    with pytest.raises(InputError, match=f"^{message}"):
        Sequences.of("block_ids", given, 4)


def test_rows_in_another_order_are_those_rows_though_they_begin_and_end_as_all_do():
    column = Sequences.of("block_ids", [[0], [1, 1], [2], [3, 3]], 4)
    assert [ids.tolist() for ids in column[np.array([0, 2, 1, 3])]] == [[0], [2], [1, 1], [3, 3]]
