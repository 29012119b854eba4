"""Which format a file is: the one whose columns it has, and a question where it has those of two."""

import pytest

from simlib.checks import InputError
from simlib.requests.formats import known

BOTH = "timestamp,input_length,output_length,arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{1000 * row},{110 + row},{11 + row},{0.5 * row},{510 + row},{52 + row}\n" for row in range(10)
)


def test_columns_of_two_complete_formats_are_asked_about(parsed, tmp_path):
    with pytest.raises(InputError, match=r"f.csv: columns of 2 formats \(plain: .*; mooncake: .*--format\)"):
        parsed(BOTH, "f.csv")
    plain, mooncake = (known.parse(tmp_path / "f.csv", format) for format in ("plain", "mooncake"))
    assert plain.frame["prompt_tokens"].tolist()[0] == 510 and mooncake.frame["prompt_tokens"].tolist()[0] == 110
    assert plain.unused == ("timestamp", "input_length", "output_length")


def test_an_arrival_under_two_names_is_asked_about(parsed):
    record = {"input_toks": 5, "output_toks": 6, "arrival_time": 3.5, "arrival_time_ns": 3_500_000_000}
    with pytest.raises(InputError, match=r"columns of 2 formats .*arrival_time_ns"):
        parsed([record] * 10)


def test_more_of_a_formats_columns_are_a_nearer_format(parsed):
    row = {"timestamp": 0.5, "input_length": 3, "output_length": 4}
    assert parsed([row | {"chat_id": 7}]).format == "bailian"
    assert parsed([row]).format == "mooncake"


def test_columns_that_nobody_knows_are_shown(parsed):
    with pytest.raises(InputError, match=r"f.csv: columns 'when', 'long' \(expected arrival_s, prompt_tokens"):
        parsed("when,long\n1,2\n", "f.csv")


@pytest.mark.parametrize("key", ["predicted_output_tokens", "cached_prompt_tokens"])
def test_a_key_that_some_records_lack_is_named_with_the_first_of_them(parsed, key):
    records = [{"arrival_s": 0.5 * row, "prompt_tokens": 5, "output_tokens": 6, key: 4} for row in range(10)]
    del records[3][key]
    with pytest.raises(InputError, match=rf"f.jsonl, row 3, {key}: nothing \(expected an integer >= 0\)"):
        parsed(records)


AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,10,5\n2023-11-16 18:15:47,10,5\n"


@pytest.mark.parametrize("asked", [{"time_unit": "ms"}, {"block_tokens": 16}, {"run": 1}])
def test_what_is_said_of_something_that_a_file_has_not_is_refused(parsed, asked):
    with pytest.raises(InputError, match=rf"{next(iter(asked))}: .*\(expected none: f.csv"):
        parsed(AZURE, "f.csv", **asked)


@pytest.mark.parametrize("text, says", [
    ("trace_version: 2\ntime_unit: microseconds\n", "BLIS's header of a trace .expected the table"),
    ("benchmarks:\n- config:\n    id_: '1'\n", "YAML .expected the JSON"),
    ('{"benchmarks": [{"name": "BM_x", "real_time": 3.1}]}', "no requests in them .expected GuideLLM's"),
    ("Request Id,arrived,lengths\n0,1,2\n", "columns 'Request Id', 'arrived', 'lengths'"),
])  # fmt: skip
def test_another_programs_file_is_told(parsed, text, says):
    with pytest.raises(InputError, match=says):
        parsed(text, "f.txt")


def test_conversations_as_texts_need_somebody_who_counts_tokens(parsed):
    with pytest.raises(InputError, match=r"conversations as texts, such as ShareGPT's \(expected numbers of tokens"):
        parsed([{"id": "a", "conversations": [{"from": "human", "value": "Hello"}]}])
