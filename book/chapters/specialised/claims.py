"""What three papers claim of GPUs of one's own for long requests, beside what is found here.

Of FleetOpt (2603.16514) the abstract, the introduction's opening and its authors' published simulator were read; of
CascadeInfer (2512.19179) abstract and opening, of BucketServe (2507.17120) the abstract.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.specialised.study import LINES, MAIN_LOAD, MAIN_SPREAD, PAGED, PLACES, POOLS_LINES, SLOW
from book.kit.evidence import Claim, Repeated, Unfounded, ledger

if TYPE_CHECKING:
    import pandas as pd


CHAPTER = "specialised"
FLEET, CASCADE, BUCKETS = "FleetOpt", "CascadeInfer", "BucketServe"
GIVEN = {PLACES: "a place for the longest context", PAGED: "paged memory"}
COSTS = {0.0: "unequal contexts cost nothing", SLOW: "a twentieth of a token read", 1.0: "each as the longest"}


def table_of(needs: pd.DataFrame, slowed: pd.DataFrame, late: pd.DataFrame) -> pd.DataFrame:
    """The ledger: tables as of `study.needs`, `study.slowed` and `study.against`."""
    return ledger([*_fleets(needs), *_cascades(slowed, late), *_buckets()])


def _fleets(needs: pd.DataFrame) -> Iterator[Claim]:
    for row in needs[needs["engine"] == "published"].itertuples():
        case = row.lengths if isinstance(row.lengths, str) else f"spread {row.lengths:g}"
        yield Claim(
            FLEET, "abstract", f"share of the GPUs that two pools save ({GIVEN[row.memory]}, {case})", 0.44, 0.38,
            Repeated(row.saved, row.ci_low, row.ci_high, row.replications, 0.0), CHAPTER,
            part_of=f"6 to 82 % fewer GPUs than one fleet, with {GIVEN[row.memory]}",
        )  # fmt: skip


def _cascades(slowed: pd.DataFrame, late: pd.DataFrame) -> Iterator[Claim]:
    own = slowed[slowed["lengths"] == MAIN_SPREAD].set_index("mixed")
    for share, cost in COSTS.items():
        row = own.loc[share]
        times = (1 / (1 - row[name]) for name in ("saved", "ci_low", "ci_high"))
        yield Claim(
            CASCADE, "abstract", f"throughput of pools, times one fleet's ({cost})", 2.89, 0.005,
            Repeated(*times, int(row["replications"]), 1.0), CHAPTER, part_of="throughput up to 2.89 times",
        )  # fmt: skip
    here = late[(late["lengths"] == MAIN_SPREAD) & (late["load"] == MAIN_LOAD)]
    for share in (0.0, SLOW):
        row = here[(here["mixed"] == share) & (here["base"] == LINES) & (here["arm"] == POOLS_LINES)].iloc[0]
        limits = row["latency"], row["latency_ci_low"], row["latency_ci_high"]
        yield Claim(
            CASCADE, "abstract", f"latency of pools over one fleet's, a line a GPU ({COSTS[share]})", 0.33, 0.005,
            Repeated(*np.array(limits), int(row["replications"]), 1.0), CHAPTER, part_of="latency down by up to 67 %",
        )  # fmt: skip


def _buckets() -> Iterator[Claim]:
    missing = "the rival that pads within a batch, its model, card and lengths stand in none of what was read"
    yield Claim(BUCKETS, "abstract", "throughput of buckets, times UELLM's", 3.58, 0.005, Unfounded(missing))
    missing = "the rival splits prefill from decode over GPUs, which nothing here simulates"
    yield Claim(BUCKETS, "abstract", "load at 80 % in time, times DistServe's", 1.93, 0.005, Unfounded(missing))
