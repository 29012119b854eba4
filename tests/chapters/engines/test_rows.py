"""The ledger's arithmetic on numbers worked by hand, and rows that somebody else gives."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.engines import rows
from simlib import InputError

SAID = {"source": "here", "engine": "vLLM", "version": "1", "model": "m", "gpu": "CPU", "parallel": "TP 1"}
SAID |= {"load": "0.5 of saturation", "metric": "e2e", "statistic": "mean", "fitted_on": "two loads", "blind": True}


def test_a_row_is_the_two_errors_and_what_is_saved():
    """Measured 20, foretold 21, the line says 16: 5 % too long, 20 % too short, three quarters of it saved."""
    found = rows.row(SAID, 20.0, 21.0, 16.0)
    assert [found[name] for name in ("error_percent", "null_error_percent", "skill")] == [5.0, -20.0, 0.75]
    assert set(found) <= set(rows.COLUMNS)


def test_a_line_goes_through_both_points_and_on():
    assert [rows.straight((4, 10.0), (16, 13.0), at) for at in (4, 8, 16, 64)] == [10.0, 11.0, 13.0, 25.0]


def test_nothing_can_be_saved_of_no_error():
    assert np.isnan(rows.skill(1.0, 0.0)) and rows.skill(-3.0, 2.0) == -0.5


def test_given_rows_get_errors_and_a_series():
    frame = pd.DataFrame([SAID | {"measured": 2.0, "predicted": 2.2, "null_predicted": 3.0}])
    (found,) = rows.given(frame, "mine.csv").to_dict("records")
    assert list(found) == list(rows.COLUMNS)
    assert [round(found[name], 6) for name in ("error_percent", "null_error_percent", "skill")] == [10.0, 50.0, 0.8]
    assert (found["kind"], found["series"]) == (rows.GIVEN, "here, vLLM, m, CPU, TP 1")


def test_given_rows_without_a_null_model_have_no_skill():
    found = rows.given(pd.DataFrame([SAID | {"measured": 2.0, "predicted": 2.2}]), "mine.csv")
    assert np.isnan(found["skill"].iloc[0]) and found["error_percent"].iloc[0] == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: {name: row[name] for name in row if name != "blind"}, "mine.csv: no blind"),
        (lambda row: row | {"measured": 0.0}, "mine.csv, row 0, measured: 0.0"),
    ],
)
def test_given_rows_that_cannot_be_read_are_named(change, said):
    with pytest.raises(InputError, match=said):
        rows.given(pd.DataFrame([change(SAID | {"measured": 2.0, "predicted": 2.2})]), "mine.csv")
