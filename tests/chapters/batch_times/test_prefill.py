"""Prefill's share from runs in a closed loop: a law that is known comes back; committed tables without the data."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.batch_times import prefill, tables
from simlib import datasets

LAW = np.array([0.01, 6e-5, 4e-5, 3e-8])  # a share of 0.4


def runs_of(law):
    """Runs whose step holds what it takes: TTFT of one step, TPOT by fixed point."""
    rows = [(n, p, o) for n in (4.0, 16.0, 64.0) for p in (256.0, 1024.0, 4096.0) for o in (128.0, 512.0)]
    n, prompt, output = np.array(rows).T
    step_s = np.full(len(n), 0.02)
    for _ in range(500):
        held = prefill.terms(n, prompt, output, 1e3 * step_s, 1e3 * step_s) * step_s[:, None]
        step_s = held @ law
    return prefill.terms(n, prompt, output, 1e3 * step_s, 1e3 * step_s), np.unique(
        (prompt, output), axis=1, return_inverse=True
    )[1]


def test_the_share_of_a_known_law_comes_back():
    found = prefill.share_of(*runs_of(LAW))
    assert [found[name] for name in ("a_s", "b_s", "c_s", "d_s")] == pytest.approx(LAW.tolist(), rel=1e-3)
    assert found["share"] == pytest.approx(0.4, abs=1e-3) and found["error"] < 1e-6
    assert found["share_low"] <= found["share"] <= found["share_high"]


def test_all_of_a_token_may_be_prefill():
    found = prefill.share_of(*runs_of(np.array([0.01, 0.0, 4e-5, 3e-8])))
    assert found["share"] == pytest.approx(1.0, abs=1e-3) and found["share_high"] == found["share"]


def test_without_the_data_the_committed_tables_are_shown_and_said(monkeypatch, tmp_path):
    monkeypatch.setenv("SIMLIB_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_cache", lambda: tmp_path)
    shares, note = prefill.shares()
    pd.testing.assert_frame_equal(shares, pd.read_csv(datasets.committed(prefill.TABLE)))
    assert "data absent" in note and "SIMLIB_DATA_DIR" in note
    pd.testing.assert_frame_equal(prefill.implied(), pd.read_csv(datasets.committed(prefill.STEPS_TABLE)))
    assert len(tables.show_prefill(shares).data) == len(shares)


def test_longer_prompts_leave_more_of_a_token_to_prefill():
    implied = pd.read_csv(datasets.committed(prefill.STEPS_TABLE)).set_index("prompt_tokens")["share"]
    assert implied.index.tolist() == list(prefill.PROMPTS) and implied.is_monotonic_increasing
