"""The request table: what it takes, what it refuses by column, row and value, and what it hands on."""

import dataclasses
import datetime

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import InputError, RequestTable

GOOD = {"arrival_s": [0.0, 0.5, 0.5], "prompt_tokens": [10, 20, 30], "output_tokens": [5, 0, 7]}


def table(**changes) -> RequestTable:
    return RequestTable.of({**GOOD, **changes})


def refusal(**changes) -> str:
    """The message about a table of three rows with these columns changed, as a mapping and as a data frame."""
    with pytest.raises(InputError) as of_mapping:
        table(**changes)
    with pytest.raises(InputError) as of_frame:
        RequestTable.of(pd.DataFrame({**GOOD, **changes}))
    assert str(of_frame.value).replace("nan", "None") == str(of_mapping.value).replace("nan", "None")
    return str(of_mapping.value)


def test_a_table_is_a_struct_of_arrays():
    requests = table(predicted_output_tokens=[6, 6, 6], cached_prompt_tokens=[0, 20, 5])
    assert len(requests) == 3
    assert requests.arrival_s.dtype == np.float64
    for column in ("prompt_tokens", "output_tokens", "predicted_output_tokens", "cached_prompt_tokens"):
        assert getattr(requests, column).dtype == np.int64
    assert table().predicted_output_tokens is None


def test_a_table_does_not_change_when_the_data_that_it_came_from_do():
    arrival_s, prompt_tokens = np.array([0.0, 1.0]), np.array([10, 20])
    requests = RequestTable(arrival_s, prompt_tokens, prompt_tokens)
    arrival_s[:], prompt_tokens[:] = 9.0, 9
    assert requests.arrival_s.tolist() == [0.0, 1.0]
    assert requests.prompt_tokens.tolist() == [10, 20]
    with pytest.raises(dataclasses.FrozenInstanceError):
        requests.arrival_s = arrival_s


def test_a_table_of_a_table_is_itself():
    requests = table()
    assert RequestTable.of(requests) is requests


@pytest.mark.parametrize("kind", [list, tuple, np.array, pd.Series], ids=["list", "tuple", "array", "series"])
def test_columns_may_be_any_sequence(kind):
    requests = table(**{name: kind(values) for name, values in GOOD.items()})
    assert requests.frame().to_dict("list") == table().frame().to_dict("list")


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float32", "Int64", "object", "str"])
def test_whole_numbers_may_have_any_type(dtype):
    tokens = pd.Series(GOOD["prompt_tokens"]).astype(dtype)
    assert table(prompt_tokens=tokens).prompt_tokens.tolist() == [10, 20, 30]


def test_columns_that_are_not_the_tables_are_left_out_and_labels_kept():
    requests = table(request_id=["a", "b", "c"], client=[1, 2, 1], model=["m"] * 3, log_type=["x"] * 3, other=[1, 2, 3])
    assert set(requests.labels) == {"request_id", "client", "model", "log_type"}
    assert "other" not in requests.frame()


def test_a_frame_comes_back_with_its_index_and_its_columns():
    frame = pd.DataFrame(GOOD, index=["r7", "r3", "r5"]).assign(
        client=["x", "y", "x"], predicted_output_tokens=[1, 2, 3]
    )
    back = RequestTable.of(frame).frame()
    pd.testing.assert_frame_equal(back[list(frame)], frame, check_index_type=True)


# What is refused


@pytest.mark.parametrize("column", list(GOOD))
def test_a_missing_column_is_named_with_those_found(column):
    found = {name: values for name, values in GOOD.items() if name != column}
    for requests in (found, pd.DataFrame(found)):
        with pytest.raises(InputError, match=f"^{column}: missing column \\(found {', '.join(found)}\\)"):
            RequestTable.of(requests)


