"""What is fitted beside kernels is found again in logs of engines that have it."""

import numpy as np
import pytest
from replayed import ENGINE, made_log, tiny_profile

import simlib
from simlib.calibration.logs import fitted
from simlib.latency import kernel_profile
from simlib.latency.parallel import Link, Parallel

LAYERS = 32


@pytest.fixture
def folder(tmp_path):
    return tiny_profile(tmp_path / "profile")


def test_a_link_that_nobody_named_is_found_again(folder):
    linked = Parallel(tensor=2, hidden_size=4096, link=Link(16e9, 20e-6))
    silent = Parallel(tensor=2, hidden_size=4096)
    log = made_log(kernel_profile.read(folder, LAYERS, parallel=linked), ENGINE)
    found = fitted.messages(kernel_profile.read(folder, LAYERS, parallel=silent), log, ENGINE, slice(30), silent)
    messages = LAYERS * silent.messages
    assert found.values["overhead_s"] == pytest.approx(messages * 20e-6, rel=0.02)
    assert found.values["token_s"] == pytest.approx(messages * 4096 * 2 / 2 / 16e9, rel=0.02)


@pytest.mark.parametrize("rows", [slice(30), slice(30, None)])
def test_a_constant_is_found_in_either_part_and_lies_within_its_limits(folder, rows):
    kernels = kernel_profile.read(folder, LAYERS)
    log = made_log(kernels.with_overhead(0.002), ENGINE, scale=1e-3)
    found = fitted.constant(kernels, log, ENGINE, rows)
    low, high = found.limits["overhead_s"]
    assert low <= 0.002 <= high and found.values["overhead_s"] == pytest.approx(0.002, rel=0.05)
    assert high - low < 0.002


def test_an_affine_laws_limits_hold_the_law(folder):
    law = simlib.StepLaw(0.02, 1e-4, 5e-5, 2e-7)
    found = fitted.from_log(made_log(law, ENGINE, scale=1e-4), ENGINE, 40)
    for (low, high), value in zip(found.limits.values(), law.params, strict=False):
        assert low <= value <= high


def test_a_stamp_moves_a_fit_by_its_influence():
    rng = np.random.default_rng(0)
    weights, off_s = rng.uniform(0.5, 2, 20), rng.normal(size=20)  # of 10 first stamps and 10 last ones
    terms = rng.uniform(1, 9, (20, 2)) * weights[:, None]
    rows = np.concatenate([off_s[:10], off_s[10:] - off_s[:10]]) * weights
    moved = np.linalg.lstsq(terms, rows, rcond=None)[0]
    assert fitted.influence(terms, weights) @ off_s == pytest.approx(moved)
