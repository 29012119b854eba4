"""What a run keeps in its folder, each file written aside and renamed when it is whole: a restart goes on from them."""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from simlib import writing
from simlib.calibration.step_fit import EngineLaw
from simlib.latency import law_file
from simlib.latency.steps import StepLaw

INDEX = ["load", "metric", "statistic"]
COLUMNS = (
    "source", "engine", "version", "model", "gpu", "parallel", "load", "metric", "statistic", "measured", "predicted",
    "low", "high", "error_percent", "fitted_on", "blind",
)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """A device's folder.

    ``NAME.json.gz``: what was measured of a load or a bracket; ``law.csv``: what was fitted; ``ahead.csv``:
    predictions for seeds that nobody knew; ``seeds.json``: the seeds, drawn after it, with its hash; ``given.csv``:
    predictions for the requests that they draw.
    """

    folder: Path

    def result(self, name: str) -> dict | None:
        """What was measured, if it was."""
        path = self.folder / f"{name}.json.gz"
        return json.loads(gzip.decompress(path.read_bytes())) if path.exists() else None

    def keep_result(self, name: str, result: dict) -> None:
        text = json.dumps(result, separators=(",", ":"))
        writing.write(self.folder / f"{name}.json.gz", gzip.compress(text.encode(), mtime=0))

    def law(self) -> StepLaw | None:
        """What was fitted, if it was."""
        path = self.folder / "law.csv"
        return law_file.parse(path.read_text(), str(path)) if path.exists() else None

    def keep_law(self, found: EngineLaw) -> None:
        writing.write(self.folder / "law.csv", found.text())
        writing.write(self.folder / "law.md", found.card() + "\n")

    def predictions(self, name: str) -> pd.DataFrame | None:
        """Predictions by load, metric and statistic, if they were made."""
        path = self.folder / f"{name}.csv"
        return pd.read_csv(path).set_index(INDEX) if path.exists() else None

    def keep_predictions(self, name: str, table: pd.DataFrame) -> str:
        """Write predictions; their hash."""
        text = table.reset_index().to_csv(index=False, float_format="%.6g")
        writing.write(self.folder / f"{name}.csv", text)
        return self.hash_of(name)

    def hash_of(self, name: str) -> str:
        """SHA-256 of predictions as they lie there."""
        return hashlib.sha256((self.folder / f"{name}.csv").read_bytes()).hexdigest()

    def seeds(self, part: str, count: int, after: str | None = None) -> list[int]:
        """Seeds of the loads that are fitted or predicted, drawn when first asked for, which is after predictions."""
        path = self.folder / "seeds.json"
        known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        if part not in known:
            drawn = {"seeds": [secrets.randbelow(2**31) for _ in range(count)]}
            if after is not None:
                drawn |= {"drawn_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "after_sha256": after}
            writing.write(path, json.dumps(known | {part: drawn}, indent=1) + "\n")
            known[part] = drawn
        return known[part]["seeds"]
