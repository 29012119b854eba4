"""LLMServingSim's workloads of requests and of sessions, and its runs."""

import numpy as np
import pytest

from simlib.checks import InputError

FLAT = [{"input_toks": 30 + row, "output_toks": 60 - row, "arrival_time_ns": 51_000_000 * row} for row in range(10)]
SESSIONS = [
    {"session_id": "x", "arrival_time_ns": 4_059_740, "sub_requests": [
        {"input_toks": 1472, "output_toks": 133, "tool_duration_ns": 127_000_000},
        {"input_toks": 1582, "output_toks": 125},
        {"input_toks": 1700, "output_toks": 77, "tool_duration_ns": 0},
    ]},
    {"input_toks": 12, "output_toks": 3, "arrival_time_ns": 500_000_000},
    {"arrival_time_ns": 900_000_000, "sub_requests": [{"input_toks": 5, "output_toks": 2, "tool_duration_ns": 9}]},
    {"arrival_time_ns": 950_000_000, "sub_requests": [{"input_toks": 6, "output_toks": 2, "tool_duration_ns": 9}]},
]  # fmt: skip


def test_ten_requests(parsed):
    log = parsed(FLAT)
    assert (log.format, log.clock.unit, log.version) == ("llmservingsim", "ns", "")
    assert log.seconds(log.frame["clock"].to_numpy()).tolist() == [0.051 * row for row in range(9)] + [0.459]
    assert log.frame["prompt_tokens"].tolist() == list(range(30, 40))


def test_the_first_versions_table_with_tabs(parsed):
    rows = "".join("\t".join(map(str, row.values())) + "\n" for row in FLAT)
    log = parsed("input_toks\toutput_toks\tarrival_time_ns\n" + rows, "f.tsv")
    assert log.format == "llmservingsim" and log.frame.equals(parsed(FLAT).frame)


def test_milliseconds_under_a_name_of_nanoseconds_are_asked_about(parsed):
    with pytest.raises(
        InputError, match=r"arrival_time_ns: nanoseconds by the name, and not by the spacing.*--time-unit"
    ):
        parsed([record | {"arrival_time_ns": record["arrival_time_ns"] // 10**6} for record in FLAT])


def test_nanoseconds_since_1970_keep_the_last_digit(parsed):
    log = parsed(
        [record | {"arrival_time_ns": 1_788_000_000_000_000_001 + 10**8 * row} for row, record in enumerate(FLAT)]
    )
    assert np.diff(log.frame["clock"]).tolist() == [10**8] * 9


def test_calls_of_a_session_wait_for_the_answer_and_the_tool_before_them(parsed):
    log = parsed(SESSIONS)
    assert log.version == "with sub_requests" and log.frame["session"].nunique() == 4
    assert log.frame["prompt_tokens"].tolist() == [1472, 1582, 1700, 12, 5, 6]
    nan = np.nan
    np.testing.assert_array_equal(log.frame["clock"], [4_059_740, nan, nan, 500_000_000, 900_000_000, 950_000_000])
    np.testing.assert_array_equal(log.frame["delay_s"], [nan, 0.127, 0.0, nan, nan, nan])
    assert log.unused == () and list(log.frame.index) == list(range(6))


@pytest.mark.parametrize("row, change, place", [
    (0, {"sub_requests": []}, r"row 0, sub_requests: \[\]"),
    (0, {"sub_requests": [{"input_toks": 3}]}, "row 0, sub_requests 0, output_toks: nothing"),
    (2, {"session_id": "x"}, "row 2, session_id: 'x' .expected one that is new"),
    (1, {"input_toks": None}, "row 1, input_toks: nothing"),
    (2, {"arrival_time_ns": None}, "row 2, sub_requests 0, arrival_time_ns: nothing"),
])  # fmt: skip
def test_what_is_wrong_with_a_session_is_named_with_its_place(parsed, row, change, place):
    with pytest.raises(InputError, match=f"f.jsonl, {place}"):
        parsed([record | change if number == row else record for number, record in enumerate(SESSIONS)])


def test_token_ids_become_blocks_of_the_engine(parsed):
    start = list(range(16))
    ids = [start + [row] * (14 + row) for row in range(9)] + [start + [7] * 21]
    log = parsed(
        [
            record | {"input_toks": len(tokens), "input_tok_ids": tokens}
            for record, tokens in zip(FLAT, ids, strict=True)
        ]
    )
    assert log.block_tokens == 16 and [blocks[0] for blocks in log.frame["hash_ids"]] == [0] * 10
    assert [len(blocks) for blocks in log.frame["hash_ids"]] == [1, 1, *[2] * 8]
    assert log.frame["hash_ids"][7] == log.frame["hash_ids"][9] != log.frame["hash_ids"][8]
    with pytest.raises(InputError, match=r"row 0, input_tok_ids: .* \(expected input_toks numbers of tokens\)"):
        parsed([record | {"input_tok_ids": [1, 2]} for record in FLAT])


def test_a_simulated_run(parsed):
    rows = "".join(
        f"0,{row},m,100,3,{10**8 * row},{10**8 * row + 5 * 10**7},50000000,1000,20000000,15000000,"
        '"[10000000, 20000000]"\n'
        for row in range(10)
    )
    head = "instance id,request id,model,input,output,arrival,end_time,latency,queuing_delay,TTFT,TPOT,ITL\n"
    log = parsed(head + rows, "sim.csv")
    assert (log.format, log.clock.unit) == ("llmservingsim_run", "ns")
    assert log.frame["latency_s"].tolist() == [0.05] * 10 and log.frame["ttft_s"].tolist() == [0.02] * 10
    assert log.frame["itl_s"][3].tolist() == [0.01, 0.02]
    assert log.unused == ("instance id", "end_time", "queuing_delay", "TPOT")
    without = parsed(head.replace(",ITL", "") + "0,0,m,100,3,0,5,50000000,1000,20000000,15000000\n", "sim.csv")
    assert without.frame["tpot_s"].tolist() == [0.015]
    with pytest.raises(InputError, match=r"sim.csv, row 0, ITL"):
        parsed(head + '0,0,m,100,3,0,5,5,1,2,1,"[1, -2]"\n', "sim.csv")
