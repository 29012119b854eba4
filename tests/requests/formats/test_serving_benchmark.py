"""vLLM's and SGLang's results: requests with what was measured of each, failures, rebuilt starts, several loads."""

import gzip
import json

import numpy as np
import pytest

import simlib
from simlib import traces
from simlib.requests.formats import known
from simlib.requests.formats.layout import Asked

ROWS = 10


def result(**changed):
    """Ten requests, one every half second, of three tokens each, the fourth of which failed and was never sent."""
    found = {"backend": "openai", "endpoint_type": "openai", "num_prompts": ROWS, "request_rate": 2.0}
    found |= {"burstiness": 1.0, "max_concurrency": None, "duration": 5.0, "completed": ROWS - 1, "failed": 1}
    found |= {
        "input_lens": [100 + row for row in range(ROWS)],
        "output_lens": [3] * 3 + [0] + [3] * 6,
        "ttfts": [0.05] * 3 + [0.0] + [0.05] * 6,
        "itls": [[0.01, 0.02]] * 3 + [[]] + [[0.01, 0.02]] * 6,
        "start_times": [800.0 + row / 2 for row in range(3)] + [0.0] + [800.0 + row / 2 for row in range(4, ROWS)],
        "errors": [""] * 3 + ["ClientConnectorError"] + [""] * 6,
    }
    return found | changed


@pytest.fixture
def write(tmp_path):
    def to_file(*results, name="bench.json"):
        path = tmp_path / name
        text = "\n".join(json.dumps(one) for one in results).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return to_file


def test_requests_are_read_with_their_times_and_a_failed_one_need_not_have_a_start(write):
    log = known.parse(write(result()))
    assert (log.format, log.version, log.clock.unit) == ("serving_benchmark", "vLLM", "s")
    assert log.starts == "recorded, for all but 1 that failed"
    assert log.frame["failed"].tolist() == [False] * 3 + [True] + [False] * 6
    assert log.frame["latency_s"][0] == pytest.approx(0.08) and log.frame["itl_s"][0].tolist() == [0.01, 0.02]
    trace = traces.read(write(result()))
    assert trace.failed_dropped == 1 and len(trace.requests) == 9
    assert trace.requests.arrival_s.tolist() == [0.0, 0.5, 1.0, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5]


def test_an_error_is_a_failure_even_where_tokens_came(write):
    errors = [""] * 9 + ["HTTP 500"]
    assert known.parse(write(result(errors=errors))).frame["failed"].tolist() == [False] * 3 + [True] + [False] * 5 + [
        True
    ]


def test_a_benchmark_in_which_all_failed_has_no_requests(write):
    nothing = {"output_lens": [0] * ROWS, "ttfts": [0.0] * ROWS, "itls": [[]] * ROWS, "completed": 0}
    path = write(result(**nothing))
    assert known.parse(path).frame["failed"].all()
    with pytest.raises(simlib.InputError, match=r"bench\.json: no request was served, all 10 failed"):
        traces.read(path)


def test_packed_and_in_an_array_it_is_the_same(write, tmp_path):
    path = tmp_path / "array.json"
    path.write_text(json.dumps([result()]))
    plain = known.parse(write(result())).frame
    for other in (path, write(result(), name="bench.json.gz")):
        found = known.parse(other).frame
        assert found.drop(columns="itl_s").equals(plain.drop(columns="itl_s"))


def test_starts_are_rebuilt_where_they_can_be(write):
    ungiven = {"start_times": None, "request_rate": "inf"}
    assert known.parse(write(result(**ungiven))).frame["clock"].tolist() == [0.0] * ROWS
    log = known.parse(write(result(**ungiven, max_concurrency=2)))
    # Two in flight for 0.08 s each; the one that failed takes no time.
    assert log.frame["clock"].to_numpy() == pytest.approx([0, 0, 0.08, 0.08, 0.08, 0.16, 0.16, 0.24, 0.24, 0.32])
    assert log.starts == "rebuilt: each when one of 2 in flight had ended"


def test_a_finite_rate_without_starts_is_known_to_have_none(write):
    path = write(result(start_times=None))
    log = known.parse(path)
    assert "clock" not in log.frame and "since January 2026" in log.starts
    with pytest.raises(simlib.InputError, match=r"start_times: missing, and request_rate 2\.0 does not say.*--rate"):
        traces.read(path)
    assert len(traces.read(path, rate_rps=3.0).requests) == 9


