"""The four fidelity levels against the original document's tables, and what the tables of this project promise."""

import numpy as np
import pandas as pd
import pytest

import simlib
from simlib import levels
from simlib.checks import InputError


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.concat([levels.runs_of(level, replications=5) for level in levels.LEVELS], ignore_index=True)


@pytest.mark.parametrize("level", [1, 3])
def test_at_the_documents_seed_every_printed_digit_is_met(runs, level):
    ours = runs[(runs["level"] == level) & (runs["replication"] == 0)].set_index("scheduler")
    for claim in levels.claims().query("level == @level").itertuples():
        row = ours.loc[claim.scheduler]
        assert round(row["sla_violation_share"], 3) == claim.sla_violation_share
        assert round(row["latency_mean_s"], 3) == claim.latency_mean_s
        assert round(row["throughput_rps"], 2) == claim.throughput_rps


def test_on_the_sample_the_recorded_stand_in_is_met(runs):
    # Measured with the original on the same 400 rows, in correct first-in-first-out order.
    ours = runs[(runs["replication"] == 0) & (runs["requests_from"] == "trace")].set_index(["level", "scheduler"])
    expected = {2: (0.0, 0.0, 0.0), 4: (0.0275, 0.0275, 0.02)}
    latency = {2: (0.188, 0.188, 0.185), 4: (0.332, 0.332, 0.317)}
    if ours.loc[(2, "static_fifo"), "requests"] != 400:
        pytest.skip("the full BurstGPT trace is here: the levels use its rows")
    for level in (2, 4):
        for place, scheduler in enumerate(levels.SCHEDULERS):
            row = ours.loc[(level, scheduler)]
            assert row["sla_violation_share"] == pytest.approx(expected[level][place], abs=1e-12)
            assert round(row["latency_mean_s"], 3) == latency[level][place]


def test_over_a_hundred_seeds_the_measured_means_return():
    # The original itself, seeds 0 to 99, level 3, in per cent. It sends candidates that it does not take to the back of
    # the queue, which moves a few requests in some of these runs: hence a tenth of a point, where digits would agree.
    measured = {"static_fifo": 94.5, "dynamic_no_bins": 43.3, "multi_bin_dynamic": 19.3}
    means = levels.runs_of(3, seed=0, replications=100).groupby("scheduler")["sla_violation_share"].mean()
    assert (100 * means).to_dict() == pytest.approx(measured, abs=0.1)


def test_the_table_has_the_promised_columns_and_an_empty_claim_on_the_sample(runs):
    table = levels.table_of(runs)
    assert list(table.columns) == [
        *("level", "scheduler", "requests", "trace", "claimed_violation_share", "claimed_latency_mean_s"),
        *("claimed_throughput_rps", "seed42_violation_share", "seed42_latency_mean_s", "mean_violation_share"),
        *("ci_low", "ci_high", "latency_mean_s", "replications", "claim_percentile", "claim_inside", "requests_from"),
        "interval_method",
    ]
    assert len(table) == 18
    assert table.groupby("level")["requests_from"].unique().map(list).to_dict() == {
        1: ["synthetic"],
        2: ["trace", "population"],
        3: ["synthetic"],
        4: ["trace", "population"],
    }
    assert (table.loc[table["requests_from"] == "population", "requests"] == 1000).all()
    on_sample = table["trace"].str.contains("sample")
    assert set(table.loc[on_sample, "requests_from"]) <= {"trace"}
    assert table.loc[on_sample, "claim_inside"].isna().all()
    assert table.loc[~on_sample, "claim_inside"].notna().all()
    told = table[table["interval_method"] != "none"]
    assert told["mean_violation_share"].between(told["ci_low"], told["ci_high"]).all()
    untold = table[table["interval_method"] == "none"]
    assert len(untold) and untold[["ci_low", "ci_high"]].isna().all(axis=None)  # five replications are too few


def test_the_claim_is_left_out_for_settings_that_are_not_the_documents(runs):
    table = levels.table_of(runs, as_claimed=False)
    assert table[["claimed_violation_share", "claim_percentile", "claim_inside"]].isna().all(axis=None)


def test_differences_are_paired_and_count_the_better_replications(runs):
    differences = levels.differences(runs)
    row = differences.query(
        "level == 3 and scheduler_a == 'multi_bin_dynamic' and scheduler_b == 'dynamic_no_bins'"
    ).set_index("metric")
    wide = runs[runs["level"] == 3].pivot_table(index="replication", columns="scheduler", values="sla_violation_share")
    paired = wide["multi_bin_dynamic"] - wide["dynamic_no_bins"]
    shares = row.loc["sla_violation_share"]
    assert shares["difference"] == pytest.approx(paired.mean(), rel=1e-12)
    assert shares["ci_low"] < paired.mean() < shares["ci_high"]
    assert shares["share_of_replications_better"] == np.mean(paired < 0)
    rates = runs[runs["level"] == 3].pivot_table(index="replication", columns="scheduler", values="throughput_rps")
    better = np.mean(rates["multi_bin_dynamic"] > rates["dynamic_no_bins"])
    assert row.loc["throughput_rps", "share_of_replications_better"] == better


