"""The run object: its frames, and that it comes back from disk as it was."""

import errno
import json
import math
import os
import random
import struct

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import simlib
from simlib import InputError, Run

STEPS = simlib.StepLaw(0.01, 0.001, 0.0001)
MEMORY = simlib.Memory(kv_gb_per_token=1 / 128)  # 1152 tokens


def frame(requests: int = 12, **columns) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    lengths = rng.integers(1, 200, (3, requests))
    names = ("prompt_tokens", "output_tokens", "predicted_output_tokens")
    arrivals = np.round(np.cumsum(rng.exponential(0.05, requests)), 3)
    return pd.DataFrame({"arrival_s": arrivals, **dict(zip(names, lengths, strict=True)), **columns})


# Frames


def test_requests_come_back_in_input_order_with_the_inputs_index_and_columns():
    given = frame(client=["x", "y", "z"] * 4, extra=1).set_axis([f"r{i}" for i in range(12)][::-1])
    run = simlib.simulate(given, simlib.MultiBinDynamic(3), gpus=2)
    assert run.requests.index.equals(given.index)
    columns = ["arrival_s", "prompt_tokens", "output_tokens", "predicted_output_tokens", "client"]
    pd.testing.assert_frame_equal(run.requests[columns], given[columns])
    added = [name for name in run.requests if name not in columns]
    assert added == ["start_s", "first_token_s", "completion_s", "gpu", "batch", "bin"]
    assert "extra" not in run.requests


def test_the_frames_tell_one_story():
    run = simlib.simulate(frame(60), simlib.MultiBinDynamic(3), gpus=2)
    by_batch = run.requests.groupby("batch")
    assert by_batch.size().tolist() == run.batches["size"].tolist()
    for name in ("start_s", "gpu", "bin"):
        assert by_batch[name].min().tolist() == by_batch[name].max().tolist() == run.batches[name].tolist()
    service_s = by_batch["completion_s"].first() - by_batch["start_s"].first()
    assert service_s.to_numpy() == pytest.approx(run.batches["service_s"].to_numpy())
    assert (run.requests["first_token_s"] <= run.requests["completion_s"]).all()
    assert (run.requests["first_token_s"] >= run.requests["start_s"]).all()


def test_batches_have_the_columns_of_the_contract():
    run = simlib.simulate(frame(), simlib.DynamicNoBins())
    assert list(run.batches) == ["start_s", "service_s", "size", "gpu", "bin", "b_mem", "b_sla"]
    assert (run.batches["b_mem"] == 128).all()
    static = simlib.simulate(frame(), simlib.StaticFIFO())
    assert list(static.batches) == list(run.batches)
    assert static.batches[["b_mem", "b_sla"]].isna().all(axis=None)  # no bound of its own


def test_the_controllers_trajectory_has_a_row_a_batch():
    run = simlib.simulate(frame(), simlib.DynamicNoBins())
    assert list(run.controller) == [
        "start_s",
        "gpu",
        "bin",
        "b_mem",
        "b_sla",
        "b_low",
        "b_high",
        "service_mean_s",
        "size_mean",
        "branch",
    ]
    assert len(run.controller) == len(run.batches)
    assert list(simlib.simulate(frame(), simlib.StaticFIFO()).controller) == ["start_s", "gpu", "bin"]


def test_rejected_requests_have_no_times_and_no_batch():
    given = frame(3, prompt_tokens=[10, 5000, 10])
    run = simlib.simulate(given, simlib.DynamicNoBins(variant=simlib.Rules(memory=MEMORY)), oversize="reject")
    assert run.rejected == 1
    row = run.requests.iloc[1]
    assert (row["gpu"], row["batch"], row["bin"]) == (-1, -1, -1)
    assert row[["start_s", "first_token_s", "completion_s"]].isna().all()
    assert run.requests.iloc[[0, 2]]["completion_s"].notna().all()


def test_frames_are_built_once():
    run = simlib.simulate(frame(), simlib.StaticFIFO())
    assert run.requests is run.requests
    assert run.batches is run.batches


# To disk and back


def assert_same(one: Run, other: Run) -> None:
    pd.testing.assert_frame_equal(one.requests, other.requests, check_freq=False)
    pd.testing.assert_frame_equal(one.batches, other.batches)
    pd.testing.assert_frame_equal(one.controller, other.controller)
    pd.testing.assert_series_equal(pd.Series(one.summary()), pd.Series(other.summary()), check_exact=True)
    for name in ("gpus", "sla", "policy", "notes", "backend", "settings"):
        assert getattr(one, name) == getattr(other, name), name
    assert (one.edges is None) == (other.edges is None)
    assert one.edges is None or np.array_equal(one.edges, other.edges)


