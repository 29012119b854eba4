"""Sweeps: the same to the last bit however they are run, and nothing lost when something dies. The kills are real."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

import simlib
from simlib import cli, named
from simlib.checks import InputError
from simlib.runs import metrics
from simlib.sweep import run as sweep_run
from simlib.sweep.grid import Grid
from simlib.sweep.run import Layout, estimate, results
from simlib.sweep.shards import Shards

EXAMPLE = Path(__file__).parents[2] / "book" / "example_sweep.yaml"
LIMIT_S = 60.0  # of whatever waits for another process
YAML = """
replications: 3
workload: {kind: original, requests: 40}
vary:
  policy.k_bins: [1, 2, 4]
  policy.d_sla: [0.5, 1.0]
  gpus: [1, 2]
"""


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(sweep_run, "TASK_REQUESTS", 120)  # three cells each: 12 tasks


@pytest.fixture
def grid():
    varied = {"policy.k_bins": [1, 2, 4], "policy.d_sla": [0.5, 1.0], "gpus": [1, 2]}
    return Grid(varied, replications=3, workload={"kind": "original", "requests": 40})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text(YAML)
    return path


def shards_of(folder):
    whole = (path for path in folder.glob("shard-*") if path.suffix != ".part")
    return {path.name: path.read_bytes() for path in whole}


def test_a_row_is_what_simulate_says_of_the_cell(grid, tmp_path):
    frame = sweep_run.run(grid, tmp_path / "out").frame()
    assert list(frame.columns) == ["cell", "replication", *grid.vary, *metrics.SUMMARY_KEYS, "error"]
    assert frame[["replication", "cell"]].to_numpy().tolist() == [[r, c] for r in range(3) for c in range(12)]
    for row in frame.sample(6, random_state=1).to_dict("records"):
        policy = simlib.MultiBinDynamic(row["policy.k_bins"], row["policy.d_sla"])
        table = simlib.workload.original(40, seed=42 + row["replication"])
        summary = simlib.simulate(table, policy, gpus=row["gpus"]).summary()
        assert {key: row[key] for key in summary} == summary
        assert pd.isna(row["error"])


def test_a_row_of_priorities_and_limits_by_class_is_what_simulate_says(tmp_path):
    limits = "priority=0: 0.2; priority=1: latency<=1"
    shared = {"workload": {"kind": "original", "requests": 60, "priorities": [1, 2]}, "sla": limits}
    grid = Grid({"policy": ["dynamic_no_bins", {"kind": "priority", "variant": {"b_max": 4}}]}, 2, **shared)
    found = sweep_run.run(grid, tmp_path / "out").frame()
    for row in found.itertuples():
        cell = grid.cell(row.cell)
        run = simlib.simulate(cell.workload.table(row.replication), cell.policy, cell.latency, sla=limits)
        assert row.sla_violation_share == run.summary()["sla_violation_share"] == metrics.violations(run, limits).mean()
    assert len(found) == 4 and found["sla_violation_share"].nunique() > 2


def test_rows_give_what_each_of_them_gives_alone(tmp_path):
    columns = {"workload.rate_rps": [40.0, 40.0, 60.0], "policy.k_bins": [1, 4, 2], "gpus": [1, 1, 2]}
    common = {"replications": 2, "workload": {"kind": "original", "requests": 40}}
    frame = sweep_run.run(Grid(columns, rows=True, **common), tmp_path / "rows").frame()
    assert frame[["replication", "cell"]].to_numpy().tolist() == [[r, c] for r in range(2) for c in range(3)]
    for row in frame.to_dict("records"):
        table = simlib.workload.original(40, 42 + row["replication"], row["workload.rate_rps"])
        summary = simlib.simulate(table, simlib.MultiBinDynamic(row["policy.k_bins"]), gpus=row["gpus"]).summary()
        assert {key: row[key] for key in summary} == summary


def test_bins_that_are_shared_are_those_that_each_cell_would_cut(tmp_path):
    rules = {"bounds": ["equal_mass", "equal_width", "lemma_a1"], "d_sla": [0.5, 1.0]}
    for kind, varied in (("multi_bin_dynamic", rules), ("multi_bin_fixed", {"bounds": rules["bounds"]})):
        grid = Grid(
            {f"policy.{name}": values for name, values in varied.items()} | {"gpus": [1, 3]},
            replications=1,
            workload={"kind": "original", "requests": 300},
            policy=kind,
        )
        for row in sweep_run.run(grid, tmp_path / kind).frame().to_dict("records"):
            given = {name: row[f"policy.{name}"] for name in varied}
            policy = named.POLICIES[kind](**given)
            summary = simlib.simulate(simlib.workload.original(300), policy, gpus=row["gpus"]).summary()
            assert {key: row[key] for key in summary} == summary


def test_one_worker_and_two_leave_the_same_files(grid, tmp_path):
    sweep_run.run(grid, tmp_path / "one", workers=1)
    sweep_run.run(grid, tmp_path / "two", workers=2)
    assert len(shards_of(tmp_path / "one")) == 12
    assert shards_of(tmp_path / "one") == shards_of(tmp_path / "two")


def test_what_varies_keeps_its_kind(tmp_path):
    lists = {"kind": "multi_bin_dynamic", "k_bins": 2, "bounds": [50]}
    grid = Grid({"policy": ["static_fifo", lists], "sla": [1, "ttft<=1"], "gpus": [1, 2]}, replications=1)
    frame = sweep_run.run(grid, tmp_path / "out").frame()
    assert frame["policy"].unique().tolist() == [
        '"static_fifo"',
        '{"kind": "multi_bin_dynamic", "k_bins": 2, "bounds": [50]}',
    ]
    assert frame["sla"].unique().tolist() == ["1", '"ttft<=1"'] and frame["gpus"].dtype == "int64"


def test_cells_are_laid_out_without_being_listed():
    values = list(range(1, 101))
    grid = Grid({"policy.k_bins": values, "gpus": values, "policy.d_sla": values}, replications=100)
    started_s = time.process_time()
    grid.check()
    layout = Layout.of(grid)
    assert (layout.cells, layout.tasks) == (1_000_000, 10_000)
    assert time.process_time() - started_s < 1.0  # 300 values are looked at, not a million cells
    replications, cells = layout.task(9_999)
    assert (replications[-1], cells[-1]) == (99, 999_999)
    assert layout.task_of(replications[0], cells[0]) == 9_999


@pytest.mark.parametrize(("cells", "replications", "most"), [(7, 5, 3), (7, 5, 100), (1, 50, 4), (12, 3, 1)])
def test_every_run_belongs_to_one_task(cells, replications, most, monkeypatch):
    monkeypatch.setattr(sweep_run, "TASK_REQUESTS", most)
    grid = Grid({"gpus": list(range(1, cells + 1))}, replications, workload={"kind": "original", "requests": 1})
    layout = Layout.of(grid)
    runs = [(r, c, n) for n in range(layout.tasks) for r in layout.task(n)[0] for c in layout.task(n)[1]]
    assert sorted(run[:2] for run in runs) == [(r, c) for r in range(replications) for c in range(cells)]
    assert all(layout.task_of(r, c) == n for r, c, n in runs)
    assert sum(map(layout.runs, range(layout.tasks))) == len(runs)
    assert max(map(layout.runs, range(layout.tasks))) <= max(most, 1)


# --- what can go wrong ---------------------------------------------------------------------------------------------

# A driver that writes some shards, and then meets its fate in the middle of the next one.
DRIVER = """
import resource, sys, time
from simlib import cli
from simlib.sweep import run as sweep, shards

