"""Rankings at matched load: probabilities that sum to one, causes that add up, tables that show them."""

import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import measured_levels
from book.chapters.levels import figures, matched, tables
from simlib import levels

PLACES = matched.places(["h100-vllm-llama3-8b"])
KEYS = ["level", "latency", "load"]


@pytest.fixture(scope="module")
def studied():
    return matched.runs_of(PLACES, (0.05, 1.2), requests=200, replications=4, tuned=2)


@pytest.fixture(scope="module")
def runs(studied):
    return studied[0]


def given(late: dict[str, list[float]], waiting=(0.0, 0.0), service=(0.0, 0.0)) -> pd.DataFrame:
    """Runs of one place: late requests by scheduler and replication; waiting and service of dynamic, multi-bin."""
    times = dict(zip(levels.SCHEDULERS, zip((0.0, *waiting), (0.0, *service), strict=True), strict=True))
    return pd.DataFrame(
        [
            {"level": 1, "latency": "a", "load": 0.8, "scheduler": name, "replication": r, "d_sla_s": 2.0}
            | {"sla_violation_share": share, "queueing_mean_s": times[name][0], "service_mean_s": times[name][1]}
            | {"latency_mean_s": 1.0, "batch_size_mean": 2.0, "gpu_s_per_request": 1.0 + (name == levels.SCHEDULERS[2])}
            for name, shares in late.items()
            for r, share in enumerate(shares)
        ]
    )


def test_places_are_the_levels_and_both_kinds_of_requests_on_each_gpu():
    names = [(level, name) for level, name, _ in PLACES]
    assert names[:4] == [(n, level.latency) for n, level in levels.LEVELS.items()]
    assert names[4:] == [(3, "h100-vllm-llama3-8b"), (4, "h100-vllm-llama3-8b")]


def test_the_load_is_matched(runs):
    for (level, latency), group in runs.groupby(["level", "latency"]):
        model = next(model for number, name, model in PLACES if (number, name) == (level, latency))
        table = levels.requests_of(level, 200, 42, requests_from=levels.of(level).sources[-1])[0]
        saturated_rps, batch_s = measured_levels.saturation(table, model, 2)
        assert (group["rate_rps"] / saturated_rps).to_numpy() == pytest.approx(group["load"].to_numpy())
        assert group["d_sla_s"].to_numpy() == pytest.approx(min(2 * batch_s, 60.0))


def test_probabilities_of_the_rankings_of_a_place_sum_to_one(runs):
    table = matched.rankings(runs)
    assert table.groupby(KEYS)["share"].sum().to_numpy() == pytest.approx(1.0)
    assert ((table["ci_low"] <= table["share"]) & (table["share"] <= table["ci_high"])).all()


def test_rankings_of_given_runs():
    late = {
        "static_fifo": [0.3, 0.3, 0.3, 0.1],
        "dynamic_no_bins": [0.2] * 4,
        "multi_bin_dynamic": [0.1, 0.1, 0.2, 0.1],
    }
    table = matched.rankings(given(late)).set_index("ranking")["share"]
    assert table["multi_bin_dynamic < dynamic_no_bins < static_fifo"] == 0.5
    assert table["dynamic_no_bins = multi_bin_dynamic < static_fifo"] == 0.25
    assert table["static_fifo = multi_bin_dynamic < dynamic_no_bins"] == 0.25


def test_differences_are_of_pairs(runs):
    table = matched.differences(runs)
    assert len(table) == 5 * 2 * len(PLACES) and (table["p_holm"] <= 1).all()
    mean = runs.groupby([*KEYS, "scheduler"])["sla_violation_share"].mean()
    for row in table.itertuples():
        key = (row.level, row.latency, row.load)
        assert row.difference == pytest.approx(mean[(*key, row.scheduler_a)] - mean[(*key, row.scheduler_b)])


def test_what_is_judged_is_the_best_of_each_side_on_other_requests(studied):
    runs, arms = studied
    sides = arms.groupby(KEYS)[["best_bins", "best_without_bins"]].sum()
    assert len(sides) == 2 * len(PLACES) and (sides == 1).all(axis=None)
    assert set(arms.loc[arms["best_bins"], "arm"]) == {"multi_bin_dynamic"}
    without = arms[arms["arm"] != "multi_bin_dynamic"].set_index(KEYS)["tuned_share"]
    chosen = arms[arms["best_without_bins"]].set_index(KEYS)["tuned_share"]
    assert (without.groupby(KEYS).min() == chosen.sort_index()).all()
    assert set(runs["scheduler"]) >= {"best_bins", "best_without_bins", *levels.SCHEDULERS}
    assert not matched.rankings(runs)["ranking"].str.contains("best").any()