def test_arrival_ms_gets_a_hint():
    with pytest.raises(InputError, match="arrival_ms must be divided by 1000"):
        RequestTable.of({"arrival_ms": [0], "prompt_tokens": [1], "output_tokens": [1]})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arrival_s": [0.0, -1.0, 2.0]}, "arrival_s, row 1: -1 (expected seconds >= 0)"),
        ({"arrival_s": [0.0, np.nan, 2.0]}, "arrival_s, row 1: nan (expected a finite number)"),
        ({"arrival_s": [0.0, 1.0, np.inf]}, "arrival_s, row 2: inf (expected a finite number)"),
        ({"arrival_s": [0.0, 2.0, 1.5]}, "arrival_s, row 2: 1.5 (expected times in ascending order)"),
        ({"arrival_s": [0.0, "soon", 2.0]}, "arrival_s, row 1: soon (expected a finite number)"),
        ({"arrival_s": [None, 1.0, 2.0]}, "arrival_s, row 0: "),
        ({"prompt_tokens": [1, -2, 3]}, "prompt_tokens, row 1: -2 (expected an integer >= 0)"),
        ({"output_tokens": [1, 2.5, 3]}, "output_tokens, row 1: 2.5 (expected an integer >= 0)"),
        ({"output_tokens": [1, 2, np.nan]}, "output_tokens, row 2: nan (expected a finite number)"),
        ({"output_tokens": ["many", 2, 3]}, "output_tokens, row 0: many (expected a finite number)"),
        ({"prompt_tokens": ["5", "٥", "6"]}, "prompt_tokens, row 1: ٥ (expected a finite number)"),
        ({"prompt_tokens": ["5", "6", "1_0"]}, "prompt_tokens, row 2: 1_0 (expected a finite number)"),
        ({"prompt_tokens": [True, True, False]}, "prompt_tokens, row 0: True (expected a finite number)"),
        ({"prompt_tokens": [1, None, 3]}, "prompt_tokens, row 1: "),
        ({"predicted_output_tokens": [1, 2, -3]}, "predicted_output_tokens, row 2: -3 (expected an integer >= 0)"),
        ({"predicted_output_tokens": [1.5, 2, 3]}, "predicted_output_tokens, row 0: 1.5 (expected an integer >= 0)"),
        (
            {"cached_prompt_tokens": [0, 21, 0]},
            "cached_prompt_tokens, row 1: 21 (expected at most the row's prompt_tokens)",
        ),
        ({"prompt_tokens": [1, 2**40, 3]}, "prompt_tokens, row 1: 1099511627776 (expected an integer"),
        ({"prompt_tokens": [1, 10**400, 3]}, "prompt_tokens, row 1: "),
    ],
)
def test_a_bad_value_is_named_with_its_column_and_its_row(changes, says):
    assert refusal(**changes).startswith(says)


@pytest.mark.parametrize("column", [*GOOD, "predicted_output_tokens", "cached_prompt_tokens"])
@pytest.mark.parametrize("values", [[1], [1, 2, 3, 4], []], ids=len)
def test_columns_have_one_length(column, values):
    with pytest.raises(InputError, match=r"rows"):
        table(**{column: values})


@pytest.mark.parametrize("values", [5, None, "x", [[1, 2, 3]], [[1], [2], [3]]], ids=repr)
def test_a_column_has_one_dimension(values):
    for column in ("arrival_s", "prompt_tokens"):
        with pytest.raises(InputError, match=column):
            table(**{column: values})


@pytest.mark.parametrize("column", ["arrival_s", "prompt_tokens", "predicted_output_tokens"])
def test_a_ragged_column_is_named(column):
    with pytest.raises(InputError, match=column):
        table(**{column: [[1], [1, 2], [3]]})


def test_labels_have_the_tables_length():
    with pytest.raises(InputError, match="client"):
        table(client=["only one"])
    with pytest.raises(InputError, match="client"):
        RequestTable(**GOOD, labels={"client": ["only one"]})


def test_labels_are_a_mapping():
    with pytest.raises(InputError, match="labels"):
        RequestTable(**GOOD, labels=5)


def test_an_index_has_the_tables_length():
    with pytest.raises(InputError, match="index"):
        RequestTable(**GOOD, index=pd.Index([1]))


@pytest.mark.parametrize("requests", [None, 5, "table.csv", [1, 2], pd.Series([1, 2])], ids=repr)
def test_what_is_no_table_is_refused(requests):
    with pytest.raises(InputError, match=r"requests|arrival_s"):
        RequestTable.of(requests)