def test_without_a_positive_correlation_the_comparison_is_with_requests_of_its_own():
    settings = {"requests": 40, "seed": 42}
    runs = levels.runs_of(1, replications=5, **settings)
    static = runs["scheduler"] == "static_fifo"
    runs.loc[static, "latency_mean_s"] = -runs.loc[static, "latency_mean_s"]  # now against the others
    table = levels.differences(runs, settings).set_index(["scheduler_a", "scheduler_b", "metric"])
    row = table.loc["dynamic_no_bins", "static_fifo", "latency_mean_s"]
    assert row["correlation"] < 0 and row["method"] == "independent"
    own = levels.runs_of(1, replications=5, requests=40, seed=47)
    means = [
        frame.query("scheduler == @name")["latency_mean_s"].mean()
        for frame, name in ((runs, "dynamic_no_bins"), (own, "static_fifo"))
    ]
    assert row["difference"] == pytest.approx(means[0] - means[1], rel=1e-12)
    assert set(levels.differences(runs)["method"]) == {"paired"}  # without settings there is nothing else


def test_p_values_are_adjusted_for_the_whole_table(runs):
    differences = levels.differences(runs)
    alone = levels.differences(runs[runs["level"] == 3])
    both = differences[differences["level"] == 3]["p_holm"].to_numpy()
    assert (both >= alone["p_holm"].to_numpy()).all() and (both > alone["p_holm"].to_numpy()).any()


def test_every_scheduler_is_held_against_the_same_deadline():
    table, _ = levels.requests_of(1, 200, 42)
    late = levels.runs_of(1, requests=200, replications=1, d_sla=0.3).set_index("scheduler")["sla_violation_share"]
    run = simlib.simulate(table, "static_fifo", levels.of(1).latency, 2)
    assert late["static_fifo"] == run.summary(0.3)["sla_violation_share"] > run.summary(1.0)["sla_violation_share"]


def test_every_scheduler_faces_the_same_requests():
    tables = [levels.requests_of(1, 50, seed=7)[0] for _ in range(2)]
    assert np.array_equal(tables[0].arrival_s, tables[1].arrival_s)
    assert not np.array_equal(tables[0].arrival_s, levels.requests_of(1, 50, seed=8)[0].arrival_s)


def test_on_the_trace_only_predictions_vary():
    first, second = (levels.requests_of(4, 400, seed=seed)[0] for seed in (1, 2))
    assert np.array_equal(first.arrival_s, second.arrival_s) and np.array_equal(
        first.output_tokens, second.output_tokens
    )
    assert not np.array_equal(first.predicted_output_tokens, second.predicted_output_tokens)
    assert (first.output_tokens == 0).sum() == 17  # failures kept


def test_each_replication_draws_other_requests_of_the_population_and_the_rate_scales_their_times():
    first, second = (levels.requests_of(2, 300, seed, requests_from="population")[0] for seed in (1, 2))
    assert not np.array_equal(first.output_tokens, second.output_tokens)
    slow = levels.requests_of(2, 300, 1, rps_scale=1.0, requests_from="population")[0]
    assert np.array_equal(slow.arrival_s / 100.0, first.arrival_s)
    assert np.array_equal(slow.predicted_output_tokens, first.predicted_output_tokens)
    calibrated = levels.requests_of(4, 300, 1, requests_from="population")[0]
    assert np.array_equal(calibrated.arrival_s, first.arrival_s)  # both levels face the same draws


def test_one_source_alone_gives_its_part_of_all(runs):
    alone = levels.runs_of(2, replications=5, requests_from="population")
    part = runs[(runs["level"] == 2) & (runs["requests_from"] == "population")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, part)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: levels.requests_of(1, 10, requests_from="population"), "requests_from"),
        (lambda: levels.runs_of(2, replications=1, requests_from="sample"), "requests_from"),
        (lambda: levels.of(5), "level"),
        (lambda: levels.of(True), "level"),
        (lambda: levels.requests_of(1, 0), "requests"),
        (lambda: levels.requests_of(1, 10, rate_rps=0), "rate_rps"),
        (lambda: levels.requests_of(2, 10, rps_scale=-1), "rps_scale"),
        (lambda: levels.runs_of(1, replications=0), "replications"),
        (lambda: levels.runs_of(1, seed=-1), "seed"),
        (lambda: levels.runs_of(1, requests=10, replications=1, gpus=0), "gpus"),
        (lambda: levels.runs_of(1, requests=10, replications=1, k_bins=0), "k_bins"),
        (lambda: levels.runs_of(1, requests=10, replications=1, d_sla=0), "d_sla"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
