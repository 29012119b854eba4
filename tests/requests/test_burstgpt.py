"""Generated traffic: keyed like every workload, Poisson where it says so, with the coefficients' own moments.

Statistical checks have fixed seeds; each bound is 4.5 standard errors, passed by a right generator but for 7 in a
million seeds.
"""

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, spearmanr

from book.chapters.workloads import likeness, traffic
from simlib import datasets
from simlib.checks import InputError
from simlib.datasets import locate
from simlib.requests import burstgpt
from simlib.requests.burstgpt import Population, burstgpt_like
from simlib.requests.table import RequestTable

SHIPPED = Population.read()
BOUND = 4.5
COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
FLAT = tuple([1.0 / 24.0] * 24)


def same(a: RequestTable, b: RequestTable) -> bool:
    return len(a) == len(b) and all(np.array_equal(getattr(a, c), getattr(b, c)) for c in COLUMNS)


def steady(**changes) -> Population:
    """The shipped coefficients without what moves the rate: level 20,000 a day, the same at every hour."""
    quiet = {"hour_share": FLAT, "window_log_sd": 0.0, "day_log_sd": 0.0}
    talk = dataclasses.replace(SHIPPED.conversations, workday_requests=2e4, weekend_requests=2e4, **quiet)
    calls = dataclasses.replace(SHIPPED.api_calls, quiet_share=0.0, day_log_mean=np.log(2e4), **quiet)
    return Population(dataclasses.replace(talk, **changes), calls)


def test_the_same_key_gives_the_same_requests_and_another_others():
    assert same(burstgpt_like(500, 3), burstgpt_like(500, 3))
    assert not same(burstgpt_like(500, 3), burstgpt_like(500, 4))
    assert not same(burstgpt_like(500, 3), burstgpt_like(500, 3, family="another"))


@pytest.mark.parametrize("kind", ["all", "conversations", "api_calls"])
def test_the_first_requests_do_not_depend_on_how_many_follow(kind):
    long = burstgpt_like(40_000, 5, traffic=kind)
    assert same(burstgpt_like(1000, 5, traffic=kind), long.head(1000))
    days = SHIPPED.sample_days(15, 5, traffic=kind)
    assert same(days.head(1000), long.head(1000))


def test_each_kind_is_the_same_with_and_without_the_other():
    both = SHIPPED.sample_days(20, 1)
    for kind, log_type in (("conversations", "Conversation log"), ("api_calls", "API log")):
        alone = SHIPPED.sample_days(20, 1, traffic=kind)
        assert same(both.rows(both.labels["log_type"] == log_type), alone)


def test_the_rate_scales_times_and_nothing_else():
    slow, fast = burstgpt_like(500, 2), burstgpt_like(500, 2, rate_factor=100.0)
    assert np.array_equal(slow.arrival_s / 100.0, fast.arrival_s)
    assert np.array_equal(slow.output_tokens, fast.output_tokens)


def test_conversations_have_their_levels_and_hours():
    kind, weeks = SHIPPED.conversations, 40
    drawn = [SHIPPED.sample_days(7, r, traffic="conversations").arrival_s for r in range(weeks)]
    counts = np.array([np.histogram(t, np.arange(0, 7 * 24 + 1) * 3600.0)[0].reshape(7, 24) for t in drawn])
    weekend = np.isin(np.arange(7), burstgpt.WEEKEND)
    for days, level in ((~weekend, kind.workday_requests), (weekend, kind.weekend_requests)):
        means = counts[:, days].sum(axis=2).mean(axis=1)
        assert abs(means.mean() - level) < BOUND * means.std(ddof=1) / np.sqrt(weeks)
    hours = counts.sum(axis=1) / counts.sum(axis=(1, 2))[:, None]
    off = (hours.mean(axis=0) - kind.hour_share) / (hours.std(axis=0, ddof=1) / np.sqrt(weeks))
    assert np.abs(off).max() < BOUND


def test_a_week_may_start_on_its_weekend():
    first = [len(SHIPPED.sample_days(1, r, traffic="conversations", first_day=3)) for r in range(40)]
    error = np.std(first, ddof=1) / np.sqrt(40)
    assert abs(np.mean(first) - SHIPPED.conversations.weekend_requests) < BOUND * error


@pytest.mark.parametrize("window_s", [1.0, 60.0, 600.0])
def test_within_windows_arrivals_are_poisson_and_calls_come_in_geometric_clumps(window_s):
    days = 10
    windows = days * 86_400 / window_s
    for kind, clump in (("conversations", 1.0), ("api_calls", SHIPPED.api_calls.clump_mean)):
        arrival_s = steady().sample_days(days, 7, traffic=kind).arrival_s
        expected = 2.0 * clump - 1.0  # variance over mean of a Poisson number of geometric clumps
        rate = 2e4 / 86_400 * window_s / clump
        # Fourth cumulant of the counts over their mean squared, for the error of a variance; clumps up to E[size^4].
        p = 1.0 / clump
        fourth = (2 - p) * (12 - 12 * p + p * p) / p**4 * rate
        error = np.sqrt((2.0 * (expected * clump * rate) ** 2 + fourth) / windows) / (clump * rate)
        assert abs(traffic.dispersion_index(arrival_s, window_s) - expected) < BOUND * error