sweep.TASK_REQUESTS = 120
whole, fate = shards.Shards.write, sys.argv[1]

def write(self, task, table):
    if len(self.done()) == 5 and fate == "killed":
        (self.folder / ".simlib-00ff00ff00ff00ff.part").write_bytes(b"PAR1 and half of the rest")
        time.sleep(600)
    if len(self.done()) == 5 and fate == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))  # the kernel refuses to write more
    whole(self, task, table)

shards.Shards.write = write
if __name__ == "__main__":
    sys.exit(cli.main(["sweep", *sys.argv[2:]]))
"""


def start(tmp_path, fate, *arguments):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    return subprocess.Popen(
        [sys.executable, script, fate, *map(str, arguments)], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def wait_for(condition):
    deadline_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def children_of(pid):
    """Processes whose parent it is."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(status.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(status.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_driver_killed_in_the_middle_of_a_shard_loses_that_shard_alone(workers, file, grid, tmp_path):
    out = tmp_path / "out"
    driver = start(tmp_path, "killed", file, "--out", out, "--workers", workers)
    try:
        wait_for(lambda: len(list(out.glob("shard-*.parquet"))) == 5 and list(out.glob(".simlib-*.part")))
        with pytest.raises(InputError, match="another sweep is writing into it"):
            sweep_run.run(grid, out)
        workers_left = children_of(driver.pid)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate(timeout=LIMIT_S)
    before = {path: path.stat().st_mtime_ns for path in out.glob("shard-*.parquet")}
    assert len(before) == 5
    sweep_run.run(grid, out)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not run again
    assert not list(out.glob("*.part"))
    sweep_run.run(grid, tmp_path / "whole")
    assert shards_of(out) == shards_of(tmp_path / "whole")
    assert len(workers_left) >= workers - 1  # with two, and what watches over them
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers_left))