def test_a_column_that_comes_twice_is_refused():
    for column in ("arrival_s", "prompt_tokens", "client"):
        twice = pd.concat([pd.DataFrame(GOOD).assign(client="x"), pd.DataFrame({column: [0, 1, 2]})], axis=1)
        with pytest.raises(InputError, match=column):
            RequestTable.of(twice)


def test_an_empty_table_is_refused():
    with pytest.raises(InputError, match="arrival_s: the table has no rows"):
        RequestTable.of(pd.DataFrame(GOOD).iloc[:0])


@pytest.mark.parametrize(
    "arrivals",
    [
        pd.date_range("2023-11-16 18:17:03", periods=3, freq="s"),
        pd.date_range("2023-11-16 18:17:03", periods=3, freq="s", tz="UTC"),
        np.array(["2023-11-16T18:17:03"] * 3, dtype="datetime64[ms]"),
        [datetime.datetime(2023, 11, 16, 18, 17, second) for second in range(3)],
        ["2023-11-16 18:17:03.9799600", "2023-11-16 18:17:04.0", "2023-11-16 18:17:05"],
        ["2023/11/16", "2023/11/17", "2023/11/18"],
    ],
    ids=["frame", "time zone", "numpy", "python", "text", "slashes"],
)
def test_dates_are_refused_as_dates(arrivals):
    with pytest.raises(InputError, match=r"arrival_s, row 0: .*2023.*this is a date"):
        table(arrival_s=arrivals)


def test_negative_numbers_as_text_are_no_dates():
    with pytest.raises(InputError, match=r"row 0: -5 .*seconds >= 0"):
        table(arrival_s=["-5", "0", "1"])


@pytest.mark.parametrize(
    ("arrival_s", "says"),
    [
        ([1.7e9, 1.7e9 + 1, 1.7e9 + 2], "looks like a clock in seconds since 1970"),
        ([1.7e12, 1.7e12 + 500, 1.7e12 + 900], "looks like a clock in milliseconds since 1970"),
    ],
)
def test_a_clock_since_1970_is_refused(arrival_s, says):
    assert says in refusal(arrival_s=arrival_s)


def test_milliseconds_are_refused_where_they_show():
    # 0.27 requests a second, as in BurstGPT, but in milliseconds.
    with pytest.raises(InputError, match=r"arrival_s: mean gap 3700 s .*look like milliseconds"):
        RequestTable(np.arange(50) * 3700.0, np.ones(50), np.ones(50))
    assert len(RequestTable(np.arange(50) * 3.7, np.ones(50), np.ones(50))) == 50


def test_a_quiet_day_is_no_mistake():
    assert len(RequestTable([0.0, 86_400.0], [1, 1], [1, 1])) == 2


def test_one_row_and_one_instant_are_tables():
    assert len(RequestTable([3.0], [1], [1])) == 1
    assert RequestTable([3.0] * 50, np.ones(50), np.ones(50)).arrival_s.tolist() == [3.0] * 50


# Tables of tables


def labelled() -> RequestTable:
    frame = pd.DataFrame({**GOOD, "predicted_output_tokens": [1, 2, 3], "client": ["x", "y", "z"]}, index=[7, 8, 9])
    return RequestTable.of(frame)


def test_the_first_rows():
    assert labelled().head(2).frame().equals(labelled().frame().iloc[:2])
    assert len(labelled().head(99)) == 3


@pytest.mark.parametrize("which", [slice(1, 3), [1, 2], np.array([False, True, True])], ids=["slice", "places", "mask"])
def test_selected_rows_keep_labels_and_index(which):
    assert labelled().rows(which).frame().equals(labelled().frame().iloc[1:])


def test_other_predictions():
    assert labelled().with_predictions([9, 8, 7]).predicted_output_tokens.tolist() == [9, 8, 7]
    assert labelled().with_predictions(None).predicted_output_tokens is None
    with pytest.raises(InputError, match="predicted_output_tokens"):
        labelled().with_predictions([9])


def test_another_rate_divides_the_arrival_times():
    assert labelled().at_rate(2).arrival_s.tolist() == [0.0, 0.25, 0.25]
    assert labelled().at_rate(2).frame().drop(columns="arrival_s").equals(labelled().frame().drop(columns="arrival_s"))


