"""The step law from a serving benchmark: recovered from an engine whose law is known, and what cannot be told."""

import json

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import named
from simlib.calibration import engine_benchmarks
from simlib.cli import main
from simlib.requests.formats.clocks import Clock
from simlib.requests.formats.layout import Log

LAW = (0.008, 2e-4, 3e-5, 4e-8)
ARRAYS = ("input_lens", "output_lens", "ttfts", "itls", "start_times")


def serve(start_s, prompts, outputs, law=LAW, noise=0.0, seed=0, limit=None, hits=None, chunk=None):
    """A plain continuous-batching engine whose steps take what the law says: what a benchmark would have recorded.

    `hits`: tokens of each prompt that are cached; `chunk`: tokens of prompts that a step works on at most.
    """
    rng = np.random.default_rng(seed)
    a, b, c, d = law
    waiting = list(np.argsort(start_s, kind="stable"))
    start_s = np.array(start_s, dtype=float)
    tokens = {i: [] for i in range(len(prompts))}
    left = np.array(prompts) - (0 if hits is None else hits)
    now, running = 0.0, []
    while waiting or running:
        if not running and start_s[waiting[0]] > now:
            now = start_s[waiting[0]]
        room = limit - len(running) if limit else len(waiting)
        new, work = [], 0
        for i in waiting[:room]:
            if start_s[i] > now or work == chunk:
                break
            part = min(left[i], (chunk or np.inf) - work)
            left[i], work = left[i] - part, work + part
            new += [i] if left[i] == 0 else []
        waiting = waiting[len(new) :]
        context = sum(prompts[i] + len(tokens[i]) for i in running)
        step_s = a + b * len(running) + c * work + d * context
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
    return law.law.params[:4].tolist()


def test_a_known_law_is_recovered_from_its_benchmark(write):
    law = engine_benchmarks.from_bench(write(poisson()))
    assert values(law) == pytest.approx(LAW, rel=1e-6)
    assert law.mape < 1e-6 and law.r2 == pytest.approx(1) and law.unidentified == ()
    assert law.law.step_s(3, 100, 500) == pytest.approx(0.008 + 6e-4 + 3e-3 + 2e-5, rel=1e-6)


def test_a_known_law_is_recovered_from_noisy_steps(write):
    """Seed 0. At least three of four 95 % intervals hold the truth (fails by chance in 1.4 % of seeds, were they
    independent), and no coefficient is off by two half-widths, 4.5 standard errors (0.6 % for four, t on 9 degrees)."""
    law = engine_benchmarks.from_bench(write(poisson(n=300, noise=0.05)))
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
    recorded = engine_benchmarks.from_bench(write(closed))
    for result in (burst, closed):
        del result["start_times"]
    law = engine_benchmarks.from_bench(write(closed))
    assert values(law) == pytest.approx(LAW, rel=1e-6) and values(recorded) == pytest.approx(LAW, rel=1e-6)
    assert law.starts == "rebuilt: each when one of 8 in flight had ended"
    with pytest.warns(UserWarning, match="c_s_per_prefill_token cannot be told"):  # all prompts went in one step
        law = engine_benchmarks.from_bench(write(burst))
    assert law.starts == "rebuilt: all were sent at once"
    assert values(law)[1] == pytest.approx(LAW[1], rel=1e-6)


def test_several_runs_of_one_engine_are_fitted_together(write):
    law = engine_benchmarks.from_bench(write(poisson(seed=1), poisson(seed=2, rate_rps=1.0)))
    assert values(law) == pytest.approx(LAW, rel=1e-6)


def test_a_step_counts_once_however_many_share_it():
    steps = engine_benchmarks.steps_of(
        pd.DataFrame(
            {"start_s": [0.0, 0.0], "prompt_tokens": [10, 20], "ttft_s": [1.0, 1.0], "itl_s": [[0.1, 0.1]] * 2}
        )
    )
    assert steps["weight"].sum() == pytest.approx(2) and steps["decodes"].tolist() == [2, 2, 2, 2]
    assert steps["context_tokens"].tolist() == [32, 32, 34, 34]


