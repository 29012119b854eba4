"""Tables of prompts beside decodes: where both cost the same, what is served, and what the paper claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.prefill_modes.kernels import MEASURED_DECODES
from book.chapters.prefill_modes.study import KINDS
from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

HEADS = {
    "exclusive": "own steps, at once",
    "best exclusive": "own steps, gathered",
    "mixed, gathered": "mixed, gathered",
}
APART = "own steps, undisturbed"


def ranges_of(even: pd.DataFrame) -> pd.DataFrame:
    """From where to where both cost the same, over chunks and contexts that the cache holds (`steps.break_even`).

    Returns
    -------
    pandas.DataFrame
        ``system, quantity, low, high, steps``; `quantity` is ``decodes``, ``share`` or ``held_tokens``, `steps` how
        many pairs of chunk and context have a break-even.
    """
    known, rows = even[even["decodes"].notna() & even["fits"]], []
    for system, own in known.groupby("system", sort=False):
        for name in ("decodes", "share", "held_tokens"):
            rows.append({"system": system, "quantity": name, "low": own[name].min(), "high": own[name].max()}
                        | {"steps": len(own)})  # fmt: skip
    return pd.DataFrame(rows)


def show_ranges(ranges: pd.DataFrame, marginal: pd.DataFrame) -> Styler:
    """Where a mixed step costs as much as its parts, and from which share its token costs more than a decode's."""
    rows = []
    for system, own in ranges.groupby("system", sort=False):
        low, high = (own.set_index("quantity")[end] for end in ("low", "high"))
        more = marginal[marginal["system"] == system].set_index("context_tokens")["share"]
        rows.append(
            {"system": system, "as dear from, decodes": f"{low['decodes']:.0f} to {high['decodes']:.0f}"}
            | {"their share of the tokens": f"{100 * low['share']:.0f} to {100 * high['share']:.0f} %"}
            | {
                f"token dearer from, {context:,}": f"{100 * share:.0f} %" if share else "any"
                for context, share in more.items()
            }
        )
    return pd.DataFrame(rows).style.hide(axis="index")


def show_served(over: pd.DataFrame) -> Styler:
    """Throughput over that of mixed steps, at the most sequences that were measured."""
    rows = over[over["seats"] == MEASURED_DECODES]
    wide = rows[rows["law"] == "measured"].assign(text=lambda own: _limits(own))
    wide = wide.pivot_table(index=["system", "mix"], columns="kind", values="text", aggfunc="first", sort=False)
    apart = rows[(rows["law"] == "apart") & (rows["kind"] == "best exclusive")]
    apart = apart.assign(text=_limits(apart)).set_index(["system", "mix"])["text"]
    shown = wide[list(KINDS)].rename(columns=HEADS).assign(**{APART: apart}).rename_axis(columns=None)
    return shown.reset_index().style.hide(axis="index")


def _limits(rows: pd.DataFrame) -> list[str]:
    return [with_limits(row.ratio, row.ci_low, row.ci_high, ".3f") for row in rows.itertuples()]