def test_no_deadline_is_beyond_a_minute():
    splitwise = matched.places(["h100x8-splitwise-llama2-70b"])[-1:]
    runs, _ = matched.runs_of(splitwise, (0.05,), requests=1000, replications=2, tuned=1)
    assert set(runs["d_sla_s"]) == {60.0}


def test_causes_of_given_runs_are_in_shares_of_the_deadline():
    late = {name: [0.1, 0.2] for name in levels.SCHEDULERS}
    (row,) = matched.causes(given(late, waiting=(0.2, 0.6), service=(1.0, 0.5))).itertuples()
    assert (row.waiting, row.service, row.work) == pytest.approx((0.2, -0.25, 1.0))


def test_the_documents_levels_are_not_at_one_load():
    loads = matched.documented_loads().set_index("level")["load"]
    assert loads[2] < 0.2 and loads[4] < 0.2 and loads[1] > 1 and loads[3] > 1.5


def test_the_page_shows_them(runs):
    rankings, differences = matched.rankings(runs), matched.differences(runs)
    tables.show_causes(matched.causes(runs)).to_html()
    shown = tables.show_flips(differences).data
    kinds = {(requests, times) for requests in ("Poisson", "BurstGPT-like") for times in ("formula", "measured")}
    assert set(zip(shown["requests"], shown["batch times"], strict=True)) == kinds
    assert tables.show_matched_rankings(rankings).data.count("<details>") == 2
    loads = matched.documented_loads()
    assert len(tables.show_loads(loads).data) == 4


def test_tiles_say_each_difference_and_colour_only_what_is_established():
    rows = [
        {"level": level, "latency": latency, "load": load, "difference": difference, "p_holm": p}
        for level, latency, load, difference, p in (
            (3, "h100-vllm-llama3-8b", 0.8, 0.058, 0.001),
            (3, "h100-vllm-llama3-8b", 1.6, -0.0002, 0.9),
            (1, "original-synthetic", 0.8, -0.033, 0.001),
            (1, "original-synthetic", 1.6, -0.168, 0.001),
            (4, "original-calibrated", 0.8, 0.1477, 0.001),
            (4, "original-calibrated", 1.6, 0.05, 0.06),
        )
    ]
    pair = {"scheduler_a": "multi_bin_dynamic", "scheduler_b": "dynamic_no_bins"}
    (axis,) = figures.tiles(pd.DataFrame(rows).assign(**pair)).axes
    assert [text.get_text() for text in axis.texts] == ["+5.8", "0.0", "−3.3", "−16.8", "+14.8", "+5.0"]
    filled = [tile.get_facecolor()[3] > 0 for tile in axis.patches]
    assert filled == [True, False, True, True, True, False]
    names = [tick.get_text() for tick in axis.get_yticklabels()]
    assert names[:3] == ["level 1: the faster formula", "vLLM on H100, Llama 3 8B", "level 4: the slower formula"]
    assert names[3:] == ["Poisson requests", "BurstGPT-like requests"]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0.8", "1.6"]


def test_the_levels_as_they_are_at_one_load(runs):
    found = tables.at_level_loads(matched.differences(runs), 1.2)
    assert found["level"].tolist() == [1, 2, 3, 4]
    assert found["latency"].tolist() == [level.latency for level in levels.LEVELS.values()]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda runs: matched.places([]), "names"),
        (lambda runs: matched.places(["h101"]), "h101"),
        (lambda runs: matched.runs_of(PLACES, (0.0,)), "load"),
        (lambda runs: matched.rankings(runs, "speed"), "metric"),
        (lambda runs: matched.rankings(None), "runs"),
        (lambda runs: matched.differences(runs.drop(columns="load")), "load"),
        (lambda runs: matched.causes(runs, "fastest"), "fastest"),
    ],
)
def test_a_bad_setting_is_named(runs, call, word):
    with pytest.raises(simlib.InputError, match=word):
        call(runs)
