"""The two execution models on the same requests: the mapping, what is called unstable, paired comparisons, reading."""

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.continuous import executions, figures, tables
from book.chapters.continuous.executions import BATCHES, METRICS, PAIRS, STEPS
from simlib import named

pytestmark = pytest.mark.filterwarnings("ignore:latency")


@pytest.fixture(scope="module")
def contest():
    return executions.contest(150, seed=1)


@pytest.fixture(scope="module")
def runs(contest):
    return executions.runs_of(contest, 150, (0.2, 1.5), seed=1, replications=3)


def labelled(runs, load, system, *labels):
    """The same runs, as if the replications of one system at one load had been given these labels."""
    changed = runs.copy()
    rows = (runs["load"] == load) & (runs["execution"] == system[0]) & (runs["scheduler"] == system[1])
    changed.loc[rows, "stability"] = labels
    return changed


def test_both_models_take_their_times_from_one_preset(contest):
    model = contest.model.model
    law = named.step_law_of(contest.model)
    assert (law.a_s, law.b_s, law.c_s, law.d_s) == (
        model.d0_s_per_token,
        model.d1_s_per_token,
        model.c1_s_per_token,
        model.d2_s_per_token2,
    )
    assert not contest.model.measured.equal_lengths  # prefill's share was measured, not assumed
    largest = contest.model.measured.batch_size[1]
    assert contest.engine.max_seqs == largest
    for policy, _ in contest.systems.values():
        assert getattr(policy, "batch_size", 1) <= largest
        assert not hasattr(policy, "variant") or policy.variant.b_max == largest


def test_the_best_static_batches_are_chosen_on_other_requests(contest):
    others = simlib.workload.original(150, 1 + executions.CHOSEN_BY).at_rate(1e9)
    served = {
        size: executions.saturated_rps_of(simlib.simulate(others, simlib.StaticFIFO(size), contest.model, 2))
        for size in (8, 16, 32, 64)
    }
    assert contest.systems[BATCHES, executions.BEST][0].batch_size == max(served, key=served.get)


def test_load_and_deadline_are_static_batchings_own(contest):
    table = simlib.workload.original(150, 1).at_rate(1e9)
    run = simlib.simulate(table, "static_fifo", contest.model, 2)
    assert contest.d_sla == pytest.approx(2 * run.served.service_s.mean())
    done_s = np.sort(run.times.completion_s)[:135]
    assert contest.reference_rps == pytest.approx(135 / (done_s[-1] - table.arrival_s[0]))


def test_every_system_meets_the_same_requests_at_the_same_rate(contest, runs):
    assert len(runs) == 2 * 3 * 7
    assert runs.groupby(["load", "replication"])["rate_rps"].nunique().eq(1).all()
    assert runs["rate_rps"].unique() == pytest.approx([0.2 * contest.reference_rps, 1.5 * contest.reference_rps])
    again = executions.runs_of(contest, 150, (1.5,), seed=2, replications=2)
    same = runs[(runs["load"] == 1.5) & (runs["replication"] > 0)]
    for metric in METRICS:  # replication r of seed 1 is replication r - 1 of seed 2
        assert again[metric].tolist() == same[metric].tolist()


def test_a_point_has_means_unless_most_of_its_replications_are_unstable(runs):
    system = (BATCHES, "static_fifo")
    for labels, expected in (
        (("unstable", "unstable", "stable"), "unstable"),
        (("unstable", "stable", "stable"), "stable"),
        (("unstable", "stable", "near_critical"), "near_critical"),
    ):
        table = executions.table_of(labelled(runs, 1.5, system, *labels))
        own = (table["load"] == 1.5) & (table["execution"] == system[0]) & (table["scheduler"] == system[1])
        assert set(table.loc[own, "stability"]) == {expected}
        assert table.loc[own, ["mean", "ci_low", "ci_high"]].isna().all(axis=None) == (expected == "unstable")
        assert table.loc[~own, ["mean", "ci_low", "ci_high"]].notna().all(axis=None)
        assert len(table) == 2 * 7 * len(METRICS)


def test_overload_is_called_unstable_by_enough_requests(contest):
    """Load 3 of static batches, and a tenth of it; two replications, seeds 1 and 2."""
    rows = executions.runs_of(contest, 5000, (0.1, 3.0), seed=1, replications=2)
    labels = executions.table_of(rows).set_index(["load", "execution", "scheduler"])["stability"]
    assert set(labels[3.0, BATCHES, "static_fifo"]) == {"unstable"}
    assert set(labels[3.0, STEPS, "fcfs"]) == {"stable"}
    assert "unstable" not in set(labels[0.1])


def test_differences_are_of_pairs_and_leave_out_what_is_unstable(runs):
    found = executions.differences(runs)
    assert len(found) == 2 * len(PAIRS) * len(METRICS) and (found["p_holm"] <= 1).all()
    wide = runs.pivot_table(index="replication", columns=["load", "execution", "scheduler"], values="ttft_p99_s")
    rows = found[found["metric"] == "ttft_p99_s"]
    for row in rows.itertuples():
        apart = wide[row.load, row.execution_a, row.scheduler_a] - wide[row.load, row.execution_b, row.scheduler_b]
        assert row.difference == pytest.approx(apart.mean())
    lost = executions.differences(labelled(runs, 1.5, (BATCHES, "dynamic_no_bins"), *["unstable"] * 3))
    assert len(lost) == len(found) - 2 * len(METRICS)  # it is in two pairs


