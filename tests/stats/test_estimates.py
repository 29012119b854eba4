"""Rows of estimates: what their columns are called, in which order cells stand, and what a ratio's limits are."""

import math

import numpy as np
import pandas as pd
import pytest

from simlib import InputError
from simlib.stats import estimates, intervals

VALUES = [1.0, 2.0, 4.0]


def test_a_rows_limits_are_those_of_the_interval():
    found = intervals.mean_interval(VALUES)
    row = estimates.as_row(found, "late_share", "late_")
    assert row == {"late_share": found.mean, "late_ci_low": found.ci_low, "late_ci_high": found.ci_high}
    assert list(estimates.as_row(found, "late_share")) == ["late_share", "ci_low", "ci_high"]


def test_a_ratio_is_the_geometric_mean_of_the_pairs():
    pair = intervals.paired_difference(np.log([2.0, 8.0]), np.log([1.0, 1.0]))
    found = estimates.ratio(pair)
    assert found.mean == pytest.approx(4.0)
    assert (found.ci_low, found.ci_high) == (math.exp(pair.ci_low), math.exp(pair.ci_high))
    assert (found.p_value, found.replications) == (pair.p_value, 2)


def test_one_replication_has_no_limits():
    found = estimates.ratio(intervals.mean_interval([0.0]))
    assert estimates.as_row(found, "ratio") == {"ratio": 1.0, "ci_low": None, "ci_high": None}


def test_a_wide_table_and_a_mapping_give_the_same_rows():
    names = ["policy", "gpus"]
    runs = {("a", 1): VALUES, ("b", 2): VALUES[::-1]}
    table = estimates.estimates(pd.DataFrame(runs), names, "rate_rps")
    assert list(table) == [*names, "rate_rps", "ci_low", "ci_high"]
    assert table.equals(estimates.estimates(runs, names, "rate_rps"))
    single = estimates.estimates({1: VALUES}, ["gpus"], "rate_rps")
    assert single["rate_rps"].tolist() == [intervals.mean_interval(VALUES).mean]


def test_a_key_of_other_parts_is_refused():
    with pytest.raises(InputError, match="expected policy, gpus"):
        estimates.estimates({"a": VALUES}, ["policy", "gpus"], "rate_rps")
