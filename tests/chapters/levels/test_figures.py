"""Figures draw what their table says, and are written whole."""

import itertools

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.text import Text

import simlib
from book.chapters.capacity.figures import capacities
from book.chapters.controller.figures import controller_window
from book.chapters.levels import figures, k_sensitivity
from book.chapters.workloads import traffic
from book.chapters.workloads.figures import burstiness, hours, likeness
from book.kit import style
from simlib import levels
from simlib.checks import InputError

matplotlib.use("Agg")

COLORS_OF_ENDS = {"low": "#111111", "close": "#222222", "closer": "#333333", "closest": "#444444", "high": "#555555"}


@pytest.fixture(scope="module", autouse=True)
def book_style():
    style.style()


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.concat([levels.runs_of(level, replications=3) for level in (1, 3)], ignore_index=True)


def texts(figure) -> str:
    found = [axis.get_title(loc="left") for axis in figure.axes]
    for axis in figure.axes:
        labels = (*axis.texts, axis.xaxis.label, axis.yaxis.label, *axis.get_xticklabels(), *axis.get_yticklabels())
        found += [label.get_text() for label in labels]
    return " ".join([*found, *(text.get_text() for legend in figure.legends for text in legend.get_texts())])


def test_the_overview_has_a_panel_a_level_and_says_what_marks_mean(runs):
    figure = figures.levels_overview(levels.table_of(runs), runs)
    said = texts(figure)
    for word in ("Level 1", "Level 3", "claimed", "replication", "Late requests", "static"):
        assert word in said
    claimed = [line.get_ydata()[0] for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert claimed == [0.433, 0.015, 0.007]


def test_the_spread_shows_every_replication(runs):
    one = runs[runs["level"] == 1]
    figure = figures.level_spread(levels.table_of(one), one)
    drawn = sum(len(c.get_offsets()) for c in figure.axes[0].collections if len(c.get_offsets()) == 3)
    assert drawn == 9


def test_the_spread_tells_the_trace_from_the_population():
    both = levels.runs_of(2, requests=60, replications=3)
    figure = figures.level_spread(levels.table_of(both), both)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == 6 and labels[0] == "multi_bin_dynamic\npopulation" and labels[-1] == "static_fifo\ntrace"
    of_replications = [c.get_offsets().data for c in figure.axes[0].collections if len(c.get_offsets()) == 3]
    static = both.query("scheduler == 'static_fifo' and requests_from == 'trace'")["sla_violation_share"]
    assert sorted(of_replications[0][:, 0]) == sorted(static)


def test_likeness_marks_what_fits_apart_from_what_does_not():
    table = pd.DataFrame({"source": "head", "figure": ["a", "b"], "real": [2.0, 9.0], "mean": 2.0, "low": 1.0})
    figure = likeness(table.assign(high=3.0, replications=40, fits=[True, False]))
    inside, outside = figure.axes[0].collections[-2:]
    assert inside.get_offsets().data.tolist() == [[0.5, 1.0]] and outside.get_offsets().data.tolist() == [[1.75, 0.0]]
    assert "does not fit" in texts(figure)


def test_k_curves_draw_every_selection_with_its_interval():
    table = k_sensitivity.k_sensitivity(k_values=(1, 2), arrivals=("poisson",), requests=100, replications=2)
    figure = figures.k_curves(table)
    assert len(figure.axes[0].containers) == 3
    assert "Bins K" in texts(figure)


def test_the_controllers_figure_has_its_deadline():
    table = levels.requests_of(3, 300, 42)[0]
    run = simlib.simulate(table, simlib.DynamicNoBins(0.5), "original-calibrated", 2)
    figure = controller_window(run.controller, run.served.size, 0.5)
    assert "deadline" in texts(figure) and "Batch size (requests)" in texts(figure)


def test_traffic_figures_name_poisson():
    table = levels.requests_of(1, 2000, 42)[0]
    assert "Poisson" in texts(burstiness(traffic.burstiness(table, (1.0, 10.0), 20)))
    assert "Poisson" in texts(hours(traffic.arrivals_by_hour(table)))


def test_the_same_figure_is_the_same_file(tmp_path, runs):
    for name in ("once", "again"):
        style.save(figures.levels_overview(levels.table_of(runs), runs), name, tmp_path)
    assert (tmp_path / "once.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.png", "again.svg", "once.png", "once.svg"]


def test_a_figure_that_cannot_be_written_says_so(tmp_path, runs):
    (tmp_path / "x.svg").mkdir()
    with pytest.raises(InputError, match=r"x\.svg"):
        style.save(figures.levels_overview(levels.table_of(runs), runs), "x", tmp_path)


def test_policies_keep_colours_that_differ_in_grey_print_or_in_marker():
    assert len(set(style.COLORS.values())) == len(set(style.MARKERS.values())) == len(style.COLORS)


def test_capacities_are_marked_where_the_allowed_share_is():
    rows = [("static_fifo", 43.2, 42.9, 43.6), ("multi_bin_dynamic", 197.1, 192.5, 201.7)]
    table = pd.DataFrame(rows, columns=["policy", "capacity_rps", "ci_low", "ci_high"]).assign(level=1)
    line = {"level": 1, "rate_rps": [20.0, 60.0, 250.0], "late_share": [0.0, 0.3, 1.0], "ci_low": 0.0, "ci_high": 1.0}
    curves = pd.concat([pd.DataFrame(line).assign(policy=policy) for policy in table["policy"]])
    figure = capacities(curves, table, 0.05)
    (axis,) = figure.axes
    spans = [part.get_segments()[0].tolist() for part in axis.collections if isinstance(part, LineCollection)]
    assert spans == [[[42.9, 0.05], [43.6, 0.05]], [[192.5, 0.05], [201.7, 0.05]]]
    assert "static\n43.2/s" in texts(figure) and "multi-bin\n197/s" in texts(figure)


def test_lines_are_named_at_their_ends_in_their_colours_and_names_do_not_lie_upon_one_another():
    figure, axis = plt.subplots()
    heights = {"low": 0.0, "close": 1.0, "closer": 1.001, "closest": 0.999, "high": 2.0}
    for name, height in heights.items():
        axis.plot([0, 1], [0, height], label=name, color=COLORS_OF_ENDS[name])
    axis.errorbar([0, 1], [0, 3.0], yerr=0.1, label="bars", color="#000000")
    style.name_lines(axis)
    figure.draw_without_rendering()
    said = {text.get_text(): text for text in axis.texts}
    assert set(said) == {*heights, "bars"}
    assert {name: said[name].get_color() for name in heights} == COLORS_OF_ENDS
    boxes = {name: Text.get_window_extent(text) for name, text in said.items()}  # without what leads to it
    upwards = sorted(boxes, key=lambda name: boxes[name].y0)
    assert upwards == ["low", "closest", "close", "closer", "high", "bars"]
    assert all(boxes[a].y1 <= boxes[b].y0 + 1 for a, b in itertools.pairwise(upwards))
    assert all(box.x0 > axis.transData.transform((1.0, 0.0))[0] for box in boxes.values())
    plt.close(figure)
