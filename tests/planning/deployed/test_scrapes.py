"""Windows between scrapes: differences by hand, quantiles as the ends of buckets, restarts, clocks, several engines."""

import math

import pytest
from scraped import AFTER, BEFORE, COUNTS, LATER, after, before, scrape, text

from simlib import InputError
from simlib.planning.deployed import scrapes
from simlib.planning.objectives import parse

SLA = parse("ttft_p50<=1,ttft_p95<=1,ttft_p99<=1,ttft_mean<=1,tpot_p95<=0.05,latency_p99<=10")


def window(first=None, last=None, every_s=600.0, replicas=1, objectives=SLA):
    pair = [scrape(first or before(), "a.prom"), scrape(last or after(), "b.prom")]
    (found,) = scrapes.windows(pair, objectives, 600.0, every_s, replicas)
    return found


def test_means_are_differences_of_sums_over_counts():
    found = window()
    assert (found.name, found.requests, found.span_s) == ("a.prom to b.prom", 200, 600.0)
    assert found.values_s["ttft_mean"] == (0.4, 0.4)
    # 200 ended, and 15 more came than were there before.
    assert found.known["rate_rps"] == pytest.approx(215 / 600)
    assert (found.known["prompt_tokens"], found.known["output_tokens"]) == (120.0, 50.0)
    assert found.known["failed_share"] == 0.05
    assert found.known["cached_share"] == 0.25
    assert (found.known["itl_s"], found.known["kv_tokens"]) == (0.024, 16_000)
    assert found.about == {"preemptions": 3, "tokens a step": 30.0, "engines seen": 1}
    assert (found.engine, found.model) == ("vLLM", "org/model")


def test_a_quantile_is_the_ends_of_the_buckets_of_the_requests_that_it_lies_between():
    found = window().values_s
    assert found["ttft_p50"] == (0.0, 0.5)
    assert found["ttft_p95"] == (0.5, 2.5)  # between the 190th of 200, the last up to 1 s, and the 191st
    assert found["ttft_p99"] == (1.0, 2.5)
    assert found["tpot_p95"] == (0.0, 0.05)  # of 200 as well: the 190th is the last up to 0.025 s
    beyond = {"time_to_first_token_seconds": ({"0.5": 0, "+Inf": 300}, 900.0)}
    none = {"time_to_first_token_seconds": ({"0.5": 0, "+Inf": 100}, 300.0)}
    assert window(text(none, COUNTS), text(beyond, LATER)).values_s["ttft_p99"] == (0.5, math.inf)


def test_what_is_counted_nowhere_is_not_known():
    only = {name: BEFORE[name] for name in ("time_to_first_token_seconds",)}
    later = {name: AFTER[name] for name in only}
    found = window(text(only, COUNTS), text(later, LATER))
    assert set(found.values_s) == {"ttft_p50", "ttft_p95", "ttft_p99", "ttft_mean"}
    assert not {"prompt_tokens", "itl_s"} & set(found.known)


def test_sglangs_own_names():
    labels = 'model_name="qwen",tp_rank="0"'
    names = {"time_to_first_token_seconds", "e2e_request_latency_seconds", "inter_token_latency_seconds"}
    first, last = ({name: each for name, each in one.items() if name in names} for one in (BEFORE, AFTER))
    counts = {"num_requests_total": 100, "num_aborted_requests_total": 0, "prompt_tokens_total": 10_000,
              "generation_tokens_total": 5_000, "cached_tokens_total": 1_000, "num_running_reqs": 2,
              "num_queue_reqs": 0, "num_retracted_requests_total": 1}  # fmt: skip
    later = {"num_requests_total": 300, "num_aborted_requests_total": 10, "prompt_tokens_total": 34_000,
             "generation_tokens_total": 15_000, "cached_tokens_total": 7_000, "num_running_reqs": 12,
             "num_queue_reqs": 5, "num_retracted_requests_total": 4}  # fmt: skip
    told = {"engine": "sglang", "labels": labels}
    rank_1 = text(last, later, engine="sglang", labels=labels.replace('tp_rank="0"', 'tp_rank="1"'))
    rank_1 = "".join(line + "\n" for line in rank_1.splitlines() if not line.startswith("#"))
    found = window(text(first, counts, **told), text(last, later, **told) + rank_1)
    assert found.engine == "SGLang" and "tpot_p95" not in found.values_s  # of single tokens only
    assert found.values_s["latency_p99"] == (1.0, math.inf)
    known = {"rate_rps": 215 / 600, "prompt_tokens": 120.0, "output_tokens": 50.0, "failed_share": 0.05,
             "cached_share": 0.25, "itl_s": 0.024, "ttft_s": 0.4, "kv_tokens": 16_000}  # fmt: skip
    assert found.known == pytest.approx(known)
    assert found.about["preemptions"] == 3


def test_times_behind_the_values_tell_how_long_it_was_and_in_which_order():
    early, late = scrape(before(at_ms="1790000000000"), "a.prom"), scrape(after(at_ms="1790000600000"), "b.prom")
    (found,) = scrapes.windows([late, early], SLA, 600.0, None, 1)
    assert (found.name, found.span_s) == ("a.prom to b.prom", 600.0)


def test_scrapes_nearer_than_a_window_are_taken_together():
    labels = [f"{number}.prom" for number in range(11)]
    each = [scrape(text(_grown(number), {}), label) for number, label in enumerate(labels)]
    found = scrapes.windows(each, SLA, 300.0, 60.0, 1)
    assert [one.name for one in found] == ["0.prom to 5.prom", "5.prom to 10.prom"]
    assert [one.values_s["ttft_mean"][0] for one in found] == [0.5, 0.5]


def _grown(number):
    return {"time_to_first_token_seconds": ({"0.5": 10 * number, "+Inf": 20 * number}, 10.0 * number)}