def test_a_full_disk_is_a_sentence_and_the_rest_follows_later(file, grid, tmp_path):
    out = tmp_path / "out"
    driver = start(tmp_path, "full", file, "--out", out)
    printed, said = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 2 and printed == ""
    assert said == f"simlib: {out}: cannot be written (File too large)\n"
    assert len(shards_of(out)) == 5 and not list(out.glob("*.part"))
    sweep_run.run(grid, out)
    sweep_run.run(grid, tmp_path / "whole")
    assert shards_of(out) == shards_of(tmp_path / "whole")


def test_shards_that_were_damaged_are_run_again_and_others_files_do_no_harm(file, grid, tmp_path, capsys):
    out = tmp_path / "out"
    sweep_run.run(grid, out)
    before, names = shards_of(out), sorted(path.name for path in out.glob("shard-*.parquet"))
    (out / names[0]).write_bytes(b"")
    (out / names[1]).write_bytes((out / names[2]).read_bytes())  # whole, but of another task
    flipped = bytearray((out / names[3]).read_bytes())
    flipped[300] ^= 1
    (out / names[3]).write_bytes(flipped)
    assert sweep_run.estimate(grid, out).done == len(names) - 3
    assert cli.main(["sweep", str(file), "--out", str(out)]) == 0
    assert f"{out}: 3 damaged shards, which are run again" in capsys.readouterr().err
    assert shards_of(out) == before
    for name in ("shard-x.parquet", "shard-00000099.parquet"):
        (out / name).write_bytes((out / names[0]).read_bytes())
    assert len(sweep_run.run(grid, out).frame()) == grid.cells * grid.replications


def test_a_worker_that_is_killed_takes_nobody_with_it(grid, tmp_path, monkeypatch):
    marker = tmp_path / "killed"

    def work(document, replications, cells, only):
        if cells.start == 6 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return sweep_run.work(document, replications, cells, only)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_run, "work", work)
        shards = sweep_run.run(grid, tmp_path / "out", workers=2)
    assert marker.exists() and len(shards.failed()) == 0
    sweep_run.run(grid, tmp_path / "whole")
    assert shards_of(tmp_path / "out") == shards_of(tmp_path / "whole")


def test_a_task_that_kills_its_workers_is_listed_and_can_be_retried(grid, tmp_path, monkeypatch):
    def work(document, replications, cells, only):
        if (replications.start, cells.start) == (1, 6):
            os.kill(os.getpid(), signal.SIGKILL)
        return sweep_run.work(document, replications, cells, only)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_run, "work", work)
        failed = sweep_run.run(grid, tmp_path / "out", workers=2).failed()
    assert failed[["replication", "cell"]].to_numpy().tolist() == [[1, 6], [1, 7], [1, 8]]
    assert failed["error"].unique().tolist() == ["ChildProcessError: the worker process died"]
    assert len(sweep_run.run(grid, tmp_path / "out", retry_failed=True).failed()) == 0
    whole = sweep_run.run(grid, tmp_path / "whole")
    pd.testing.assert_frame_equal(results(tmp_path / "out").frame(), whole.frame(), check_exact=True)


