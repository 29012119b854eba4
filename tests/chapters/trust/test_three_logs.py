"""Three logs: the rows of a replay, and what another simulator publishes."""

import pandas as pd

from book.chapters.trust import three_logs
from simlib import datasets

MEANS, TAILS = {"ttft": 3, "tpot": 2, "e2e": 2}, {"ttft": 4, "tpot": 3, "e2e": 3}


def test_means_and_tails_are_within_their_targets_twice_that_for_the_mixture():
    found = pd.read_csv(datasets.committed(three_logs.TABLE))
    assert len(found) == len(three_logs.RUNS) * 2 * 12
    twice = 1 + found["model"].str.contains("A3B")
    for statistic, most in (("mean", MEANS), ("p99", TAILS)):
        rows = found["statistic"] == statistic
        assert (found["error_percent"].abs() < found["metric"].map(most) * twice)[rows].all()


def test_the_committed_rows_are_those_of_a_replay(data_dir):
    run = three_logs.RUNS[1]
    rows = three_logs.replayed(data_dir / three_logs.FOLDER / run.folder, run, overhead_s=0.0)
    committed = pd.read_csv(datasets.committed(three_logs.TABLE))
    same = committed[(committed["model"] == run.model) & (committed["fitted"] == three_logs.UNFITTED)]
    again = rows[rows["statistic"] != "mape"]["error_percent"].to_numpy()
    assert abs(again - same["error_percent"].to_numpy()).max() < 1e-6
