"""Logs in the ledger: the line before places by hand, what another simulator publishes."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.engines import logs, rows
from simlib import datasets
from simlib.calibration.logs.engine_log import EngineLog
from simlib.requests.table import RequestTable


def test_a_line_before_two_places_by_hand():
    """All come at once and stay 4 s, two leave every 4 s: the third waits for the first."""
    table = RequestTable(np.zeros(40), np.full(40, 10), np.full(40, 5))
    first_s = np.repeat(np.arange(0.0, 80.0, 4.0), 2)
    log = EngineLog(table, np.zeros(40), first_s, first_s + 4.0)
    found = logs.line_s(log, 40)
    assert found["tpot"].tolist() == [1.0] * 40
    assert found["ttft"].tolist() == first_s.tolist() and found["e2e"].tolist() == (first_s + 4.0).tolist()


def test_without_a_queue_nobody_waits():
    table = RequestTable(np.arange(8) * 100.0, np.full(8, 10), np.full(8, 5))
    log = EngineLog(table, table.arrival_s, table.arrival_s + 1.0, table.arrival_s + 5.0)
    assert logs.line_s(log, 4)["ttft"].tolist() == [0.0] * 8


def test_published_errors_are_read_by_metric_and_statistic():
    text = (
        "TTFT Median   60110.9   60578.1   +0.8%\nTTFT P95   1.0  1.0  +0.0%\nLatency P99   153627.5  154216.9  -0.4%\n"
    )
    assert logs.published(text) == {("ttft", "p50"): 0.8, ("e2e", "p99"): -0.4}


def test_the_log_has_its_rows_for_both_laws_and_the_others_errors(data_dir):
    found = pd.DataFrame(logs.ledger(datasets.committed("vllm_validation").parent))
    assert found.groupby("series", sort=False).size().tolist() == [12] * 4 and set(found["kind"]) == {rows.LOG}
    assert found["other_error_percent"].notna().sum() == 3 * 12  # of the profiles, for these are theirs
    assert found["low"].notna().sum() == 12 and (found["low"] < found["high"]).sum() == 12
    replayed = pd.read_csv(datasets.committed("vllm_validation"))
    profile = replayed[(replayed["step_model"] == "profile") & (replayed["statistic"] != "mape")]
    assert found["error_percent"][:12].to_numpy() == pytest.approx(profile["error_percent"].to_numpy(), rel=1e-4)
