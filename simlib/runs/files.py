"""A saved run, whichever its kind, read back."""

from __future__ import annotations

from pathlib import Path

from simlib.runs import parquet
from simlib.runs.batch_run import BatchRun
from simlib.runs.engine_run import EngineRun
from simlib.runs.run import Run

KINDS = {kind.__name__: kind for kind in (BatchRun, EngineRun)}


def load(path: str | Path) -> Run:
    """Read a run that `Run.save` wrote.

    Raises
    ------
    InputError
        If the file is missing, not a run, or one that another version saved.

    Examples
    --------
    >>> import simlib, tempfile
    >>> run = simlib.simulate(simlib.workload.original(50), "static_fifo", backend="interpreted")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load(run.save(f"{folder}/run.parquet")).summary() == run.summary()
    True
    """
    return parquet.read(path, lambda table, columns, about: KINDS[about["kind"]].restored(table, columns, about))