def round_trip(run: Run, folder) -> Run:
    path = run.save(folder / "run.parquet")
    assert [p.name for p in folder.iterdir()] == ["run.parquet"]
    return simlib.load(path)


@pytest.mark.parametrize(
    "policy",
    [
        simlib.StaticFIFO(3),
        simlib.DynamicNoBins(0.2, "paper"),
        simlib.MultiBinDynamic(3, bounds="equal_width"),
        simlib.MultiBinFixed(2, 2),
        simlib.Custom("one", lambda now_s, gpu, waiting, params, memory, note: (0, 1)),
    ],
    ids=lambda policy: policy.name,
)
def test_a_run_comes_back_from_disk_as_it_was(policy, tmp_path):
    run = simlib.simulate(frame(), policy, gpus=3, sla="ttft<=0.1,tpot<=0.001")
    assert_same(round_trip(run, tmp_path), run)


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(100, 124, 2),
        pd.Index([f"r{i}" for i in range(12)], name="request"),
        pd.date_range("2024-01-01", periods=12, name="day"),
        pd.MultiIndex.from_product([range(3), range(4)], names=["a", "b"]),
        pd.Index([7] * 12),
        pd.Index(range(12), name="batch"),
        pd.Index(range(12), name="arrival_s"),
        pd.Index(range(12), name="start_s"),
    ],
    ids=["range", "text", "dates", "levels", "repeated", "named batch", "named arrival_s", "named start_s"],
)
def test_the_index_comes_back(index, tmp_path):
    run = simlib.simulate(frame().set_axis(index), simlib.StaticFIFO())
    assert_same(round_trip(run, tmp_path), run)


@pytest.mark.parametrize(
    "index",
    [
        pd.date_range("2024-01-01", periods=12, freq="2h", tz="UTC"),
        pd.timedelta_range("0s", periods=12, freq="5s"),
        pd.bdate_range("2024-01-01", periods=12, freq="C", holidays=["2024-01-02"]),
        pd.DatetimeIndex(["2024-01-01"] * 12),
    ],
    ids=["dates", "durations", "working days", "no step"],
)
def test_the_step_of_an_index_comes_back_where_it_has_a_name(index, tmp_path):
    run = simlib.simulate(frame().set_axis(index), simlib.StaticFIFO())
    back = round_trip(run, tmp_path).requests.index
    assert back.equals(index)
    assert back.freq == (None if "C" in str(index.freqstr) else index.freq)


@pytest.mark.parametrize(
    "labels",
    [["a", "b"] * 6, [1, 2] * 6, [None, "a"] * 6, [1.5, None] * 6],
    ids=["text", "numbers", "missing", "fractions"],
)
def test_labels_come_back(labels, tmp_path):
    run = simlib.simulate(frame(client=labels), simlib.StaticFIFO())
    back = round_trip(run, tmp_path).requests["client"]
    assert [None if x != x else x for x in back] == [None if x != x else x for x in run.requests["client"]]


def test_labels_of_mixed_kinds_are_saved_or_refused_by_name(tmp_path):
    run = simlib.simulate(frame(client=[1, "a"] * 6), simlib.StaticFIFO())
    try:
        back = round_trip(run, tmp_path)
    except InputError as refusal:
        assert "client" in str(refusal)
        assert list(tmp_path.iterdir()) == []
    else:
        assert [str(label) for label in back.requests["client"]] == ["1", "a"] * 6


def test_a_run_of_which_some_was_rejected_comes_back(tmp_path):
    given = frame(3, prompt_tokens=[10, 5000, 10])
    run = simlib.simulate(given, simlib.DynamicNoBins(variant=simlib.Rules(memory=MEMORY)), oversize="reject")
    back = round_trip(run, tmp_path)
    assert back.rejected == 1
    assert_same(back, run)


def test_a_run_with_given_times_comes_back(tmp_path):
    run = simlib.simulate(frame(), simlib.StaticFIFO(), simlib.GivenTimes(np.linspace(0.1, 1, 12)))
    assert_same(round_trip(run, tmp_path), run)


def footer_bytes(path) -> int:
    return struct.unpack("<I", path.read_bytes()[-8:-4])[0]


def test_the_files_footer_does_not_grow_with_the_run(tmp_path):
    """Parquet readers refuse footers of some 100 MB: what grows with the run must be stored as columns."""
    small = simlib.simulate(frame(100), simlib.DynamicNoBins()).save(tmp_path / "small.parquet")
    large = simlib.simulate(frame(20_000), simlib.DynamicNoBins()).save(tmp_path / "large.parquet")
    assert footer_bytes(large) < 3 * footer_bytes(small)


# Saving and loading that fail