def test_a_cell_that_fails_is_listed_and_it_alone_is_retried(grid, tmp_path, monkeypatch, capsys, file):
    ran = []

    def simulate(table, policy, latency, gpus, **settings):
        ran.append((policy.k_bins, policy.d_sla, gpus))
        if len(ran) < 37 and (policy.k_bins, policy.d_sla, gpus) == (2, 1.0, 1):
            raise ZeroDivisionError("a slip")
        return simlib.simulate(table, policy, latency, gpus, **settings)

    monkeypatch.setattr(sweep_run, "simulate", simulate)
    assert cli.main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr()
    assert printed.out.endswith("36 runs, 3 of them failed\n")
    assert "simlib: cell 6, replication 0: ZeroDivisionError: a slip\n" in printed.err
    assert len(ran) == 36
    sweep_run.run(grid, tmp_path / "out")
    assert len(ran) == 36  # failed cells wait to be asked for
    assert cli.main(["sweep", str(file), "--out", str(tmp_path / "out"), "--retry-failed"]) == 0
    assert ran[36:] == [(2, 1.0, 1)] * 3
    whole = sweep_run.run(grid, tmp_path / "whole").frame()
    pd.testing.assert_frame_equal(results(tmp_path / "out").frame(), whole, check_exact=True)


# --- a cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, processes of their own that talk TCP over the loopback; stopped in the end."""
    pytest.importorskip("distributed")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    module, options = [sys.executable, "-m"], ["--host", "127.0.0.1", "--no-dashboard"]
    at = tmp_path / "scheduler.json"
    processes = [
        subprocess.Popen(
            [*module, "distributed.cli.dask_scheduler", *options, "--port", "0", "--scheduler-file", at], **quiet
        )
    ]
    try:
        wait_for(at.exists)
        worker = [*module, "distributed.cli.dask_worker", *options, "--scheduler-file", at, "--no-nanny"]
        processes += [subprocess.Popen([*worker, "--nthreads", "1"], **quiet) for _ in range(2)]
        yield pd.read_json(at, typ="series")["address"], processes
    finally:
        for process in processes:
            process.kill()
            process.wait(LIMIT_S)


def test_a_cluster_gives_the_same_files_though_its_workers_are_killed(cluster, file, grid, tmp_path):
    address, (_, *workers) = cluster
    assert address.startswith("tcp://127.0.0.1:")
    out = tmp_path / "out"
    driver = start(tmp_path, "spared", file, "--out", out, "--scheduler", address, "--timeout", "30")
    try:
        wait_for(lambda: len(shards_of(out)) >= 2 or driver.poll() is not None)
        workers[0].send_signal(signal.SIGKILL)
        printed, said = driver.communicate(timeout=LIMIT_S)
    finally:
        driver.kill()
    assert (driver.returncode, printed) == (0, f"{out}: 36 runs, 0 of them failed\n"), said
    sweep_run.run(grid, tmp_path / "whole")
    assert shards_of(out) == shards_of(tmp_path / "whole")

    from distributed import Client

    with Client(address, timeout=30, set_as_default=False) as client:
        workers[1].send_signal(signal.SIGKILL)
        with pytest.raises(InputError, match=r"scheduler: tcp://127\.0\.0\.1:\d+ has no worker left"):
            sweep_run.run(grid, tmp_path / "again", scheduler=client, timeout_s=1.0)
    sweep_run.run(grid, tmp_path / "again")
    assert shards_of(tmp_path / "again") == shards_of(tmp_path / "whole")


# --- the terminal --------------------------------------------------------------------------------------------------


