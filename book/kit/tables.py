"""What the chapters' tables share: numbers as text, what counts as established."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from simlib.text import signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def established(pair: Any) -> bool:
    """Whether a difference is called one: at 5 % after Holm's correction, so that its interval leaves out zero, too."""
    return bool(pair.p_holm <= 0.05)


def sign(pair: Any) -> int:
    """The sign of a difference, 0 where none is established."""
    return int(np.sign(pair.difference)) if established(pair) and not pd.isna(pair.difference) else 0


def as_texts(values: pd.Series, text: Callable[[float], str]) -> list[str]:
    """Values as text, a dash where there is none."""
    return ["–" if pd.isna(value) else text(value) for value in values]


def with_limits(value: float, low: float, high: float, form: str = ".3f") -> str:
    """An estimate with its interval: ``0.987 (0.975 to 1.001)``, or ``0.987 (no interval)``."""
    return f"{value:{form}} ({low:{form}} to {high:{form}})" if low == low else f"{value:{form}} (no interval)"


def change(share: float, digits: int = 1) -> str:
    """A relative change: ``+3.2 %``, ``−0.4 %``."""
    return f"{signed(100 * share, digits)} %"


def show_ledger(claims: pd.DataFrame) -> Styler:
    """A chapter's ledger (`evidence.ledger`): what is claimed, once; where it was tried, what is found, the verdict.

    Where stands in the parentheses that end a claim; of what cannot be tested the verdict says why.
    """
    parts = claims["claim"].str.extract(r"^(?P<what>.*?)(?: \((?P<where>[^()]*)\))?$")
    shown = pd.DataFrame(
        {
            "claim": claims["source"] + ": " + parts["what"],
            "claimed": as_texts(claims["claimed"], "{:.3g}".format),
            "where": parts["where"].fillna("–"),
            "ours": [
                "–"
                if pd.isna(row.ours)
                else with_limits(row.ours, row.ci_low, row.ci_high, ".2f").replace(" ", "\u00a0")
                for row in claims.itertuples()
            ],
            "verdict": [
                row.verdict if pd.notna(row.ours) else f"{row.verdict}: {row.rule}" for row in claims.itertuples()
            ],
        }
    )
    shown = shown.sort_values("claim", key=lambda text: pd.factorize(text)[0], kind="stable", ignore_index=True)
    shown.loc[shown["claim"].duplicated(), ["claim", "claimed"]] = ""
    return shown.style.hide(axis="index")