def test_requests_that_failed_are_left_out_and_counted(write):
    result = poisson()
    for name, value in (("ttfts", 0.0), ("itls", []), ("output_lens", 0), ("input_lens", 50), ("start_times", 101.0)):
        result[name].append(value)
    law = engine_benchmarks.from_bench(write(result))
    assert values(law) == pytest.approx(LAW, rel=1e-6)
    assert "- assumed: 1 of 121 requests failed: left out" in law.card()
    assert "requests failed" not in engine_benchmarks.from_bench(write(poisson())).card()


def test_prompts_that_look_cached_are_told_by_number_and_left_out(write):
    """Every other prompt has 0.4 to 1 of it in the cache: taken for whole, c would be 40 % too small."""
    rng = np.random.default_rng(5)
    n, start_s = 80, np.random.default_rng(6).exponential(0.25, 80).cumsum()
    prompts, outputs = rng.integers(300, 1500, n), rng.integers(5, 40, n)
    hits = np.where(np.arange(n) % 2, 0, (prompts * rng.uniform(0.4, 1.0, n)).astype(int))
    with pytest.warns(UserWarning, match=r"3\d of 7\d steps with a prompt took less than 70 %.*prefix cache.*left out"):
        law = engine_benchmarks.from_bench(write(serve(start_s, prompts, outputs, noise=0.01, hits=hits)))
    low, high = law.intervals["c_s_per_prefill_token"]
    assert low <= LAW[2] <= high and high < 1.1 * low
    assert law.mape < 0.02 and "prefix cache, and the law takes all for uncached" in law.card()


def test_prompts_in_chunks_are_told_and_the_bad_fit_is_named(write):
    rng = np.random.default_rng(5)
    n, start_s = 40, np.random.default_rng(6).exponential(0.3, 40).cumsum()
    result = serve(start_s, rng.integers(1500, 4000, n), rng.integers(15, 40, n), noise=0.01, chunk=512)
    with pytest.warns(UserWarning) as caught:
        law = engine_benchmarks.from_bench(write(result))
    told = "\n".join(str(one.message) for one in caught)
    assert "prompts were computed in chunks" in told and "the law fits badly: held-out error" in told
    assert "a bad fit (expected at most 10 %)" in law.card() and law.law.trust.misfit


def test_a_coefficient_at_its_bound_is_not_identified_and_its_interval_is_no_point(write):
    """Nothing is spent on context, and noise takes it below zero: that says how little it may be, not that it is 0."""
    law = engine_benchmarks.from_bench(write(poisson(law=(0.008, 2e-4, 3e-5, 0.0), noise=0.02, seed=4)))
    low, high = law.intervals["d_s_per_context_token"]
    assert law.law.d_s == 0 or low == 0
    assert high > 0 and "d_s_per_context_token" in law.unidentified
    assert "| 0 to 0 |" not in law.card()


def test_what_the_steps_cannot_tell_has_no_upper_end(write):
    result = poisson(n=60)
    result["itls"], result["output_lens"] = [[]] * 60, [1] * 60
    result["start_times"] = (10.0 * np.arange(60)).tolist()
    with pytest.warns(UserWarning, match="cannot be told"):
        law = engine_benchmarks.from_bench(write(result))
    assert law.intervals["b_s_per_decode"] == (0.0, np.inf) and "| 0 to any | no |" in law.card()


def test_a_law_carries_what_its_benchmark_saw(write):
    law = engine_benchmarks.from_bench(write(poisson()))
    trust = law.law.trust
    assert trust.source == "bench.json" and trust.mape == law.mape and trust.ranges["decodes"][0] == 0
    assert trust.ranges["prefill_tokens"][1] >= 1400 and len(trust.assumes) == 5
    path = write(poisson()).with_name("law.csv")
    path.write_text(law.text())
    again = named.step_law_of(str(path))
    assert again == law.law and again.trust == trust