def test_a_modulated_rate_adds_its_variance():
    # Counts of whole windows with a log-normal factor: variance over mean = 1 + mean x (exp(sd^2) - 1).
    kind = dataclasses.replace(steady().conversations, window_log_sd=0.5)
    drawn = [
        Population(kind, SHIPPED.api_calls).sample_days(7, r, traffic="conversations").arrival_s for r in range(20)
    ]
    found = [traffic.dispersion_index(np.concatenate([[0.0], t, [7 * 86_400.0]]), kind.window_s) for t in drawn]
    expected = 1.0 + 2e4 / 86_400 * kind.window_s * np.expm1(0.5**2)
    assert abs(np.mean(found) - expected) < BOUND * np.std(found, ddof=1) / np.sqrt(len(found))


def test_lengths_are_the_mixtures_and_failures_have_no_tokens():
    kind = SHIPPED.conversations
    table = burstgpt_like(200_000, 1, traffic="conversations")
    failed = table.output_tokens == 0
    assert np.array_equal(failed, table.prompt_tokens == 0)
    error = np.sqrt(kind.failed_share * (1 - kind.failed_share) / len(table))
    assert abs(failed.mean() - kind.failed_share) < BOUND * error
    for place, lengths in enumerate((table.prompt_tokens[~failed], table.output_tokens[~failed])):
        assert lengths.min() >= 1 and lengths.max() == kind.longest_tokens[place]
        for tokens in (10, 50, 200, 800, 1500):
            z = [
                (np.log(tokens + 0.5) - m[place]) / np.sqrt(c[place][place])
                for m, c in zip(kind.log_means, kind.log_covariances, strict=True)
            ]
            share = float(np.dot(kind.weights, norm.cdf(z)))
            error = np.sqrt(share * (1 - share) / len(lengths))
            assert abs(np.mean(lengths <= tokens) - share) < BOUND * error


def test_prompt_and_answer_depend_on_each_other_as_in_the_coefficients():
    # One component: the rank correlation of a normal pair is 6/pi arcsin(rho/2) (Kruskal 1958).
    one = {"weights": (1.0,), "log_means": ((6.0, 6.0),), "log_covariances": (((0.16, 0.08), (0.08, 0.16)),)}
    table = steady(**one, failed_share=0.0).sample(50_000, traffic="conversations")
    ranks = spearmanr(table.prompt_tokens, table.output_tokens).statistic
    assert abs(ranks - 6.0 / np.pi * np.arcsin(0.25)) < BOUND / np.sqrt(len(table))


def test_api_days_are_quiet_as_often_as_the_coefficients_say_and_follow_each_other():
    kind = SHIPPED.api_calls
    levels = np.array([kind.day_levels(400, 0, np.random.default_rng(r)) for r in range(100)])
    quiet = (levels == 0).mean(axis=1)
    assert abs(quiet.mean() - kind.quiet_share) < BOUND * quiet.std(ddof=1) / 10.0
    logs = np.array([np.mean(np.log(row[row > 0])) for row in levels])
    assert abs(logs.mean() - kind.day_log_mean) < BOUND * logs.std(ddof=1) / 10.0
    alternating = np.array([np.mean((row[1:] == 0) == (row[:-1] == 0)) for row in levels])
    assert alternating.mean() > kind.quiet_share**2 + (1 - kind.quiet_share) ** 2 + 0.1


def test_shipped_coefficients_are_shares_and_survive_a_round_trip(tmp_path):
    for kind in (SHIPPED.conversations, SHIPPED.api_calls):
        assert sum(kind.hour_share) == pytest.approx(1.0, abs=1e-5) and min(kind.hour_share) >= 0.0
        assert len(kind.hour_share) == 24 and 0.0 < kind.failed_share < 0.1
    assert sum(SHIPPED.conversations.weights) == pytest.approx(1.0, abs=1e-5)
    file = tmp_path / "own.json"
    file.write_text(json.dumps(SHIPPED.document()))
    assert same(Population.read(file).sample(100), burstgpt_like(100))


def test_the_coefficients_are_what_the_fit_gives():
    try:
        locate("burstgpt/BurstGPT_1_head400.csv")
    except InputError:
        pytest.skip("SIMLIB_DATA_DIR holds no slices of BurstGPT")
    from benchmarks import fit_population

    fitted, real = fit_population.fit()
    for kind in ("conversations", "api_calls"):
        for name, value in fitted.document()[kind].items():
            shipped = np.asarray(getattr(getattr(SHIPPED, kind), name))
            np.testing.assert_allclose(shipped, np.asarray(value), rtol=1e-4, atol=1e-9, err_msg=name)
    pd.testing.assert_frame_equal(likeness.held_out(), real, rtol=1e-5)