@pytest.mark.parametrize("where", ["absent/run.parquet", "file/run.parquet", "folder", "x" * 300])
def test_a_run_that_cannot_be_saved_leaves_nothing_behind(where, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    run = simlib.simulate(frame(), simlib.StaticFIFO())
    with pytest.raises(InputError, match=rf"^{tmp_path / where}: .*\(expected"):
        run.save(tmp_path / where)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("path", [None, 5, "", [1], "a\0b"], ids=repr)
def test_a_path_is_a_path(path):
    with pytest.raises(InputError):
        simlib.simulate(frame(), simlib.StaticFIFO()).save(path)
    with pytest.raises(InputError):
        simlib.load(path)


def test_a_failing_write_leaves_the_older_file(tmp_path, monkeypatch):
    run = simlib.simulate(frame(), simlib.StaticFIFO())
    path = run.save(tmp_path / "run.parquet")
    before = path.read_bytes()

    def full_disk(number):
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match="No space left"):
        run.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["run.parquet"]


def test_what_is_no_saved_run_is_named(tmp_path):
    text, table, meta = (tmp_path / name for name in ("text", "table.parquet", "meta.parquet"))
    text.write_text("start_s,service_s\n")
    frame().to_parquet(table)
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"simlib.runs.run": "not json"}), meta)
    for path in (text, table, meta, tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match=str(path)):
            simlib.load(path)


def test_a_file_cut_short_is_no_saved_run(tmp_path):
    path = simlib.simulate(frame(), simlib.StaticFIFO()).save(tmp_path / "run.parquet")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match="not a saved run"):
        simlib.load(path)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"policy": "static_fifo"}, r"a run of an earlier version \(format 1; expected 4\)"),
        ({"format": 3}, r"a run of an earlier version \(format 3; expected 4\)"),
        ({"format": 5}, r"a run of a later version \(format 5; expected 4\)"),
        ({"format": None}, r"a run of an earlier version \(format None; expected 4\)"),
    ],
)
def test_a_run_of_another_version_is_refused(about, message, tmp_path):
    path = simlib.simulate(frame(), simlib.StaticFIFO()).save(tmp_path / "run.parquet")
    stored = pq.read_table(path)
    pq.write_table(stored.replace_schema_metadata({"simlib.run": json.dumps(about)}), path)
    with pytest.raises(InputError, match=f"^{path}: {message}$"):
        simlib.load(path)


def test_an_assumed_deadline_is_still_one_on_disk(tmp_path):
    assumed, given = (simlib.simulate(frame(), simlib.StaticFIFO(), sla=sla) for sla in (None, 1.0))
    assert round_trip(assumed, tmp_path).sla.assumed and not round_trip(given, tmp_path).sla.assumed


def test_summaries_of_a_loaded_run_take_another_deadline(tmp_path):
    run = simlib.simulate(frame(), simlib.StaticFIFO(1), "original-calibrated")
    back = round_trip(run, tmp_path)
    for sla in (0.01, "ttft<=0.05"):
        assert back.summary(sla)["sla_violation_share"] == run.summary(sla)["sla_violation_share"]
    assert not math.isnan(back.summary(0.01)["sla_violation_share"])


# A file that is not as it was written


@pytest.mark.parametrize("execution", ["run_to_completion", "continuous"])
def test_every_flipped_bit_of_a_saved_run_is_found(execution, tmp_path):
    policy, latency = ("fcfs", STEPS) if execution == "continuous" else ("static_fifo", "original-synthetic")
    path = simlib.simulate(frame(), policy, latency, execution=execution).save(tmp_path / "run.parquet")
    whole = path.read_bytes()
    for bit in random.Random(7).sample(range(8 * len(whole)), 60):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError, match=f"^{path}: "):
            simlib.load(path)
    path.write_bytes(whole)
    assert simlib.load(path).summary()["requests"] == 12


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("gpu", 1, r"gpu: 1 as int64"),
        ("gpu", -1, "gpu: -1"),
        ("start_s", np.nan, "start_s: nan"),
        ("service_s", -0.1, r"service_s: -0\.1"),
        ("size", 0, "size: 0"),
        ("batch_of", 99, "batch_of: 99"),
    ],
)
def test_a_value_out_of_range_is_no_saved_run(column, value, message, tmp_path):
    run = simlib.simulate(frame(), simlib.StaticFIFO(4))
    getattr(run.served, column)[0] = value
    with pytest.raises(InputError, match=rf"run\.parquet: not a saved run \({message}"):
        simlib.load(run.save(tmp_path / "run.parquet"))


def test_devices_and_pipes_are_no_saved_runs(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(InputError, match="not a saved run"):
            simlib.load(path)