def test_what_never_varies_is_named_as_unknown(write):
    result = poisson(n=60)
    result["itls"], result["output_lens"] = [[]] * 60, [1] * 60  # first tokens only: nobody decodes
    result["start_times"] = (10.0 * np.arange(60)).tolist()
    with pytest.warns(UserWarning, match="b_s_per_decode, d_s_per_context_token cannot be told .* arriving while"):
        law = engine_benchmarks.from_bench(write(result))
    assert law.unidentified == ("b_s_per_decode", "d_s_per_context_token")
    assert law.table()["identified"].tolist() == [True, False, True, False]


def test_a_card_says_what_was_fitted_and_assumed(write):
    card = engine_benchmarks.from_bench(write(poisson())).card()
    for words in (
        "Step law of bench.json",
        "c_s_per_prefill_token",
        "R² 1.0000",
        "no speculation",
        "valid for decodes",
    ):
        assert words in card


# Files as the two benchmarks write them: every key, in their order (vLLM: vllm/benchmarks/serve.py; SGLang:
# python/sglang/bench_serving.py and its guide). A failed request has no times and no tokens, and says why.

FAILED = {"input_lens": 50, "output_lens": 0, "ttfts": 0.0, "itls": [], "generated_texts": "", "errors": "Bad Gateway"}


def details(result, failed=1) -> dict:
    """The per-request arrays, with requests that failed at the end."""
    rows = len(result["ttfts"])
    arrays = {name: result[name] for name in ("input_lens", "output_lens", "ttfts", "itls")}
    arrays |= {"generated_texts": ["a\u2028b\n"] * rows, "errors": [""] * rows}
    return {name: values + [FAILED[name]] * failed for name, values in arrays.items()}


def vllm_result(result, **changed) -> dict:
    """What ``vllm bench serve --save-result --save-detailed`` saves."""
    rows, arrays = len(result["ttfts"]), details(result)
    texts = {name: arrays.pop(name) for name in ("generated_texts", "errors")}
    head = {"date": "20260131-120000", "endpoint_type": "openai", "backend": "openai", "label": None}
    head |= {"model_id": "meta-llama/Llama-3.1-8B-Instruct", "tokenizer_id": "meta-llama/Llama-3.1-8B-Instruct"}
    head |= {"num_prompts": rows + 1, "tp": "1", "request_rate": 4.0, "burstiness": 1.0, "max_concurrency": None}
    totals = {"duration": result["duration"], "completed": rows, "failed": 1}
    totals |= {"total_input_tokens": sum(result["input_lens"]), "total_output_tokens": sum(result["output_lens"])}
    totals |= {"request_throughput": 3.9, "request_goodput": None, "output_throughput": 400.0}
    totals |= {"total_token_throughput": 3000.0}
    tail = {"max_output_tokens_per_s": 900.0, "max_concurrent_requests": 20, "rtfx": 0.0}
    tail |= {f"{kind}_{name}_ms": 1.0 for name in ("ttft", "tpot", "itl") for kind in ("mean", "median", "std", "p99")}
    starts = {"start_times": [51_000.5 + start_s for start_s in result["start_times"]] + [51_003.0]}
    return head | totals | arrays | starts | texts | tail | changed


def sglang_result(result, **changed) -> dict:
    """A line of what ``sglang.bench_serving --output-file FILE --output-details`` appends."""
    rows = len(result["ttfts"])
    head = {"tag": None, "backend": "sglang", "dataset_name": "random", "request_rate": float("inf")}
    head |= {"max_concurrency": result["max_concurrency"], "sharegpt_output_len": None, "random_input_len": 1024}
    head |= {"random_output_len": 1024, "random_range_ratio": 0.0, "duration": result["duration"], "completed": rows}
    head |= {"total_input_tokens": sum(result["input_lens"]), "total_output_tokens": sum(result["output_lens"])}
    head |= {"total_output_tokens_retokenized": 1, "request_throughput": 2.0, "mean_e2e_latency_ms": 1.0}
    head |= {"mean_ttft_ms": 1.0, "p99_itl_ms": 1.0, "concurrency": 7.9, "accept_length": None}
    return head | details(result) | changed


