"""The printed views show the numbers of the position, and the cut through the grid that was asked for."""

import matplotlib

from book.explorer import figures, views
from book.explorer.grid import table
from book.explorer.state import Position

matplotlib.use("Agg")


def test_a_position_is_printed_with_its_shares_and_its_curve():
    position = Position(requests=200, d_sla=0.5)
    view = views.view(position)
    for part in views.following(position, replications=3):
        view |= part or {}
    figure = figures.views(view)
    *rows, curve = figure.axes
    texts = [text.get_text() for axis in rows for text in axis.texts]
    assert texts == [f"{run['name']}: {100 * run['summary']['sla_violation_share']:.2f} % late" for run in view["runs"]]
    assert [list(line.get_ydata()) for line in curve.lines[:3]] == [line["share"] for line in view["curve"]]


def test_a_cut_through_the_grid_has_a_panel_a_deadline():
    axes = {"level": (1,), "gpus": (1,), "load": (1.0,), "d_sla": (0.5, 1.0), "k_bins": (2, 4)}
    grid = table(axes, requests=40, replications=2)
    figure = figures.bins(grid, level=1, gpus=1, load=1.0)
    assert [axis.get_title(loc="left") or axis.get_title() for axis in figure.axes] == ["0.5 s", "1 s"]
