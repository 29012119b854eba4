"""The server here in the ledger: kinds apart, and a null model that looks at light loads and brackets alone."""

import gzip
import json
import shutil

import numpy as np
import pytest

from book.chapters.engines import measured_here, rows
from book.chapters.trust import real_engine


@pytest.fixture
def copied(tmp_path):
    def made(run):
        shutil.copytree(real_engine.FOLDER / run, tmp_path / run)
        shutil.copy(real_engine.FOLDER / f"{run}.csv", tmp_path)
        return tmp_path

    return made


def slow_down(folder, run, names):
    for name in names:
        path = folder / run / f"{name}.json.gz"
        result = json.loads(gzip.decompress(path.read_bytes()))
        result["ttfts"] = [1.5 * each for each in result["ttfts"]]
        result["itls"] = [[1.5 * gap for gap in each] for each in result["itls"]]
        path.write_bytes(gzip.compress(json.dumps(result).encode()))


def test_clock_and_processor_are_kept_apart_and_switches_from_plain_loads():
    for run in ("clock-full", "cpu"):
        table = measured_here.ledger(run)
        (kind,) = set(table["kind"])
        assert kind == (rows.CLOCK if run.startswith("clock") else rows.CPU)
        assert set(table["circumstance"]) <= {rows.DENSE, rows.SWITCHED} and table["series"].nunique() == 1
        assert np.isfinite(table["null_predicted"]).all() and (table["null_predicted"] > 0).all()


def test_processor_sharing_looks_at_no_time_of_a_judged_load(copied):
    folder = copied("clock")
    before = measured_here.ledger("clock", folder)
    slow_down(folder, "clock", before["load"].unique())
    assert measured_here.ledger("clock", folder)["null_predicted"].tolist() == before["null_predicted"].tolist()
    slow_down(folder, "clock", before["fitted_on"][0].split())
    after = measured_here.ledger("clock", folder).set_index(["load", "metric", "statistic"])["null_predicted"]
    slower = after.to_numpy() / before["null_predicted"].to_numpy()
    assert (slower[before["metric"] != "throughput"] > 1.2).all()  # what was fitted to is what counts


def test_on_a_machine_that_drifts_it_is_told_of_the_minutes_around(copied):
    folder = copied("cpu")
    before = measured_here.ledger("cpu", folder)
    judged = json.loads(gzip.decompress((folder / "cpu" / f"{before['load'].iloc[-1]}.json.gz").read_bytes()))
    slow_down(folder, "cpu", judged["brackets"][1:])
    slower = measured_here.ledger("cpu", folder)["null_predicted"] / before["null_predicted"]
    assert (slower[(before["metric"] == "tpot") & (before["load"] == before["load"].iloc[-1])] > 1.1).all()