def closed_loop(seed=3, limit=8) -> dict:
    rng = np.random.default_rng(seed)
    prompts, outputs = rng.integers(20, 1500, 60), rng.integers(5, 100, 60)
    return serve(np.where(np.arange(60) < limit, 0.0, np.inf), prompts, outputs, limit=limit)


@pytest.mark.parametrize("append", [False, True])
def test_the_file_that_vllm_saves_is_read(tmp_path, append):
    path = tmp_path / "openai-4.0qps-Llama-3.1-8B-Instruct-20260131-120000.json"
    runs = [vllm_result(poisson(seed=seed)) for seed in ((1, 2) if append else (1,))]
    path.write_text("\n".join(json.dumps(run) for run in runs))  # --append-result puts a line's end between two
    law = engine_benchmarks.from_bench(path)
    assert values(law) == pytest.approx(LAW, rel=1e-4) and law.starts == "recorded" and not law.unidentified


def test_the_lines_that_sglang_appends_are_read(tmp_path):
    path = tmp_path / "sglang_0131_60_1024_1024.jsonl"
    for limit in (4, 16):
        with path.open("a") as file:
            file.write(json.dumps(sglang_result(closed_loop(limit=limit))) + "\n")
    assert '"request_rate": Infinity' in path.read_text()
    law = engine_benchmarks.from_bench(path)
    assert values(law) == pytest.approx(LAW, rel=1e-6)
    assert law.starts.endswith("rebuilt: each when one of 16 in flight had ended")


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (
            vllm_result(poisson(n=20), **dict.fromkeys(("input_lens", "output_lens", "ttfts", "itls"))),
            "--save-detailed",
        ),
        (
            sglang_result(closed_loop(), request_rate=4.0),
            "start_times: missing, and request_rate 4.0 with max_concurrency 8 does not say",
        ),
        (
            sglang_result(closed_loop(), request_rate="trace"),
            "request_rate 'trace' with max_concurrency 8 does not say",
        ),
    ],
)
def test_a_real_file_without_what_is_needed_says_which_option_records_it(write, result, says):
    with pytest.raises(simlib.InputError, match=says):
        engine_benchmarks.from_bench(write(result))


@pytest.mark.filterwarnings("ignore:.*cannot be told")
def test_messages_of_several_tokens_are_no_steps_and_are_told(write):
    result = poisson(n=60)
    cut = [[part for gap in gaps[::2] for part in (gap / 2, gap / 2)] for gaps in result["itls"]]  # as SGLang does
    with pytest.warns(UserWarning, match=r"itls: \d+ gaps, \d+ equal the one before: several tokens"):
        engine_benchmarks.from_bench(write(result | {"itls": cut}))
    with pytest.warns(UserWarning, match=r"itls: \d+ gaps, for \d+ tokens after the first: several"):
        engine_benchmarks.from_bench(write(result | {"itls": [gaps[::2] for gaps in result["itls"]]}))


def rounded(result, digits=4):
    return result | {"itls": [np.round(gaps, digits).tolist() for gaps in result["itls"]]}


@pytest.mark.filterwarnings("error:.*several tokens")
@pytest.mark.parametrize("digits", [3, 4, 5])
def test_gaps_that_are_rounded_are_no_messages_of_several_tokens(write, digits):
    """Of gaps rounded to 0.1 ms, a quarter and more equal the one before: the clock is coarse, nothing else."""
    engine_benchmarks.from_bench(write(rounded(poisson(n=60, noise=0.01), digits)))


