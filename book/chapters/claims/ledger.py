"""The ledger: every claim of the original system's document, of both papers and of later ones, with its verdict.

Reads the chapters' tables through `original`, `multi_bin.claims` and `sla_paper.claims`, and what chapters on later
papers have judged; `evidence` judges.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from book.chapters.claims import original
from book.chapters.sla_paper import claims
from book.kit.evidence import COLUMNS, ledger
from simlib.checks import InputError

if TYPE_CHECKING:
    import pandas as pd


LATER = "later papers"
LATER_LEDGERS = tuple(
    f"{name}_claims"
    for name in ("memory", "predictor_laws", "specialised", "two_classes", "prefill_modes", "recut_bins")
)


def table_of(results: Path) -> pd.DataFrame:
    """All claims: `evidence.COLUMNS`, one row a claim or a point of one, source by source.

    Parameters
    ----------
    results : Path
        The folder of the chapters' tables, ``multi_bin_claims.csv`` and those of later papers among them.

    Raises
    ------
    InputError
        If a chapter's table is missing.
    """
    import pandas as pd

    try:
        parts = [
            ledger(original.claims_of(results)),
            pd.read_csv(Path(results) / "multi_bin_claims.csv")[list(COLUMNS)],
            ledger(claims.claims_of(results)),
            *(_later(Path(results) / f"{name}.csv") for name in LATER_LEDGERS),
        ]
    except FileNotFoundError as missing:
        expected = "the chapters' tables, as a copy of data/results holds them: RESULTS_DIR"
        raise InputError(f"results: {missing.filename} is not there (expected {expected})") from None
    return pd.concat(parts, ignore_index=True)


def _later(path: Path) -> pd.DataFrame:
    """A chapter's ledger of later papers: one source, of which each paper is a section."""
    import pandas as pd

    found = pd.read_csv(path)[list(COLUMNS)]
    return found.assign(section=found["source"] + ", " + found["section"], source=LATER)
