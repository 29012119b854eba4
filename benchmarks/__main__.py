"""`make bench`: run the benchmarks and write the tables that the book's pages read."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from simlib.sweep.workers import keep_memory

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"
SUITES = ("speed", "laws", "continuous", "capacity", "sweep", "coverage", "coverage_edge", "plans")


def main(names: list[str]) -> int:
    """Run the suites named, or all; each returns its tables by name."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"benchmarks: {unknown[0]} (expected some of {', '.join(SUITES)})", file=sys.stderr)
        return 2
    keep_memory()
    for name in names or SUITES:
        print(f"{name} …", flush=True)
        for table_name, table in importlib.import_module(f"benchmarks.{name}").run().items():
            aside = RESULTS / f"{table_name}.csv.part"
            table.to_csv(aside, index=False, float_format="%.6g")
            os.replace(aside, RESULTS / f"{table_name}.csv")
            print(table.to_string(index=False), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
