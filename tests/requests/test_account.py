"""What is understood of a file is said in numbers worked by hand, warnings first, on one screen."""

import itertools
import json

import numpy as np
import pytest

from simlib.datasets import sample
from simlib.planning import demand
from simlib.requests import account, traces
from simlib.requests.account import KEYS, Account
from simlib.requests.formats import known

VERBS = ("simulate", "plan", "calibrate", "validate")


@pytest.fixture
def written(tmp_path):
    """Writes a file, and gives its account."""

    def write(name: str, text: str, **asked) -> Account:
        path = tmp_path / name
        path.write_text(text)
        return Account.of(known.parse(path, **asked))

    return write


def lines(*records: dict) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_a_tables_numbers(written):
    rows = "".join(f"{t},{p},{o}\n" for t, p, o in [(0, 10, 4), (1, 20, 8), (3, 60, 0), (4, 30, 12)])
    found = written("a.csv", "arrival_s,prompt_tokens,output_tokens,mood\n" + rows.replace("\n", ",1\n"))
    assert (found.format, found.time_unit, found.rows, found.requests) == ("plain", "s", 4, 3)
    assert found.failed == 1 and found.dropped == {"failed": 1} and found.unused == ("mood",)
    assert found.span_s == 4.0 and found.rate_rps == 0.5
    # Gaps of 1 and 3: mean 2, standard deviation with n - 1 the root of 2.
    assert found.burstiness == {"gap_cv": pytest.approx(2**0.5 / 2), "dispersion_10s": None}
    assert found.prompt_tokens == {"mean": 20, "median": 20, "p99": pytest.approx(29.8), "min": 10, "max": 30}
    assert found.output_tokens["mean"] == 8 and found.prefix is None and found.clients is None
    assert found.verbs == ["simulate"] and "20 requests" in found.lacks["plan"]


def test_counts_are_looked_at_in_windows_of_10_s_where_there_are_20(written):
    """Ten requests at the start of each of 40 windows: their number never varies, their gaps do."""
    rows = "".join(f"{10 * window + i / 100},5,5\n" for window in range(41) for i in range(10))
    found = written("a.csv", "arrival_s,prompt_tokens,output_tokens\n" + rows)
    assert found.burstiness["dispersion_10s"] == 0.0 and found.burstiness["gap_cv"] > 2
    assert "counts in 10 s a variance of 0 times their mean" in " ".join(str(found).split())


def test_gaps_that_are_alike_do_not_vary_by_rounding(written):
    found = written("a.csv", "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{0.1 * i},5,5\n" for i in range(9)))
    assert found.burstiness["gap_cv"] == 0.0


def test_prefixes_full_blocks_are_hits_and_those_shared_in_part_are_none(written):
    """Of 3,724 tokens 512 and 1,024 are cached; the third prompt ends in a block of 188, which was there before."""
    rows = [(0, 1100, [1, 2, 3]), (100, 700, [1, 4]), (200, 1212, [1, 2, 3]), (300, 712, [8, 9])]
    found = written(
        "a.jsonl",
        lines(*({"timestamp": t, "input_length": n, "output_length": 5, "hash_ids": ids} for t, n, ids in rows)),
    )
    assert found.prefix == {
        "block_tokens": 512,
        "engine_block_tokens": 16,
        "cached_share": pytest.approx((512 + 1024) / 3724),
        "shared_in_part": 1,
    }
    assert "41.2 % of the prompt tokens can be cached; 1 last block is shared in part" in " ".join(str(found).split())


def test_clients_sessions_and_turns_that_wait(written):
    first = [{"session_id": s, "timestamp": 500 * s, "input_length": 50, "output_length": 5} for s in range(3)]
    later = [{"session_id": s, "delay": 100, "input_length": 90, "output_length": 5} for s in range(3)]
    found = written("a.jsonl", lines(*first, *later))
    assert found.sessions == 3 and found.span_s == 1.0 and found.rows == 6
    assert found.verbs == ["simulate"] and "but for 3 turns that come after an answer" in found.arrivals


BENCH = {"input_lens": [100, 200], "output_lens": [3, 3], "ttfts": [0.1, 0.3], "itls": [[0.01, 0.02], [0.03, 0.04]]}


def test_a_benchmarks_times_are_told(written):
    found = written("b.json", json.dumps(BENCH | {"start_times": [5.0, 6.0], "request_rate": 1.0, "errors": ["", ""]}))
    assert found.times["ttft_s"]["mean"] == pytest.approx(0.2) and found.times["itl_s"]["mean"] == pytest.approx(0.025)
    assert found.verbs == ["simulate", "plan", "calibrate"]
    assert "first token    mean 200 ms, median 200 ms" in str(found)


def test_times_of_failed_requests_are_not_among_them(written):
    bench = {"input_lens": [100, 200, 50], "output_lens": [3, 0, 3], "ttfts": [0.1, 0.0, 0.3]}
    bench |= {"itls": [[0.01] * 2, [], [0.01] * 2], "start_times": [5.0, 5.5, 6.0], "request_rate": 1.0}
    found = written("b.json", json.dumps(bench))
    assert found.failed == 1 and found.times["ttft_s"]["min"] == 0.1
    assert str(found).startswith("warning: 1 of 3 requests failed: dropped\n")


