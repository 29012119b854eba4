"""Capacities under a deadline: their table and ratios by hand, and one small search of every system."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from book.chapters.capacity import deadline, figures, tables
from book.chapters.continuous import executions
from book.chapters.continuous.executions import BATCHES, STEPS
from simlib import InputError

SYSTEMS = [
    (BATCHES, "static_fifo", 1),
    (BATCHES, "dynamic_no_bins", 1),
    (BATCHES, "multi_bin_dynamic", 2),
    (BATCHES, "joint_optimum", 2),
    (STEPS, "static_fifo", 1),
    (STEPS, "fcfs", 1),
    (STEPS, "multi_bin_dynamic", 2),
    (STEPS, "joint_optimum", 2),
]
FACTORS = [1.0, 1.0, 1.5, 2.0, 4.0, 8.0, 8.04, 7.6]


def roots(noise: float = 0.003, gpus=(1, 4), factors=FACTORS) -> pd.DataFrame:
    """Replications that share their luck: the systems differ by given factors, but for a little noise."""
    rng, rows = np.random.default_rng(5), []
    for count in gpus:
        luck = count * np.exp(0.3 * rng.standard_normal(10))
        for key, factor in zip(SYSTEMS, factors, strict=True):
            for replication, base in enumerate(luck):
                place = dict(zip(deadline.KEYS, (count, 0.05, *key), strict=True))
                own = factor * base * np.exp(noise * rng.standard_normal())
                rows.append(place | {"replication": replication, "capacity_rps": own})
    return pd.DataFrame(rows)


def test_the_systems_have_every_number_of_bins_in_both_worlds():
    given = executions.contest(400)
    found = deadline.systems(given, (2, 4))
    binned = ("multi_bin_dynamic", "joint_optimum")
    assert [key for key in found if key[2] == 4] == [(way, name, 4) for way in (BATCHES, STEPS) for name in binned]
    assert len(found) == 4 + 8
    assert all(policy.k_bins == k for (_, name, k), (policy, _) in found.items() if name == "multi_bin_dynamic")
    joint = found[BATCHES, "joint_optimum", 4][0]
    assert 1 < joint.k_bins <= 4 and list(joint.batch_sizes) == sorted(joint.batch_sizes, reverse=True)
    with pytest.raises(InputError, match="k_bins"):
        deadline.systems(given, (1,))


def test_ratios_are_paired():
    table = deadline.ratios_of(roots())
    bins = table[(table["execution"] == BATCHES) & (table["scheduler"] == "multi_bin_dynamic")]
    assert bins["ratio"].to_numpy() == pytest.approx([1.5, 1.5], rel=0.02)
    assert (bins["ci_high"] / bins["ci_low"] < 1.05).all()  # far narrower than the luck that they share
    assert len(table) == 2 * 6
    assert "K = 2" in tables.show_paired_ratios(table).to_html()
    assert len(figures.bins_by_gpus(table).axes) == 2


def test_capacities_are_means_over_replications():
    table = deadline.capacities(roots(gpus=(4,)))
    row = table.iloc[2]
    own = roots(gpus=(4,)).query("scheduler == 'multi_bin_dynamic' and execution == @BATCHES")["capacity_rps"]
    assert row["capacity_rps"] == pytest.approx(own.mean())
    assert row["per_gpu_rps"] == pytest.approx(own.mean() / 4)
    assert row["ci_low"] < row["capacity_rps"] < row["ci_high"]
    assert "K = 2" in tables.show_by_gpus(table).to_html()


@pytest.mark.filterwarnings("ignore")
def test_a_small_search_finds_a_root_of_every_system():
    given = executions.contest(400)
    found = deadline.roots_of(given, 600, gpus=(2,), late_shares=(0.05,), k_bins=(2,), replications=2)
    assert len(found) == 2 * len(SYSTEMS)
    assert (found["capacity_rps"] > 0).all()
    engine, batches = (found[found["execution"] == way]["capacity_rps"].min() for way in (STEPS, BATCHES))
    assert engine > batches
    for bad in ({"gpus": (0,)}, {"late_shares": (1.5,)}, {"k_bins": (1,)}):
        with pytest.raises(InputError, match=next(iter(bad))):
            deadline.roots_of(given, 600, **bad)
