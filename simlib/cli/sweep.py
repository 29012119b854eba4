"""The verb ``sweep``: every cell of a grid in every replication, resumable."""

from __future__ import annotations

import argparse
import contextlib
import sys
from dataclasses import asdict
from typing import Any

from simlib.checks import InputError
from simlib.cli.inspect import tell
from simlib.cli.numbers import check_used, integer, number, place
from simlib.cli.outputs import add_json, answer, check_outputs, check_unread, on_disk

FAILURES_SHOWN = 20


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("sweep", help="every cell of a grid in every replication, resumable")
    own.set_defaults(verb=_sweep)
    own.add_argument("grid", metavar="FILE.yaml", help="what varies, and what all cells have in common")
    own.add_argument("--out", type=place, required=True, metavar="DIR", help="results, new or begun")
    own.add_argument("--dry-run", action="store_true", help="check all cells, count them, estimate the time")
    own.add_argument("--workers", type=integer, help="processes on this machine (default: one a core, if it pays)")
    own.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a Dask scheduler, whose workers do the work")
    own.add_argument("--timeout", type=number, help="seconds for the scheduler to answer (default 10)")
    own.add_argument("--retry-failed", action="store_true", help="run cells that failed once more")
    add_json(own, "how many runs there are, or of a dry run the estimate,")


def _sweep(options: argparse.Namespace) -> int:
    from simlib.sweep import run as sweep
    from simlib.sweep.grid import Grid

    check_outputs(options, folders=[options.out])
    timeout_s = sweep.ANSWER_S if options.timeout is None else options.timeout
    workers = sweep.check_ways(options.workers, options.scheduler, timeout_s)
    if options.timeout is not None and options.scheduler is None:
        raise InputError(f"--timeout: {options.timeout:g} (expected --scheduler beside it)")
    if options.dry_run:
        check_used(options, "beside --dry-run (which estimates the time on one core)", "--workers", "--scheduler")
    grid = Grid.read(options.grid)
    check_unread(on_disk(options.json), sorted(grid.files))
    with contextlib.suppress(InputError):  # of which the check of the whole grid says more
        for workload in grid.traces():
            tell(workload.read())
    if options.dry_run:
        forecast = sweep.estimate(grid, options.out, retry_failed=options.retry_failed)
        answer(options.json, asdict(forecast), str(forecast))
        return 0
    shards = sweep.run(
        grid,
        options.out,
        workers=workers,
        scheduler=options.scheduler,
        retry_failed=options.retry_failed,
        timeout_s=timeout_s,
    )
    failed = shards.failed()
    for row in failed.head(FAILURES_SHOWN).itertuples():
        print(f"simlib: cell {row.cell}, replication {row.replication}: {row.error}", file=sys.stderr)
    document = {"folder": str(options.out), "runs": grid.cells * grid.replications, "failed": len(failed)}
    answer(options.json, document, f"{options.out}: {document['runs']} runs, {len(failed)} of them failed")
    return 1 if len(failed) else 0
