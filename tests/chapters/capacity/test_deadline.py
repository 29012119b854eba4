"""How many bins on how many GPUs: ratios by hand, what each arm may choose, and one small search of every arm."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.capacity import deadline, figures, tables
from book.chapters.capacity.deadline import CHOSEN, OPEN
from book.chapters.continuous import executions
from book.chapters.continuous.executions import BATCHES, STEPS
from simlib import InputError

# Each arm with how much it carries, and whether other seeds chose it as the best of its side.
ARMS = {
    (BATCHES, "static_fifo", 1, CHOSEN): (1.2, True),
    (BATCHES, "dynamic_no_bins", 1, CHOSEN): (1.1, False),
    (BATCHES, "multi_bin_dynamic", 4, CHOSEN): (1.5, False),
    (BATCHES, "joint_optimum", 4, CHOSEN): (2.4, True),
    (BATCHES, "dynamic_no_bins", 1, OPEN): (1.0, False),
    (BATCHES, "multi_bin_dynamic", 4, OPEN): (1.4, False),
    (STEPS, "fcfs", 1, OPEN): (12.0, False),
    (STEPS, "multi_bin_dynamic", 4, OPEN): (11.9, False),
}


def roots(noise: float = 0.003, gpus=(1, 4)) -> pd.DataFrame:
    """Replications that share their luck: the arms differ by given factors, but for a little noise."""
    rng, rows = np.random.default_rng(5), []
    for count in gpus:
        luck = count * np.exp(0.3 * rng.standard_normal(10))
        for key, (factor, best) in ARMS.items():
            place = dict(zip(deadline.KEYS, (22.0, "original", count, 0.05, *key), strict=True))
            place |= {"at_most": "12", "best": best, "sustained_rps": 11.95 * count}
            for replication, base in enumerate(luck):
                own = factor * base * np.exp(noise * rng.standard_normal())
                rows.append(place | {"replication": replication, "capacity_rps": own})
    return pd.DataFrame(rows)


def test_ratios_are_paired_and_over_the_best_without_bins_or_as_the_papers_compare():
    table = deadline.ratios_of(roots())
    found = table[table["gpus"] == 4].set_index(["over", "execution", "scheduler"])["ratio"]
    expected = {
        ("best", BATCHES, "multi_bin_dynamic"): 1.5 / 1.2,
        ("best", BATCHES, "joint_optimum"): 2.4 / 1.2,
        ("best", STEPS, "fcfs"): 12.0 / 1.2,
        ("dynamic", BATCHES, "multi_bin_dynamic"): 1.4,
        ("dynamic", BATCHES, "static_fifo"): 1.2,
        ("fcfs", STEPS, "multi_bin_dynamic"): 11.9 / 12.0,
    }
    assert found.to_dict() == pytest.approx(expected, rel=0.02)
    assert (table["ci_high"] / table["ci_low"] < 1.05).all()  # far narrower than the luck that they share
    assert "the best without bins" in tables.show_paired_ratios(table).to_html()
    assert "static batches, 12" in tables.show_choice(table).to_html()
    assert "4 bins, batch sizes of their own: 12" in tables.show_choice(table).to_html()
    assert "22.0 s" in tables.show_conditions(table).to_html()


def test_the_figure_has_a_panel_for_each_way_to_cut():
    figure = figures.bins_by_gpus(deadline.ratios_of(roots()))
    titles = [axis.get_title() or axis.get_title(loc="left") for axis in figure.axes]
    assert titles == list(figures.KINDS.values())


def test_capacities_are_means_and_those_that_nothing_sustains_are_marked():
    table = deadline.capacities(roots(gpus=(4,))).set_index(["execution", "scheduler", "sizes"])
    own = roots(gpus=(4,)).query("scheduler == 'joint_optimum'")["capacity_rps"]
    row = table.loc[(BATCHES, "joint_optimum", CHOSEN)]
    assert row["capacity_rps"] == pytest.approx(own.mean()) and row["ci_low"] < own.mean() < row["ci_high"]
    engine = table.loc[(STEPS, "fcfs", OPEN)]
    assert engine["beyond"] == (engine["capacity_rps"] > 11.95 * 4) and not row["beyond"]
    shown = tables.show_by_gpus(table.reset_index().assign(beyond=True)).to_html()
    assert "†; 12" in shown and "dynamic batching, no cap" in shown


@pytest.mark.filterwarnings("ignore")
def test_bins_choose_among_equal_mass_and_sizes_of_their_own():
    given = executions.contest(400)
    arms = deadline.candidates(given, deadline.requests_of(1000, 7), (2, 4), caps=(8, 16))
    assert all(policy.k_bins == 4 for policy in arms["multi_bin_dynamic", 4])
    assert [policy.variant.b_max for policy in arms["dynamic_no_bins", 1]] == [8, 16, 64]
    *_, joint = arms["joint_optimum", 4]
    assert 1 < joint.k_bins <= 4 and min(joint.batch_sizes) == joint.batch_sizes[-1]  # the longest
    assert max(arms["joint_optimum", 2][0].batch_sizes) <= 8
    with pytest.raises(InputError, match="k_bins"):
        deadline.candidates(given, deadline.requests_of(1000, 7), (1,))


def test_requests_are_the_same_whoever_predicts():
    tables_of = {name: deadline.requests_of(50, 3, name) for name in deadline.PREDICTORS}
    assert len({tuple(table.output_tokens) for table in tables_of.values()}) == 1
    assert (tables_of["perfect"].predicted_output_tokens == tables_of["perfect"].output_tokens).all()
    with pytest.raises(InputError, match="predictor"):
        deadline.requests_of(50, 3, "psychic")


@pytest.mark.filterwarnings("ignore")
def test_a_small_search_finds_a_root_of_every_arm():
    given = executions.contest(400)
    ways = {"gpus": (2,), "k_bins": (2,), "caps": (8,), "replications": 2}
    found = deadline.roots_of(given, 600, late_shares=(0.05,), **ways)
    batches = found[found["execution"] == BATCHES]
    assert len(found) == 2 * (5 + 3 + 2) and (found["capacity_rps"] > 0).all()
    assert batches.groupby("best")["scheduler"].nunique()[True] == 2  # one with bins, one without
    assert found[found["execution"] == STEPS]["capacity_rps"].min() > batches["capacity_rps"].max()
    cases = deadline.conditions(given, 600, (given.d_sla, 40.0), ("perfect",), **ways)
    assert sorted(cases["deadline_s"].unique()) == pytest.approx([given.d_sla, 40.0])
    assert set(cases["over"]) == {"best", "dynamic"}
    for bad in ({"gpus": (0,)}, {"late_shares": (1.5,)}, {"k_bins": (1,)}, {"predictor": "psychic"}):
        with pytest.raises(InputError, match=next(iter(bad))):
            deadline.roots_of(given, 600, **bad)