def test_saturated_rates_and_their_ratios(contest):
    rates = executions.saturated(contest, 150, seed=1, replications=3)
    table = executions.ratios(rates)
    assert len(table) == 7 + len(PAIRS)
    systems = rates.pivot_table(index="replication", columns=["execution", "scheduler"], values="saturated_rps")
    first = table.iloc[7]
    logs = np.log(systems[STEPS, "static_fifo"] / systems[BATCHES, "static_fifo"])
    assert first["value"] == pytest.approx(np.exp(logs.mean())) and first["ci_low"] < first["value"] < first["ci_high"]
    assert first["ci_low"] > 1.5  # places that are not kept serve others


def test_an_engine_at_rest_answers_at_once_and_nobody_is_done_and_stays(contest):
    panels = executions.occupancies(contest, requests=60, seed=1)
    batches, steps = panels.values()
    assert batches["finished"].max() > 0 and (batches["finished"] < batches["size"]).all()
    assert (steps["finished"] == 0).all() and steps["size"].max() <= 8


def test_a_batchs_occupancy_by_hand():
    """Prefill 1 s, then a second a token: outputs of 1, 3 and 5 end at 1, 3 and 5 s."""
    table = simlib.RequestTable([0.0] * 3, [10] * 3, [3, 1, 5])
    run = simlib.simulate(table, simlib.StaticFIFO(3), simlib.Phases(0.0, 1 / 30, 1.0, 0.0), backend="interpreted")
    found = run.occupancy()
    assert found["start_s"].tolist() == pytest.approx([0.0, 1.0, 3.0]) and found["finished"].tolist() == [0, 1, 2]
    assert found["time_s"].sum() == pytest.approx(5.0)


def test_the_page_reads_the_tables_and_quotes_no_mean_of_what_is_unstable(contest, runs):
    runs = labelled(runs, 1.5, (BATCHES, "static_fifo"), *["unstable"] * 3)
    table, differences = executions.table_of(runs), executions.differences(runs)
    quoted = tables.quoted(table)
    assert quoted["idle_rate"] == quoted["busy_rate"]  # static batches bear one of the two rates
    shown = tables.show_systems(table, (0.2, 1.5)).data
    assert (shown["E2E, P99"] == "unstable").sum() == 1 and "nan" not in shown.to_string()
    assert len(tables.show_differences(differences, (0.2, 1.5)).data) == 2 * len(PAIRS) - 1
    rates = executions.ratios(executions.saturated(contest, 150, seed=1, replications=3))
    figure = figures.engine_against_batches(rates, table, 0.2)
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names[2:4] == ["best static batches", "engine"] and len(names) == 8
    first = tables.show_rates(rates).data.iloc[0]
    assert first["A"] == "engine, static batches' places" and first["over B"] == "static batches"
    assert "_" not in tables.show_rates(rates).data.to_string() + shown.to_string()
    assert len(figures.gantt(executions.occupancies(contest, requests=40, seed=1), 20.0).axes) == 2


def test_a_difference_that_is_not_established_is_marked():
    row = {"load": 1.0, "rate_rps": 2.0, "difference": 1.0, "ci_low": 0.5, "ci_high": 1.5, "replications": 9}
    (a, b) = PAIRS[0]
    pair = {"execution_a": a[0], "scheduler_a": a[1], "execution_b": b[0], "scheduler_b": b[1]}
    frame = pd.DataFrame([{**row, **pair, "metric": metric, "p_holm": 0.2} for metric in METRICS])
    assert tables.show_differences(frame, (1.0,)).data.to_string().count("†") == 5
    sure = frame.assign(p_holm=0.01)
    assert "†" not in tables.show_differences(sure, (1.0,)).data.to_string()


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda given: executions.contest(0), "n:"),
        (lambda given: executions.contest(100, slack=0), "slack"),
        (lambda given: executions.contest(100, batch_size=0), "batch_size"),
        (lambda given: executions.contest(100, gpus=0), "gpus"),
        (lambda given: executions.runs_of(given, 100, []), "loads"),
        (lambda given: executions.runs_of(given, 100, [0]), "load"),
        (lambda given: executions.runs_of(given, 100, replications=1), "replications"),
        (lambda given: executions.saturated(given, 100, replications=1), "replications"),
        (lambda given: executions.occupancies(given, load=-1), "load"),
        (lambda given: executions.table_of(None), "runs"),
        (lambda given: executions.differences(None), "runs"),
        (lambda given: executions.ratios(None), "runs"),
    ],
)
def test_a_bad_setting_is_named(contest, call, word):
    with pytest.raises(simlib.InputError, match=word):
        call(contest)
