"""Fit the latency presets: ``python -m benchmarks.fit_presets`` writes ``data/latency_presets.csv``.

Needs ``SIMLIB_DATA_DIR`` set to a folder that holds LLM-Inference-Bench and Splitwise's profile. The notebook
`batch_times` fits the same again and compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from book.chapters.batch_times import public

TARGET = Path(__file__).resolve().parents[1] / "data" / "latency_presets.csv"
DIGITS = "%.9g"


def main() -> int:
    """Fit, write, say how many."""
    rows = public.refit().rows
    rows.to_csv(TARGET, index=False, float_format=DIGITS)
    print(f"{TARGET.name}: {rows['name'].nunique()} presets, {len(rows)} rows")
    return 0


if __name__ == "__main__":
    sys.exit(main())
