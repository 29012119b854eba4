"""A run as a timeline: the file by the rules of the trace-event format, for both execution models."""

import json
from collections import defaultdict

import numpy as np
import pytest

import simlib
from simlib.cli import main
from simlib.continuous.settings import Continuous
from simlib.runs import timeline

LAW = simlib.StepLaw(0.0078, 0.0001, 73e-6, 58e-9)
SMALL = simlib.Memory(kv_gb_per_token=1 / 128)  # 1152 tokens


def table(requests=80, rate_rps=20.0, seed=5):
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / rate_rps, requests) * (rng.random(requests) < 0.7)  # some arrive together
    outputs = rng.integers(0, 150, requests)
    return simlib.RequestTable(np.cumsum(gaps), rng.integers(1, 200, requests), outputs, outputs)


def engine(**settings):
    return Continuous(**{"max_seqs": 8, "kv_tokens": 1600, "token_budget": 64, **settings})


RUNS = {
    "static": lambda: simlib.simulate(table(), simlib.StaticFIFO(4), gpus=2),
    "bins": lambda: simlib.simulate(table(), simlib.MultiBinDynamic(3), gpus=3),
    "rejected": lambda: simlib.simulate(
        table(), simlib.DynamicNoBins(variant=simlib.Rules(memory=SMALL, b_max=4)), gpus=1, oversize="reject"
    ),
    "one request": lambda: simlib.simulate(table(1), "static_fifo"),
    "engine": lambda: simlib.simulate(table(), "fcfs", LAW, 2, engine()),
    "two in flight": lambda: simlib.simulate(
        table(), "fcfs", LAW, 2, engine(steps_in_flight=2, routing="least_tokens")
    ),
    "prefill first, preempted": lambda: simlib.simulate(
        table(), "fcfs", LAW, 1, engine(kv_tokens=400, prefill="first")
    ),
    "clients leave": lambda: simlib.simulate(table(), "fcfs", LAW, 1, engine(max_seqs=1, timeout_s=0.5)),
}


def nanoseconds(microseconds):
    return round(1000 * microseconds)


def read(path):
    """A trace's events by phase, each checked for what the format asks of it."""
    document = json.loads(path.read_text())
    assert isinstance(document["traceEvents"], list)
    events = defaultdict(list)
    for event in document["traceEvents"]:
        assert isinstance(event["name"], str) and isinstance(event["pid"], int) and isinstance(event["tid"], int)
        if event["ph"] != "M":
            assert isinstance(event["ts"], float) and event["ts"] >= 0
        events[event["ph"]].append(event)
    assert set(events) <= set("MXstfi")
    return events


@pytest.mark.parametrize("name", RUNS)
def test_a_trace_is_valid_and_every_request_has_its_flow(name, tmp_path):
    run = RUNS[name]()
    path = run.trace(tmp_path / "run.json")
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]
    events = read(path)
    rows = defaultdict(list)
    for event in events["X"]:
        start = nanoseconds(event["ts"])
        rows[event["pid"], event["tid"]].append((start, start + nanoseconds(event["dur"])))
    for spans in rows.values():
        assert all(start <= end for start, end in spans)
        assert all(end <= start for (_, end), (start, _) in zip(sorted(spans), sorted(spans)[1:], strict=False))
    named = {(event["pid"], event["tid"]) for event in events["M"] if event["name"] == "thread_name"}
    assert set(rows) <= named and len(named) == run.gpus + 1
    assert not {row for _, row in named} & {group for group, _ in named}  # else Perfetto puts that row first
    served = set(np.flatnonzero(~np.isnan(run.times.completion_s)).tolist())
    for phase in "sf":
        assert sorted(event["id"] for event in events[phase]) == sorted(served)
    assert len(events["i"]) == len(run.table) - len(served)
    when = {phase: {event["id"]: event["ts"] for event in events[phase]} for phase in "stf"}
    assert all(when["s"][request] <= when["t"].get(request, ts) <= ts for request, ts in when["f"].items())
    for event in (*events["s"], *events["t"], *events["f"]):  # each end of an arrow lies on a slice
        at = nanoseconds(event["ts"])
        assert any(start <= at <= end for start, end in rows[event["pid"], event["tid"]])
        assert event["ph"] == "s" or event["bp"] == "e"