def test_several_results_are_several_loads(write):
    path = write(result(), result(request_rate=4.0, start_times=(np.arange(ROWS) / 4).tolist()))
    log = known.parse(path)
    assert log.runs == ("rate 2.0", "rate 4.0") and log.frame["run"].tolist() == [0] * ROWS + [1] * ROWS
    with pytest.raises(
        simlib.InputError, match=r"bench\.json: 2 loads in one file \(0: rate 2\.0; 1: rate 4\.0; .*--run"
    ):
        traces.read(path)
    one = known.requests(path, asked=Asked(run=1))
    assert len(one.frame) == ROWS and one.frame["clock"].iloc[-1] == 2.25
    with pytest.raises(simlib.InputError, match=r"run: 2 \(expected one of the 2 in bench\.json"):
        known.parse(path, asked=Asked(run=2))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"output_lens": None}, r"output_lens: nothing \(expected an array: vLLM records them with --save-result"),
        ({"output_lens": None, "backend": "sglang"}, "SGLang records them with --output-details"),
        ({"ttfts": [0.05]}, r"ttfts: 1 entries \(expected 10"),
        ({"input_lens": [1.5] * ROWS}, "row 0, input_lens: 1.5"),
        ({"itls": [[0.01, -1.0]] * ROWS}, r"row 0, itls, entry 1: -1\.0"),
        ({"itls": [[10.0, 20.0]] * ROWS}, r"itls: a median of 15 s \(expected seconds.*milliseconds"),
        ({"ttfts": [float("inf")] * ROWS}, r"row 0, ttfts: inf \(expected a time"),
        ({"start_times": ["soon"] * ROWS}, "row 0, start_times: 'soon'"),
        ({"input_lens": [], "output_lens": [], "ttfts": [], "itls": [], "start_times": [], "errors": []}, "no values"),
        ({"start_times": None, "request_rate": "inf", "max_concurrency": "few"}, "max_concurrency: 'few'"),
    ],
)
def test_what_is_wrong_is_named(write, changed, says):
    with pytest.raises(simlib.InputError, match=rf"bench\.json, .*{says}"):
        known.parse(write(result(**changed)))


@pytest.mark.parametrize("changed, says", [
    ({"ttfts": [50.0] * 10, "mean_ttft_ms": 50.0}, "ttfts: a mean of 50 s, where mean_ttft_ms is 50"),
    ({"ttfts": [70.0] * 10}, "ttfts: a median of 70 s .expected seconds, below 60"),
    ({"itls": [[2.0, 2.0]] * 10, "mean_itl_ms": 2.0}, "itls: a mean of 2 s, where mean_itl_ms is 2"),
    (
        {"start_times": [800_000.0 + 500 * row for row in range(10)]},
        "start_times: 4500 from first to last, where duration is 5 .*--time-unit",
    ),
])  # fmt: skip
def test_times_that_the_results_own_numbers_contradict_are_refused(write, changed, says):
    with pytest.raises(simlib.InputError, match=says):
        known.parse(write(result(**changed)))


def test_first_tokens_of_an_overload_are_believed_where_the_results_own_mean_says_so(write):
    log = known.parse(write(result(ttfts=[70.0] * 10, mean_ttft_ms=70_000.0)))
    assert log.frame["ttft_s"].tolist() == [70.0] * 10


def test_sglangs_result_at_a_finite_rate_gets_no_advice_of_vllms(write):
    given = result(backend="sglang")
    del given["start_times"], given["endpoint_type"], given["num_prompts"], given["burstiness"]
    with pytest.raises(simlib.InputError) as refused:
        traces.read(write(given))
    assert "vLLM" not in str(refused.value) and "--request-rate inf" in str(refused.value)


@pytest.mark.parametrize("name", ["prompts", "prompt", "prompt_token_ids", "hash_ids"])
def test_prompts_are_read_for_what_they_share_where_they_are_there(write, name):
    given = {"prompt_token_ids": [[5] * 32] * ROWS, "hash_ids": [[5, 6]] * ROWS}.get(name, ["a" * 128] * ROWS)
    log = known.parse(write(result(**{name: given})))
    assert log.columns[name] == "what prompts contain" and len(set(map(tuple, log.frame["pieces"]))) == 1
    assert all(len(own) == 2 for own in log.frame["pieces"])
    assert "pieces" not in known.parse(write(result(**{name: given[1:]}))).frame  # not one a request
    assert len(traces.read(write(result(**{name: given}))).requests) == 9
