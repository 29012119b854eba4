"""The plots of bins for real lengths: what they show is what the tables say."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from bin_tables import joint, rules

from book.chapters.traffic_bins import figures
from book.kit import style


def test_a_ratio_is_drawn_with_its_band_in_the_panel_of_its_lengths():
    table = pd.concat([joint(), joint(source="azure_2023")])
    style.style()  # as a page has it: titles at the left
    figure = figures.joint_by_deadline(table)
    assert [axis.get_title("left") for axis in figure.axes] == ["log-normal (the trial)", "Azure 2023"]
    assert sum("isolates the tail" in text.get_text() for axis in figure.axes for text in axis.texts) == 1
    oracle = figure.axes[0].containers[0]
    low, high = oracle.lines[2][0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((2.8, 3.4))
    plt.close("all")


def test_what_was_refused_is_not_drawn():
    table = pd.concat([rules(), rules(batch_size=128, refused="few")])
    axis = figures.rules_by_batch(table, k_bins=4).axes[0]
    assert len(axis.containers[0].lines[0].get_xdata()) == 1
    plt.close("all")


def test_each_cell_says_its_number_of_bins():
    rows = {"rate_rps": [1.0, 10.0] * 2, "deadline_s": 0.3, "rule": ["equal_mass"] * 2 + ["optimal"] * 2}
    table = pd.DataFrame(rows | {"k_star": [1, 1, 1, 2], "gain": 1.5, "ci_low": 1.4, "ci_high": 1.6})
    figure = figures.bins_by_rate(table)
    assert [text.get_text() for text in figure.axes[1].texts] == ["K* 1\n1.50\n± 0.10", "K* 2\n1.50\n± 0.10"]
    plt.close("all")
