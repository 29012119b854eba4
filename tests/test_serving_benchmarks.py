"""The step law from a serving benchmark: recovered from an engine whose law is known, and what cannot be told."""

import json

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import serving_benchmarks

LAW = (0.008, 2e-4, 3e-5, 4e-8)


def serve(start_s, prompts, outputs, law=LAW, noise=0.0, seed=0, limit=None):
    """A plain continuous-batching engine whose steps take what the law says: what a benchmark would have recorded."""
    rng = np.random.default_rng(seed)
    a, b, c, d = law
    waiting = list(np.argsort(start_s, kind="stable"))
    start_s = np.array(start_s, dtype=float)
    tokens = {i: [] for i in range(len(prompts))}
    now, running = 0.0, []
    while waiting or running:
        if not running and start_s[waiting[0]] > now:
            now = start_s[waiting[0]]
        room = limit - len(running) if limit else len(waiting)
        new = [i for i in waiting[:room] if start_s[i] <= now]
        waiting = waiting[len(new) :]
        context = sum(prompts[i] + len(tokens[i]) for i in running)
        step_s = a + b * len(running) + c * sum(prompts[i] for i in new) + d * context
        now += step_s * np.exp(noise * rng.standard_normal())
        running += new
        for i in running:
            tokens[i].append(now)
        done = [i for i in running if len(tokens[i]) == outputs[i]]
        running = [i for i in running if i not in done]
        if limit:  # the client sends the next when one has ended
            for i, _ in zip([i for i in waiting if start_s[i] == np.inf], done, strict=False):
                start_s[i] = now
    return {
        "input_lens": [int(p) for p in prompts],
        "output_lens": [int(o) for o in outputs],
        "ttfts": [tokens[i][0] - start_s[i] for i in range(len(prompts))],
        "itls": [np.diff(tokens[i]).tolist() for i in range(len(prompts))],
        "start_times": (100.0 + start_s).tolist(),
        "duration": now,
        "request_rate": 2.0,
        "max_concurrency": limit,
    }


def poisson(n=120, rate_rps=4.0, seed=1, **settings):
    rng = np.random.default_rng(seed)
    start_s = rng.exponential(1 / rate_rps, n).cumsum()
    return serve(start_s, rng.integers(20, 1500, n), rng.integers(5, 200, n), **settings)


@pytest.fixture
def write(tmp_path):
    def to_file(*results):
        path = tmp_path / "bench.json"
        path.write_text("\n".join(json.dumps(result) for result in results))
        return path

    return to_file


def values(law):
    return [getattr(law, name) for name in serving_benchmarks.NAMES]


def test_a_known_law_is_recovered_from_its_benchmark(write):
    law = serving_benchmarks.from_bench(write(poisson()))
    assert values(law) == pytest.approx(LAW, rel=1e-6)
    assert law.mape < 1e-6 and law.r2 == pytest.approx(1) and law.unidentified == ()
    assert law.step_s(3, 100, 500) == pytest.approx(0.008 + 6e-4 + 3e-3 + 2e-5, rel=1e-6)


def test_a_known_law_is_recovered_from_noisy_steps(write):
    """Seed 0. At least three of four 95 % intervals hold the truth (fails by chance in 1.4 % of seeds, were they
    independent), and no coefficient is off by two half-widths, 4.5 standard errors (0.6 % for four, t on 9 degrees)."""
    law = serving_benchmarks.from_bench(write(poisson(n=300, noise=0.05)))
    held = [low <= true <= high for true, (low, high) in zip(LAW, law.intervals.values(), strict=True)]
    assert sum(held) >= 3
    for true, value, (_, high) in zip(LAW, values(law), law.intervals.values(), strict=True):
        assert abs(value - true) <= 2 * (high - value)
    assert law.mape == pytest.approx(0.05 * np.sqrt(2 / np.pi), rel=0.1)  # of a normal with that deviation


