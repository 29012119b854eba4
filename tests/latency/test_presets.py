"""Presets: found by name, with the errors that were promised, the same when fitted again."""

import pytest

import simlib
from book.chapters.batch_times import study
from simlib import named
from simlib.latency import forms, models, presets

TABLE = presets.table()


def test_names_are_unique_by_form_and_offered_ones_load():
    assert not TABLE.duplicated(["name", "form"]).any()
    assert set(presets.PRESETS) <= set(presets.names())
    for name in presets.names():
        assert isinstance(presets.load(name), models.LatencyModel)


def test_every_form_of_a_preset_gives_the_time_of_its_row():
    rows = TABLE[TABLE["name"] == "h100x8-splitwise-llama2-70b"].set_index("form")
    assert list(rows.index) == list(forms.NAMES)
    row, model = rows.loc["phase5"], presets.load("h100x8-splitwise-llama2-70b")
    time_s = row["a_s"] + row["c1_s_per_token"] * 8 * 512 + 127 * (row["d0_s_per_token"] + 8 * row["d1_s_per_token"])
    assert model.batch_time_s(8, 512, 128) == pytest.approx(time_s + row["d2_s_per_token2"] * 8 * 127 * (512 + 64))
    affine = presets.load("h100x8-splitwise-llama2-70b", "affine")
    assert affine.batch_time_s(1, 1000) == pytest.approx(
        rows.loc["affine", "alpha_s"] + 1000 * rows.loc["affine", "beta_s_per_token"]
    )


def test_a_split_moves_time_between_the_phases_and_none_where_lengths_are_equal():
    low, high = (presets.load("a100-vllm-llama3-8b", split=share) for share in presets.SPLIT_RANGE)
    # Equal lengths differ by the one decode step that prefill saves.
    assert low.batch_time_s(16, 512, 512) == pytest.approx(high.batch_time_s(16, 512, 512), rel=1e-3)
    assert low.batch_time_s(16, 2048, 128) < high.batch_time_s(16, 2048, 128)
    assert low.measured.equal_lengths and not presets.load("h100x8-splitwise-llama2-70b").measured.equal_lengths


def test_the_splits_range_is_that_of_the_gpus_whose_phases_were_timed():
    rows = TABLE[(TABLE["source"] == "Splitwise") & (TABLE["form"] == "phase5")]
    share = rows["c1_s_per_token"] / (rows["c1_s_per_token"] + rows["d1_s_per_token"])
    low, high = presets.SPLIT_RANGE
    assert low <= share.min() < low + 0.05 and high - 0.05 < share.max() <= high
    assert abs(presets.SPLIT - share.median()) < 0.05


def test_errors_on_points_left_out_are_as_promised():
    by = study.by_form(TABLE[TABLE["n_points"] > 0]).set_index(["source", "form"])
    bench, splitwise = by.loc[("LLM-Inference-Bench", "phase5")], by.loc[("Splitwise", "phase5")]
    assert bench["r2_median"] >= 0.98 and bench["mape_median"] <= 0.055
    assert splitwise["r2_median"] >= 0.997 and splitwise["mape_median"] <= 0.022
    assert by.loc[("LLM-Inference-Bench", "affine"), "mape_median"] > 0.18
    assert by.loc[("Splitwise", "affine"), "mape_median"] > 0.3


def test_groups_that_no_form_fits_are_listed_with_the_reason_and_not_offered():
    best = TABLE[TABLE["n_points"] > 0].groupby("name")["cv_mape"].min()
    unfitted = set(best.index[best > presets.MOST_MAPE])
    noted = TABLE[TABLE["note"].fillna("").str.startswith("no model fits")]
    assert unfitted == set(noted["name"]) == set(TABLE["name"]) - set(presets.names())
    assert noted["note"].str.contains("generation stopped early").all()
    with pytest.raises(simlib.InputError, match="generation stopped early"):
        presets.load(min(unfitted))


def test_a_preset_serves_by_its_name():
    table = simlib.RequestTable([0, 0], [512, 512], [128, 128])
    run = simlib.simulate(table, simlib.StaticFIFO(2), "h100x8-splitwise-llama2-70b")
    expected = presets.load("h100x8-splitwise-llama2-70b").batch_time_s(2, 512, 128)
    assert run.served.service_s == pytest.approx([expected])


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: named.latency_of("a100-vllm-llama3-9b"), "a100-vllm-llama3-8b"),
        (lambda: presets.load("a100-vllm-llama3-8b", "phase6"), "form"),
        (lambda: presets.load("a100-vllm-llama3-8b", split=1.5), "split"),
        (lambda: presets.load(None), "no such preset"),
        (lambda: presets.model_of("phase6", {}), "form"),
    ],
)
def test_a_bad_name_or_setting_is_named(call, word):
    with pytest.raises(simlib.InputError, match=word):
        call()
