"""What the chapters' tables share: numbers as text, what counts as established."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd


def established(pair: Any) -> bool:
    """Whether a difference is called one: at 5 % after Holm's correction, so that its interval leaves out zero, too."""
    return bool(pair.p_holm <= 0.05)


def as_texts(values: pd.Series, text: Callable[[float], str]) -> list[str]:
    return ["–" if pd.isna(value) else text(value) for value in values]


def listed(values: list[int]) -> str:
    return ", ".join(map(str, values))