@pytest.mark.parametrize("factor", [0, -1, np.nan, np.inf, "2", None, True, [2], 10**400], ids=lambda v: str(v)[:9])
def test_a_rate_factor_is_a_number_above_zero(factor):
    with pytest.raises(InputError, match="factor"):
        labelled().at_rate(factor)


@pytest.mark.parametrize("rows", [0, -1, 1.5, "2", None, np.nan], ids=repr)
def test_a_number_of_rows_is_a_whole_number_above_zero(rows):
    with pytest.raises(InputError, match="rows"):
        labelled().head(rows)


@pytest.mark.parametrize("which", ["x", None, 1, [5], [True], np.zeros(2, bool), [2, 0], [], [1.5]], ids=repr)
def test_rows_that_do_not_exist_or_descend_are_refused(which):
    with pytest.raises(InputError):
        labelled().rows(which)


# What prompts contain, and who waits for whose answer


def chained() -> RequestTable:
    blocks = [[], [7], [7, 8]]
    return table(block_ids=blocks, priority=[0, -1, 0], previous=[-1, 0, 1], think_s=[0, 0.5, 1])


def test_contents_and_turns_come_back_from_a_frame():
    back = RequestTable.of(chained().frame())
    assert [row.tolist() for row in back.block_ids] == [[], [7], [7, 8]]
    assert back.previous.tolist() == [-1, 0, 1]
    assert back.think_s.tolist() == [0.0, 0.5, 1.0]
    assert table(previous=[-1, 0, 0]).think_s.tolist() == [0.0, 0.0, 0.0]


def test_of_selected_rows_those_waited_for_are_counted_anew():
    some = chained().rows([1, 2])
    assert some.previous.tolist() == [-1, 0]
    assert some.think_s.tolist() == [0.0, 1.0]
    assert [row.tolist() for row in some.block_ids] == [[7], [7, 8]]
    assert chained().rows([0, 2]).previous.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"previous": [-1, 1, -1]}, "previous, row 1: 1 (expected a row above its own, or -1 for none)"),
        ({"previous": [0, -1, -1]}, "previous, row 0: 0 (expected a row above"),
        ({"previous": [-1, -2, -1]}, "previous, row 1: -2 (expected a row above"),
        ({"previous": [-1, 0.5, -1]}, "previous, row 1: 0.5 (expected an integer)"),
        ({"think_s": [0, 0, 0]}, "previous: missing column"),
        ({"previous": [-1, 0, 1], "think_s": [0, -1, 0]}, "think_s, row 1: -1 (expected seconds >= 0)"),
        ({"previous": [-1, 0, 1], "think_s": [0, np.nan, 0]}, "think_s, row 1: nan (expected a finite number)"),
        ({"previous": [-1, 0, 1], "think_s": [2, 0, 0]}, "think_s, row 0: 2 (expected 0, as the row waits for no"),
        ({"previous": [-1, 0, 1], "think_s": [0, 0]}, "think_s: 2 rows"),
        ({"priority": [0, 1.5, 0]}, "priority, row 1: 1.5 (expected an integer)"),
        ({"prefix_group": [0, 1, 0]}, "prefix_tokens: missing column (expected both"),
        ({"prefix_tokens": [0, 1, 0]}, "prefix_group: missing column (expected both"),
        (
            {"prefix_group": [0, 1, 0], "prefix_tokens": [0, 21, 0]},
            "prefix_tokens, row 1: 21 (expected 0 to the row's prompt_tokens)",
        ),
        (
            {"prefix_group": [0, 1, 0], "prefix_tokens": [0, 1, 0], "block_ids": [[], [], []]},
            "block_ids: given beside prefix_group (expected one of them",
        ),
        ({"block_ids": [[], [-1], []]}, "block_ids, row 1: [-1] (expected a sequence of integers"),
    ],
)
def test_bad_contents_and_turns_are_named(changes, says):
    with pytest.raises(InputError) as refused:
        table(**changes)
    assert str(refused.value).startswith(says)


def test_the_package_gives_the_table_by_its_name():
    assert simlib.RequestTable is RequestTable