def test_all_failed_is_no_use_to_any_verb(written):
    bench = {"input_lens": [100, 200], "output_lens": [0, 0], "ttfts": [0.0, 0.0], "itls": [[], []]}
    found = written("b.json", json.dumps(bench | {"start_times": [5.0, 6.0], "request_rate": 1.0}))
    assert found.verbs == [] and str(found).startswith("warning: all 2 requests failed")


def test_lengths_alone_say_what_can_be_done_with_them(written):
    text = "num_prefill_tokens,num_decode_tokens\n" + "100,20\n" * 3
    found = written("a.csv", text)
    assert (found.span_s, found.rate_rps, found.time_unit) == (None, None, None)
    assert "--rate" in found.lacks["simulate"] and found.lacks["plan"] == found.lacks["simulate"]


def test_a_summary_gives_what_it_has_and_says_what_is_missing(written):
    text = {"backend": "sglang", "request_rate": 7.0, "duration": 10.0, "completed": 80, "total_input_tokens": 8800}
    found = written(
        "s.json", json.dumps(text | {"total_output_tokens": 5200, "mean_ttft_ms": 31.5, "mean_tpot_ms": 7.1})
    )
    assert (found.rows, found.requests, found.prompt_tokens["mean"]) == (0, 80, 110)
    assert found.times["ttft_s"]["mean"] == pytest.approx(0.0315) and found.verbs == []
    assert "--output-details" in found.lacks["simulate"] and "simlib plan" in found.instead


def test_the_account_of_a_trace_is_of_what_was_chosen_and_scaled():
    trace = traces.read(sample(), rows=100, rate_factor=10.0, failed="keep")
    found = Account.of(trace)
    assert found.rows == found.requests == 100 and found.rate_rps == pytest.approx(trace.rate_rps)
    assert "at 10 times their rate" in found.head and "kept, with no output" in found.head
    dropped = Account.of(traces.read(sample(), model="GPT-4"))
    assert dropped.dropped["filtered out"] > 0 and dropped.requests == len(
        traces.read(sample(), model="GPT-4").requests
    )


def test_json_has_all_keys_first_and_is_strict(written):
    found = written("a.csv", "arrival_s,prompt_tokens,output_tokens\n0,10,4\n")
    document = found.document()
    assert list(document)[: len(KEYS)] == list(KEYS)
    assert set(document) >= {"source", "ttft_s", "sessions"} - {"ttft_s"}
    json.dumps(document, allow_nan=False)
    assert document["version"] is None and document["verbs"] == ["simulate"] and set(document["lacks"]) == {*VERBS[1:]}
    assert document["columns"]["arrival_s"].startswith("arrival, seconds")


def test_it_is_one_screen_warnings_first_as_in_the_head(tmp_path, written):
    names = ",".join(f"column_{i}" for i in range(40))
    rows = "".join(f"{i},{10 * i},{i % 3},{'7,' * 39}7\n" for i in range(30))
    found = written("a.csv", f"arrival_s,prompt_tokens,output_tokens,{names}\n{rows}")
    many = account.Account(**{f: getattr(found, f) for f in found.__slots__} | {"warnings": ("too long " * 40,) * 9})
    for one in (found, many, Account.of(known.parse(sample()))):
        shown = str(one).splitlines()
        assert len(shown) <= 24 and max(map(len, shown)) <= 100
        assert shown[0].startswith("warning: ") and one.head.startswith(shown[0][:60])
    assert "(40 in all)" in found.head and "and more, which --json has" in str(many)


def test_as_many_requests_as_a_plan_takes_for_a_record():
    assert account.FEWEST_PLANNED == demand.LEAST_ROWS


def test_a_time_of_arrival_that_nobody_recorded_is_told(written):
    found = written("b.json", json.dumps(BENCH | {"request_rate": "inf"}))
    assert "all were sent at once" in found.arrivals and found.rate_rps is None
    assert np.isnan(found.span_s or np.nan)


def test_rows_out_of_order_are_said_with_the_option_that_sorts_them(written, tmp_path):
    text = "arrival_s,prompt_tokens,output_tokens\n" + "0,9,2\n2,9,2\n1,9,2\n3,9,0\n2.5,9,2\n"
    said = str(written("a.csv", text))
    assert (
        "warning: 1 of 5 rows stand behind a later one: refused by simulate and plan, but for --unsorted sort" in said
    )
    trace = traces.read(tmp_path / "a.csv", unsorted="sort")
    assert "1 of 5 rows stand behind a later one: sorted" in Account.of(trace).warnings


def test_rows_that_wait_for_an_answer_stand_where_they_are(written):
    text = "arrival_s,prompt_tokens,output_tokens,previous,think_s\n0,9,2,-1,0\n5,9,2,0,1\n3,9,2,-1,0\n4,9,2,1,0\n"
    assert "behind a later one" not in str(written("a.csv", text))


def test_what_each_column_was_taken_for_has_the_rest_of_the_screen(written):
    names = ["request_id", "client", "model", "log_type", "predicted_output_tokens", "cached_prompt_tokens"]
    text = ",".join(["arrival_s", "prompt_tokens", "output_tokens", *names]) + "\n"
    text += "".join(f"{i},10,5,{i},a,m,l,5,1\n" for i in range(9))
    shown = str(written("a.csv", text)).splitlines()
    start = next(number for number, line in enumerate(shown) if line.startswith("read as"))
    entry = " ".join(itertools.takewhile(lambda line: line.startswith(" "), shown[start + 1 :]))
    assert "…" not in entry and "cached_prompt_tokens" in entry and len(shown) <= 24
