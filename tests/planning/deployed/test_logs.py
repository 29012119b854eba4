"""Windows of a benchmark's result: cut, valued by hand, failures as requests that never end."""

import json

import numpy as np
import pytest

from simlib import InputError
from simlib.planning.deployed import logs
from simlib.planning.objectives import parse
from simlib.requests.formats import known

SLA = parse("ttft_p50<=1,ttft_p99<=1,ttft_mean<=1,tpot_p50<=0.05,latency_p99<=10")


def result(tmp_path, starts_s, errors=(), **more):
    """Requests of 100 tokens each and 11 more, ten ms apart; first tokens after 0.1 s, 0.2 s, 0.3 s and so on."""
    rows = len(starts_s)
    content = {
        "input_lens": [100] * rows, "output_lens": [0 if row in errors else 11 for row in range(rows)],
        "ttfts": [0.0 if row in errors else (row + 1) / 10 for row in range(rows)],
        "itls": [[] if row in errors else [0.01] * 10 for row in range(rows)], "start_times": list(starts_s),
        "errors": ["gone" if row in errors else "" for row in range(rows)], "request_rate": 1.0, "completed": rows,
        "duration": float(max(starts_s)) + 1, "backend": "vllm", **more,
    }  # fmt: skip
    path = tmp_path / "result.json"
    path.write_text(json.dumps(content))
    return known.parse(path)


def test_values_are_those_of_the_requests_that_came_in_the_window(tmp_path):
    first, second = logs.windows(result(tmp_path, range(21)), SLA, 10.0, "org/model")
    assert [one.name for one in (first, second)] == [f"result.json, window {n} of 2" for n in (1, 2)]
    assert (first.requests, second.requests, first.span_s) == (10, 11, 10.0)  # the last came as the second window ended
    assert first.values_s["ttft_p50"] == pytest.approx((0.55, 0.55))
    assert first.values_s["ttft_mean"] == pytest.approx((0.55, 0.55))
    assert second.values_s["ttft_p50"] == pytest.approx((1.6, 1.6))
    assert first.values_s["tpot_p50"] == pytest.approx((0.01, 0.01))
    assert first.values_s["latency_p99"][0] == pytest.approx(np.quantile(np.arange(1, 11) / 10 + 0.1, 0.99))
    known_of = {"rate_rps": 1.0, "prompt_tokens": 100.0, "output_tokens": 11.0, "failed_share": 0.0, "ttft_s": 0.55,
                "itl_s": 0.01}  # fmt: skip
    assert first.known == pytest.approx(known_of)
    assert first.model == "org/model"
    assert first.table.arrival_s.tolist() == list(range(10)) and second.table.arrival_s[0] == 0.0


def test_what_is_left_behind_the_last_whole_window_is_not_judged(tmp_path):
    (only,) = logs.windows(result(tmp_path, range(19)), SLA, 10.0)
    assert only.requests == 10
    (short,) = logs.windows(result(tmp_path, np.arange(20) / 2), SLA, 10.0)  # 9.5 s, of which a twentieth may lack
    assert (short.requests, short.span_s) == (20, 9.5)


def test_a_request_that_failed_never_ended(tmp_path):
    (found,) = logs.windows(result(tmp_path, range(11), errors={3}), SLA, 10.0)
    assert found.known["failed_share"] == pytest.approx(1 / 11)
    assert found.values_s["ttft_p99"] == (np.inf, np.inf)
    assert found.values_s["ttft_p50"] == pytest.approx((0.7, 0.7))  # the sixth of 11
    assert found.values_s["ttft_mean"][0] == pytest.approx((6.6 - 0.4) / 10)  # of those that were served
    assert len(found.table) == 10


def test_a_window_in_which_nothing_was_served_is_left_out_and_said(tmp_path):
    with pytest.warns(UserWarning, match=r"result\.json: 1 of 3 windows without a request"):
        assert len(logs.windows(result(tmp_path, [0, 1, 2, 21, 22, 30]), SLA, 10.0)) == 2
    with pytest.warns(UserWarning, match="window 1 of 2: all 2 requests failed"):
        logs.windows(result(tmp_path, [1, 2, 12, 21], errors={0, 1}), SLA, 10.0)


@pytest.mark.parametrize(
    ("starts_s", "more", "says"),
    [
        (range(9), {}, "8 s from its first request to its last (expected at least 10 s, one window"),
        (range(20), {"ttfts": None, "itls": None}, "no times of requests, of ttft, tpot, latency"),
        (range(20), {"start_times": None}, "start_times: missing"),
        (range(20), {"input_lens": None, "output_lens": None, "ttfts": None, "itls": None}, "--save-detailed"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, starts_s, more, says):
    with pytest.raises(InputError) as told:
        logs.windows(result(tmp_path, starts_s, **more), SLA, 10.0)
    assert "result.json" in str(told.value) and says in str(told.value)


def test_two_loads_in_one_file_are_not_one(tmp_path):
    result(tmp_path, range(20))
    path = tmp_path / "result.json"
    path.write_text(path.read_text() + "\n" + path.read_text())
    with pytest.raises(InputError, match=r"2 loads in one file .*--run"):
        logs.windows(known.parse(path), SLA, 10.0)