@pytest.mark.parametrize("name", RUNS)
def test_slices_tell_when_the_gpus_were_busy_and_arrows_who_was_served(name, tmp_path):
    run = RUNS[name]()
    done = run.slices()
    assert done["time_s"].sum() == pytest.approx(run.busy_s, rel=1e-9)
    first_s = run.table.arrival_s[0]
    ends = {(event["tid"], nanoseconds(event["ts"])): event["dur"] for event in read(run.trace(tmp_path / "t"))["X"]}
    for event in read(tmp_path / "t")["f"]:  # the last token comes with the end of the arrow's slice
        end = nanoseconds(event["ts"]) + nanoseconds(ends[event["tid"], nanoseconds(event["ts"])])
        assert end == pytest.approx(1e9 * (run.times.completion_s[event["id"]] - first_s), abs=2)
        gpu = run.requests["gpu"].iloc[event["id"]]
        assert event["tid"] == timeline.FIRST + gpu


def test_steps_add_up_to_the_runs_totals():
    run = RUNS["engine"]()
    steps, sides = run.steps, run.identity
    assert steps["steps"].sum() == sides["steps"]
    assert (steps["steps"] * steps["decodes"]).sum() == sides["sum_decodes"]
    assert steps["prefill_tokens"].sum() == sides["sum_prefill"]
    assert steps["kv_tokens"].max() == run.kv_peak_tokens


@pytest.mark.parametrize("name", ["static", "engine"])
def test_a_loaded_run_gives_the_same_trace(name, tmp_path):
    run = RUNS[name]()
    back = simlib.load(run.save(tmp_path / "run.parquet"))
    assert back.trace(tmp_path / "b.json").read_bytes() == run.trace(tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("where", ["absent/run.json", "file/run.json", "folder", "x" * 300, "a\0b", ""])
def test_a_trace_that_cannot_be_written_is_named_and_leaves_nothing(where, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine")
    path = f"{tmp_path}/{where}" if where else where
    with pytest.raises(simlib.InputError, match=r"expected|written"):
        RUNS["one request"]().trace(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("bad", [None, 5, b"run.json", ["run.json"]])
def test_what_is_no_path_or_no_run_is_named(bad, tmp_path):
    with pytest.raises(simlib.InputError, match="path"):
        RUNS["one request"]().trace(bad)
    with pytest.raises(simlib.InputError, match="run"):
        timeline.write(bad, tmp_path / "run.json")


def test_a_trace_that_was_there_is_replaced_only_by_a_whole_one(tmp_path, monkeypatch):
    path = tmp_path / "run.json"
    path.write_text("old")

    def fails(run):
        yield {}
        raise simlib.InputError("run: too long")

    monkeypatch.setattr(timeline, "_events", fails)
    with pytest.raises(simlib.InputError, match="too long"):
        RUNS["one request"]().trace(path)
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "options", [["--k-bins", "1"], ["--k-bins", "1", "--execution", "continuous"], ["--policy", "static_fifo"]]
)
def test_the_terminal_writes_a_trace(options, tmp_path, capsys):
    requests, path = tmp_path / "requests.csv", tmp_path / "run.json"
    requests.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n0.5,30,3\n")
    assert main(["simulate", str(requests), *options, "--trace", str(path), "--json"]) == 0
    assert sorted(event["id"] for event in read(path)["f"]) == [0, 1, 2]
    assert json.loads(capsys.readouterr().out)["requests"] == 3
    assert main(["simulate", str(requests), *options, "--trace", str(tmp_path / "absent" / "run.json")]) == 2
    assert "no folder" in capsys.readouterr().err


def test_the_terminal_knows_the_engines_own_policy(tmp_path, capsys):
    requests = tmp_path / "requests.csv"
    requests.write_text("arrival_s,prompt_tokens,output_tokens\n0,10,5\n0.5,20,7\n")
    assert main(["simulate", str(requests), "--execution", "continuous", "--policy", "fcfs"]) == 0
    assert main(["simulate", str(requests), "--policy", "fcfs"]) == 2
    assert "--policy: 'fcfs'" in capsys.readouterr().err
