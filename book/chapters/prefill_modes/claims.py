"""What the paper on exclusive and mixed batches (arXiv 2606.00516) claims, each beside what is found here.

Read were its abstract and introduction, a summary of its method by others that quotes two tables of its results, and
what its code publishes: a description, the closed form, a benchmark of kernels, and the lines fitted to two cards; not
its own text on experiments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.prefill_modes.kernels import DENSE, EXPERTS, MEASURED_DECODES
from book.kit.evidence import Claim, Derived, Repeated, Unfounded, ledger

if TYPE_CHECKING:
    import pandas as pd

PAGE, PAPER = "prefill_modes", "arXiv 2606.00516"
CARD, FAR = "RTX PRO 6000", "H200"
CLAIMED = {CARD: 0.2, FAR: 0.8}  # the share of decodes from which a mixed step's token costs more than a decode's
SLACK = 0.05
GAIN = 1.419
# Of Qwen3-8B, as published beside the code: microseconds of a mixed step's token, a + b r + c r² with r the share of
# decodes, and of a decode's among decodes.
PUBLISHED = {CARD: (62.93, 196.9, 9.899, 103.9), FAR: (24.94, 51.93, 14.78, 45.86)}


def published_share(card: str) -> float:
    """The share of decodes from which a mixed step's token costs more than a decode's, by the published lines.

    Examples
    --------
    >>> round(published_share("RTX PRO 6000"), 2)
    0.21
    """
    fixed, slope, bend, decode = PUBLISHED[card]
    roots = np.roots([bend, slope, fixed - decode]).real
    return float(roots[(roots > 0) & (roots < 1)][0])


def table_of(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The ledger, from the page's tables by name."""
    return ledger(claims_of(found))


def claims_of(found: Mapping[str, pd.DataFrame]) -> Iterator[Claim]:
    """Every claim."""
    for row in found["prefill_modes_marginal"].itertuples():
        if row.system in (DENSE, EXPERTS):
            said = f"{row.system}, contexts of {row.context_tokens:,} tokens"
            yield Claim(PAPER, "abstract", said, CLAIMED[CARD], SLACK, Derived(row.share, strict=False), PAGE,
                        part_of=f"a mixed step's token costs more from 20 % decodes on ({CARD})")  # fmt: skip
    why = "no kernels of mixed steps on an H200 are at hand, only mean times of closed loops"
    yield Claim(PAPER, "abstract", f"a mixed step's token costs more from 80 % decodes on ({FAR})", CLAIMED[FAR], SLACK,
                Unfounded(why))  # fmt: skip
    for card, claimed in CLAIMED.items():
        said = f"the same share, by the lines published with the code ({card})"
        yield Claim(PAPER, "code", said, claimed, SLACK, Derived(published_share(card), strict=False), PAGE)
    best = found["prefill_modes"].query("law == 'measured' and kind == 'best exclusive'")
    best = best[best["system"].isin((DENSE, EXPERTS))]
    for seats, said in (
        (MEASURED_DECODES, f"{MEASURED_DECODES} sequences, the most that was measured"),
        (2 * MEASURED_DECODES, f"{2 * MEASURED_DECODES} sequences, kernels drawn on"),
    ):
        row = best[best["seats"] == seats].sort_values("ratio").iloc[-1]
        ours = Repeated(row["ratio"], row["ci_low"], row["ci_high"], int(row["replications"]), 1.0)
        yield Claim(PAPER, "abstract", f"{said}: the largest of {(best['seats'] == seats).sum()} cells", GAIN, 0.0005,
                    ours, PAGE, part_of="up to 1.419 times the throughput where bandwidth is scarce")  # fmt: skip
    for system, (agreed, cells) in agreement(found["prefill_modes"]).items():
        yield Claim(PAPER, "closed form", f"{system}, {cells} cells with a winner", 1.0, 0.0,
                    Derived(agreed / cells, strict=False), PAGE,
                    part_of="a closed form names the mode that serves more")  # fmt: skip
    yield Claim(PAPER, "abstract", "switching between both as traffic shifts is best or nearly so", np.nan, 0.0,
                Unfounded("traffic that shifts is not simulated here"))  # fmt: skip


def agreement(over: pd.DataFrame) -> dict[str, tuple[int, int]]:
    """By system, in how many cells the closed form names the winner, of those that have one.

    Parameters
    ----------
    over : pandas.DataFrame
        Of `study.over_mixed`.
    """
    cells = over[(over["law"] == "measured") & (over["kind"] == "best exclusive")]
    cells = cells[(cells["ci_low"] > 1) | (cells["ci_high"] < 1)]
    right = (cells["told"] > 1) == (cells["ratio"] > 1)
    return {system: (int(own.sum()), len(own)) for system, own in right.groupby(cells["system"], sort=False)}
