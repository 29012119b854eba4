"""Many simulations at once: every cell of a grid in every replication, on one core, on many, or on a Dask cluster.

Made of `grid`, kept by `shards`. A task is a run of neighbouring cells in one replication: it makes a workload once for
all cells that share it, and cuts the bins once. What a task returns depends on its place in the grid alone, so that
results are the same to the last bit for any number of workers, in any order, interrupted or not. Only the process that
was asked writes; workers compute.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import json
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from simlib.checks import InputError, check_integer, check_number, check_type
from simlib.runs.metrics import SUMMARY_KEYS
from simlib.simulation import simulate
from simlib.sweep.grid import Grid
from simlib.sweep.shards import Shards, check_same
from simlib.sweep.workers import Job, connected, in_processes, on_cluster, one_by_one

if TYPE_CHECKING:
    import pyarrow as pa


# Requests of a task, about a fifth of a second: many times what it costs to send and to write. Larger sweeps have
# larger tasks, as each is a file.
TASK_REQUESTS, MOST_TASKS = 2_000_000, 10_000
SMALL = 20_000_000  # requests of a sweep that ends before other processes have started
SAMPLES = 5
ANSWER_S = 10.0


class Layout(NamedTuple):
    """How a grid is cut into tasks: so many consecutive cells, or so many whole replications, each."""

    cells: int
    replications: int
    cells_a_task: int
    replications_a_task: int

    @classmethod
    def of(cls, grid: Grid) -> Layout:
        """The layout of a grid, by the size of its largest cell; depends on nothing else."""
        each = grid.longest()
        most = max(TASK_REQUESTS, each * grid.cells * grid.replications // MOST_TASKS)
        pieces = -(-each * grid.cells // most)
        whole = max(1, most // (each * grid.cells))
        return cls(grid.cells, grid.replications, -(-grid.cells // pieces), min(whole, grid.replications))

    @property
    def tasks(self) -> int:
        """How many there are."""
        return -(-self.cells // self.cells_a_task) * -(-self.replications // self.replications_a_task)

    def task(self, number: int) -> tuple[range, range]:
        """The replications and the cells of one task."""
        row, column = divmod(number, -(-self.cells // self.cells_a_task))
        first, start = row * self.replications_a_task, column * self.cells_a_task
        replications = range(first, min(first + self.replications_a_task, self.replications))
        return replications, range(start, min(start + self.cells_a_task, self.cells))

    def task_of(self, replication: int, cell: int) -> int:
        """The task that has a run."""
        columns = -(-self.cells // self.cells_a_task)
        return replication // self.replications_a_task * columns + cell // self.cells_a_task

    def runs(self, number: int) -> int:
        """How many runs a task has."""
        replications, cells = self.task(number)
        return len(replications) * len(cells)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a sweep would do.

    Attributes
    ----------
    cells, replications, tasks : int
    done : int
        Tasks that the results directory has already.
    seconds : float
        CPU time of the rest, from a few cells that were run; rough.
    """

    cells: int
    replications: int
    tasks: int
    done: int
    seconds: float

    def __str__(self) -> str:
        runs = f"{self.cells:,} cells x {self.replications:,} replications = {self.cells * self.replications:,} runs"
        return (
            f"{runs} in {self.tasks:,} tasks, {self.done:,} of them done; the rest takes about {self.seconds:.2g} CPU-s"
        )


