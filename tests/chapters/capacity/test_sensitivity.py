"""The sensitivity study: the design fills its box, the indices find what drives, the page says what the tables say."""

import math

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.capacity import figures, sensitivity
from book.chapters.capacity.sensitivity import BLOCK, FACTORS
from simlib.requests.arrivals import AllAtOnce
from simlib.requests.lengths import Fixed, LogNormal

# Of known functions: over 20 seeds, a sum's indices err by at most 0.01, a product's first-order ones by 0.19.
POINTS = sensitivity.design(256, seed=3)


def given(difference, level=None, spread=0.0, seed=1):
    """`runs_of`'s table for outcomes that are known functions of the point, and some chance."""
    rng, n = np.random.default_rng(seed), len(POINTS)
    level = unit("slack") if level is None else level
    noise = spread * rng.standard_normal((2, n))
    place = {"replication": np.repeat([0, 1], n), "point": np.tile(np.arange(n), 2)}
    return pd.DataFrame(place | {"difference": (np.asarray(difference) + noise).ravel(), "level": np.tile(level, 2)})


def unit(name):
    """A factor on [-1, 1], as it is uniform."""
    factor, values = FACTORS[name], POINTS[name]
    if factor.log:
        return 2 * np.log(values / factor.low).to_numpy() / math.log(factor.high / factor.low) - 1
    return 2 * (values - factor.low).to_numpy() / (factor.high - factor.low) - 1


def total(table, name, index="total", outcome="difference"):
    rows = table[(table["outcome"] == outcome) & (table["index"] == index)].set_index("factor")
    return rows.loc[name]


def test_the_design_fills_its_box_and_whole_numbers_come_alike():
    for name, factor in FACTORS.items():
        values = POINTS[name]
        assert values.min() >= factor.low and values.max() <= factor.high
        if factor.whole:
            assert set(values) == set(range(int(factor.low), int(factor.high) + 1))
        else:
            assert abs(unit(name).mean()) < 0.03
    assert len(POINTS) == 256 * BLOCK


def test_rows_of_a_block_differ_in_one_factor_or_in_all():
    block = POINTS.iloc[:BLOCK]
    changed = [(block.iloc[0] != block.iloc[i]).sum() for i in range(1, BLOCK)]
    assert max(changed[:-1]) == 1 and changed[-1] >= len(FACTORS) - 2  # whole numbers may agree by chance


def test_indices_of_a_sum_are_its_parts_and_of_a_product_interplay():
    table = sensitivity.indices(given(2 * unit("load") + unit("error"), unit("slack") * unit("gamma")))
    for index in ("first", "total"):
        assert total(table, "load", index)["value"] == pytest.approx(0.8, abs=0.1)
        assert total(table, "error", index)["value"] == pytest.approx(0.2, abs=0.1)
        assert total(table, "gamma", index)["value"] == pytest.approx(0.0, abs=0.05)
    assert total(table, "slack", "total", "level")["value"] == pytest.approx(1.0, abs=0.2)
    assert total(table, "slack", "first", "level")["value"] == pytest.approx(0.0, abs=0.4)  # its s.d. is 0.1


def test_chance_is_what_the_point_leaves():
    table = sensitivity.indices(given(unit("load"), spread=1 / math.sqrt(3)))  # as much as the factor's own variance
    chance = total(table, "", "chance")
    assert chance["ci_low"] < 0.5 < chance["ci_high"] and chance["value"] == pytest.approx(0.5, abs=0.05)


def test_both_sides_face_the_same_requests_and_choose_alike(monkeypatch):
    monkeypatch.setattr(sensitivity, "without_bins", lambda point: sensitivity.with_bins(point | {"k_bins": 1}))
    points = POINTS.iloc[:BLOCK].assign(k_bins=1)
    runs = sensitivity.runs_of(points, requests=60, replications=2, workers=1)
    assert (runs["difference"] == 0).all() and runs["level"].between(0, 1).all()


