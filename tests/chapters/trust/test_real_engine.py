"""What was kept of a real server: its predictions are those of before, are made again, and a fluid queue by hand."""

import shutil

import numpy as np
import pandas as pd
import pytest

import simlib
from book.chapters.trust import real_engine, tables
from simlib.calibration.loads.load import MeasuredLoad
from simlib.latency.steps import StepLaw


def test_predictions_are_those_that_the_seeds_were_drawn_after(tmp_path):
    run = real_engine.runs()[0]
    shutil.copytree(real_engine.FOLDER / run, tmp_path / run)
    shutil.copy(real_engine.FOLDER / f"{run}.csv", tmp_path)
    found = real_engine.ledger(tmp_path)
    assert found["blind"].all() and (found["ahead_low"] < found["ahead_high"]).all() and found["rate_rps"].notna().all()
    ahead = tmp_path / run / "ahead.csv"
    ahead.write_text(ahead.read_text().replace("e2e,mean,", "e2e,mean,1", 1))
    with pytest.raises(simlib.InputError, match=r"ahead.csv: not the predictions that seeds were drawn after"):
        real_engine.ledger(tmp_path)


def test_predictions_are_made_again_from_what_was_kept():
    then = real_engine.ledger().set_index(["run", "load", "metric", "statistic"])
    now = real_engine.again().set_index(["run", "load", "metric", "statistic"])
    both = now.join(then[["measured", "predicted"]].add_suffix("_then"), how="inner")
    assert len(both) and both["measured"].to_numpy() == pytest.approx(both["measured_then"].to_numpy(), rel=1e-4)
    # The law itself beside the median of its draws, on starts as they were sent beside those that were asked for.
    means = both[both.index.get_level_values("statistic") == "mean"]
    assert means["predicted"].to_numpy() == pytest.approx(means["predicted_then"].to_numpy(), rel=0.05)


def test_a_fluid_queue_by_hand():
    requests = {"start_s": [0.0, 0.0], "prompt_tokens": [100, 100], "output_tokens": [10, 10]}
    load = MeasuredLoad("two", pd.DataFrame(requests))
    engine = simlib.Continuous(max_seqs=2, token_budget=512, block_tokens=32)
    # Two decode, one answer in five steps ends, and a prompt of 100 tokens begins with it: 0.1 + 0.2 x 0.1 s a step.
    law = StepLaw(0.1, 0.0, 0.001)
    rate = 0.2 / 0.12
    assert real_engine.fluid_e2e_s(law, load, engine) == pytest.approx(np.mean([0, 1 / rate]) + 2 / rate)


def test_errors_and_what_lies_inside():
    row = {
        "run": "clock",
        "load": "13-0",
        "rate_rps": 13.0,
        "low": 1.0,
        "high": 2.0,
        "ahead_low": 0.0,
        "ahead_high": 9.0,
    }
    keys = [*real_engine.TARGETS, ("itl", "mean")]
    values = [(1.5, 2.0), (2.5, -1.0), (0.5, 3.0), (1.0, 4.0), (10.0, 5.0)]
    found = pd.DataFrame([
        row | {"metric": metric, "statistic": statistic, "measured": measured, "error_percent": error}
        for (metric, statistic), (measured, error) in zip(keys, values, strict=True)
    ])  # fmt: skip
    own = real_engine.summary(found).iloc[0]
    assert (own["inside"], own["ahead"], own["count"]) == (2, 4, 5)
    assert own["tpot_mean"] == 2.0 and own["e2e_p99"] == 4.0


def test_tables_say_errors_and_changes_with_their_signs():
    found = real_engine.ledger()
    shown = tables.show_loads(real_engine.summary(found)).data.set_index(["device", "load"])
    assert shown.loc[("clock", "13-0"), "between tokens"] == "+0.7"
    changes = tables.show_switches(real_engine.switches(found)).data.set_index("switch")
    assert changes.loc["two steps in flight", "between tokens"] == "−13 / −14"
    beyond = tables.show_overload(real_engine.overload()).data.set_index("requests/s")
    assert (beyond.loc["19.5", "fluid, off"].str.startswith("+")).all()


def test_a_switch_is_a_ratio_to_the_same_requests_without_it():
    row = {"run": "clock", "metric": "e2e", "statistic": "mean", "error_percent": 5.0}
    pair = [
        row | {"load": "11-0", "measured": 2.0, "predicted": 4.0},
        row | {"load": "cap", "measured": 3.0, "predicted": 5.0},
    ]
    changes = real_engine.switches(pd.DataFrame(pair))
    assert changes[["switch", "base", "measured", "predicted"]].to_numpy().tolist() == [["cap", "11-0", 1.5, 1.25]]