def run(
    grid: Grid,
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: Any = None,
    retry_failed: bool = False,
    progress: bool | None = None,
    timeout_s: float = ANSWER_S,
) -> Shards:
    """Run what is not done yet of a sweep, and keep it in a directory.

    Parameters
    ----------
    grid : Grid
    out : str or Path
        Results directory, new or of the same grid; its parent exists.
    workers : int, optional
        Processes on this machine; by default one a core, or this one alone where others would come too late.
    scheduler : str or distributed.Client, optional
        A Dask scheduler's address (``tcp://host:port``), or a client: the cluster's workers then do the work.
    retry_failed : bool
        Whether to run failed cells of an earlier sweep once more; cells that are done are not run again.
    progress : bool, optional
        Whether to show a bar with the time left on standard error; by default where that is a terminal.
    timeout_s : float
        How long to wait for the scheduler and its first worker, seconds.

    Returns
    -------
    Shards
        The directory: ``frame()`` has one row a cell and replication, with the columns ``cell, replication``, what
        varies, `metrics.SUMMARY_KEYS` and ``error`` (missing where the cell was run); ``dataset()`` is the same unread.

    Raises
    ------
    InputError
        If an argument or a cell is bad, before anything runs; if the directory is another grid's, in use, or cannot be
        written (as on a full disk), or the cluster is gone: what is done is kept, and the same call goes on from there.

    Examples
    --------
    >>> import tempfile
    >>> grid = Grid({"policy.k_bins": [1, 4]}, replications=2, workload={"kind": "original", "requests": 50})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     shards = run(grid, folder)
    ...     shards.frame(["cell", "replication", "policy.k_bins", "requests"]).values.tolist()
    [[0, 0, 1, 50], [1, 0, 4, 50], [0, 1, 1, 50], [1, 1, 4, 50]]
    """
    check_type("grid", grid, Grid, "a simlib.sweep.grid.Grid")
    workers = check_ways(workers, scheduler, timeout_s)
    grid.check()
    about = {"identity": grid.identity, "grid": json.loads(grid.document), "layout": Layout.of(grid)._asdict()}
    about["tasks"] = Layout.of(grid).tasks
    with _backend(grid, workers, scheduler, timeout_s) as ways, Shards.writing(out, about) as shards:
        layout = Layout(**shards.about["layout"])  # that of whoever began
        damaged = shards.damaged()
        for number in sorted(damaged):
            shards.remove(number)
        if damaged:
            warnings.warn(f"{out}: {len(damaged)} damaged shards, which are run again", stacklevel=2)
        done, broken = shards.done(), _broken(shards, layout) if retry_failed else {}
        numbers = (number for number in range(layout.tasks) if number not in done or number in broken)
        jobs = (Job(number, (grid.document, *layout.task(number), broken.get(number))) for number in numbers)
        notes: set[str] = set()
        with _bar(layout, done, broken, progress) as bar:
            for number, result, died in ways(work, jobs):
                which = (*layout.task(number), broken.get(number))
                table, noted = (_lost(grid, which, died), ()) if died else result
                bar.update(len(table))
                if number in broken:
                    table = _mended(shards.read(number), table)
                shards.write(number, table)
                notes.update(noted)
    for note in sorted(notes):
        warnings.warn(note, stacklevel=2)
    return shards


def check_ways(workers: int | None, scheduler: Any = None, timeout_s: float = ANSWER_S) -> int | None:
    """Where a sweep is to run, as `run` takes it: the number of workers, or `InputError`. Nobody is called yet."""
    workers = workers if workers is None else check_integer("workers", workers, 1, 4096)
    check_number("timeout_s", timeout_s, 0.0, open_low=True)
    if isinstance(scheduler, str) and not re.fullmatch(r"[a-z]+://\S+|[^\s:/]+:[0-9]+", scheduler):
        raise InputError(f"scheduler: {scheduler!r} (expected the address of a Dask scheduler, as tcp://host:port)")
    if scheduler is not None and workers is not None:
        raise InputError(f"workers: {workers} (the scheduler has workers of its own; expected one of the two)")
    return workers


def results(out: str | Path) -> Shards:
    """What a sweep has left in its directory so far."""
    return Shards.open(out)


def estimate(grid: Grid, out: str | Path | None = None, *, retry_failed: bool = False) -> Forecast:
    """Check a grid, count its cells, and run a few of them to see how long the rest would take.

    Parameters
    ----------
    grid : Grid
    out : str or Path, optional
        A results directory: what it has already is not counted.
    retry_failed : bool
        Whether tasks with failed cells are to be run again.
    """
    grid.check()
    layout, done = Layout.of(grid), set()
    if out is not None and Path(out).is_dir() and check_same(Path(out), grid.identity):
        shards = Shards.open(out)
        layout, damaged = Layout(**shards.about["layout"]), shards.damaged()
        done = shards.done() - damaged - (_broken(shards, layout).keys() if retry_failed and not damaged else set())
    cells = sorted({int(cell) for cell in np.linspace(0, grid.cells - 1, SAMPLES)})
    importlib.import_module("numba")  # as the sweep has after its first cells: the few are then run compiled
    work(grid.document, range(1), range(1))
    making_s = _cpu_s(lambda: [grid.cell(cell).workload.table(0) for cell in cells]) / len(cells)
    both_s = _cpu_s(lambda: [work(grid.document, range(1), range(cell, cell + 1)) for cell in cells]) / len(cells)
    replication_s = grid.workloads() * making_s + grid.cells * max(0.0, both_s - making_s)
    left = 1.0 - sum(layout.runs(number) for number in done) / (grid.cells * grid.replications)
    return Forecast(grid.cells, grid.replications, layout.tasks, len(done), grid.replications * replication_s * left)


def _cpu_s(call: Callable[[], Any]) -> float:
    start_s = time.process_time()
    call()
    return time.process_time() - start_s