@pytest.mark.filterwarnings("ignore")
def test_messages_of_several_tokens_are_told_where_gaps_are_rounded_too(write):
    result = poisson(n=60, noise=0.01)
    cut = [[part for gap in gaps[::2] for part in (gap / 2, gap / 2)] for gaps in result["itls"]]
    with pytest.warns(UserWarning, match=r"equal the one before: several tokens"):
        engine_benchmarks.from_bench(write(rounded(result | {"itls": cut})))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"itls": None}, "no gaps between tokens of each request (expected both: vLLM records them with"),
        ({"ttfts": None, "itls": None}, "--save-detailed, SGLang with --output-details"),
        ({"ttfts": [0.1]}, "ttfts: 1 entries (expected 120"),
        ({"input_lens": ["many"] * 120}, "row 0, input_lens: 'many'"),
        ({"ttfts": [-1.0] * 120}, "row 0, ttfts: -1.0"),
        ({"ttfts": [0.0] * 120}, "no request was served"),
        ({"start_times": None}, "start_times: missing, and request_rate 2.0 does not say"),
        ({"start_times": [0.0]}, "start_times: 1 entries"),
        ({"itls": [[0.1, float("nan")]] * 120}, "row 0, itls, entry 1: nothing"),
        ({"input_lens": [10**9] * 120}, "request 0, prompt_tokens: 1,000,000,000 (expected at most 10,000,000)"),
        (
            {"output_lens": [*poisson()["output_lens"][:-1], 2**31]},
            "request 119, output_tokens: 2,147,483,648 (expected at most 1,000,000)",
        ),
        (
            {n: poisson()[n][:3] for n in ARRAYS} | {"itls": [[]] * 3},
            "3 of 3 requests with several tokens have no gaps",
        ),
    ],
)
def test_a_benchmark_that_cannot_be_used_names_what_is_missing(write, change, says):
    with pytest.raises(simlib.InputError) as caught:
        engine_benchmarks.from_bench(write(poisson() | change))
    assert says in str(caught.value) and "bench.json" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"), [("", "empty"), ("[1]", "a JSON object"), ("{", "expected JSON"), ("x", "(table|header)")]
)
def test_what_is_no_benchmark_is_named(tmp_path, text, says):
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(simlib.InputError, match=rf"bench.json.*{says}"):
        engine_benchmarks.from_bench(path)
    with pytest.raises(simlib.InputError, match=r"absent.json: no such file"):
        engine_benchmarks.from_bench(tmp_path / "absent.json")


def test_what_calibrate_writes_simulate_and_plan_read(write, tmp_path, capsys):
    law, card, table = tmp_path / "my.csv", tmp_path / "card.md", tmp_path / "requests.csv"
    bench = ["calibrate", "--from-bench", str(write(poisson()))]
    assert main([*bench, "--output", str(law)]) == 0
    assert capsys.readouterr().out.startswith("### Step law of bench.json")  # the card goes to the terminal
    assert main([*bench, "--output", str(law), "--card", str(card)]) == 0
    assert capsys.readouterr().out == "" and card.read_text().startswith("### Step law")
    table.write_text("arrival_s,prompt_tokens,output_tokens\n0,100,11\n0.5,90000,11\n")
    for how in (["--policy", "fcfs", "--execution", "continuous"], ["--policy", "static_fifo"]):
        out = tmp_path / "run.csv"
        assert main(["simulate", str(table), "--latency", str(law), *how, "--out", str(out)]) == 0
        first = pd.read_csv(out)["completion_s"][0]
        a, b, c, d = LAW
        assert first == pytest.approx(11 * a + 10 * b + 100 * c + d * sum(range(101, 111)), rel=1e-5)
    assert "latency bench.json: parts of a run lie outside the measured range" in capsys.readouterr().err
    demand = ["--rate", "2", "--prompt", "300,0.2", "--output", "20,0.2", "--kv-tokens", "9000", "--requests", "200"]
    few = ["--sla", "ttft_p99<=5", "--max-num-seqs", "8", "--token-budgets", "2048", "--k-bins", "1", "--max-gpus", "1"]
    for option in ("--latency", "--steps"):
        assert main(["plan", *demand, *few, option, str(law)]) == 0
        assert capsys.readouterr().out.startswith("Deploy 1 x ")


