"""Grids: how cells are numbered, what makes two grids the same, and that every bad cell is found before it runs."""

import itertools

import numpy as np
import pytest

import simlib
from simlib import datasets
from simlib.checks import InputError
from simlib.sweep.grid import Grid


def test_neighbours_share_the_workload_and_then_the_bins():
    grid = Grid({"gpus": [1, 2], "policy.d_sla": [1, 2], "policy.k_bins": [3, 4], "workload.rate_rps": [5, 6]})
    rows = [tuple(grid.values(cell).values()) for cell in range(grid.cells)]
    assert list(grid.vary) == ["workload.rate_rps", "policy.k_bins", "gpus", "policy.d_sla"]
    assert rows == list(itertools.product([5, 6], [3, 4], [1, 2], [1, 2]))
    assert [cell for cell in range(1, 16) if grid.cell(cell).workload != grid.cell(cell - 1).workload] == [8]
    assert (grid.workloads(), grid.longest()) == (2, 1000)


def test_a_cell_has_what_varies_over_what_all_have():
    whole = ["static_fifo", {"kind": "multi_bin_dynamic", "k_bins": 2}]
    grid = Grid({"policy": whole, "latency.alpha_s": [0.5]}, latency="original-calibrated", gpus=3, sla=2)
    first, second = grid.cell(0), grid.cell(1)
    assert (first.policy, second.policy) == (simlib.StaticFIFO(), simlib.MultiBinDynamic(2))
    assert first.latency == simlib.Affine(0.5, 0.0003, 0.4) and first.gpus == 3
    assert first.sla == simlib.SLA({"latency": 2.0})


def test_a_part_varies_within_a_whole_that_varies():
    whole = [{"kind": "multi_bin_dynamic", "bin_select": "oldest_head"}, "multi_bin_fixed"]
    grid = Grid({"policy.k_bins": [2, 8], "policy": whole})
    made = [grid.cell(cell).policy for cell in range(4)]
    assert made == [
        simlib.MultiBinDynamic(2, bin_select="oldest_head"),
        simlib.MultiBinFixed(k_bins=2),
        simlib.MultiBinDynamic(8, bin_select="oldest_head"),
        simlib.MultiBinFixed(k_bins=8),
    ]


def test_equal_grids_have_one_identity_and_others_another(tmp_path):
    grid = Grid({"gpus": [1, 2]})
    same = Grid.of({"vary": {"gpus": np.array([1, 2])}, "replications": 20, "policy": "multi_bin_dynamic"})
    assert grid.identity == same.identity
    others = [Grid({"gpus": [2, 1]}), Grid({"gpus": [1, 2]}, 21), Grid({"gpus": [1, 2]}, sla=2)]
    assert len({grid.identity, *(other.identity for other in others)}) == 4


def test_a_grid_is_another_one_when_a_file_that_it_names_has_changed(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_bytes(datasets.sample().read_bytes())
    varied, workload = {"gpus": [1, 2]}, {"kind": "trace", "path": str(path)}
    before = Grid(varied, workload=workload).identity
    assert Grid(varied, workload=workload).identity == before
    path.write_bytes(path.read_bytes().replace(b"ChatGPT", b"ChatGBT"))
    assert Grid(varied, workload=workload).identity != before


SYNTHETIC = {"kind": "synthetic", "arrivals": "all_at_once", "prompt": {"kind": "fixed", "tokens": 1}}
SYNTHETIC["output"] = SYNTHETIC["prompt"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"vary": {"gpus": list(range(1, 30)), "policy.k_bins": [*range(1, 29), 0]}},
            "cell 812 of 841: policy: k_bins: 0",
        ),
        ({"vary": {"gpus": [1, 2, 0]}}, "cell 2 of 3: gpus: 0"),
        ({"vary": {"policy.k_bin": [1]}}, "did you mean 'k_bins'"),
        ({"vary": {"policy.variant.epsilon": [1]}}, "policy.variant, a parameter of original: 'epsilon'"),
        ({"vary": {"policy.variant.memory.total_gb": [9, 1]}}, "cell 1 of 2: policy.variant.memory: memory left"),
        ({"vary": {"gpus.speed": [1]}}, "gpus.speed: 1 has no parts"),
        (
            {"vary": {"workload.predictor": [None, "oracle"]}, "workload": SYNTHETIC},
            "cell 0 of 2: workload.predictor: m",
        ),
        ({"vary": {"policy": ["static_fifo", "multi_bin_dynamic"]}, "workload": SYNTHETIC}, "cell 1 of 2: workload.pr"),
        ({"vary": {"policy.d_sla": [1, "500ms", 5000]}}, "cell 2 of 3: policy: d_sla: 5000 is 5000 seconds"),
        ({"vary": {"sla": [1, "ttft<=x"]}}, "cell 1 of 2: sla: ttft: 'x'"),
    ],
)
def test_a_bad_cell_is_named_before_any_runs(given, message):
    with pytest.raises(InputError, match=message):
        Grid(**given).check()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"vary": {}}, "an empty grid"),
        ({"vary": {"gpus": []}}, "an empty grid"),
        ({"vary": {"gpus": [1, 2, 1]}}, "1 comes twice"),
        ({"vary": {"gpus": "12"}}, "expected a list of values"),
        ({"vary": {"gpus": 1}}, "expected a list of values"),
        ({"vary": {3: [1]}}, "vary, a parameter: 3"),
        ({"vary": {"gpu": [1]}}, "did you mean 'gpus'"),
        ({"vary": {"gpus": [1]}, "replications": 0}, "replications: 0"),
        ({"vary": {"policy": [simlib.StaticFIFO()]}}, "expected a number, a text, a list or a mapping"),
        (
            {"vary": {"policy.k_bins": range(1, 10**4), "policy.d_sla": range(10**4), "gpus": range(99)}},
            "number of cells",
        ),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        Grid(**given)


