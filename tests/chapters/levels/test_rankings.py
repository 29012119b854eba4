"""Rankings of the schedulers: all replications count, ties show, bad input is named."""

import pandas as pd
import pytest

import simlib
from book.chapters.levels.rankings import ranking, rankings
from simlib import levels


def test_rankings_cover_all_replications_and_show_ties():
    runs = pd.concat([levels.runs_of(level, replications=5) for level in levels.LEVELS], ignore_index=True)
    found = rankings(runs)
    assert found.groupby(levels.STUDY)["share"].sum().tolist() == pytest.approx([1.0] * 6)
    on_trace = found.query("level == 2 and requests_from == 'trace'")
    assert (on_trace["ranking"].str.startswith("static_fifo = dynamic_no_bins")).all()


def test_the_least_comes_first():
    shares = {"static_fifo": 0.2, "dynamic_no_bins": 0.3, "multi_bin_dynamic": 0.1}
    assert ranking(shares) == "multi_bin_dynamic < static_fifo < dynamic_no_bins"


@pytest.mark.parametrize(
    ("runs", "metric"), [(None, "latency_mean_s"), (levels.runs_of(1, replications=1), "requests")]
)
def test_bad_input_is_named(runs, metric):
    with pytest.raises(simlib.InputError, match=r"^(runs|metric)"):
        rankings(runs, metric)
