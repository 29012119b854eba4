"""What three sources claim of batches of like requests, beside what is found here.

Of 2412.04504 the paper was read, as its own chapters hold all of it; of 2507.17120 and of the scheduler that plans over
sorted requests the abstract.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from book.chapters.recut import rules, study
from book.kit.evidence import Change, Claim, Unfounded, ledger
from simlib.stats import intervals

if TYPE_CHECKING:
    import pandas as pd

CHAPTER = "recut_bins"
MULTI_BIN, BUCKETS, RAZOR = "arXiv 2412.04504", "arXiv 2507.17120", "Razor's Edge scheduler"


def table_of(backlog: pd.DataFrame) -> pd.DataFrame:
    """The ledger: `backlog` as of `study.backlog`."""
    return ledger(_claims(backlog))


def _claims(backlog: pd.DataFrame) -> Iterator[Claim]:
    waiting = max(backlog["waiting"])
    own = backlog[backlog["waiting"] == waiting].set_index(["arm", "k_bins", "replication"])["of_bound"].sort_index()
    served = {k: own[study.BINS, k] for k in study.K_SCAN}
    steps = list(zip(study.K_SCAN, study.K_SCAN[1:], strict=False))
    p_holm = intervals.holm([_pair(served[more], served[few]).p_value for few, more in steps])
    for (few, more), p in zip(steps, p_holm, strict=True):
        yield Claim(
            MULTI_BIN, "abstract", f"more served from {more} bins than from {few}, {waiting:,} waiting", math.nan, 0.0,
            Change(served[more], served[few], float(p), 1), CHAPTER,
            part_of="throughput grows with the number of bins (theirs wait until batches are full, which ours do not)",
        )  # fmt: skip
    best = max(served, key=lambda k: served[k].mean())
    cut = own[rules.WORK, 0]
    yield Claim(
        BUCKETS, "abstract", f"groups that adapt to the queue serve more than {best} fixed ones, the best number",
        math.nan, 0.0, Change(cut, served[best], _pair(cut, served[best]).p_value, 1), CHAPTER,
    )  # fmt: skip
    why = "prefill and decode on GPUs of their own, memory as the limit; rules of splitting are not in the abstract"
    yield Claim(BUCKETS, "abstract", "load at 80 % in time, times DistServe's", 1.93, 0.005, Unfounded(why), CHAPTER)
    yield Claim(BUCKETS, "abstract", "throughput, times UELLM's", 3.58, 0.005, Unfounded(why), CHAPTER)
    why = "one pass over inputs of known lengths (embeddings), on a CPU or GPU whose batch times are not given"
    yield Claim(RAZOR, "abstract", "throughput gained by plans over the sorted queue", 0.47, 0.005, Unfounded(why),
                CHAPTER)  # fmt: skip


def _pair(a: pd.Series, b: pd.Series) -> intervals.PairedDifference:
    return intervals.paired_difference(a.to_numpy(), b.to_numpy())
