"""GuideLLM's benchmarks: the forms of its versions, several loads, errors, requests that were cut off, samples."""

import json

import pytest

import simlib
from simlib import traces
from simlib.calibration import engine_benchmarks
from simlib.requests.formats import known
from simlib.requests.formats.layout import Asked

START = 1_772_470_696.0


def flat(number):
    """As 0.2 wrote it."""
    start = START + number
    found = {"prompt_tokens": 100 + number, "output_tokens": 5, "start_time": start, "end_time": start + 0.5}
    return found | {"first_token_time": start + 0.1, "last_token_time": start + 0.5}


def nested(number):
    """As 0.3 did."""
    found = flat(number)
    timings = {"request_start": found.pop("start_time"), "request_end": found.pop("end_time")}
    timings |= {"first_iteration": found.pop("first_token_time"), "last_iteration": found.pop("last_token_time")}
    return found | {"scheduler_info": {"request_timings": timings}}


def recent(number, **info):
    """As versions since 0.5 do."""
    found = flat(number)
    timings = {"request_start": found.pop("start_time"), "request_end": found.pop("end_time")}
    timings |= {"first_token_iteration": found.pop("first_token_time"), "request_iterations": 9}
    timings |= {"last_token_iteration": found.pop("last_token_time"), "resolve_start": 1.0}
    return found | {"info": {"timings": timings} | info, "cached_tokens": 10 * number}


def benchmark(form=recent, rate=0.5, rows=10, **changed):
    requests = {"successful": [form(n) for n in reversed(range(rows))], "errored": [], "incomplete": [], "total": None}
    found = {"config": {"strategy": {"type_": "constant", "rate": rate}}, "requests": requests}
    return found | {"scheduler_metrics": {"requests_made": {"total": rows}}} | changed


@pytest.fixture
def write(tmp_path):
    def to_file(*benchmarks):
        path = tmp_path / "benchmarks.json"
        path.write_text(json.dumps({"metadata": {"guidellm_version": "0.6.0"}, "benchmarks": benchmarks}))
        return path

    return to_file


@pytest.mark.parametrize("form", [flat, nested, recent])
def test_all_versions_say_the_same(write, form):
    log = known.parse(write(benchmark(form)))
    assert (log.format, log.version, log.clock.unit) == ("guidellm", "0.6.0", "s") and not log.runs
    frame = log.frame
    assert frame["prompt_tokens"].tolist() == list(range(100, 110)) and not frame["failed"].any()
    assert frame["ttft_s"].to_numpy() == pytest.approx([0.1] * 10, abs=1e-6)
    assert frame["tpot_s"].to_numpy() == pytest.approx([0.1] * 10, abs=1e-6)
    assert frame["latency_s"].to_numpy() == pytest.approx([0.5] * 10, abs=1e-6)
    assert traces.read(write(benchmark(form))).requests.arrival_s.tolist() == list(range(10))


def test_each_load_is_kept_apart_and_one_has_to_be_chosen(write):
    path = write(benchmark(), benchmark(rate=2.0, rows=4))
    log = known.parse(path)
    assert log.runs == ("constant 0.5/s", "constant 2/s") and log.frame["run"].value_counts().to_dict() == {0: 10, 1: 4}
    with pytest.raises(simlib.InputError, match=r"2 loads in one file \(0: constant 0\.5/s; 1: constant 2/s"):
        traces.read(path)
    assert len(known.requests(path, asked=Asked(run=1)).frame) == 4


def test_errors_have_failed_and_what_was_cut_off_is_left_out(write):
    errored = {"prompt_tokens": None, "output_tokens": None, "info": {"timings": {"request_start": None}}}
    requests = {"successful": [recent(n) for n in range(8)], "errored": [errored], "incomplete": [recent(9)]}
    log = known.parse(write(benchmark(requests=requests)))
    assert log.frame["failed"].sum() == 1 and len(log.frame) == 9
    assert log.dropped == {"cut off at the benchmark's end": 1}


def test_cached_prompts_and_sessions_are_kept(write):
    requests = {"successful": [recent(n, conversation_id="a", turn_index=n) for n in range(10)]}
    frame = known.parse(write(benchmark(requests=requests))).frame
    assert frame["cached_prompt_tokens"].tolist() == [10 * n for n in range(10)] and set(frame["session"]) == {"a"}


def test_a_sample_of_the_requests_is_no_load(write):
    path = write(benchmark(scheduler_metrics={"requests_made": {"total": 40}}))
    with pytest.raises(
        simlib.InputError, match=r"10 of 40 requests are in the file.*without --sample-requests.*--rate"
    ):
        traces.read(path)
    assert "clock" not in known.parse(path).frame


def test_it_has_no_times_of_single_tokens_to_calibrate_by(write):
    with pytest.raises(simlib.InputError, match=r"benchmarks\.json: no gaps between tokens of each request"):
        engine_benchmarks.from_bench(write(benchmark()))


@pytest.mark.parametrize(
    ("benchmarks", "says"),
    [
        ([], r"benchmarks: \[\] \(expected an array of GuideLLM"),
        ([{"requests": {}}], r"benchmarks: no request, successful or errored"),
        ([benchmark(requests={"successful": [recent(0) | {"output_tokens": None}]})], r"row 0, output_tokens: None"),
        ([benchmark(requests={"successful": ["x"]})], r"requests\.successful, row 0: 'x'"),
        ([benchmark(requests={"successful": [flat(0) | {"start_time": None}]})], r"request_start: nothing"),
    ],
)
def test_what_is_wrong_is_named(write, benchmarks, says):
    with pytest.raises(simlib.InputError, match=rf"benchmarks\.json, .*{says}"):
        known.parse(write(*benchmarks))


@pytest.mark.parametrize("form, names", [
    (flat, ("start_time", "first_token_time")), (recent, ("request_start", "first_token_iteration")),
])  # fmt: skip
def test_columns_are_called_as_the_file_calls_them(write, form, names):
    log = known.parse(write(benchmark(form)))
    assert log.arrival == names[0] and set(names) <= set(log.columns)
