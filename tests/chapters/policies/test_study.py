"""The comparison of policies: what load and deadline are, differences in pairs, what the page shows."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.policies import figures, sizes, study, tables
from book.chapters.policies.study import BASELINE, METRICS, POINT
from simlib.stats import intervals


@pytest.fixture(scope="module")
def places():
    return [study.place_of(execution, "poisson", requests=300) for execution in (study.BATCHES, study.STEPS)]


@pytest.fixture(scope="module")
def runs(places):
    return study.runs_of(places, (0.8, 1.2), requests=200, replications=3)


def given(late, replications=6):
    """A table in which policies are late by these shares in each execution, with some spread."""
    rng, rows = np.random.default_rng(1), []
    for execution, shares in late.items():
        for traffic in study.TRAFFIC:
            for load in (0.5, study.AXIS_LOAD, 0.95):
                for policy, share in shares.items():
                    spread = 0.001 * rng.standard_normal(replications)
                    for replication in range(replications):
                        place = (execution, traffic, load, study.MAIN, policy)
                        row = dict(zip(POINT, place, strict=True)) | {"chosen": "", "replication": replication}
                        rows.append(row | dict.fromkeys(METRICS, share + spread[replication]))
    return study.table_of(pd.DataFrame(rows))


LATE = {
    "run_to_completion": {
        **{"fcfs": 0.3, "static_fifo": 0.5, "multi_bin_dynamic": 0.1, "optimal_bins": 0.2},
        **{"fair_share": 0.6, "early_rejection": 0.25},
    },
    "continuous": {"fcfs": 0.2, "multi_bin_dynamic": 0.2, "fair_share": 0.3, "timeout": 0.21},
}


@pytest.mark.parametrize("traffic", study.TRAFFIC)
def test_requests_have_predictions_clients_and_an_answer(traffic):
    table = study.requests_of(traffic, 400, 1, "rank 0.4")
    assert len(table) == 400 and table.output_tokens.min() > 0
    assert table.predicted_output_tokens is not None and set(table.labels["client"]) == set(range(10))
    assert abs(np.mean(table.labels["client"] == 0) - 0.5) < 0.1  # four standard errors
    other = study.requests_of(traffic, 400, 1, "oracle")
    np.testing.assert_array_equal(other.arrival_s, table.arrival_s)
    np.testing.assert_array_equal(other.predicted_output_tokens, table.output_tokens)


def test_a_tenth_is_late_at_the_axis_load_and_load_one_is_what_can_be_carried(places):
    for place in places:
        late, done_rps = [], []
        for seed in range(4):
            table = study.requests_of("poisson", 300, seed + 42 + sizes.FITTED, study.MAIN)
            uncapped = "dynamic, 64" if place.execution == study.BATCHES else ""
            policy, how = place.policies[BASELINE][uncapped]
            at = sizes.at_rate(table, study.AXIS_LOAD * place.capacity_rps)
            late.append(simlib.simulate(at, policy, place.model, 2, how).summary(place.d_sla)["sla_violation_share"])
            full = simlib.simulate(table.at_rate(1e9), policy, place.model, 2, how)
            done_rps.append(270 / np.sort(full.times.completion_s)[269])
        assert np.mean(late) == pytest.approx(0.1, abs=0.05)
        assert place.capacity_rps == pytest.approx(np.mean(done_rps), rel=0.3)


def test_every_policy_faces_every_load_and_predictors_stand_at_one(places, runs):
    assert set(runs.groupby(POINT).size()) == {3}
    for place in places:
        own = runs[(runs["execution"] == place.execution) & (runs["predictor"] == study.MAIN)]
        assert set(own["policy"]) == set(place.policies) and set(own["load"]) == {0.8, 1.2}
    others = runs[runs["predictor"] != study.MAIN]
    assert set(others["load"]) == {study.AXIS_LOAD} and not set(others["policy"]) & set(study.BLIND)


def test_no_policy_is_below_the_floor_and_parts_add_up(runs):
    assert runs["over_floor"].dropna().min() >= 1.0
    parts = runs[[f"late_{name}" for name in study.CLASSES]].mean(axis=1)
    assert parts.to_numpy() == pytest.approx(runs["sla_violation_share"].to_numpy(), abs=0.005)


def test_the_axis_has_a_baseline_to_be_compared_with():
    runs = study.runs_of([study.place_of("continuous", "poisson", requests=100)], (0.8,), requests=100, replications=2)
    table = study.table_of(runs)
    late = table[(table["metric"] == "sla_violation_share") & (table["policy"] != "fcfs")]
    assert late["difference"].notna().all() and set(late["predictor"]) == set(study.PREDICTORS)


def test_differences_are_of_pairs_and_holms_of_one_metric(runs):
    table = study.table_of(runs)
    row = table[
        (table["policy"] == "static_fifo") & (table["load"] == 1.2) & (table["metric"] == "latency_p99_s")
    ].iloc[0]
    own = runs[(runs["load"] == 1.2) & (runs["execution"] == "run_to_completion") & (runs["predictor"] == study.MAIN)]
    wide = own.pivot_table(index="replication", columns="policy", values="latency_p99_s")
    pair = intervals.paired_difference(wide["static_fifo"], wide[BASELINE])
    assert (row["difference"], row["difference_ci_low"]) == pytest.approx((pair.mean, pair.ci_low))
    assert row["p_holm"] >= pair.p_value
    assert table[table["policy"] == BASELINE]["difference"].isna().all()


def test_the_page_shows_them(places, runs):
    table = study.table_of(runs)
    assert len(tables.show_places(places).data) == 2
    assert study.scales(places)["d_sla"].tolist() == [place.d_sla for place in places]
    assert "0.3 to 0.3" in tables.show_floor(given(LATE)).data.iloc[0].tolist()
    assert len(tables.show_late(table).data) == 2 * sum(len(place.policies) for place in places)  # loads
    assert len(tables.show_who_pays(table, 1.2).data) == len(places[0].policies) - 3  # those in order of arrival
    figure = figures.by_traffic(given(LATE))
    said = [[text.get_text() for text in axis.texts] for axis in figure.axes[:2]]
    assert said[0].count("30 %") == 9 and said[0].count("−20") == 9 and said[0].count("+30") == 9
    assert said[1].count("+10") == 9 and "−0" not in said[0] + said[1]
    plt.close(figure)


def test_every_policy_has_the_size_that_does_best_elsewhere(places, runs):
    chosen = runs[(runs["load"] == 1.2) & (runs["execution"] == study.BATCHES)].groupby("policy")["chosen"].unique()
    assert all(len(each) == 1 for each in chosen)
    assert chosen["fcfs"][0] in {chosen["static_fifo"][0], chosen["dynamic_no_bins"][0]}
    assert places[0].d_sla <= study.MOST_S


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda places: study.requests_of("poison", 100, 1), "did you mean 'poisson'"),
        (lambda places: study.requests_of("poisson", 100, 1, "none"), "predictor: 'none'"),
        (lambda places: study.requests_of("poisson", 3, 1), "requests: 3"),
        (lambda places: study.place_of("batches", "poisson"), "execution: 'batches'"),
        (lambda places: study.runs_of(places, [0.0]), "load: 0"),
        (lambda places: study.runs_of(places, replications=1), "replications: 1"),
        (lambda places: study.runs_of(places, predictor="oracles"), "did you mean 'oracle'"),
        (lambda places: study.table_of(pd.DataFrame({"load": [1]})), "missing column"),
    ],
)
def test_a_bad_setting_is_named(places, call, word):
    with pytest.raises(simlib.InputError, match=word):
        call(places)