def test_a_point_is_judged_with_what_had_fewest_late_on_other_requests(monkeypatch):
    asked = []

    def late(rows, policies, family, requests, replications, workers):
        asked.append((family, policies))
        found = [[0.9 if "seconds_per_token" in p else p.get("batch_sizes", 5) for p in own] for own in policies]
        return np.tile(found, (replications, 1, 1))

    monkeypatch.setattr(sensitivity, "_late", late)
    sensitivity.runs_of(POINTS.iloc[:BLOCK], requests=60, replications=2)
    (tried, every), (judged, chosen) = asked
    assert tried != judged and len(every[0]) == 2 * (len(sensitivity.CAPS) + 1) + 1
    assert all(without["kind"] == "shortest_predicted_first" for without, _ in chosen)
    assert all(bins["batch_sizes"] == min(sensitivity.CAPS) for _, bins in chosen)


def test_the_scale_is_the_formulas():
    rate_rps, batch_s = sensitivity.static_service(0.4, 0.5)
    median = 200 * math.exp(-0.08)
    table = simlib.workload.generate(20_000, AllAtOnce(), Fixed(100), LogNormal(median, 0.4))
    run = simlib.simulate(table, simlib.StaticFIFO(8), simlib.Affine(0.01, 0.0002, 0.5))
    assert rate_rps == pytest.approx(20_000 / run.times.completion_s.max(), rel=0.01)
    assert batch_s == pytest.approx(run.served.service_s.mean(), rel=0.01)


def test_blocks_have_random_numbers_of_their_own():
    twice = pd.concat([POINTS.iloc[:BLOCK]] * 2, ignore_index=True).assign(load=1.4, slack=1.5)
    runs = sensitivity.runs_of(twice, requests=60, replications=2, workers=1)
    level = sensitivity.outcomes_of(runs, "level")
    assert (level[:, :BLOCK] != level[:, BLOCK:]).any()
    again = sensitivity.runs_of(twice, requests=60, replications=2, workers=1)
    pd.testing.assert_frame_equal(runs, again)


def test_effects_follow_the_function_and_cut_no_whole_number():
    table = sensitivity.effects(POINTS, given(unit("load") + (POINTS["gpus"] == 1)))
    rows = table[table["outcome"] == "difference"]
    load = rows[rows["factor"] == "load"]["value"].to_numpy()
    assert (np.diff(load) > 0).all() and load[-1] - load[0] == pytest.approx(1.6, abs=0.15)
    gpus = rows[rows["factor"] == "gpus"].sort_values("middle")
    assert gpus["middle"].iloc[0] == 1 and gpus["value"].iloc[0] - gpus["value"].iloc[-1] == pytest.approx(1, abs=0.3)
    assert rows[rows["factor"] != ""].groupby("factor")["points"].sum().eq(2 * 256).all()


def test_figures_draw_every_factor_and_which_way_the_deciding_ones_pull():
    runs = given(unit("load"), unit("slack"), spread=0.1)
    figure = figures.indices(sensitivity.indices(runs))
    assert len(figure.axes[0].get_yticklabels()) == len(FACTORS)
    figure = figures.effects(sensitivity.effects(POINTS, runs))
    assert [axis.get_xlabel() for axis in figure.axes][:2] == ["Bins K", "GPUs"]


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: sensitivity.design(100), "points: 100"),
        (lambda: sensitivity.design(2), "points: 2"),
        (lambda: sensitivity.runs_of(POINTS.drop(columns="gamma")), "gamma"),
        (lambda: sensitivity.runs_of(POINTS, requests=1), "requests: 1"),
        (lambda: sensitivity.runs_of(POINTS.assign(gpus=0)), "gpus: 0|rate_rps"),
        (lambda: sensitivity.indices(given(unit("load")).drop(columns="level")), "level"),
        (lambda: sensitivity.indices(given(0.0)), "runs, difference: 0.0 at every"),
        (lambda: sensitivity.effects(POINTS, given(unit("load")), 1), "parts: 1"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(simlib.InputError, match=word):
        call()