def test_a_dry_run_counts_and_writes_nothing(tmp_path, capsys):
    assert cli.main(["sweep", str(EXAMPLE), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("72 cells x 10 replications = 720 runs in ")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_leaves_out_what_is_done(grid, file, tmp_path, capsys):
    shards = sweep_run.run(grid, tmp_path / "out")
    for name in list(shards_of(tmp_path / "out"))[:3]:
        (tmp_path / "out" / name).unlink()
    found = estimate(grid, tmp_path / "out")
    assert (found.cells, found.replications, found.tasks, found.done) == (12, 3, 12, 9)
    assert 0.0 < found.seconds < 10.0
    sweep_run.run(grid, tmp_path / "out")
    assert cli.main(["sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert "12 tasks, 12 of them done; the rest takes about 0 CPU-s" in capsys.readouterr().out
    assert isinstance(shards, Shards) and shards.dataset().count_rows() == 36


BAD = [
    ("vary: {policy.k_bin: [1, 2]}", "did you mean 'k_bins'?"),
    ("vary: {polcy.k_bins: [1, 2]}", "did you mean 'policy'?"),
    ("varying: {gpus: [1, 2]}", "did you mean 'vary'?"),
    ("vary: {}", "an empty grid"),
    ("vary: {gpus: []}", "an empty grid"),
    ("replications: 3", "an empty grid"),
    ("", "a mapping"),
    ("vary: [gpus", "line 1"),
    ("vary: {gpus: [1, 2]}\nreplications: 0", "replications: 0"),
    (f"vary: {{gpus: {list(range(1, 30))}, policy.k_bins: {[*range(1, 29), 0]}}}", "cell 812 of 841"),
    ("vary: {gpus: [1, 2]}\nlatency: !!python/object/apply:os.getpid []", "line 2"),
    ("vary: {gpus: [1, 2]}\nsla: 2020-01-01", "sla: '2020-01-01'"),
]


@pytest.mark.parametrize(("text", "word"), BAD)
def test_a_bad_file_is_a_sentence_and_exit_code_2(text, word, tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert cli.main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and word in printed.err and printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--scheduler", "tcp://127.0.0.1:9", "--timeout", "0.5"], "does not answer within 0.5 s"),
        (["--scheduler", "nonsense"], "expected the address of a Dask scheduler"),
        (["--scheduler", "tcp://127.0.0.1:9", "--workers", "2"], "workers: 2"),
        (["--workers", "0"], "workers: 0"),
        (["--timeout", "0"], "timeout_s: 0"),
        (["--timeout", "5"], "--timeout: 5 (expected --scheduler beside it)"),
    ],
)
def test_bad_options_are_a_sentence_and_exit_code_2(options, word, file, tmp_path, capsys):
    dry = [] if "answer" in word else [["--dry-run"]]  # a dry run calls nobody
    for more in ([], *dry):
        assert cli.main(["sweep", str(file), "--out", str(tmp_path / "out"), *options, *more]) == 2
        printed = capsys.readouterr()
        assert printed.out == "" and word in printed.err and printed.err.count("\n") == 1


def test_a_dry_run_counts_what_is_to_be_run_again(tmp_path, monkeypatch):
    grid = Grid({"gpus": [1, 2]}, 1, workload={"kind": "original", "requests": 5})
    monkeypatch.setattr(sweep_run, "simulate", lambda *_, **__: 1 / 0)
    sweep_run.run(grid, tmp_path / "out", workers=1)
    monkeypatch.undo()
    assert sweep_run.estimate(grid, tmp_path / "out").done == 1
    assert sweep_run.estimate(grid, tmp_path / "out", retry_failed=True).done == 0


def test_another_grids_directory_is_refused(grid, file, tmp_path, capsys):
    sweep_run.run(Grid({"gpus": [1, 2]}, 1, workload={"kind": "original", "requests": 5}), tmp_path / "out")
    for arguments in ([], ["--dry-run"]):
        assert cli.main(["sweep", str(file), "--out", str(tmp_path / "out"), *arguments]) == 2
        assert "the results of another grid" in capsys.readouterr().err


def test_tied_lengths_are_said_once(tmp_path):
    workload = {"kind": "synthetic", "requests": 30, "arrivals": "all_at_once", "predictor": "oracle"}
    workload |= {part: {"kind": "fixed", "tokens": 10} for part in ("prompt", "output")}
    grid = Grid({"policy.k_bins": [1, 3], "gpus": [1, 2, 3]}, replications=2, workload=workload)
    with pytest.warns(UserWarning, match="leave 1 distinct bins of 3") as said:
        table = sweep_run.run(grid, tmp_path / "out").dataset().to_table()
    assert len(said) == 1
    assert table["makespan_s"].type == pa.float64() and table["stability"].type == pa.string()


# --- the page ------------------------------------------------------------------------------------------------------


def blocks_of(language):
    page = (Path(__file__).parents[2] / "book" / "sweeps.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)


@pytest.fixture
def beside_the_example(tmp_path, monkeypatch):
    """A folder with the example, and the environment's commands on the path."""
    (tmp_path / "book").mkdir()
    small = EXAMPLE.read_text().replace("requests: 2000", "requests: 20").replace("replications: 10", "replications: 2")
    (tmp_path / "book" / EXAMPLE.name).write_text(small)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}")
    return tmp_path


def test_the_commands_of_the_page_do_what_it_says(beside_the_example):
    (commands,) = blocks_of("sh")
    shown = subprocess.run(["bash", "-e"], input=commands, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    first, second = shown.stdout.splitlines()
    assert first.startswith("72 cells") and second == "results: 144 runs, 0 of them failed"


def test_the_bad_value_of_the_page_is_answered_as_it_says(beside_the_example, capsys):
    (answer,) = blocks_of("text")
    example = beside_the_example / "book" / EXAMPLE.name
    example.write_text(example.read_text().replace("[1, 2, 4, 8]", "[1, 0, 4, 8]"))
    assert cli.main(["sweep", str(example), "--out", "results", "--dry-run"]) == 2
    assert capsys.readouterr().err == answer


def test_the_python_of_the_page_runs(beside_the_example, capsys):
    seen = {}
    for block in blocks_of("python"):
        exec(block, seen)
    assert capsys.readouterr().out.count("method='paired'") == 2
    assert seen["late"].num_rows == 20


def test_the_batch_job_of_the_page_runs(beside_the_example):
    pytest.importorskip("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Two workers on this machine, which end with the command that started them, as srun's do.
    stubs = {"srun": 'trap \'kill $(jobs -p)\' EXIT TERM\n"$@" &\n"$@" &\nwait', "hostname": "echo 127.0.0.1"}
    for name, body in stubs.items():
        (beside_the_example / name).write_text(f"#!/bin/bash\n{body}\n")
        (beside_the_example / name).chmod(0o755)
    (script,) = blocks_of("bash")
    # Files, not pipes: a worker that is slow to leave would hold a pipe open after the job itself has ended.
    with open("printed", "w") as printed, open("said", "w") as said:
        command = ["bash", "-c", script.replace("8786", str(port))]
        job = subprocess.Popen(command, stdout=printed, stderr=said, start_new_session=True)
    try:
        job.wait(timeout=LIMIT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(job.pid, signal.SIGKILL)
    assert Path("printed").read_text() == "results: 144 runs, 0 of them failed\n", Path("said").read_text()


def test_a_trace_is_accounted_for_once_in_a_run_and_in_a_dry_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text("arrival_s,prompt_tokens,output_tokens\n0,9,2\n1,9,0\n2,9,2\n")
    workload = {"kind": "trace", "path": "t.csv", "predictor": "oracle"}
    Path("g.yaml").write_text(
        json.dumps({"vary": {"workload.requests": [1, 2]}, "replications": 1, "workload": workload})
    )
    for more in ([], ["--dry-run"]):
        assert cli.main(["sweep", "g.yaml", "--out", "o", *more]) == 0
        said = capsys.readouterr().err
        assert said.count("warning: 1 of 3 requests failed: dropped") == said.count("t.csv: a request table") == 1


@pytest.mark.parametrize("option", [["--workers", "2"], ["--scheduler", "tcp://127.0.0.1:9"]])
def test_a_dry_run_takes_no_option_that_it_does_not_use(option, file, tmp_path, capsys):
    assert cli.main(["sweep", str(file), "--out", str(tmp_path / "out"), "--dry-run", *option]) == 2
    assert f"{option[0]}: given beside --dry-run" in capsys.readouterr().err