def test_a_million_requests_cost_at_most_sixty_normal_numbers_each():
    """Side by side in one run, the least of three ratios: 31 when written."""
    burstgpt_like(1000)
    rng, ratios = np.random.default_rng(1), []
    for replication in range(3):
        start_s = time.process_time()
        burstgpt_like(1_000_000, replication)
        middle_s = time.process_time()
        for _ in range(10):
            rng.standard_normal(1_000_000)
        ratios.append(10 * (middle_s - start_s) / (time.process_time() - middle_s))
    assert min(ratios) < 60


# ---- likeness ----


def test_figures_of_the_head_are_of_the_rows_that_were_not_fitted_to():
    sample = pd.read_csv(datasets.sample())
    table = RequestTable(sample["Timestamp"], sample["Request tokens"], sample["Response tokens"])
    committed = likeness.held_out().query("source == 'head'").set_index("figure")["value"].to_dict()
    assert likeness.rows(table) == pytest.approx(committed, rel=1e-5)
    longer = np.where(likeness.fitting_rows(table.arrival_s), 5 * table.output_tokens, table.output_tokens)
    assert likeness.rows(dataclasses.replace(table, output_tokens=longer)) == likeness.rows(table)


def test_figures_of_minutes_days_and_bursts_by_hand():
    tokens = np.zeros(10_080)
    tokens[::2] = 120.0
    found = likeness.minutes(tokens)
    assert found["minutes_with_traffic"] == 0.5 and found["tokens_cv_60s"] == 1.0 and found["tokens_cv_600s"] == 0.0

    requests = np.full(61, 5000)
    requests[7:14] = (1000, 2000, 3000, 10_000, 20_000, 30_000, 40_000)
    found = likeness.daily(requests, 2 * requests)
    assert found["quiet_days"] == 3 and found["requests_a_day_max"] == 40_000
    assert found["requests_a_day_median"] == 5000 and found["tokens_a_request_log_sd"] == pytest.approx(0.0, abs=1e-12)

    arrival_s = np.concatenate([np.arange(200.0) * 10, 3000.0 + np.arange(120) * 0.1])
    prompt = np.concatenate([np.full(200, 9), np.full(120, 70)])
    found = likeness.burst(RequestTable(arrival_s, prompt, np.full(320, 3)))
    assert found["burst_s"] == 11.0 and found["burst_prompt_median_tokens"] == 70.0 and found["burst_prompt_cv"] == 0.0


def test_a_figure_fits_inside_the_central_95_per_cent_only():
    real = pd.DataFrame({"source": "days", "figure": ["a", "b"], "value": [50.0, 98.5]})
    draws = pd.DataFrame([("days", f, r, float(r)) for f in "ab" for r in range(101)])
    draws.columns = ["source", "figure", "replication", "value"]
    table = likeness.compared(real, draws)
    assert table["fits"].tolist() == [True, False]
    assert table["low"].tolist() == [2.5, 2.5] and table["high"].tolist() == [97.5, 97.5]
    with pytest.raises(InputError, match="no c of days"):
        likeness.compared(real.assign(figure=["a", "c"]), draws)


def test_what_should_fit_does_and_what_is_known_not_to_does_not():
    table = likeness.compared(likeness.held_out(), likeness.generated(SHIPPED, 60, 20)).set_index("figure")
    for figure in ("dispersion_60s", "dispersion_600s", "gap_cv", "rank_correlation", "output_p50_tokens", "burst_s"):
        assert table.loc[figure, "fits"], figure
    assert not table.loc[["burst_prompt_cv", "burst_output_median_tokens", "minutes_with_traffic"], "fits"].any()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: burstgpt_like(0), "n: 0"),
        (lambda: burstgpt_like(10, -1), "replication"),
        (lambda: burstgpt_like(10, traffic="chat"), "traffic"),
        (lambda: burstgpt_like(10, first_day=7), "first_day"),
        (lambda: burstgpt_like(10, rate_factor=0.0), "rate_factor"),
        (lambda: burstgpt_like(10, family=""), "family"),
        (lambda: SHIPPED.sample_days(0), "days"),
        (lambda: burstgpt_like(100_000_000, traffic="conversations"), "days of traffic 'conversations'"),
        (lambda: likeness.generated(SHIPPED, 5), "replications"),
        (lambda: likeness.generated(SHIPPED, 20, 5), "days_replications"),
    ],
)
def test_a_bad_argument_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()


@pytest.mark.parametrize("text", ["", "{}", '{"conversations": {}, "api_calls": {}}', None])
def test_a_bad_file_of_coefficients_is_named(tmp_path: Path, text):
    file = tmp_path / "own.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InputError, match=r"own\.json.*expected coefficients"):
        Population.read(file)