def test_all_at_once_and_a_closed_loop_need_no_start_times(write):
    rng = np.random.default_rng(3)
    prompts, outputs = rng.integers(20, 1500, 60), rng.integers(5, 100, 60)
    burst = serve(np.zeros(60), prompts, outputs) | {"request_rate": "inf"}
    closed = serve(np.where(np.arange(60) < 8, 0.0, np.inf), prompts, outputs, limit=8) | {"request_rate": "inf"}
    recorded = serving_benchmarks.from_bench(write(closed))
    for result in (burst, closed):
        del result["start_times"]
    law = serving_benchmarks.from_bench(write(closed))
    assert values(law) == pytest.approx(LAW, rel=1e-6) and values(recorded) == pytest.approx(LAW, rel=1e-6)
    assert law.starts == "rebuilt: each when one of 8 in flight had ended"
    with pytest.warns(UserWarning, match="c_s_per_prefill_token cannot be told"):  # all prompts went in one step
        law = serving_benchmarks.from_bench(write(burst))
    assert law.starts == "rebuilt: all were sent at once"
    assert values(law)[1] == pytest.approx(LAW[1], rel=1e-6)


def test_several_runs_of_one_engine_are_fitted_together(write):
    law = serving_benchmarks.from_bench(write(poisson(seed=1), poisson(seed=2, rate_rps=1.0)))
    assert values(law) == pytest.approx(LAW, rel=1e-6)


def test_a_step_counts_once_however_many_share_it():
    steps = serving_benchmarks.steps_of(
        pd.DataFrame(
            {"start_s": [0.0, 0.0], "prompt_tokens": [10, 20], "ttft_s": [1.0, 1.0], "itl_s": [[0.1, 0.1]] * 2}
        )
    )
    assert steps["weight"].sum() == pytest.approx(2) and steps["decodes"].tolist() == [2, 2, 2, 2]
    assert steps["context_tokens"].tolist() == [32, 32, 34, 34]


def test_requests_that_failed_are_left_out(write):
    result = poisson()
    for name, value in (("ttfts", 0.0), ("itls", []), ("output_lens", 0), ("input_lens", 50), ("start_times", 101.0)):
        result[name].append(value)
    assert values(serving_benchmarks.from_bench(write(result))) == pytest.approx(LAW, rel=1e-6)


def test_what_never_varies_is_named_as_unknown(write):
    result = poisson(n=60)
    result["itls"], result["output_lens"] = [[]] * 60, [1] * 60  # first tokens only: nobody decodes
    result["start_times"] = (10.0 * np.arange(60)).tolist()
    with pytest.warns(UserWarning, match="b_s_per_decode, d_s_per_context_token cannot be told .* arriving while"):
        law = serving_benchmarks.from_bench(write(result))
    assert law.unidentified == ("b_s_per_decode", "d_s_per_context_token")
    assert law.table()["identified"].tolist() == [True, False, True, False]


def test_a_card_says_what_was_fitted_and_assumed(write):
    card = serving_benchmarks.from_bench(write(poisson())).card()
    for words in (
        "Step law of bench.json",
        "c_s_per_prefill_token",
        "R² 1.0000",
        "no speculation",
        "valid for decodes",
    ):
        assert words in card


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"itls": None}, "no itls (expected arrays with one entry a request: vLLM records them with"),
        ({"ttfts": None, "itls": None}, "--save-detailed, SGLang with --output-details"),
        ({"ttfts": [0.1]}, "input_lens: 120 entries (expected 1"),
        ({"input_lens": ["many"] * 120}, "input_lens: ['many'"),
        ({"ttfts": [-1.0] * 120}, "ttfts, entry 0: -1.0"),
        ({"ttfts": [0.0] * 120}, "no request was served"),
        ({"start_times": None}, "no start_times, and request_rate 2.0 does not say"),
        ({"start_times": [0.0]}, "start_times: 1 entries"),
        ({"itls": [[0.1, float("nan")]] * 120}, "itls, request 0, entry 1: nan"),
        (
            {n: poisson()[n][:3] for n in (*serving_benchmarks.ARRAYS, "start_times")} | {"itls": [[]] * 3},
            "steps (expected at l",
        ),
    ],
)
def test_a_benchmark_that_cannot_be_used_names_what_is_missing(write, change, says):
    with pytest.raises(simlib.InputError) as caught:
        serving_benchmarks.from_bench(write(poisson() | change))
    assert says in str(caught.value) and "bench.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "no JSON"), ("[1]", "no JSON object"), ("{", "expected JSON"), ("x", "x")]
)
def test_what_is_no_benchmark_is_named(tmp_path, text, says):
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(simlib.InputError, match=r"benchmark file .*bench.json"):
        serving_benchmarks.from_bench(path)
    with pytest.raises(simlib.InputError, match=r"benchmark file .*absent.json"):
        serving_benchmarks.from_bench(tmp_path / "absent.json")
