"""Tables of measured times, interpolated."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import RegularGridInterpolator

import simlib
from simlib import named
from simlib.latency.interpolated import Table
from simlib.latency.measurements import TIMED

GRID = list(itertools.product((1, 4, 16), (64, 256, 512), (32, 128)))


def linear(b, p, o):
    return 0.1 + 0.01 * b + 1e-4 * p + 1e-3 * o + 1e-6 * b * p * o


def frame(grid=GRID) -> pd.DataFrame:
    table = pd.DataFrame(grid, columns=TIMED[:3])
    return table.assign(total_s=linear(*(table[name] for name in TIMED[:3])))


@pytest.mark.parametrize("shape", [(1, 64, 32), (16, 512, 128), (2, 100, 50), (7, 300, 127), (20, 600, 10)])
def test_what_is_linear_in_each_axis_is_met_exactly_and_goes_on_beyond(shape):
    assert Table.of(frame()).batch_time_s(*shape) == pytest.approx(linear(*shape), rel=1e-12)


def test_repetitions_are_their_median_and_order_does_not_matter():
    thrice = pd.concat([frame().assign(total_s=frame()["total_s"] * f) for f in (0.9, 1.0, 5.0)]).sample(
        frac=1, random_state=1
    )
    assert np.allclose(Table.of(thrice).params, Table.of(frame()).params, rtol=1e-12)


def test_equal_lengths_have_one_axis_of_prompt_and_output():
    model = Table.of(
        pd.DataFrame(
            {
                "batch_size": [1, 1, 8, 8],
                "prompt_tokens": [100, 200] * 2,
                "output_tokens": [100, 200] * 2,
                "total_s": [1, 2, 3, 5],
            }
        )
    )
    assert model.measured.equal_lengths
    assert model.batch_time_s(1, 250, 50) == pytest.approx(1.5)
    run = simlib.simulate(simlib.RequestTable([0], [250], [50]), "static_fifo", model.model, backend="compiled")
    assert run.served.service_s == pytest.approx([1.5])


def test_a_table_runs_compiled_and_interpreted_alike():
    table = simlib.RequestTable(np.arange(20) * 0.01, np.arange(20) * 20 + 64, np.arange(20) * 5 + 32)
    model = Table.of(frame()).model
    ways = [simlib.simulate(table, "static_fifo", model, backend=w) for w in ("compiled", "interpreted")]
    assert ways[0].times.completion_s.tolist() == ways[1].times.completion_s.tolist()


def test_a_file_after_table_is_read_as_one(tmp_path):
    path = tmp_path / "mine.csv"
    frame().to_csv(path, index=False)
    assert named.latency_of(f"table:{path}").batch_time_s(2, 100, 50) == pytest.approx(linear(2, 100, 50))
    assert named.latency_of(str(path)).name == "mine.csv"  # without it, fitted


@pytest.mark.parametrize(
    ("points", "says"),
    [
        (frame(GRID[:-1]), "no time at batch_size 16, prompt_tokens 512, output_tokens 128"),
        (frame([g for g in GRID if g[0] == 1]), "1 batch sizes"),
        (frame().drop(columns="total_s"), "total_s"),
        (frame().assign(total_s=np.nan), "row 0, total_s"),
        (frame()[:0], "no rows"),
        (None, "data frame"),
    ],
)
def test_a_table_that_cannot_be_used_is_named(points, says):
    with pytest.raises(simlib.InputError, match=says):
        Table.of(points)


def test_any_times_are_interpolated_as_scipy_does():
    axes = [np.array(axis, float) for axis in ((1, 2, 4, 8, 64), (64, 256, 300, 512), (1, 32, 128))]
    rng = np.random.default_rng(2)
    points = pd.DataFrame(list(itertools.product(*axes)), columns=TIMED[:3])
    points["total_s"] = 50 + rng.random(len(points))
    model = Table.of(points).model
    reference = RegularGridInterpolator(
        axes, points["total_s"].to_numpy().reshape(5, 4, 3), bounds_error=False, fill_value=None
    )
    shapes = np.vstack([rng.uniform(1, 70, (400, 3)) * [1, 8, 2], points[list(TIMED[:3])]])
    assert model.batch_time_s(*shapes.T) == pytest.approx(reference(shapes), rel=1e-9)


def test_the_first_token_comes_with_the_batch_that_stops_there():
    model = Table.of(frame()).model
    run = simlib.simulate(simlib.RequestTable([0, 0], [300, 100], [60, 20]), simlib.StaticFIFO(2), model)
    assert run.times.first_token_s == pytest.approx([linear(2, 300, 1)] * 2, rel=1e-12)
