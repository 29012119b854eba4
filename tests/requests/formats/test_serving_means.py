"""Results without their requests, and a sweep of them: what they say, what is missing, what can be done."""

import json

import pytest

import simlib
from simlib import traces
from simlib.requests.formats import known
from simlib.requests.formats.aggregates.summary import Summary
from simlib.requests.formats.layout import Asked

VLLM = {"endpoint_type": "openai", "num_prompts": 10, "request_rate": 5.0, "max_concurrency": None, "burstiness": 1.0}
VLLM |= {"duration": 2.0, "completed": 8, "failed": 2, "total_input_tokens": 4000, "total_output_tokens": 800}
VLLM |= {
    "request_throughput": 4.0,
    "mean_ttft_ms": 30.0,
    "median_ttft_ms": 25.0,
    "p99_ttft_ms": 90.0,
    "mean_itl_ms": 7.0,
}
SGLANG = {"backend": "sglang", "dataset_name": "random", "request_rate": 7.0, "max_concurrency": None, "duration": 10.0}
SGLANG |= {"completed": 80, "total_input_tokens": 8800, "total_output_tokens": 5200, "mean_ttft_ms": 31.5}


@pytest.fixture
def write(tmp_path):
    def to_file(found, name="result.json"):
        path = tmp_path / name
        path.write_text(found if isinstance(found, str) else json.dumps(found))
        return path

    return to_file


def test_a_result_without_details_is_a_summary(write):
    summary = known.parse(write(VLLM))
    assert isinstance(summary, Summary) and (summary.format, summary.version) == ("serving_benchmark", "vLLM")
    (load,) = summary.loads
    assert (load.requests, load.failed, load.span_s, load.rate_rps) == (8, 2, 2.0, 5.0)
    assert load.spreads["prompt_tokens"] == {"mean": 500.0} and load.spreads["output_tokens"] == {"mean": 100.0}
    assert load.spreads["ttft_s"] == {"mean": 0.03, "median": 0.025, "p99": 0.09}
    assert load.spreads["itl_s"] == {"mean": 0.007} and "tpot_s" not in load.spreads


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (VLLM, r"vLLM records them with --save-result --save-detailed\); simlib plan --rate 5 --prompt 500,SIGMA"),
        (SGLANG, r"SGLang records them with --output-details\); simlib plan --rate 8 --prompt 110,SIGMA --output 65,"),
    ],
)
def test_it_is_refused_with_the_engines_own_option_and_what_can_be_done(write, result, says):
    with pytest.raises(simlib.InputError, match=rf"result\.json: means and no row a request .*{says}") as caught:
        traces.read(write(result))
    assert result is VLLM or "--save-detailed" not in str(caught.value)


def test_where_all_failed_no_time_is_told(write):
    nothing = VLLM | {
        "completed": 0,
        "failed": 10,
        "mean_ttft_ms": 0.0,
        "total_input_tokens": 0,
        "total_output_tokens": 0,
    }
    (load,) = known.parse(write(nothing)).loads
    assert load.spreads == {} and load.failed == 10


def test_a_sweeps_summary_has_a_load_a_run(write):
    runs = [VLLM | {"run_number": run, "request_rate": rate} for rate in (1.0, 5.0) for run in range(5)]
    table = "\n".join([",".join(["", *runs[0]]), *(",".join(["0", *(str(v) for v in run.values())]) for run in runs)])
    for found in (known.parse(write(runs)), known.parse(write(table.replace("None", ""), "summary.csv"))):
        assert [load.name for load in found.loads][4:6] == ["rate 1.0, run 4", "rate 5.0, run 0"]
        assert found.loads[9].spreads["prompt_tokens"]["mean"] == 500.0
    assert "means of a sweep's runs" in found.refusal
    assert len(known.parse(write(runs), asked=Asked(run=3)).loads) == 1


def test_what_is_wrong_is_named(write):
    with pytest.raises(simlib.InputError, match=r"result\.json, row 0, duration: 'long' \(expected a number >= 0"):
        known.parse(write(VLLM | {"duration": "long"}))
