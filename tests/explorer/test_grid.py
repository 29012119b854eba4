"""The grid's rows are those of single positions and of direct calls; the page's payload keeps their order."""

import itertools
import json
import re
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


def test_the_payload_has_the_rows_in_the_order_of_its_axes(grid):
    payload = explorer_grid.payload(grid)
    axes = payload["axes"]
    for scheduler, names in (("static_fifo", list(AXES)[:-1]), ("multi_bin_dynamic", list(AXES))):
        places = itertools.product(*(axes[name] for name in names))
        rows = grid[grid["scheduler"] == scheduler].set_index(names)["violation_share"]
        assert [row[0] for row in payload["rows"][scheduler]] == [rows[place] for place in places]
    assert payload["requests"] == 60 and payload["columns"][-1] == "latency_counts"


def test_the_page_bears_its_data_and_asks_nobody(grid):
    page = explorer_grid.page(grid, "Look <below>.")
    assert "Look &lt;below&gt;." in page and "http" not in page
    data = re.search(r'<script type="application/json" id="explorer-grid">(.*?)</script>', page)[1]
    assert json.loads(data) == json.loads(json.dumps(explorer_grid.payload(grid)))
    for name in re.findall(r"\.\./(_static/explorer/[\w.]+)", page):
        assert (ROOT / "book" / name).is_file()


def test_the_committed_grid_is_complete_and_one_of_its_rows_is_simulated_again():
    committed = pd.read_csv(ROOT / "data" / "results" / "explorer_grid.csv")
    explorer_grid.payload(committed)  # each position once
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


def test_a_grid_with_a_hole_is_no_page(grid):
    with pytest.raises(InputError, match=r"7 rows of static_fifo .expected 8"):
        explorer_grid.page(grid.drop(index=0))
    with pytest.raises(InputError, match="scheduler: 'lifo'"):
        cell(1, "lifo")
