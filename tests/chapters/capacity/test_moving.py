"""The live figure of bins on GPUs: what its answer says, in the library's own runs."""

import numpy as np
import pytest
from bin_waits import DEADLINE_S, late, parts_of, runs_of

from book.chapters.capacity import moving


@pytest.mark.parametrize("predictor", moving.PREDICTORS)
@pytest.mark.parametrize("rate", [0.3, 0.55, 0.8])
def test_fewer_gpus_than_bins_leave_requests_waiting_for_other_bins(predictor, rate):
    for k_bins, gpus in [(2, 1), (4, 1), (4, 2), (8, 2), (8, 4), (2, 4), (2, 8), (3, 6), (4, 8)]:
        for cap in moving.CAPS:
            found = [parts_of(run, k_bins) for run in runs_of(k_bins, gpus, rate, predictor, cap, 3)]
            others_s, own_s, batch_s = np.mean(found, axis=0)
            alone_s = np.mean([parts_of(run, 1)[2] for run in runs_of(1, gpus, rate, predictor, cap, 3)])
            where = (k_bins, gpus, cap)
            assert others_s > own_s if gpus < k_bins else others_s < 0.25 * (others_s + own_s), where
            assert batch_s < alone_s, where


@pytest.mark.parametrize("predictor", moving.PREDICTORS)
@pytest.mark.parametrize("rate", [0.6, 0.7, 0.8])
def test_on_eight_gpus_a_cap_alone_has_most_of_what_bins_gain(predictor, rate):
    small, large = moving.CAPS
    alone = {cap: late(1, 8, rate, predictor, cap).mean() for cap in moving.CAPS}
    for k_bins in (2, 4, 8):
        gained = {cap: alone[cap] - late(k_bins, 8, rate, predictor, cap).mean() for cap in moving.CAPS}
        assert gained[large] > 0.01 and gained[small] < gained[large] / 2, k_bins


def test_its_document_says_what_it_simulates():
    about = moving.about(DEADLINE_S)
    names = {control["name"] for control in about["controls"]}
    assert names == set(about["start"]) and set(about["caps"]) == {"16", "64"}
    assert about["start"]["gpus"] in about["gpus"] and about["deadline_s"] == DEADLINE_S
