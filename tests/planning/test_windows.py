"""Records cut into windows: counted by hand, gaps named, conversations kept together."""

from __future__ import annotations

import numpy as np
import pytest

from simlib import InputError, RequestTable
from simlib.planning.windows import LABEL, cut


def table(arrival_s, **columns) -> RequestTable:
    ones = np.ones(len(arrival_s), int)
    return RequestTable(np.asarray(arrival_s, float), ones, ones, **columns)


def numbers(found) -> list[int]:
    return found.table.labels[LABEL].tolist()


def test_the_last_window_ends_with_the_record_and_what_is_left_warms_up():
    found = cut(table([0, 4, 5, 14, 15, 24]), window_s=10)
    assert numbers(found) == [-1, -1, 0, 0, 1, 1]  # (4, 14] and (14, 24]
    assert len(found) == 2 and str(found) == "2 windows of 10 s"


def test_windows_without_a_request_are_left_out_and_counted_in_steps():
    found = cut(table([0, 1, 2, 3, 24, 25, 26, 39, 40]), window_s=10)
    assert found.empty == 1 and found.gaps == []
    assert found.steps.tolist() == [2, 1, 1][-len(found) :]


def test_of_some_windows_steps_are_summed():
    found = cut(table([0, 1, 2, 3, 24, 25, 26, 39, 40]), window_s=10)
    whole = np.ones(len(found), bool)
    assert found.between(whole).tolist() == found.steps.tolist()
    few = whole & (np.arange(len(found)) % 2 == 0)
    assert found.between(few).sum() == found.steps.sum() and len(found.between(few)) == few.sum()
    assert found.between(few)[0] == found.steps[:2].sum()


def test_a_gap_is_named_and_left_out_with_the_windows_that_it_touches():
    arrivals = np.concatenate([np.arange(0, 100), np.arange(1000, 1101)])
    found = cut(table(arrivals), window_s=20)
    assert [(gap.start_s, gap.length_s) for gap in found.gaps] == [(99.0, 901.0)]
    assert "1 gap (15 min from 99 s on) left out with the windows that they touch" in str(found)
    assert len(found) == 9  # five behind it, four whole ones before; one is half in it
    assert found.steps.max() > 40


def test_a_bridged_gap_is_no_time():
    arrivals = np.concatenate([np.arange(0, 100), np.arange(1000, 1101)])
    found = cut(table(arrivals, cancel_s=arrivals + 5.0), window_s=20, bridge=True)
    assert len(found) == 10 and (found.steps == 1).all()
    assert np.diff(found.table.arrival_s).max() == pytest.approx(1100 / 200)
    assert found.table.cancel_s - found.table.arrival_s == pytest.approx(5.0)


def test_sparse_requests_are_no_gap():
    found = cut(table(np.arange(0, 40) * 700.0), window_s=600)
    assert found.gaps == [] and found.empty > 0


def test_turns_belong_to_the_window_in_which_their_conversation_begins():
    arrivals = [0.0, 5.0, 12.0, 16.0, 22.0]
    found = cut(table(arrivals, previous=[-1, -1, -1, 1, -1], think_s=[0, 0, 0, 11.0, 0]), window_s=10)
    assert numbers(found)[3] == numbers(found)[1] == 0


@pytest.mark.parametrize("window_s", [0, -1, float("nan"), "x"])
def test_a_window_of_no_length_is_refused(window_s):
    with pytest.raises(InputError, match="window"):
        cut(table([0, 1, 2]), window_s)
