"""Binning under continuous batching: the tables by hand, and a small run of everything."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.continuous import binning, figures, gains, tables
from book.chapters.continuous.bounds import Bound
from simlib import InputError

MEMORY, PLACES, PADDED = (True, 0.0), (False, 0.0), (True, 0.25)


def roots(noise: float = 0.001, dedicated: float = 0.9, replications: int = 8) -> pd.DataFrame:
    """Replications that share their luck: policies differ by given factors, but for a little noise."""
    rng, rows = np.random.default_rng(5), []
    base = {"fcfs": 1.0, "routed": 0.98}
    informed = {"bins": 1.0, "shortest": 1.1, "aged": 1.03, "dedicated": dedicated}
    by_chance = {"bins": 0.99, "shortest": 1.0, "dedicated": 0.95}
    cells = [(MEMORY, np.nan, base), (MEMORY, 1.0, informed), (MEMORY, 0.4, {**informed, "shortest": 1.02})]
    cells += [
        (PLACES, np.nan, base),
        (PLACES, 0.0, by_chance),
        (PLACES, 1.0, {"bins": 1, "shortest": 1.05, "dedicated": 0.97}),
    ]
    cells += [(PADDED, np.nan, {"fcfs": 0.9}), (PADDED, 1.0, {"bins": 0.9, "shortest": 0.99, "dedicated": 0.864})]
    cells += [((True, 1.0), np.nan, {"fcfs": 0.7}), ((True, 1.0), 1.0, {"dedicated": 0.7 * 1.08})]
    luck = np.exp(0.3 * rng.standard_normal(replications))
    for (memory, padding), rank, factors in cells:
        for policy, factor in factors.items():
            for replication in range(replications):
                where = {"traffic": "poisson", "memory": memory, "padding": padding, "rank_correlation": rank}
                root = factor * luck[replication] * np.exp(noise * rng.standard_normal())
                limit = luck[replication] * (1.05 if policy != "dedicated" else 1.0)
                rows.append(
                    where | {"policy": policy, "replication": replication, "capacity_rps": root, "limit_rps": limit}
                )
    return pd.DataFrame(rows)


def test_a_verdict_is_what_its_interval_says():
    assert gains.verdict(0.9901, 1.0099) == gains.verdict(1.001, 1.009) == "same"
    assert gains.verdict(1.001, 1.02) == "more" and gains.verdict(0.97, 0.999) == "less"
    assert gains.verdict(0.98, 1.001) == gains.verdict(0.9, 1.1) == "unclear"


def test_gains_are_paired_ratios_beside_their_limits():
    table = gains.gains(roots())
    by = table.set_index(["policy", "rank_correlation"])
    assert by.loc[("shortest", 1.0), "ratio"] == pytest.approx(1.1, rel=2e-3)
    assert by.loc[("shortest", 1.0), "verdict"] == "more" and by.loc[("dedicated", 1.0), "verdict"] == "less"
    assert by.loc[("bins", 1.0), "verdict"] == by.loc[("bins", 0.4), "verdict"] == "same"
    assert by.loc[("shortest", 1.0), "share_of_limit"] == pytest.approx(1.1 / 1.05, rel=2e-3)
    assert by.loc[("dedicated", 0.4), "limit_ratio"] == pytest.approx(1 / 1.05)
    first = table[table["policy"] == "fcfs"].iloc[0]
    assert first["verdict"] == "" and math.isnan(first["p_holm"])
    shown = tables.show_gains(table).to_html()
    assert "same" in shown and shown.count("‡") == 1  # shortest first, perfect predictions: 1.1 of 1.05
    assert len(figures.gains_by_rank(table).axes) == 1


def test_parts_multiply_to_the_whole():
    table = gains.parts(roots())
    for policy, own in table.groupby("policy"):
        ratios = own.set_index("part")["ratio"]
        assert ratios.drop("all").prod() == pytest.approx(ratios["all"], rel=1e-12)
        assert ("line" in ratios) == (policy == "dedicated")
    by = table.set_index(["policy", "part"])["ratio"]
    assert by["dedicated", "chance"] == pytest.approx(0.95 / 0.98, rel=3e-3)
    assert by["dedicated", "lengths"] == pytest.approx(0.97 / 0.95, rel=3e-3)
    assert by["dedicated", "memory"] == pytest.approx(0.9 / 0.97, rel=3e-3)
    assert by["dedicated", "padding"] == pytest.approx(0.96 / 0.9, rel=3e-3)
    assert "Right lengths" in tables.show_parts(table).to_html()
    assert len(figures.parts(table).axes) == 1


def test_the_break_even_is_where_the_curve_crosses():
    table = gains.by_padding(roots())
    memory = table[table["memory"]]
    assert memory["padding"].tolist() == [0.0, 0.25, 1.0]
    found = gains.break_even(memory).iloc[0]
    # From log 0.96 at 0.25 to log 1.08 at 1.
    expected = 0.25 + 0.75 * math.log(0.96) / (math.log(0.96) - math.log(1.08))
    assert found["padding"] == pytest.approx(expected, abs=0.02)
    assert found["low"] < found["padding"] < found["high"]
    assert tables.crossings(gains.break_even(memory))["crossing_memory"].startswith(f"{found['padding']:.2f} (95 %")
    never = gains.break_even(memory[memory["padding"] < 1])
    assert math.isinf(never.iloc[0]["padding"]) and "no padding" in tables.crossings(never)["crossing_memory"]
    assert gains.break_even(memory.assign(ratio=1.1, ci_low=1.05, ci_high=1.2)).iloc[0]["padding"] == 0
    assert len(figures.padding(table).axes) == 2


def test_bins_by_oldest_head_are_first_come_to_the_last_bit():
    table = binning.draw("poisson", 600, 1).at_rate(0.8)
    engine = binning.MEMORY.settings("poisson")
    oldest = simlib.MultiBinDynamic(4, bin_select="oldest_head")
    runs = [simlib.simulate(table, policy, binning.MEMORY.law, 4, engine) for policy in ("fcfs", oldest)]
    np.testing.assert_array_equal(*(run.times.completion_s for run in runs))
    assert runs[0].preemptions > 0  # memory is scarce


def test_where_places_are_scarce_no_order_can_serve_more():
    """All at once, no limit to memory: steps are full but at the end, whatever the order."""
    found = binning.savings(400, traffic=["poisson"], replications=2)
    places = found[~found["memory"]]
    assert (places["recompute"] == 0).all() and (places["spread"] == 0).all()
    assert (places["saved"] <= places["most"]).all()
    table = gains.saved(found)
    assert set(table.loc[table["policy"] == "fcfs", "part"]) == {"most"}
    assert "recompute" in tables.show_saved(table).to_html()


def test_an_order_that_saves_more_than_the_bound_raises():
    first = Bound(100, 90.0, "places", 10.0, 1.0, 0.0, 0.0)
    assert binning.saved_of(first, first._replace(steps=95, busy_s=9.5), 0.1)["steps"] == pytest.approx(0.05)
    with pytest.raises(RuntimeError, match="expected at most 10"):
        binning.saved_of(first, first._replace(steps=80, busy_s=8.0), 0.1)


def test_the_limit_of_classes_is_below_that_of_all():
    engine, table = binning.MEMORY, binning.draw("poisson", 3000, 1)
    pooled = binning.limit_rps(table, engine, engine.settings("poisson"))
    assert binning.limit_rps(table, engine, engine.settings("poisson"), 2) < 0.96 * pooled
    # Nobody serves more for long: of a backlog, the end left out, less than the limit.
    run = simlib.simulate(table.at_rate(1e9), "fcfs", engine.law, 4, engine.settings("poisson"))
    assert len(table) / run.times.completion_s.max() < pooled


def test_predictions_differ_and_requests_do_not():
    perfect, poor = (binning.draw("azure", 2000, 3, rank) for rank in (1.0, 0.4))
    np.testing.assert_array_equal(perfect.output_tokens, poor.output_tokens)
    np.testing.assert_array_equal(perfect.predicted_output_tokens, perfect.output_tokens)
    ranks = pd.DataFrame({"true": poor.output_tokens, "predicted": poor.predicted_output_tokens})
    assert ranks.corr("spearman").iloc[0, 1] == pytest.approx(0.4, abs=0.08)  # 4 standard errors


def test_a_small_study_has_every_cell():
    found = binning.capacities(550, traffic=["poisson"], ranks=(1.0,), replications=2, times=2, seed=1)
    assert found["capacity_rps"].gt(0).all() and found["limit_rps"].gt(0).all()
    count = found.groupby(gains.CELL, dropna=False)["replication"].nunique()
    assert count[("poisson", True, 0.0, 1.0, "bins")] == 4 and count[("poisson", True, 0.0, 1.0, "shortest")] == 2
    assert len(gains.gains(found)) == 6 and len(gains.parts(found)) == 5 + 5 + 6
    assert len(gains.by_padding(found)) == 6
    delays = binning.delays(found, 550, loads=(0.5, 0.9), seed=1)
    ratios = gains.delay_ratios(delays)
    first = ratios[ratios["policy"] == "fcfs"]
    assert (first["ratio"] == 1).all() and len(ratios) == 2 * 6 * 2
    assert "mean latency" in tables.show_delays(ratios).to_html()


def test_under_shortest_first_the_long_ones_are_late():
    roots = binning.capacities(550, traffic=["poisson"], ranks=(1.0,), replications=2, times=1, seed=1)
    missed = binning.late(roots, 550, seed=1)
    assert missed[["policy", "replication"]].to_numpy().tolist() == [
        ["fcfs", 0], ["fcfs", 1], ["shortest", 0], ["shortest", 1]
    ]  # fmt: skip
    assert missed["late_share"].between(0, 0.1).all()
    table = gains.late(missed)
    share = table.set_index("policy")["share"]
    assert share["shortest"] > 0.5 > share["fcfs"]
    ranges = tables.late_of_longest(pd.DataFrame({"policy": ["fcfs", "fcfs"], "share": [0.1, 0.3]}))
    assert ranges == {"late_fcfs": "10 to 30 %"}
    with pytest.raises(InputError, match="longest"):
        binning.late(roots, 550, longest=1.0)


def test_the_longest_hold_more_than_their_share():
    table = binning.tails(0.05)
    assert (table["places_share"] > 0.05).all() and list(table["traffic"]) == list(binning.TRAFFIC)
    assert set(tables.memory_of_the_longest(table)) == {f"memory_{name}" for name in binning.TRAFFIC}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"traffic": ["poison"]}, "poisson"),
        ({"ranks": [1.5]}, "rank_correlation: 1.5"),
        ({"paddings": [-1]}, "padding: -1"),
        ({"replications": 1}, "replications: 1"),
        ({"times": 0}, "times: 0"),
        ({"requests": 100}, "requests: 100"),
        ({"sla": "ttf<=1"}, "ttf"),
    ],
)
def test_bad_input_is_named_before_any_run(change, named):
    with pytest.raises(InputError, match=named):
        binning.capacities(change.pop("requests", 600), **change)


def test_bad_engines_are_named():
    with pytest.raises(InputError, match="memory_share"):
        binning.Machine(0.0)
    with pytest.raises(InputError, match="padding"):
        binning.Machine(padding=-0.5)
