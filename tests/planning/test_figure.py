"""What the pictures of a plan say, by their texts: loads, what gives way, where the limits hold."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from simlib.planning import figure
from simlib.planning.whatif.frontier import told


def frontier(holds) -> pd.DataFrame:
    """Of 16 and 32 sequences by 256 and 512 tokens: what holds, row by row."""
    rows = [(1, budget, seqs) for budget in (256, 512) for seqs in (16, 32)]
    table = pd.DataFrame(rows, columns=["k_bins", "token_budget", "max_seqs"])
    load = [1.25 if one else 0.5 for one in holds]
    table = table.assign(order="fcfs", prefix_cache=False, routing="least_tokens")
    return table.assign(
        load=load, holds=holds, sought=[True, True, True, False], measured=table["max_seqs"] < 32,
        limit=["ttft_p99", "tpot_p99", "ttft_p99", None],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("holds", "said"),
    [
        ([False, False, False, True], "Limits hold from 32 sequences and 512 tokens on"),
        ([False, True, False, True], "Limits hold from 32 sequences and 256 tokens on"),
        ([True, False, False, True], "The limits hold in 2 of 4 cells"),
        ([False] * 4, "The limits hold in no cell"),
    ],
)
def test_its_head_says_where_the_limits_hold(holds, said):
    assert told(frontier(holds)) == said


def test_every_cell_says_its_load_what_gives_way_and_whether_more_was_sought():
    drawn = figure.by_batches(frontier([False, False, False, True]))
    texts = [text.get_text() for text in drawn.axes[0].texts]
    assert texts.count("0.50") == 3 and "≥1.25" in texts and "more than was measured" in texts
    assert (texts.count("wait"), texts.count("pace")) == (2, 1)
    bold = [text.get_text() for text in drawn.axes[0].texts if text.get_weight() == "bold"]
    assert bold == ["≥1.25"]
    assert len([line for line in drawn.axes[0].lines if line.get_linewidth() == 2]) == 4  # around one cell
    plt.close(drawn)


def test_a_class_is_told_with_what_gives_way():
    rows = frontier([False, False, False, True]).assign(limit="priority=0: ttft_p99")
    drawn = figure.by_batches(rows)
    assert [text.get_text() for text in drawn.axes[0].texts].count("wait 0") == 4
    assert "wait 0: the wait for the first token of priority=0 gives way first." in drawn._supxlabel.get_text()
    plt.close(drawn)


def test_a_curve_is_the_median_within_its_band():
    rows = [(load, "ttft_p99", draw, load * (draw + 1) / 100) for load in (0.5, 1.0) for draw in range(100)]
    drawn = figure.by_load(pd.DataFrame(rows, columns=["load", "objective", "draw", "share_of_limit"]))
    assert drawn.axes[0].lines[0].get_ydata() == pytest.approx([0.2525, 0.505])
    band = drawn.axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.5 * 0.03475, 0.97525))
    plt.close(drawn)
