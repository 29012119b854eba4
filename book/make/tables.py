"""The committed tables against those of the last execution: what would change, and taking it over."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

SIMULATED, FITTED = 1e-9, 1e-4
NEGLIGIBLE = 1e-12  # differences of equal numbers


def changes(committed: Path, fresh: Path) -> dict[str, str]:
    """What taking over the fresh tables would change, by file name; nothing where they agree.

    Parameters
    ----------
    committed, fresh : Path
        Folders of CSV files. Numbers agree to 1e-9, relative, and to 1e-4 in tables with ``fit`` in their names;
        execution times, in tables whose names end in ``_times``, are never compared; nor are those of `make bench`,
        whose names begin with ``benchmarks``.
    """
    found = {}
    names = {path.name for path in chain(committed.glob("*.csv"), fresh.glob("*.csv"))}
    for name in sorted(names):
        if not (committed / name).is_file():
            found[name] = "new"
        elif not (fresh / name).is_file():
            if not name.startswith("benchmarks"):
                found[name] = "committed, but no study writes it"
        elif not is_of_times(name):
            tolerance = FITTED if "fit" in name else SIMULATED
            if text := difference(_rows(committed / name), _rows(fresh / name), tolerance):
                found[name] = text
    return found


def is_of_times(name: str) -> bool:
    """Whether a table is of execution times, which no two executions share.

    Examples
    --------
    >>> is_of_times("levels_times.csv"), is_of_times("batch_times_fit.csv")
    (True, False)
    """
    return Path(name).stem.endswith("_times")


def difference(old: list[list[str]], new: list[list[str]], tolerance: float = SIMULATED) -> str:
    """How two tables differ, header row included, in one line; empty where they agree.

    Examples
    --------
    >>> difference([["a", "b"], ["1", "0.5"]], [["a", "b"], ["1", "0.5000000000001"]])
    ''
    >>> difference([["a", "b"], ["1", "0.5"]], [["a", "b"], ["1", "0.6"]])
    '1 cell, first in row 0, b: 0.5 -> 0.6'
    """
    if old[0] != new[0]:
        return f"columns {', '.join(old[0])} -> {', '.join(new[0])}"
    if len(old) != len(new):
        return f"{len(old) - 1} rows -> {len(new) - 1}"
    cells = [
        f"row {row}, {column}: {a} -> {b}"
        for row, (before, after) in enumerate(zip(old[1:], new[1:], strict=True))
        for column, a, b in zip(old[0], before, after, strict=True)
        if not _agree(a, b, tolerance)
    ]
    return f"{len(cells)} cell{'s' * (len(cells) > 1)}, first in {cells[0]}" if cells else ""


def take_over(fresh: Path, committed: Path, names: Iterable[str]) -> list[str]:
    """Copy files of those names that there are; returns them."""
    committed.mkdir(parents=True, exist_ok=True)
    return [name for name in names if (fresh / name).is_file() and shutil.copyfile(fresh / name, committed / name)]


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def _agree(a: str, b: str, tolerance: float) -> bool:
    if a == b:
        return True
    try:
        return math.isclose(float(a), float(b), rel_tol=tolerance, abs_tol=NEGLIGIBLE)
    except ValueError:
        return False
