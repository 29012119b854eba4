"""The grid's rows are those of single positions and of direct calls; positions that cannot be are named."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simlib
from book.explorer import grid as explorer_grid
from book.explorer.grid import FIRST, cell
from simlib import levels
from simlib.checks import InputError
from simlib.stats import shares

ROOT = Path(__file__).resolve().parents[2]
AXES = {"level": (1, 2), "gpus": (2,), "load": (1.0, 2.0), "d_sla": (0.5, 1.0), "k_bins": (2, 4)}
TINY = {"requests": 60, "replications": 3}


@pytest.fixture(scope="module")
def grid() -> pd.DataFrame:
    return explorer_grid.table(AXES, **TINY)


def test_every_position_has_its_row_once(grid):
    multi = grid[grid["scheduler"] == "multi_bin_dynamic"]
    assert sorted(multi[list(AXES)].itertuples(index=False, name=None)) == sorted(itertools.product(*AXES.values()))
    assert len(grid) == 8 * 2 + 8 * 2 and grid.loc[grid["scheduler"] != "multi_bin_dynamic", "k_bins"].isna().all()


def test_a_row_is_the_mean_of_direct_calls_with_its_interval():
    settings = {"requests": 200, "replications": 12, "d_sla": 0.4, "gpus": 1, "load": 0.5}
    row = cell(1, "dynamic_no_bins", **settings)
    tables = [levels.draw_of(1)(200, 42 + replication).at_rate(0.5) for replication in range(12)]
    runs = [simlib.simulate(table, simlib.DynamicNoBins(0.4), gpus=1) for table in tables]
    late = [run.summary()["sla_violation_share"] * 200 for run in runs]
    expected = shares.share_interval(np.rint(late), 200)
    assert row["violation_share"] == pytest.approx(expected.value, rel=1e-5)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((expected.ci_low, expected.ci_high), rel=1e-5)
    assert row["batch_size_mean"] == pytest.approx(np.mean([run.batch_size_mean for run in runs]), rel=1e-5)
    counted = [int(number) for number in row["latency_counts"].split()]
    assert sum(counted) == 12 * 200 and sum(counted[-FIRST:]) == round(sum(late))


def test_processes_change_nothing(grid):
    pd.testing.assert_frame_equal(explorer_grid.table(AXES, workers=2, **TINY), grid)


def test_the_committed_grid_is_complete_and_one_of_its_rows_is_simulated_again():
    committed = pd.read_csv(ROOT / "data" / "results" / "explorer_grid.csv")
    assert not committed.duplicated([*explorer_grid.AXES, "scheduler"]).any()
    for name, values in explorer_grid.AXES.items():
        assert sorted(committed[name].dropna().unique()) == list(values)
    place = {"level": 3, "gpus": 2, "load": 1.0, "d_sla": 0.7, "k_bins": 8}
    again = cell(place.pop("level"), "multi_bin_dynamic", **place)
    there = committed[(committed["level"] == 3) & (committed["scheduler"] == "multi_bin_dynamic")]
    (row,) = there[(there[list(place)] == list(place.values())).all(axis=1)].to_dict("records")
    assert row["latency_counts"] == again["latency_counts"]
    for name in ("violation_share", "ci_low", "ci_high", "latency_p99_s", "vs_dynamic_low"):
        assert row[name] == pytest.approx(again[name], rel=1e-9)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"level": (1,)}, "axes: level .expected level, gpus"),
        (AXES | {"level": (5,)}, "level: 5"),
        (AXES | {"d_sla": (1.0, 0.5)}, "axes, d_sla: .*ascending"),
        (AXES | {"k_bins": (0,)}, "k_bins: 0"),
        (AXES | {"load": ()}, "load: none"),
    ],
)
def test_axes_that_cannot_be_are_named(axes, message):
    with pytest.raises(InputError, match=message):
        explorer_grid.table(axes)


def test_a_scheduler_that_is_none_is_named():
    with pytest.raises(InputError, match="scheduler: 'lifo'"):
        cell(1, "lifo")