def test_a_card_without_a_benchmark_is_refused(tmp_path, capsys):
    assert main(["calibrate", "--template", "--card", str(tmp_path / "card.md")]) == 2
    assert "--card" in capsys.readouterr().err and not (tmp_path / "card.md").exists()


def test_a_gap_of_nothing_is_a_message_of_several_tokens(write):
    result = poisson(n=60)
    result["itls"] = [[gap for step in itls[::2] for gap in (2 * step, 0.0)] for itls in result["itls"]]
    result["output_lens"] = [1 + len(itls) for itls in result["itls"]]
    with pytest.warns(UserWarning, match=r"\d+ next to nothing: several tokens came in one message"):
        engine_benchmarks.from_bench(write(result))


def test_requests_of_which_no_gaps_are_known_are_counted(write):
    result = poisson()
    result["itls"] = [[] if row % 3 == 0 else itls for row, itls in enumerate(result["itls"])]
    with pytest.raises(simlib.InputError, match="40 of 120 requests with several tokens have no gaps between tokens"):
        engine_benchmarks.from_bench(write(result))


def test_several_loads_without_starts_are_to_be_chosen_from(write):
    loads = [{name: value for name, value in poisson(seed=seed).items() if name != "start_times"} for seed in (1, 2)]
    with pytest.raises(simlib.InputError, match=r"2 loads in one file .*--run"):
        engine_benchmarks.from_bench(write(*loads))


@pytest.mark.filterwarnings("ignore:.*cannot be told")
def test_a_coefficient_that_hardly_a_step_shows_is_not_identified(write):
    result = poisson(n=8, rate_rps=0.5)
    law = engine_benchmarks.from_bench(write(result))
    assert "c_s_per_prefill_token" in law.unidentified and law.intervals["c_s_per_prefill_token"] == (0.0, np.inf)


def test_prompts_that_the_file_says_were_cached_are_not_assumed_to_be_none():
    law, known = (engine_benchmarks.from_log(log_of(cached), "bench.json") for cached in (False, True))
    assert any("no token of a prompt is in the prefix cache" in text for text in law.law.trust.assumes)
    assert not any("no token of a prompt is in the prefix cache" in text for text in known.law.trust.assumes)


def log_of(cached):
    result = poisson()
    frame = pd.DataFrame(
        {
            "clock": result["start_times"],
            "prompt_tokens": result["input_lens"],
            "output_tokens": result["output_lens"],
            "ttft_s": result["ttfts"],
            "itl_s": [np.array(itls) for itls in result["itls"]],
        }
    )
    frame = frame.assign(cached_prompt_tokens=0) if cached else frame
    return Log("bench.json", "serving_benchmark", frame, {}, Clock("s", "by its name"))


def test_a_law_that_does_not_give_back_its_own_first_tokens_says_so(write):
    """Gaps that no prompt disturbs: whatever the first tokens took, the law knows nothing of it."""
    rng, n = np.random.default_rng(0), 60
    result = {
        "input_lens": rng.integers(20, 1500, n).tolist(),
        "output_lens": [50] * n,
        "start_times": (100 + np.arange(n) * 0.1).tolist(),
        "request_rate": 5.0,
        "duration": 13.0,
    }
    result["ttfts"] = [0.02 + 5e-5 * tokens for tokens in result["input_lens"]]
    result["itls"] = (0.013 * np.exp(0.04 * rng.standard_normal((n, 49)))).tolist()
    with pytest.warns(UserWarning) as caught:
        law = engine_benchmarks.from_bench(write(result))
    told = law.law.trust.unlike
    assert told and told[0].startswith("ttft mean") and any(told[0] in str(one.message) for one in caught)
    assert law.r2 < 0.1 and "R² of at least 0.1" in law.law.trust.misfit
    assert told[0] in law.card() and named.law_file.parse(law.text(), "x.csv").trust.unlike == told
    assert engine_benchmarks.from_bench(write(poisson())).law.trust.unlike == ()
