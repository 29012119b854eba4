"""Predicted beside measured: of the recorded clock, in closed loops, and where a benchmark is no test of a law."""

import dataclasses
import warnings

import numpy as np
import pytest

from benchmarks.predictions import ENGINE, TRUE, load, of_run
from simlib import InputError, simulate
from simlib.calibration.loads import law
from simlib.calibration.loads.load import MeasuredLoad
from simlib.continuous.settings import Continuous
from simlib.latency.steps import StepLaw
from simlib.predicted import benchmarks
from simlib.requests.formats import known
from simlib.requests.table import RequestTable


def table(rows, statistic="mean"):
    return rows[rows["statistic"] == statistic].set_index("metric")


def test_the_own_law_gives_every_number_back():
    own = load(6.0, 60, np.random.default_rng(1), noise=0.0)
    rows = benchmarks.judged(own, TRUE, ENGINE)
    # Quantiles of gaps are counted in bins, not interpolated between two gaps; all else is the same computation.
    gaps = rows["metric"] == "itl"
    for some, apart in ((gaps, 1e-2), (~gaps, 1e-9)):
        assert rows["predicted"][some].to_numpy() == pytest.approx(rows["measured"][some].to_numpy(), rel=apart)
    assert list(rows.columns) == list(benchmarks.COLUMNS)
    assert set(zip(rows["metric"], rows["statistic"], strict=True)) == {
        *((metric, name) for metric in ("ttft", "tpot", "itl", "e2e") for name in ("mean", "p50", "p90", "p99")),
        ("throughput", "mean"),
    }
    assert rows["low"].isna().all() and rows["high"].isna().all()  # a law that keeps no draws has no intervals


def test_numbers_by_hand():
    # Two answers: of 3 tokens, first after 0.2 s, then gaps of 0.1 and 0.3; of 1 token, sent at 1 s, after 0.5 s.
    by_hand = MeasuredLoad("hand", load(6.0, 2, np.random.default_rng(0)).requests.assign(
        start_s=[0.0, 1.0], ttft_s=[0.2, 0.5], itl_s=[np.array([0.1, 0.3]), np.zeros(0)], output_tokens=[3, 1]
    ))  # fmt: skip
    found = benchmarks.measured(by_hand)
    assert found["ttft mean"] == pytest.approx(0.35)
    assert found["tpot mean"] == found["tpot p99"] == pytest.approx(0.2)
    assert (found["itl mean"], found["itl p50"], found["itl p90"]) == pytest.approx((0.2, 0.2, 0.28))
    assert found["e2e mean"] == pytest.approx((0.6 + 0.5) / 2)
    assert found["throughput mean"] == pytest.approx(4 / 1.5)


def test_answers_of_one_token_have_no_gaps():
    one = load(6.0, 12, np.random.default_rng(8)).requests.assign(output_tokens=1, itl_s=[np.zeros(0)] * 12)
    rows = benchmarks.judged(MeasuredLoad("one", one), TRUE, ENGINE)
    assert set(rows["metric"]) == {"ttft", "e2e", "throughput"}
    assert rows["predicted"].notna().all()


def closed(clients, law_of, requests=72, seed=9):
    """What that many clients measure who take requests from one list, each the next one after an answer."""
    rng = np.random.default_rng(seed)
    listed = RequestTable(np.zeros(requests), rng.integers(30, 271, requests), rng.integers(12, 109, requests))
    return of_run(
        benchmarks.Replayed(listed, ENGINE, clients, np.arange(requests - clients)).settled(law_of).run(law_of),
        "closed",
    )


def test_a_closed_loop_is_replayed_as_one():
    measured = closed(6, TRUE)
    replayed = benchmarks.Replayed.of(measured, ENGINE)
    assert replayed.clients == 6
    # With steps of twice the length, clients who wait send half as often; at recorded times a queue would grow.
    slower = StepLaw(*(2 * TRUE.params[:4]).tolist(), way_in_s=2 * TRUE.way_in_s)
    run = replayed.settled(slower).run(slower)
    assert np.diff(np.sort(run.table.arrival_s)).sum() == pytest.approx(
        2 * np.ptp(measured.requests["start_s"]), rel=0.01
    )
    came_s, gone_s = run.table.arrival_s, run.times.completion_s
    assert max((came_s <= at).sum() - (gone_s <= at).sum() for at in came_s) == 6


