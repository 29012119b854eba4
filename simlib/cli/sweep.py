"""The verb ``sweep``: every cell of a grid in every replication, resumable."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from simlib.cli.outputs import check_places

FAILURES_SHOWN = 20


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("sweep", help="every cell of a grid in every replication, resumable")
    own.set_defaults(verb=_sweep)
    own.add_argument("grid", metavar="FILE.yaml", help="what varies, and what all cells have in common")
    own.add_argument("--out", type=Path, required=True, metavar="DIR", help="results, new or begun")
    own.add_argument("--dry-run", action="store_true", help="check all cells, count them, estimate the time")
    own.add_argument("--workers", type=int, help="processes on this machine (default: one a core, if it pays)")
    own.add_argument("--scheduler", metavar="tcp://HOST:PORT", help="a Dask scheduler, whose workers do the work")
    own.add_argument("--timeout", type=float, default=10.0, help="seconds for the scheduler to answer (default 10)")
    own.add_argument("--retry-failed", action="store_true", help="run cells that failed once more")


def _sweep(options: argparse.Namespace) -> int:
    from simlib.sweep import run as sweep
    from simlib.sweep.grid import Grid

    check_places(folders=[options.out])
    grid = Grid.read(options.grid)
    if options.dry_run:
        print(sweep.estimate(grid, options.out))
        return 0
    shards = sweep.run(
        grid,
        options.out,
        workers=options.workers,
        scheduler=options.scheduler,
        retry_failed=options.retry_failed,
        timeout_s=options.timeout,
    )
    failed = shards.failed()
    for row in failed.head(FAILURES_SHOWN).itertuples():
        print(f"simlib: cell {row.cell}, replication {row.replication}: {row.error}", file=sys.stderr)
    print(f"{options.out}: {grid.cells * grid.replications} runs, {len(failed)} of them failed")
    return 1 if len(failed) else 0
