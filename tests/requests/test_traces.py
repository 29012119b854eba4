"""Real rows come out of every format as they went in, and what was left out, scaled or repeated is said."""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

import simlib
from simlib import datasets
from simlib.checks import InputError
from simlib.datasets import sample
from simlib.requests.formats.blocks import cached_prefix_tokens
from simlib.requests.formats.known import FORMATS
from simlib.requests.traces import read

BURSTGPT_6 = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,GPT-4,1087,230,1317,API log
45,ChatGPT,10,0,10,Conversation log
118,GPT-4,417,276,693,Conversation log
"""
BURSTGPT_8 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,s1,43,ChatGPT,472,18,490,Conversation log
19440150.0,s1,2,GPT-4,1087,230,1317,API log
19440150.0,,8,ChatGPT,10,0,10,Conversation log
19440223.0,s2,3,GPT-4,417,276,693,Conversation log
"""
AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,472,18
2023-11-16 18:16:26.6805900,1087,230
2023-11-16 18:16:26.6805900,10,0
2023-11-16 18:17:39.6805900,417,276
"""
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n7.5,472,18\n47.5,1087,230\n47.5,10,0\n120.5,417,276\n"
PLAIN = "arrival_s,prompt_tokens,output_tokens\n0,472,18\n40,1087,230\n40,10,0\n113,417,276\n"
TIMES_S, PROMPTS, OUTPUTS = [0.0, 40.0, 40.0, 113.0], [472, 1087, 10, 417], [18, 230, 0, 276]
ROWS = list(zip(TIMES_S, PROMPTS, OUTPUTS, strict=True))
MOONCAKE = "".join(
    json.dumps(
        {"timestamp": 1000 + 1000 * t, "input_length": p, "output_length": o, "hash_ids": [0, 1, 2][: -(-p // 512)]}
    )
    + "\n"
    for t, p, o in ROWS
)
VLLM_LOG = "".join(
    json.dumps({"request_id": f"r{i}", "input_toks": p, "output_toks": o, "arrival_time": 1787267980.5 + t}) + "\n"
    for i, (t, p, o) in enumerate(ROWS)
)
RESULT = {
    "request_rate": 2.4,
    "max_concurrency": None,
    "duration": 120.0,
    "input_lens": PROMPTS,
    "output_lens": OUTPUTS,
    "ttfts": [0.1, 0.1, 0.0, 0.1],
    "itls": [[0.01], [0.01], [], [0.01]],
    "start_times": [353399.25 + t for t in TIMES_S],
    "errors": ["", "", "refused", ""],
}
EVERY_FORMAT = [
    ("burstgpt", BURSTGPT_6),
    ("burstgpt", BURSTGPT_8),
    ("azure", AZURE),
    ("mooncake", MOONCAKE),
    ("vidur", VIDUR),
    ("vllm_log", VLLM_LOG),
    ("serving_benchmark", json.dumps(RESULT)),
    ("plain", PLAIN),
]


@pytest.fixture
def write(tmp_path):
    def write(content, name="trace"):
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    return write


# ------------------------------------------------------------------------------------------------------------- formats


@pytest.mark.parametrize(("format", "text"), EVERY_FORMAT)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_is_recognised_and_gives_the_same_requests(write, format, text, packed):
    # The name says nothing: gzip and format are told by the content.
    file = write(gzip.compress(text.encode()) if packed else text)
    trace = read(file, failed="keep")
    assert (trace.format, trace.source) == (format, "trace")
    assert trace.requests.arrival_s.tolist() == TIMES_S
    assert trace.requests.prompt_tokens.tolist() == PROMPTS
    assert trace.requests.output_tokens.tolist() == OUTPUTS
    assert read(file, format, failed="keep").requests.arrival_s.tolist() == TIMES_S


def test_there_is_an_example_of_every_format():
    elsewhere = "".join(path.read_text() for path in (Path(__file__).parent / "formats").glob("test_*.py"))
    untried = [name for name in FORMATS if name not in dict(EVERY_FORMAT) and f'"{name}"' not in elsewhere]
    assert not untried


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + BURSTGPT_6,
        BURSTGPT_6.replace("\n", "\r\n"),
        BURSTGPT_6.replace(",", ", "),
        BURSTGPT_6.rstrip("\n"),
        BURSTGPT_6 + "\n\n",
        json.dumps(pd.DataFrame({"timestamp": [0], "input_length": 1, "output_length": 1}).to_dict("records")),
        json.dumps(RESULT, indent=2),
    ],
)
def test_harmless_variants_of_the_container_are_read(write, text):
    assert len(read(write(text), failed="keep").requests) in (1, 4)


def test_labels_are_kept(write):
    labels = read(write(BURSTGPT_8), failed="keep").requests.labels
    assert labels["client"].tolist() == ["s1", "s1", "", "s2"]
    assert labels["model"].tolist() == ["ChatGPT", "GPT-4", "ChatGPT", "GPT-4"]
    assert labels["log_type"].tolist()[1] == "API log"
    assert read(write(VLLM_LOG), failed="keep").requests.labels["request_id"].tolist() == ["r0", "r1", "r2", "r3"]


def test_a_plain_table_keeps_its_clock_its_labels_and_every_column(write):
    text = "request_id,arrival_s,prompt_tokens,output_tokens,predicted_output_tokens,cached_prompt_tokens,extra\n"
    requests = read(write(text + "7,0.1,10,5,6,3,x\n9,0.30000000000000004,20,7,8,0,y\n")).requests
    assert requests.arrival_s.tolist() == [0.1, 0.30000000000000004]
    assert requests.predicted_output_tokens.tolist() == [6, 8]
    assert requests.cached_prompt_tokens.tolist() == [3, 0]
    assert requests.labels["request_id"].tolist() == ["7", "9"]  # as spelled: 007 is not 7


def test_every_double_of_a_plain_table_comes_back_to_the_last_bit(write):
    arrival_s = np.cumsum(np.random.default_rng(0).exponential(0.02, 2000))
    table = pd.DataFrame({"arrival_s": arrival_s, "prompt_tokens": 1, "output_tokens": 1})
    assert (read(write(table.to_csv(index=False))).requests.arrival_s == arrival_s).all()


def test_dates_keep_their_seventh_digit_and_their_zone(write):
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
    text += (
        "2024-05-10 00:00:00.0000001+00:00,1,1\n2024-05-10 02:00:00.0000003+02:00,1,1\n2024-05-10 00:00:01+00:00,1,1\n"
    )
    assert read(write(text)).requests.arrival_s.tolist() == [0.0, 2e-7, 0.9999999]


def test_a_benchmark_that_sent_everything_at_once_needs_no_start_times(write):
    result = {k: v for k, v in RESULT.items() if k != "start_times"} | {"request_rate": "inf"}
    requests = read(write(json.dumps(result)), failed="keep").requests
    assert requests.arrival_s.tolist() == [0.0] * 4
    assert requests.prompt_tokens.tolist() == PROMPTS


def test_a_benchmark_without_start_times_is_refused_where_they_are_unknown(write):
    result = {k: v for k, v in RESULT.items() if k != "start_times"} | {"request_rate": 2.4}
    with pytest.raises(InputError, match=r"^trace, start_times: missing, and request_rate 2.4 .*vLLM saves them since"):
        read(write(json.dumps(result)))


# ----------------------------------------------------------------------------------------------------------- real data


def test_the_sample_at_100_times_the_rate_is_the_table_of_the_recorded_runs(data_dir):
    recorded = pd.read_csv(data_dir / "reference-runs" / "burstgpt400_x100.table.csv")
    requests = read(sample(), rows=400, failed="keep", rate_factor=100.0).requests
    assert (requests.arrival_s == recorded["arrival_s"]).all()
    assert (requests.prompt_tokens == recorded["prompt_tokens"]).all()
    assert (requests.output_tokens == recorded["output_tokens"]).all()


def test_the_samples_failures_are_dropped_and_counted():
    trace = read(sample())
    assert (trace.rows_read, trace.failed_dropped, len(trace.requests)) == (400, 17, 383)
    assert trace.requests.output_tokens.min() > 0


def test_burstgpt_slices_start_at_0(data_dir):
    for file, span_s in (("BurstGPT_1_t822291_120.csv", 30.0), ("BurstGPT_1_t3064252_dense120.csv", 4.0)):
        requests = read(data_dir / "burstgpt" / file).requests
        assert (requests.arrival_s[0], requests.arrival_s[-1], len(requests)) == (0.0, span_s, 120)


def test_azure_and_vidur_have_the_same_requests(data_dir):
    azure = read(data_dir / "azure-llm-2023" / "AzureLLMInferenceTrace_conv.csv.gz")
    vidur = read(data_dir / "vidur-traces" / "splitwise_conv.csv.gz")
    assert (azure.format, vidur.format) == ("azure", "vidur")
    assert (azure.rows_read, azure.failed_dropped, len(azure.requests)) == (19_366, 0, 19_366)
    assert (azure.requests.prompt_tokens == vidur.requests.prompt_tokens).all()
    assert (azure.requests.output_tokens == vidur.requests.output_tokens).all()
    assert np.abs(azure.requests.arrival_s - vidur.requests.arrival_s).max() < 1.1e-6


def test_the_vllm_log_is_read(data_dir):
    trace = read(data_dir / "llmservingsim" / "RTX4090_Llama-3.1-8B_vllm_requests.jsonl.gz")
    requests = trace.requests
    assert trace.format == "vllm_log"
    assert (requests.prompt_tokens.sum(), requests.output_tokens.sum()) == (257_239, 195_753)
    assert len(requests) == 300
    assert requests.arrival_s[0] == 0.0
    assert abs(requests.arrival_s[-1] - 29.1) < 0.05
    assert requests.labels["request_id"][0] == "bench-0"


# --------------------------------------------------------------------------------------------------- which rows, if any


def test_filters_by_model_and_log_type_are_counted_apart_from_failures(write):
    trace = read(write(BURSTGPT_6), model="ChatGPT")
    assert (trace.rows_read, trace.filtered_out, trace.failed_dropped) == (4, 2, 1)
    assert trace.requests.prompt_tokens.tolist() == [472]
    trace = read(write(BURSTGPT_6), model="GPT-4", log_type="Conversation log")
    assert (trace.filtered_out, trace.failed_dropped) == (3, 0)
    assert trace.requests.prompt_tokens.tolist() == [417]


def test_the_first_kept_request_arrives_at_0(write):
    assert read(write(BURSTGPT_6), model="GPT-4").requests.arrival_s.tolist() == [0.0, 73.0]


def test_rows_counts_requests_that_are_kept_and_reading_ends_with_the_last(write):
    trace = read(write(BURSTGPT_6), rows=2)
    assert (trace.rows_read, trace.failed_dropped, len(trace.requests)) == (2, 0, 2)
    trace = read(write(BURSTGPT_6), rows=3.0)
    assert (trace.rows_read, trace.failed_dropped) == (4, 1)
    assert trace.requests.prompt_tokens.tolist() == [472, 1087, 417]


def test_more_rows_than_there_are_is_an_error_that_names_both(write):
    with pytest.raises(InputError, match=r"^rows: 1000 asked for, BurstGPT_sample\.csv has 383 .*17 failed.*bootstrap"):
        read(sample(), rows=1000)
    with pytest.raises(InputError, match=r"^rows: 401 asked for, BurstGPT_sample\.csv has 400 "):
        read(sample(), rows=401, failed="keep")


def test_nothing_left_is_an_error(write):
    text = BURSTGPT_6.replace("GPT-4,1087,230", "GPT-4,1087,0").replace("GPT-4,417,276", "GPT-4,417,0")
    with pytest.raises(InputError, match=r"^trace: no requests left \(4 rows, 2 filtered out, 2 failed and dropped"):
        read(write(text), model="GPT-4")


def test_rows_out_of_order_are_refused_or_sorted_stably(write):
    text = "arrived_at,num_prefill_tokens,num_decode_tokens\n5,1,1\n7,2,1\n6,3,1\n7,4,1\n5,5,1\n"
    with pytest.raises(InputError, match=r"^trace, row 2, arrived_at: 6 .*1 s before a row above.*unsorted='sort'"):
        read(write(text))
    trace = read(write(text), unsorted="sort")
    assert trace.requests.prompt_tokens.tolist() == [1, 5, 3, 2, 4]
    assert trace.requests.arrival_s.tolist() == [0.0, 0.0, 1.0, 2.0, 2.0]
    assert trace.rows_moved == 2
    dates = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:47,1,1\n2023-11-16 18:15:46.5,1,1\n"
    with pytest.raises(InputError, match=r"row 1, TIMESTAMP: 2023-11-16T18:15:46\.5.*0\.5 s before"):
        read(write(dates))


# ---------------------------------------------------------------------------------------------------------------- rates


def test_a_rate_factor_divides_the_arrival_times(write):
    trace = read(write(BURSTGPT_6), failed="keep", rate_factor=100.0)
    assert trace.requests.arrival_s.tolist() == [0.0, 0.4, 0.4, 1.13]
    assert trace.rate_factor == 100.0


@pytest.mark.parametrize("options", [{}, {"rows": 100}, {"rows": 700, "extend": "bootstrap"}, {"model": "GPT-4"}])
def test_a_target_rate_is_met_by_gaps_over_span_after_all_else(options):
    trace = read(sample(), rate_rps=2.5, **options)
    arrival_s = trace.requests.arrival_s
    assert (len(arrival_s) - 1) / (arrival_s[-1] - arrival_s[0]) == pytest.approx(2.5, rel=1e-12)
    assert trace.rate_rps == pytest.approx(2.5, rel=1e-12)
    plain = read(sample(), **options).requests.arrival_s
    assert arrival_s == pytest.approx(plain / trace.rate_factor, rel=1e-12)


def test_a_plain_table_is_scaled_on_its_own_clock(write):
    text = "arrival_s,prompt_tokens,output_tokens\n1,1,1\n3,1,1\n"
    assert read(write(text), rate_rps=1.0).requests.arrival_s.tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (VIDUR[: VIDUR.index("47.5")], "1 request"),
        (VIDUR.replace("47.5", "7.5").replace("120.5", "7.5"), "3 requests, all"),
    ],
)
def test_a_target_rate_without_a_span_is_refused(write, text, what):
    assert len(read(write(text), rate_factor=2.0).requests) >= 1
    with pytest.raises(InputError, match=rf"^rate_rps: 3 .trace gives {what}"):
        read(write(text), rate_rps=3.0)


def test_a_span_too_short_to_measure_has_no_rate(write):
    trace = read(write("arrival_s,prompt_tokens,output_tokens\n0,1,1\n5e-324,1,1\n"))
    assert trace.rate_rps is None
    assert str(trace) == "trace (plain): 2 rows read, 2 requests"


def test_a_trace_that_is_too_thin_for_a_table_can_be_scaled_into_one(write):
    text = "Timestamp,Model,Request tokens,Response tokens,Log Type\n"
    text += "".join(f"{5000 * i},m,1,1,l\n" for i in range(12))
    with pytest.raises(InputError, match=r"^trace: mean gap 5000 s .*rate_factor or rate_rps"):
        read(write(text))
    assert read(write(text), rate_factor=100.0).requests.arrival_s[1] == 50.0


# ------------------------------------------------------------------------------------------------------------ bootstrap


def test_an_extended_trace_is_the_real_one_and_then_blocks_of_its_rows_with_their_gaps():
    real = read(sample(), failed="keep")
    longer = read(sample(), rows=1000, failed="keep", extend="bootstrap", block_rows=30)
    assert (longer.rows_read, longer.extended_rows, longer.block_rows, len(longer.requests)) == (400, 600, 30, 1000)
    assert longer.requests.arrival_s[:400].tolist() == real.requests.arrival_s.tolist()

    def rows(trace):
        gaps = np.diff(trace.requests.arrival_s)
        return list(zip(gaps, trace.requests.prompt_tokens[1:], trace.requests.output_tokens[1:], strict=True))

    there, made = rows(real), rows(longer)[399:]
    runs = {tuple(there[i : i + 30]) for i in range(len(there) - 29)}
    blocks = [tuple(made[i : i + 30]) for i in range(0, 600, 30)]
    assert all(block in runs for block in blocks)
    assert len(set(blocks)) > 10
    assert longer.requests.labels["model"].tolist()[:400] == real.requests.labels["model"].tolist()


def test_the_bootstrap_draws_every_gap_alike():
    # Blocks of one row: the gaps are drawn with equal chances. Chi-square over the gaps that are in the trace at least
    # five times, false alarm 0.1 %, seed fixed.
    gaps_s = np.diff(read(sample(), failed="keep").requests.arrival_s)
    longer = read(sample(), rows=40_400, failed="keep", extend="bootstrap", block_rows=1, seed=3)
    drawn_s = np.diff(longer.requests.arrival_s)[399:]
    values, counts = np.unique(gaps_s, return_counts=True)
    values, counts = values[counts >= 5], counts[counts >= 5]
    seen = np.array([(drawn_s == value).sum() for value in values])
    expected = counts / len(gaps_s) * len(drawn_s)
    rest = len(drawn_s)
    test = stats.chisquare(np.append(seen, rest - seen.sum()), np.append(expected, rest - expected.sum()))
    assert test.pvalue > 1e-3
    assert len(values) > 10


def test_the_seed_decides_the_blocks_and_nothing_else_does():
    def prompts(**options):
        return read(sample(), rows=600, extend="bootstrap", **options).requests.prompt_tokens.tolist()

    assert prompts(seed=1) == prompts(seed=1) == prompts(seed=1, rate_rps=7.0)
    assert prompts(seed=1) != prompts(seed=2)


def test_a_trace_that_is_long_enough_is_not_extended():
    trace = read(sample(), rows=100, extend="bootstrap", block_rows=5000)
    assert (trace.extended_rows, trace.block_rows) == (0, 0)
    assert "bootstrap" not in str(trace)


def test_a_block_longer_than_the_gaps_there_are_is_refused(write):
    with pytest.raises(InputError, match=r"^block_rows: 3 .expected at most 2, as trace gives 3 requests"):
        read(write(BURSTGPT_6), rows=9, extend="bootstrap", block_rows=3)
    assert len(read(write(BURSTGPT_6), rows=9, extend="bootstrap", block_rows=2).requests) == 9
    with pytest.raises(InputError, match="expected at most 0, as trace gives 1 requests"):
        read(write(BURSTGPT_6), rows=9, model="ChatGPT", extend="bootstrap", block_rows=1)


# --------------------------------------------------------------------------------------------------------- what is said


def test_the_account_says_what_was_read_dropped_scaled_and_extended(write):
    text = str(read(sample(), rows=1000, rate_factor=100.0, extend="bootstrap", block_rows=25))
    for part in ("BurstGPT_sample.csv (burstgpt)", "400 rows read", "17 failed requests dropped", "617 added by"):
        assert part in text
    assert "blocks of 25 consecutive rows" in text
    assert "1,000 requests at" in text
    assert "100 times" in text
    assert "\n" not in text
    assert "3 filtered out" in str(read(write(BURSTGPT_6), model="GPT-4", log_type="API log"))
    unsorted = BURSTGPT_6.replace("118,", "1,")
    assert "1 out of order and sorted" in str(read(write(unsorted), unsorted="sort"))


def test_the_account_of_a_whole_trace_claims_nothing(write):
    assert (
        str(read(write(VIDUR.replace(",0\n", ",1\n")))) == "trace (vidur): 4 rows read, 4 requests at 0.0265 per second"
    )


def test_the_account_names_the_file_and_no_folder(write, tmp_path):
    assert str(tmp_path) not in str(read(write(VIDUR)))


# ----------------------------------------------------------------------------------------------------- the prefix cache

HASHES = [[1, 2], [1, 2, 3], [4], [1, 3], [9, 2], [4, 5]]
HASH_PROMPTS = [1024, 1500, 100, 700, 900, 600]


@pytest.mark.parametrize(
    ("cache_blocks", "cached"),
    [
        # What 3 blocks hold after each request, least recent first: 2 1; 3 2 1; 2 1 4; 4 3 1; 1 2 9; 9 5 4. So the
        # second finds 1 2, the fourth finds 1 (3 gave way to 4), and the last does not find 4.
        (3, [0, 1024, 0, 512, 0, 0]),
        # Without a limit: 9 was never seen, so that 2 behind it does not count; 1,3 is a run of two,
        # the second of them not full, which an engine does not share.
        (None, [0, 1024, 0, 512, 0, 512]),
        (0, [0, 0, 0, 0, 0, 0]),
        # One block: the prefix stays, as the end of a prompt is evicted first: 1, 1, 4, 1, 9, 4.
        (1, [0, 512, 0, 0, 0, 0]),
    ],
)
def test_blocks_replayed_through_an_lru_give_the_leading_run_that_is_cached(write, cache_blocks, cached):
    assert cached_prefix_tokens(HASHES, HASH_PROMPTS, cache_blocks).tolist() == cached
    rows = zip(HASHES, HASH_PROMPTS, strict=True)
    text = "".join(
        json.dumps({"timestamp": 10 * i, "input_length": p, "output_length": 1, "hash_ids": h}) + "\n"
        for i, (h, p) in enumerate(rows)
    )
    trace = read(write(text), cache_blocks=cache_blocks)
    assert trace.requests.cached_prompt_tokens.tolist() == cached
    assert f"{sum(cached) / sum(HASH_PROMPTS):.1%} of the prompt tokens cached" in str(trace)


def test_a_larger_cache_never_holds_less():
    # True of least-recently-used caches in general (they are stack algorithms); 40 random traces of 60 requests.
    rng = np.random.default_rng(5)
    for _ in range(40):
        hashes = [[f"{rng.integers(3)}/{depth}" for depth in range(rng.integers(1, 6))] for _ in range(60)]
        sums = [cached_prefix_tokens(hashes, [9999] * 60, blocks, 16).sum() for blocks in (0, 1, 2, 4, 8, 16, None)]
        assert sums == sorted(sums)
        assert sums[0] < sums[-1]


def test_a_failed_request_fills_the_cache_before_it_is_dropped(write):
    text = '{"timestamp": 0, "input_length": 512, "output_length": 0, "hash_ids": [7]}\n'
    text += '{"timestamp": 9, "input_length": 600, "output_length": 1, "hash_ids": [7, 8]}\n'
    requests = read(write(text)).requests
    assert requests.cached_prompt_tokens.tolist() == [512]
    assert requests.arrival_s.tolist() == [0.0]


def test_a_mooncake_trace_without_hashes_has_no_cached_tokens(write):
    text = '{"timestamp": 0, "input_length": 512, "output_length": 1}\n'
    assert read(write(text)).requests.cached_prompt_tokens is None
    with pytest.raises(InputError, match=r"^cache_blocks: 3 .expected none: trace has no hash_ids"):
        read(write(text), cache_blocks=3)


def hashed(prompts=(1100, 1500, 530), hashes=((5, 6, 7), (5, 8, 9), (5, 7))):
    return "".join(
        json.dumps({"timestamp": 100 * row, "input_length": prompt, "output_length": 3, "hash_ids": ids}) + "\n"
        for row, (prompt, ids) in enumerate(zip(prompts, map(list, hashes), strict=True))
    )


@pytest.mark.parametrize("tokens", [16, 128, 512, 1024])
def test_the_blocks_of_a_trace_are_what_a_live_cache_finds(write, tokens):
    trace = read(write(hashed()), engine_block_tokens=tokens)
    table = trace.requests
    assert table.cached_prompt_tokens is None
    assert table.block_ids.lengths.tolist() == [prompt // tokens for prompt in (1100, 1500, 530)]
    engine = simlib.Continuous(prefix_cache=True, block_tokens=tokens, token_budget=4096)
    run = simlib.simulate(table, "fcfs", "0.001,0,0,0", execution=engine, backend="interpreted")
    fixed = read(write(hashed())).requests.cached_prompt_tokens
    assert run.prefix_hits.tolist() == (fixed // tokens * tokens).tolist()
    assert run.prefix_hits.tolist() == ([0, 512, 512] if tokens <= 512 else [0, 0, 0])
    assert "with what a live prefix cache may find" in str(trace)


def test_of_a_trace_without_blocks_a_live_cache_finds_nothing(write):
    text = '{"timestamp": 0, "input_length": 512, "output_length": 1}\n'
    assert read(write(text), engine_block_tokens=16).requests.block_ids is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"engine_block_tokens": 0}, "engine_block_tokens: 0"),
        ({"engine_block_tokens": 16, "cache_blocks": 3}, "cache_blocks: 3 .expected none beside engine_block_tokens"),
        (
            {"engine_block_tokens": 16, "rows": 9, "extend": "bootstrap", "block_rows": 1},
            "extend: 'bootstrap' .expected none beside the blocks of trace",
        ),
    ],
)
def test_what_a_live_cache_cannot_have_is_refused(write, asked, message):
    with pytest.raises(InputError, match=f"^{message}"):
        read(write(hashed()), **asked)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1]], [1, 2]), "hash_ids: 1 rows .expected 2"),
        ((5, [1]), "hash_ids: 5"),
        (([[1]], None), "prompt_tokens: None"),
        (([5], [1]), "hash_ids, row 0: 5"),
        (([[[1]]], [1]), "hash_ids, row 0:"),
        (([[1]], [-1]), "prompt_tokens, row 0: -1"),
        (([[1]], [1], -1), "cache_blocks: -1"),
        (([[1]], [1], 1, 0), "block_tokens: 0"),
    ],
)
def test_bad_arguments_of_the_cache_are_named(arguments, message):
    with pytest.raises(InputError, match=f"^{message}"):
        cached_prefix_tokens(*arguments)


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "burst"}, "format: 'burst'.*did you mean 'burstgpt'"),
        ({"format": "azure"}, "trace: columns 'Timestamp'.*another format"),
        ({"rows": 0}, "rows: 0"),
        ({"rows": 2.5}, "rows: 2.5"),
        ({"rows": "all"}, "rows: 'all'"),
        ({"failed": "remove"}, "failed: 'remove'"),
        ({"unsorted": True}, "unsorted: True"),
        ({"model": "GPT4"}, "model in trace: 'GPT4' .expected one of ChatGPT, GPT-4; did you mean 'GPT-4'"),
        ({"model": 4}, "model: 4"),
        ({"log_type": "API"}, "log_type in trace: 'API'"),
        ({"rate_factor": 0}, "rate_factor: 0"),
        ({"rate_factor": 1e-300}, "rate_factor: 1e-300"),
        ({"rate_factor": float("nan")}, "rate_factor: nan"),
        ({"rate_factor": "2"}, "rate_factor: '2'"),
        ({"rate_rps": -1}, "rate_rps: -1"),
        ({"rate_rps": float("inf")}, "rate_rps: inf"),
        ({"rate_rps": 1.0, "rate_factor": 2.0}, "rate_factor: 2.0 and rate_rps: 1.0"),
        ({"extend": "repeat", "rows": 9}, "extend: 'repeat'"),
        ({"extend": "bootstrap"}, "rows: None"),
        ({"block_rows": 0}, "block_rows: 0"),
        ({"seed": -1}, "seed: -1"),
        ({"seed": 2**32}, "seed: 4294967296"),
        ({"cache_blocks": 5}, "cache_blocks: 5"),
    ],
)
def test_an_argument_out_of_range_is_named(write, options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        read(write(BURSTGPT_6), **options)


def test_a_label_that_the_trace_does_not_have_cannot_be_filtered(write):
    with pytest.raises(InputError, match=r"^model: 'GPT-4' .expected none: trace has no such column"):
        read(write(AZURE), model="GPT-4")


HEADER = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
GOOD = "5,ChatGPT,472,18,490,API log\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        # cells
        (HEADER + GOOD + "6,ChatGPT,abc,18,490,API log\n", "trace, row 1, Request tokens: 'abc' .expected an integer"),
        (HEADER + GOOD + "6,ChatGPT,-3,18,490,API log\n", "trace, row 1, Request tokens: -3 "),
        (HEADER + GOOD + "6,ChatGPT,1.5,18,490,API log\n", "trace, row 1, Request tokens: 1.5"),
        (HEADER + GOOD + "6,ChatGPT,,18,490,API log\n", "trace, row 1, Request tokens: nothing"),
        (HEADER + GOOD + "6,ChatGPT,9,NaN,490,API log\n", "trace, row 1, Response tokens: NaN"),
        (HEADER + GOOD + "6,ChatGPT,9,inf,490,API log\n", "trace, row 1, Response tokens: inf"),
        (HEADER + GOOD + f"6,ChatGPT,9,{10**30},490,API log\n", "trace, row 1, Response tokens: 1"),
        (HEADER + "True,ChatGPT,9,9,490,API log\n", "trace, row 0, Timestamp: 'True' .expected seconds >= 0"),
        (HEADER + "-1,ChatGPT,9,9,490,API log\n", "trace, row 0, Timestamp: -1 .expected seconds >= 0"),
        (
            HEADER + "2023-11-16 18:15:46,ChatGPT,9,9,490,API log\n",
            "trace, row 0, Timestamp: 2023-11-16 18:15:46 .expected seconds",
        ),
        (HEADER + GOOD + "4,ChatGPT,9,9,490,API log\n", "trace, row 1, Timestamp: 4 .expected ascending"),
        (HEADER + GOOD + "\n" + GOOD.replace(",API log", ""), "trace, row 1: 5 cells .expected 6"),
        (HEADER + GOOD + "6,,9,9,490,API log\n", "trace, row 1, Model: nothing"),
        (
            HEADER + GOOD + GOOD.replace("490", "490,1"),
            "trace, row 1: 7 cells .expected 6, as the header has",
        ),
        (HEADER + GOOD.replace("490", "490,1"), "trace, row 0: 7 cells"),
        (HEADER + '5,"ChatGPT,472,18,490,API log\n', "trace, row 0: 2 cells"),
        (
            AZURE.replace("2023-11-16 18:16:26.6805900,10,", "yesterday,10,"),
            "trace, row 2, TIMESTAMP: 'yesterday' .expected a d",
        ),
        (AZURE.replace("2023-11-16 18:16:26.6805900,10,", "now,10,"), "trace, row 2, TIMESTAMP: 'now'"),
        (AZURE.replace("2023-11-16 18:16:26.6805900,10,", "9999-01-01,10,"), "trace, row 2, TIMESTAMP: 9999-01-01"),
        (AZURE.replace("2023-11-16 18:16:26.6805900,10,", "2023-13-41,10,"), "trace, row 2, TIMESTAMP: 2023-13-41"),
        (AZURE.replace("2023-11-16 18:16:26.6805900,10,", ",10,"), "trace, row 2, TIMESTAMP: nothing"),
        ("TIMESTAMP,ContextTokens,GeneratedTokens\n5,1,1\n", "trace, row 0, TIMESTAMP: 5 .expected a date"),
        (PLAIN.replace("113", "1e9"), "trace, row 3, arrival_s: 1e9 .*clock since 1970"),
        (
            "arrival_s,prompt_tokens,output_tokens,cached_prompt_tokens\n0,5,0,0\n1,5,1,9\n",
            "trace, row 1, cached_prompt_tokens: 9",
        ),
        # columns
        (
            HEADER.replace("Response tokens", "Answer") + GOOD,
            "trace, Response tokens: missing column .found 'Timestamp'",
        ),
        ("a,b,c\n1,2,3\n", "trace: columns 'a', 'b', 'c' .expected arrival_s, .*burstgpt"),
        (PLAIN.replace("arrival_s", "arrival_h"), "trace, arrival_s: missing column .found 'arrival_h'"),
        (
            PLAIN.replace(",output_tokens", ",output_tokens,output_tokens"),
            "trace, output_tokens: 2 columns of that name",
        ),
        ("start_times,input_lens,output_lens\n1,2,3\n", "trace: a table .expected a JSON object"),
        # containers
        (b"", "trace: the file is empty"),
        (b" \n \n", "trace: the file is empty"),
        (HEADER, "trace: a header and no rows"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "trace: a binary file"),
        (b"\x89\xfe\xff\x80" * 9, "trace, line 1: not UTF-8 text"),
        (HEADER.encode() + b"5,Chat\xffGPT,472,18,490,API log\n", "trace, line 2: not UTF-8 text"),
        (BURSTGPT_6.encode("utf-16"), "trace: UTF-16 text"),
        (gzip.compress(BURSTGPT_6.encode(), mtime=0)[:-20], "trace: broken packing"),
        (gzip.compress(BURSTGPT_6.encode(), mtime=0)[:30] + b"xxxxxxxxxxxxxxxxxxxxx", "trace: broken packing"),
        (gzip.compress(b"", mtime=0), "trace: the file is empty"),
        (gzip.compress(gzip.compress(BURSTGPT_6.encode(), mtime=0), mtime=0), "trace: (a binary file|not UTF-8)"),
        # JSON
        ("{", "trace, line 1, column 2: .*expected JSON"),
        ("[]", "trace: an empty array"),
        ("{}", "trace: columns none"),
        ("[" * 100_000, "trace, JSON: more than 100 lists"),
        ('{"a": 1}\n', "trace: columns 'a'"),
        ("[1, 2]", "trace, row 0: 1 .expected a JSON object"),
        (MOONCAKE + "[]\n", r"trace, line 5: \[\] .expected a JSON object"),
        (MOONCAKE + '{"timestamp": 9', "trace, line 5, column 16: .*expected JSON"),
        (MOONCAKE.replace("417", "null"), "trace, row 3, input_length: nothing"),
        (MOONCAKE.replace("417", "NaN"), "trace, row 3, input_length: nothing"),
        (MOONCAKE.replace("417", "true"), "trace, row 3, input_length: True"),
        (MOONCAKE.replace("417", '"many"'), "trace, row 3, input_length: 'many'"),
        (MOONCAKE.replace('"input_length": 417, ', ""), "trace, row 3, input_length: nothing"),
        (MOONCAKE.replace('p": 1000.0', 'p": -5'), "trace, row 0, timestamp: -5 .expected milliseconds >= 0"),
        (MOONCAKE.replace("[0]", "7", 1), "trace, row 0, hash_ids: 7 .expected an array"),
        (MOONCAKE.replace("[0]", "[[0]]"), r"trace, row 0, hash_ids: \[\[0\]\]"),
        (json.dumps({**RESULT, "output_lens": [1, 2]}), "trace, output_lens: 2 entries .expected 4, as in input_lens"),
        (json.dumps({**RESULT, "start_times": [1.0]}), "trace, start_times: 1 entries .expected 4"),
        (json.dumps({**RESULT, "start_times": 5}), "trace, start_times: 5 .expected an array"),
        (json.dumps({**RESULT, "input_lens": 5}), "trace, input_lens: 5 .expected an array"),
        (json.dumps({**RESULT, "input_lens": [[1]] * 4}), r"trace, row 0, input_lens: \[1\] .expected an integer"),
        (
            json.dumps({**RESULT, "input_lens": [], "output_lens": [], "start_times": []}),
            "trace, input_lens: no values",
        ),
        (json.dumps({"input_lens": 1, "output_lens": None}), "trace, input_lens: 1"),
        (json.dumps({"request_rate": 2.0, "duration": 1.0}), "trace: means and no row a request .*--save-detailed"),
        (json.dumps(RESULT) + "\n" + json.dumps(RESULT), "trace: 2 loads in one file .*--run"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place_and_value(write, content, message):
    with pytest.raises(InputError, match=f"^{message}") as caught:
        read(write(content))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("absent.csv", "absent.csv: no such file"),
        (".", r"\.: is a folder"),
        ("", "path: ''|: no such file"),
        ("a\0b", "a.b: cannot be read"),
        ("x" * 5000, "x+: cannot be read"),
        ("/dev/null", "/dev/null: no such file|/dev/null"),
        (None, "path: None"),
        (3, "path: 3"),
        (BURSTGPT_6.encode(), "path: b'"),
    ],
)
def test_a_path_that_is_no_file_is_named(path, message):
    with pytest.raises(InputError, match=f"^{message}"):
        read(path)


MUTABLE = [text.encode() for _, text in EVERY_FORMAT]


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_to_a_file_gives_a_valid_trace_or_a_sentence(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(MUTABLE)))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, max(len(content) - 1, 0)))
        with_what = data.draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b",", b"\n", b"-", b'"', b"9" * 40, b"nan"]))
        )
        content[where : where + data.draw(st.integers(0, 30))] = with_what
    file = tmp_path / "trace"
    file.write_bytes(bytes(content))
    try:
        requests = read(file, failed="keep", unsorted="sort").requests
    except InputError as error:
        assert "expected" in str(error) or "well-formed" in str(error)
    else:
        assert np.isfinite(requests.arrival_s).all()


def test_the_shipped_sample_is_read_whole():
    assert read(datasets.sample()).rows_read == datasets.SAMPLE_ROWS
