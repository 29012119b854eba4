"""Figure of a ledger of claims: how many of each source have which verdict."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from book.kit.evidence import VERDICTS, by_claim
from book.kit.style import FAINT, INK

# For eyes and prints without colour, with hatches.
FILLS = ("#009E73", "#F0E442", "#56B4E9", "#D55E00", "#CC79A7", "#E69F00", "none", FAINT)
COLORS = dict(zip(VERDICTS, FILLS, strict=True))
HATCHES = dict(zip(VERDICTS, ("", "--", "//", "xx", "..", "\\\\", "", ""), strict=True))


def verdicts(table: pd.DataFrame) -> Figure:
    """One bar a source, a part of it each verdict, with its number of claims, however many points each has.

    `table` is `evidence.ledger`'s. Shares of a source's claims, as the sources make different numbers of them.
    """
    sources = list(dict.fromkeys(table["source"]))
    claims = by_claim(table)
    counts = pd.crosstab(claims["source"], claims["verdict"])
    figure, axis = plt.subplots(figsize=(7.0, 1.6 + 0.7 * len(sources)))
    for place, source in enumerate(sources):
        left, total = 0.0, counts.loc[source].sum()
        for verdict in [one for one in VERDICTS if one in counts]:
            count = counts.loc[source, verdict]
            style = {"color": COLORS[verdict], "hatch": HATCHES[verdict], "edgecolor": INK, "lw": 0.6}
            axis.barh(place, count / total, left=left, height=0.62, label=verdict if place == 0 else None, **style)
            if count:
                box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85}
                axis.text(left + count / total / 2, place, f"{count}", ha="center", va="center", fontsize=9, bbox=box)
            left += count / total
    axis.set_yticks(range(len(sources)), [f"{source}\n({counts.loc[source].sum()})" for source in sources])
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    axis.set_xlabel("Share of the source's claims; numbers are claims")
    axis.grid(visible=False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9)
    return figure