def test_a_cell_takes_little_time_wherever_it_is():
    values = [i / 1000 for i in range(1, 1001)]
    grid = Grid({"policy.d_sla": values, "policy.variant.epsilon_s": values, "latency.alpha_s": values})
    assert grid.cells == 10**9
    assert grid.cell(10**9 - 1).latency.alpha_s == grid.cell(999).latency.alpha_s == 1.0
    assert grid.cell(10**9 - 1).policy.d_sla == 1.0


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"policy": ["static_fifo", "priority"], "gpus": [1, 2]}, "cell 2 of 4: workload.priorities: missing"),
        ({"policy.d_sla": [0.1], "workload.priorities": [[1, 2], None]}, "cell 1 of 2: workload.priorities: missing"),
        ({"policy.variant": ["paper"], "workload.priorities": [[1, 0]]}, "cell 0 of 1: shares: 0"),
        ({"policy.k_bins": [2]}, "policy, a parameter of priority: 'k_bins'"),
    ],
)
def test_priorities_that_no_workload_has_are_missed_before_the_first_run(vary, message):
    with pytest.raises(InputError, match=message):
        Grid(vary, policy="priority" if "policy" not in vary else "static_fifo").check()


def test_rows_are_cells_value_by_value_and_may_repeat():
    whole = [{"kind": "synthetic", "requests": n, **PARTS} for n in (5, 5, 7)]
    rows = {"policy.k_bins": [1, 4, 4], "gpus": [2, 2, 8], "workload": whole}
    grid = Grid(rows, policy="multi_bin_dynamic", rows=True)
    grid.check()
    assert grid.cells == 3
    assert [grid.values(cell)["gpus"] for cell in range(3)] == [2, 2, 8]
    assert [grid.cell(cell).policy.k_bins for cell in range(3)] == [1, 4, 4]
    assert (grid.workloads(), grid.longest()) == (2, 7)
    assert Grid(rows, rows=True).identity != Grid(rows | {"gpus": [2, 8, 8]}, rows=True).identity


def test_what_a_grid_is_kept_under_has_not_changed_with_rows():
    assert "rows" not in Grid({"gpus": [1, 2]}).document and '"rows": true' in Grid({"gpus": [1]}, rows=True).document


PARTS = {"arrivals": "all_at_once", "prompt": {"kind": "fixed", "tokens": 1}, "output": {"kind": "fixed", "tokens": 1}}
PARTS["predictor"] = "oracle"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gpus": [1, 2], "policy.k_bins": [1]}, r"vary policy\.k_bins: 1 rows|vary gpus: 2 rows"),
        ({"gpus": [1, 0], "policy.k_bins": [1, 2]}, "cell 1 of 2: gpus: 0"),
        (
            {
                "policy": ["static_fifo", "multi_bin_dynamic"],
                "workload": [SYNTHETIC | {"predictor": "oracle"}, SYNTHETIC],
            },
            "cell 1 of 2: workload.predictor: missing",
        ),
    ],
)
def test_bad_rows_are_named(given, message):
    with pytest.raises(InputError, match=message):
        Grid(given, rows=True).check()


def test_a_row_that_needs_no_predictions_may_lack_them():
    policies, workloads = ["static_fifo", "multi_bin_dynamic"], [SYNTHETIC, SYNTHETIC | {"predictor": "oracle"}]
    Grid({"policy": policies, "workload": workloads}, rows=True).check()
