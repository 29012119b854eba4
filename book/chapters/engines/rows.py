"""A row of the ledger: what an engine measured, what was predicted, what a straight line says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simlib.checks import InputError

if TYPE_CHECKING:
    import pandas as pd


SAID = ("source", "engine", "version", "model", "gpu", "parallel", "load", "metric", "statistic")
NUMBERS = ("measured", "predicted", "low", "high", "error_percent")
AGAINST = ("null_predicted", "null_error_percent", "skill", "other", "other_error_percent")
COLUMNS = (*SAID, *NUMBERS, "fitted_on", "blind", *AGAINST, "kind", "series", "circumstance", "afterwards")
NEEDED = (*SAID, "measured", "predicted", "fitted_on", "blind")  # of rows that are given
DIGITS = 6
# What is predicted, of which runs: the panels and tables of the page, in this order.
CLOSED, LENGTHS, FULL, LOG = "closed loop", "other lengths", "full engine", "log"
CLOCK, CPU, GIVEN = "clock", "processor", "given"  # the server that was measured here, by its device; others' rows
# What is known to make a prediction hard, before it is made; and what shows afterwards: times that fall as clients are
# added, a law that misses the runs it is fitted to, since what is the card's takes longer than the whole.
DENSE, MIXTURE, CACHE_FULL, IMAGES = "dense", "mixture of experts", "cache full", "images or video"
SWITCHED = "an option switched"
FALLS, UNMET = "a time falls", "own runs missed"


def straight(first: tuple[float, float], second: tuple[float, float], at: float) -> float:
    """The straight line through two points.

    Examples
    --------
    >>> straight((8, 10.0), (16, 12.0), 32)
    16.0
    """
    return first[1] + (second[1] - first[1]) * (at - first[0]) / (second[0] - first[0])


def error_percent(predicted: float, measured: float) -> float:
    """Signed, in per cent of what was measured; positive where the prediction is larger."""
    return 100.0 * (predicted / measured - 1.0)


def skill(error: float, null_error: float) -> float:
    """The share of another model's error that is saved: 1 if nothing is left, 0 if nothing is gained, below if lost.

    Examples
    --------
    >>> skill(2.0, -8.0), skill(8.0, 8.0), skill(6.0, 4.0)
    (0.75, 0.0, -0.5)
    """
    return float("nan") if null_error == 0 else 1.0 - abs(error) / abs(null_error)


def rounded(value: float) -> float:
    """To `DIGITS` digits."""
    return float(f"{value:.{DIGITS}g}")


def row(said: dict[str, Any], measured: float, predicted: float, null: float, **more: Any) -> dict[str, Any]:
    """A row of `COLUMNS`; `said` and `more` are what is not arithmetic."""
    off, null_off = error_percent(predicted, measured), error_percent(null, measured)
    numbers = {"measured": measured, "predicted": predicted, "error_percent": off, "null_predicted": null}
    numbers |= {"null_error_percent": null_off, "skill": skill(off, null_off)}
    return said | {name: rounded(value) for name, value in numbers.items()} | more


def given(frame: pd.DataFrame, place: str) -> pd.DataFrame:
    """Rows that another study or a user measured, with errors and skill as `row` computes them.

    Parameters
    ----------
    frame : pandas.DataFrame
        `NEEDED`, and of the other `COLUMNS` what there is.
    place : str
        What a sentence calls it.

    Raises
    ------
    InputError
        If a column is missing, or a measured value is not above zero.
    """
    missing = [name for name in NEEDED if name not in frame]
    if missing:
        raise InputError(f"{place}: no {', '.join(missing)} (expected the columns {', '.join(NEEDED)})")
    bad = ~(frame["measured"] > 0)
    if bad.any():
        raise InputError(f"{place}, row {bad.argmax()}, measured: {frame['measured'][bad].iloc[0]} (expected above 0)")
    words = ("series", "kind", "circumstance", "afterwards")
    frame = frame.reindex(columns=list(COLUMNS)).astype(dict.fromkeys(words, object))
    name = frame[["source", "engine", "model", "gpu", "parallel"]].astype(str).agg(", ".join, axis=1)
    defaults = dict(zip(words, (name, GIVEN, DENSE, ""), strict=True))
    off = error_percent(frame["predicted"], frame["measured"])
    null_off = error_percent(frame["null_predicted"], frame["measured"])
    frame = frame.assign(error_percent=off, null_error_percent=null_off, skill=1.0 - off.abs() / null_off.abs())
    return frame.assign(**{word: frame[word].fillna(default) for word, default in defaults.items()})
