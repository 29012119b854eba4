"""BLIS's TraceV2: microseconds, prefixes that are not in a prompt's own count, and what became of a request."""

import numpy as np
import pytest

from simlib.checks import InputError
from simlib.requests.formats.blocks import cached_prefix_tokens

HEAD = (
    "request_id,client_id,tenant_id,slo_class,session_id,round_index,prefix_group,prefix_length,streaming,input_tokens,"
    "output_tokens,text_tokens,image_tokens,audio_tokens,video_tokens,reason_ratio,model,deadline_us,server_input_tokens,"
    "arrival_time_us,send_time_us,first_chunk_time_us,last_chunk_time_us,num_chunks,status,error_message,finish_reason\n"
)


def trace(group="g", prefix=40, server=0, served=True, states=None, late_us=1000):
    lines = []
    for row in range(10):
        sent = 250_000 * row + late_us * (row + 1)
        first, last = (sent + 5000, sent + 9000) if served else (0, 0)
        lines.append(
            f"{row},c1,t1,standard,s{row // 2},{row % 2},{group},{prefix},true,{10 + row},5,{10 + row},0,0,0,0.0,,0,"
            f"{server},{250_000 * row},{sent},{first},{last},5,{(states or {}).get(row, 'ok')},,stop\n"
        )
    return HEAD + "".join(lines)


def test_ten_requests(parsed):
    log = parsed(trace(), "trace.csv")
    assert (log.format, log.clock.unit) == ("blis", "us")
    assert log.seconds(log.frame["clock"].to_numpy()).tolist() == [0.25 * row for row in range(10)]
    assert log.frame["ttft_s"].tolist() == [0.005] * 10 and log.frame["latency_s"].tolist() == [0.009] * 10
    assert log.frame["session"].nunique() == 5 and log.frame["client"].unique().tolist() == ["c1"]
    assert "session_context_growth: accumulate" in log.warnings[0]


def test_a_prompt_is_its_groups_prefix_and_its_own_tokens(parsed):
    log = parsed(trace(), "trace.csv")
    prompts = log.frame["prompt_tokens"].tolist()
    assert prompts == [50 + row for row in range(10)]
    cached = cached_prefix_tokens(log.frame["hash_ids"].tolist(), prompts, None, log.block_tokens)
    assert cached.tolist() == [0] + [32] * 9  # two full blocks of a prefix of 40


def test_without_groups_the_servers_count_of_a_prompt_is_taken_where_there_is_one(parsed):
    assert parsed(trace(group="", prefix=0, server=99), "t.csv").frame["prompt_tokens"].tolist() == [99] * 10
    log = parsed(trace(group="", prefix=0), "t.csv")
    assert log.frame["prompt_tokens"].tolist() == [10 + row for row in range(10)] and "hash_ids" not in log.frame


def test_errors_and_timeouts_have_failed(parsed):
    log = parsed(trace(states={1: "error", 2: "timeout", 3: "incomplete"}), "t.csv")
    assert np.flatnonzero(log.frame["failed"]).tolist() == [1, 2]
    with pytest.raises(
        InputError, match=r"t.csv, row 4, status: 'lost' \(expected one of ok, incomplete, error, timeout"
    ):
        parsed(trace(states={4: "lost"}), "t.csv")


def test_a_workload_that_nobody_served_has_no_times(parsed):
    assert "ttft_s" not in parsed(trace(served=False), "t.csv").frame


def test_requests_that_were_sent_much_later_than_meant_are_said(parsed):
    warnings = parsed(trace(late_us=50_000), "t.csv").warnings
    assert "arrival_time_us: when the client meant to send; it sent up to 0.45 s later than the first" in warnings[0]
    assert parsed(trace(), "t.csv").warnings[0].startswith("input_tokens")


def test_four_columns_are_enough(parsed):
    log = parsed("request_id,input_tokens,output_tokens,arrival_time_us\n0,418,20,0\n1,50213,146,64000\n", "t.csv")
    assert log.frame["prompt_tokens"].tolist() == [418, 50213]
