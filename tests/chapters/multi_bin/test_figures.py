"""The plots of the Multi-Bin experiments: what they show is what the tables say."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from book.chapters.multi_bin import figures
from book.kit import style


def test_points_carry_their_intervals_and_theory_is_a_line():
    table = pd.DataFrame(
        {"k": [1, 1, 2, 2], "rate_rps": [4.0, 12.0] * 2, "throughput_rps": [4.0, 6.4, 4.0, 8.4]}
        | {"ci_low": [3.9, 6.3, 3.9, 8.3], "ci_high": [4.1, 6.5, 4.1, 8.5], "theory_rps": [4.0, 6.45, 4.0, 8.43]}
    )
    axis = figures.throughput_by_rate(table).axes[0]
    assert len(axis.containers) == 2
    low, high = axis.containers[1].lines[2][0].get_segments()[1][:, 1]
    assert (low, high) == pytest.approx((8.3, 8.5))
    assert [text.get_text() for text in axis.texts] == ["k = 1", "k = 2"]
    plt.close("all")


def test_overloaded_latencies_are_off_the_scale():
    table = pd.DataFrame(
        {"k": [1, 1], "rate_rps": [4.0, 12.0], "latency_mean_s": [35.0, 4000.0], "ci_low": [34.0, 3900.0]}
        | {"ci_high": [36.0, 4100.0], "lemma_s": [35.0, 25.0]}
    )
    read = pd.DataFrame({"rate_rps": [4.0], "value": [35.7]})
    axis = figures.latency_by_rate(table, read).axes[0]
    assert axis.get_ylim()[1] == 70.0
    assert len(axis.containers[0].lines[0].get_xdata()) == 1
    plt.close("all")


def test_errors_have_a_panel_a_batch_size_and_the_paper_in_its_own():
    table = pd.DataFrame({"k": [2] * 4, "p_e": [0.0, 0.5] * 2, "batch_size": [8, 8, 128, 128]})
    table = table.assign(throughput_rps=1.0, ci_low=0.9, ci_high=1.1, theory_rps=1.0)
    style.style()  # as a page has it: titles at the left
    small, large = figures.errors(table, pd.DataFrame({"p_e": [0.0], "value": [1.0]})).axes
    assert [axis.get_title("left") for axis in (small, large)] == ["Batches of 8", "Batches of 128"]
    assert small.get_legend() is None and large.get_legend() is not None
    plt.close("all")


def test_rules_and_ratios_are_drawn_with_theory():
    flat = pd.DataFrame({"k": [1, 2] * 2, "rule": ["equal_mass"] * 2 + ["optimal"] * 2})
    flat = flat.assign(throughput_rps=1.0, ci_low=0.9, ci_high=1.1, theory_rps=1.0, paper_rps=2.0)
    axis = figures.exponential(flat).axes[0]
    assert [bar.get_height() for bars in axis.containers[::2] for bar in bars] == [1.0, 1.0]  # two bins, a bar a rule
    assert [text.get_text() for text in axis.texts] == ["one bin"]
    ratios = pd.DataFrame({"k": [1, 2], "ratio": [1.0, 1.2], "ci_low": [1.0, 1.1], "ci_high": [1.0, 1.3]})
    axis = figures.ratios(ratios, flat[:2]).axes[0]
    assert axis.lines[1].get_ydata().tolist() == [1.0, 1.0]
    plt.close("all")