def test_engines_of_one_server_are_counted_together_and_some_of_several_stand_for_all():
    other = 'engine="1",model_name="org/model"'
    both = [
        first + "".join(f"{line}\n" for line in second.splitlines() if not line.startswith("#"))
        for first, second in ((before(), before(labels=other)), (after(), after(labels=other)))
    ]
    found = window(*both, replicas=2)
    assert (found.requests, found.about["engines seen"]) == (400, 2)
    assert found.known["rate_rps"] == pytest.approx(430 / 600)
    assert found.values_s["ttft_mean"] == (0.4, 0.4)
    assert window(replicas=4).known["rate_rps"] == pytest.approx(4 * 215 / 600)
    assert "1 engine, where the plan has 4 replicas: the rate" in scrapes.said_of([scrape(before())], 4)
    assert scrapes.said_of([scrape(before())], 1) == ""


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (text(BEFORE, COUNTS | {"num_preemptions_total": 1}), "num_preemptions_total: 1 after 2"),
        (after(created=1.8e9), "request_success_created: 1.8e+09 after 1.79e+09"),  # though all counts have grown
        (text({"time_to_first_token_seconds": AFTER["time_to_first_token_seconds"]}, LATER), "gone after"),
    ],
)  # fmt: skip
def test_an_engine_that_was_started_again_is_said(last, says):
    with pytest.raises(InputError) as told:
        window(last=last)
    assert says in str(told.value) and "the engine was started in between" in str(told.value)


def test_after_a_restart_windows_begin_anew_and_it_is_said():
    each = [scrape(text(_grown(number), {}, created=created), f"{number}.prom")
            for number, created in ((5, 1.0), (6, 1.0), (1, 2.0), (2, 2.0))]  # fmt: skip
    with pytest.warns(UserWarning, match=r"1\.prom.*started in between; what was counted before is left out"):
        found = scrapes.windows(each, SLA, 300.0, 300.0, 1)
    assert [one.name for one in found] == ["5.prom to 6.prom", "1.prom to 2.prom"]


@pytest.mark.parametrize(
    ("pair", "every_s", "says"),
    [
        ([before()], 600.0, "one scrape (expected two or more"),
        ([before(), after()], None, "a scrape without times (expected --every"),
        ([before(), after()], 60.0, "60 s to the last scrape (expected at least 10 min, one window"),
        ([before(), after(labels='engine="0",model_name="other"')], 600.0, "of model other (expected org/model"),
        ([before(), after(labels='engine="1",model_name="org/model"')], 600.0, "of engines 1 (expected 0"),
        ([before(), before() + before()], 600.0, "twice (expected one scrape"),
        (["vllm:num_requests_running 1\n", after()], 600.0, "no times to first tokens"),
        (["vllm:num_requests_running{ 1\n", after()], 600.0, "not Prometheus' text format"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(pair, every_s, says):
    with pytest.raises(InputError) as told:
        scrapes.windows([scrape(each) for each in pair], SLA, 600.0, every_s, 1)
    assert says in str(told.value)


def moment(number, *texts):
    """One moment's scrapes of replicas: their files are a0.prom, b0.prom and so on."""
    each = [scrape(written, f"{name}{number}.prom") for name, written in zip("abc", texts, strict=False)]
    return scrapes.Scrape.together(each, 30.0)


def test_replicas_of_files_of_their_own_are_added_up():
    idle = text(BEFORE | {"time_to_first_token_seconds": ({"0.5": 130, "1.0": 138, "2.5": 140, "+Inf": 140}, 50.0)},
                COUNTS | {"request_success_total": {"stop": 130, "length": 10, "abort": 0}})  # fmt: skip
    both = [moment(0, before(), before()), moment(1, after(), idle)]
    (found,) = scrapes.windows(both, SLA, 600.0, 600.0, 2)
    assert (found.name, found.requests) == ("a0.prom,b0.prom to a1.prom,b1.prom", 240)
    assert found.about["engines seen"] == 2 and scrapes.said_of(both, 2) == ""
    assert found.known["rate_rps"] == pytest.approx((215 + 40) / 600)
    assert found.values_s["ttft_mean"][0] == pytest.approx((80 + 20) / 240)


def test_one_of_several_replicas_that_was_started_again_is_named_by_its_file():
    both = [moment(0, before(), before()), moment(1, after(), text(BEFORE, COUNTS | {"num_preemptions_total": 1}))]
    with pytest.raises(InputError, match=r"b1\.prom, num_preemptions_total: 1 after 2 in b0\.prom: the engine was"):
        scrapes.windows(both, SLA, 600.0, 600.0, 2)


def test_replicas_at_other_times_or_of_other_numbers_are_not_one_moment():
    early, late = before(at_ms="1790000000000"), before(at_ms="1790000600000")
    with pytest.raises(InputError, match=r"b0\.prom: 10 min after a0\.prom \(expected replicas' scrapes of one moment"):
        moment(0, early, late)
    with pytest.raises(InputError, match=r"a1\.prom,b1\.prom: 2 replicas \(expected 1, as in a0\.prom\)"):
        scrapes.windows([moment(0, before()), moment(1, after(), after())], SLA, 600.0, 600.0, 2)
    with pytest.raises(InputError, match=r"b0\.prom: of vLLM, org/other \(expected vLLM, org/model, as in a0\.prom\)"):
        moment(0, before(), before(labels='engine="0",model_name="org/other"'))
    near = [moment(n, each(at_ms=at), each(at_ms=at[:-4] + "9000")) for n, each, at in
            ((0, before, "1790000000000"), (1, after, "1790000600000"))]  # fmt: skip
    (found,) = scrapes.windows(near, SLA, 600.0, None, 2)
    assert found.span_s == 600.0
