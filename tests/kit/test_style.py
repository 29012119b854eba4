"""One style for all figures: files that are the same again, a policy's own look, names at the ends of lines."""

import itertools

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from book.kit import style
from simlib.checks import InputError

matplotlib.use("Agg")

COLORS_OF_ENDS = {"low": "#111111", "close": "#222222", "closer": "#333333", "closest": "#444444", "high": "#555555"}


@pytest.fixture(scope="module", autouse=True)
def book_style():
    style.style()


def line() -> Figure:
    figure, axis = plt.subplots()
    axis.plot([1, 2, 4], [0.0, 0.1, 0.3], "o-", color=style.COLORS["static_fifo"], label="static")
    axis.set(xlabel="GPUs", ylabel="Late requests")
    axis.legend()
    return figure


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("once", "again"):
        style.save(line(), name, tmp_path)
    assert (tmp_path / "once.svg").read_bytes() == (tmp_path / "again.svg").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.png", "again.svg", "once.png", "once.svg"]


def test_a_figure_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "x.svg").mkdir()
    with pytest.raises(InputError, match=r"x\.svg"):
        style.save(line(), "x", tmp_path)


def test_policies_keep_colours_that_differ_in_grey_print_or_in_marker():
    assert len(set(style.COLORS.values())) == len(set(style.MARKERS.values())) == len(style.COLORS)


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