def test_who_takes_the_next_request_is_who_was_answered_first():
    # vLLM's clients take requests from one list: answers of 1, 5 and 1 tokens, a step of a second each, and two more
    # requests when two of them have come, after which one waits for nothing any more.
    answers = [1, 5, 1, 9, 1]
    requests = RequestTable([0] * 5, [10] * 5, answers)
    load_of = MeasuredLoad("list", requests.frame().assign(
        start_s=[0.0, 0.0, 0.0, 1.0, 1.0], ttft_s=1.0, itl_s=[np.ones(n - 1) for n in answers]
    ))  # fmt: skip
    engine = Continuous(max_seqs=8)
    replayed = benchmarks.Replayed.of(load_of, engine)
    assert replayed.clients == 3
    run = replayed.settled(StepLaw(1.0)).run(StepLaw(1.0))
    assert run.requests["completion_s"].tolist() == [1, 5, 1, 10, 2]


def test_requests_at_their_own_times_are_no_closed_loop():
    assert benchmarks.Replayed.of(load(6.0, 100, np.random.default_rng(2)), ENGINE).clients is None
    at_once = load(1e9, 40, np.random.default_rng(2))
    assert benchmarks.Replayed.of(at_once, ENGINE).clients is None


def told(load_of, law_of, engine=ENGINE):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        benchmarks.judged(load_of, law_of, engine)
    return [str(one.message) for one in caught]


def test_a_law_that_was_fitted_to_the_very_times_is_said():
    several = [load(rate, 60, np.random.default_rng(3)) for rate in (4.0, 8.0)]
    found = law.fit(several, ENGINE).law
    assert any("fitted to these very times" in one for one in told(several[0], found))
    assert not any("fitted" in one for one in told(load(6.0, 60, np.random.default_rng(4)), found))


def test_a_prefix_cache_that_nobody_mentioned_is_noticed():
    # A third of the prompts are found in a cache: none of their tokens is computed.
    own = load(6.0, 90, np.random.default_rng(5)).requests
    cached = np.where(np.arange(90) % 3 == 0, own["prompt_tokens"] - 1, 0)
    requests = RequestTable(own["start_s"], own["prompt_tokens"], own["output_tokens"], cached_prompt_tokens=cached)
    dear = dataclasses.replace(TRUE, c_s=3e-4)
    found = of_run(simulate(requests, "fcfs", dear, 1, ENGINE), "cached")
    assert any("prefix cache" in one for one in told(found, dear))
    known_of = MeasuredLoad("cached", found.requests.assign(cached_prompt_tokens=cached))
    assert not any("prefix cache" in one for one in told(known_of, dear))
    assert not any("prefix cache" in one for one in told(load(6.0, 90, np.random.default_rng(6), true=dear), dear))


def test_prompts_that_repeat_are_noticed_whatever_their_first_tokens_took():
    own = load(6.0, 90, np.random.default_rng(5)).requests
    named = [[0, 1, 10 + row] for row in range(90)]
    again = MeasuredLoad("again", own.assign(pieces=named))
    (said,) = told(again, TRUE)
    assert "again: 66% of the prompts' tokens are what prompts before them began with" in said  # 2 of 3, but the first
    rare = [[0] + [row * 100 + piece for piece in range(1, 40)] for row in range(90)]
    for quiet in (
        MeasuredLoad("rare", own.assign(pieces=rare)),
        MeasuredLoad("said", own.assign(pieces=named, cached_prompt_tokens=0)),
    ):
        assert told(quiet, TRUE) == []


def test_a_request_that_the_cache_cannot_hold_is_named():
    own = load(6.0, 20, np.random.default_rng(7))
    with pytest.raises(InputError, match=r"synthetic, request \d+: needs \d+ blocks .expected at most 4, the cache's"):
        benchmarks.judged(own, TRUE, Continuous(max_seqs=8, kv_tokens=64, token_budget=512))


@pytest.mark.parametrize(("fitted", "judged"), [("clock4", "clock8"), ("clock8", "clock4"), ("both", "both")])
def test_a_real_engine_whose_device_is_a_clock_is_predicted_from_another_load(data_dir, fitted, judged):
    """Means of TPOT within 2, end to end within 3, to the first token within 5 %; 99th percentiles within 5 %."""
    folder = data_dir / "vllm-cpu-bench"
    loads = {name: MeasuredLoad.of(known.parse(folder / f"{name}.json.gz")) for name in ("clock4", "clock8")}
    loads["both"] = [*loads["clock4"], *loads["clock8"]]
    found = law.fit(loads[fitted], ENGINE).law
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loads[judged]:
            rows = benchmarks.judged(one, found, ENGINE)
            both = [table(rows, name) for name in ("mean", "p99")]
            mean, p99 = (each["predicted"] / each["measured"] - 1 for each in both)
            for metric, limit in (("tpot", 0.02), ("e2e", 0.03), ("ttft", 0.05)):
                assert abs(mean[metric]) < limit, (one.name, metric)
                assert abs(p99[metric]) < 0.05, (one.name, metric)
            inside = (rows["low"] <= rows["measured"]) & (rows["measured"] <= rows["high"])
            assert inside.mean() >= 0.8 or fitted != "both"  # one load says nothing of how machines drift