def work(
    document: str, replications: range, cells: range, only: frozenset[tuple[int, int]] | None = None
) -> tuple[pa.Table, tuple[str, ...]]:
    """Run one task: these cells in these replications, or `only` some of them.

    One row a cell and replication, in this order, and what is to be said of the cells; one that fails has its error,
    and no numbers.
    """
    grid = _grid(document)
    current: list[Any] = [None, None]

    def summary(replication: int, cell: int) -> dict[str, Any]:
        setting = grid.cell(cell)
        which = (replication, setting.workload)
        if current[0] != which:
            current[:] = which, setting.workload.table(replication)
        policy, how = setting.policy, {"sla": setting.sla, "oversize": setting.oversize}
        return simulate(current[1], policy, setting.latency, setting.gpus, **how).summary()

    with warnings.catch_warnings(record=True) as said:  # once for the sweep, not by every run
        warnings.simplefilter("always")
        table = _table(grid, replications, cells, only, summary)
    return table, tuple(sorted({str(warning.message) for warning in said}))


@functools.lru_cache(maxsize=4)
def _grid(document: str) -> Grid:
    return Grid(**json.loads(document))


def _table(
    grid: Grid,
    replications: range,
    cells: range,
    only: frozenset[tuple[int, int]] | None,
    summary: Callable[[int, int], dict[str, Any]],
) -> pa.Table:
    """One row a cell and replication: where it is, what varies, and its summary or the error."""
    import pyarrow as pa

    schema = _schema(grid)
    rows = []
    for replication, cell in itertools.product(replications, cells):
        if only is not None and (replication, cell) not in only:
            continue
        row = {"cell": cell, "replication": replication} | grid.values(cell)
        try:
            row |= summary(replication, cell)
        except Exception as problem:  # whatever it is: one cell must not take the others with it
            row["error"] = f"{type(problem).__name__}: {problem}"
        rows.append(row)
    texts = [name for name in grid.vary if schema.field(name).metadata]
    for row, name in itertools.product(rows, texts):
        row[name] = json.dumps(row[name])
    return pa.Table.from_batches([pa.RecordBatch.from_struct_array(pa.array(rows, pa.struct(schema)))], schema)


def _schema(grid: Grid) -> pa.Schema:
    """The columns of a shard, the same in all of them; what is neither number nor text is JSON, and marked so."""
    import pyarrow as pa

    def varied(name: str, values: list[Any]) -> pa.Field:
        kinds = {type(value) for value in values}
        if kinds <= {int} and max(map(abs, values)) < 2**63:
            return pa.field(name, pa.int64())
        if kinds <= {int, float}:
            return pa.field(name, pa.float64())
        if kinds == {str}:
            return pa.field(name, pa.string())
        return pa.field(name, pa.bool_()) if kinds == {bool} else pa.field(name, pa.string(), metadata={"as": "JSON"})

    kinds = {"requests": pa.int64(), "failed": pa.int64(), "stability": pa.string()}
    return pa.schema(
        [pa.field("cell", pa.int64()), pa.field("replication", pa.int64())]
        + [varied(name, values) for name, values in grid.vary.items()]
        + [pa.field(key, kinds.get(key, pa.float64())) for key in SUMMARY_KEYS]
        + [pa.field("error", pa.string())]
    )


def _broken(shards: Shards, layout: Layout) -> dict[int, frozenset[tuple[int, int]]]:
    """The failed runs of each task that has any."""
    broken: dict[int, set[tuple[int, int]]] = {}
    for cell, replication in shards.failed()[["cell", "replication"]].itertuples(index=False):
        broken.setdefault(layout.task_of(replication, cell), set()).add((replication, cell))
    return {number: frozenset(runs) for number, runs in broken.items()}


def _mended(before: pa.Table, again: pa.Table) -> pa.Table:
    """A task's table with its failed rows replaced."""
    import pyarrow as pa

    whole = before.filter(before["error"].is_null())
    return pa.concat_tables([whole, again]).sort_by([("replication", "ascending"), ("cell", "ascending")])


def _lost(grid: Grid, which: tuple, why: str) -> pa.Table:
    """The table of a task that no worker survived."""

    def summary(replication: int, cell: int) -> dict[str, Any]:
        raise ChildProcessError(why)

    return _table(grid, *which, summary)


@contextlib.contextmanager
def _backend(grid: Grid, workers: int | None, scheduler: Any, timeout_s: float) -> Iterator[Callable[..., Any]]:
    """Where the tasks run, as a function of the work and its jobs."""
    if scheduler is not None:
        with connected(scheduler, timeout_s) as client:
            yield functools.partial(on_cluster, client=client, timeout_s=timeout_s)
        return
    if workers is None:
        is_small = grid.longest() * grid.cells * grid.replications < SMALL
        workers = 1 if is_small else os.cpu_count() or 1
    yield one_by_one if workers == 1 else functools.partial(in_processes, workers=workers)


def _bar(layout: Layout, done: set[int], broken: dict[int, frozenset], progress: bool | None) -> tqdm:
    """The progress bar: one step a run."""
    before = sum(layout.runs(number) for number in done) - sum(map(len, broken.values()))
    hidden = None if progress is None else not progress
    return tqdm(total=layout.cells * layout.replications, initial=before, unit="run", desc="sweep", disable=hidden)
