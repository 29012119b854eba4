"""Sentences on batch times: a live measurement, the formula's errors, what of the levels' conclusions is left."""

from __future__ import annotations

from typing import Any

import pandas as pd

from book.chapters.batch_times import study
from book.chapters.batch_times.tables import over_equal_mass
from book.kit.tables import established
from simlib.calibration.cards import Card
from simlib.checks import InputError
from simlib.latency.measurements import Measurements
from simlib.levels import MULTI_DYNAMIC
from simlib.text import interval, percent, seconds


def calibration_answer(measured: Measurements, card: Card) -> str:
    """The answer of the page of the live measurement: what company costs here, and how far each form is off.

    Parameters
    ----------
    measured : Measurements
        With phases apart.
    card : Card
        Of the form that is used.

    Raises
    ------
    InputError
        If phases were not timed apart.

    Examples
    --------
    >>> import pandas as pd
    >>> from simlib.latency import measurements
    >>> forms = pd.DataFrame({"form": ["affine", "phase5"], "cv_mape": [0.2, 0.05]})
    >>> card = Card("mine", {"form": "phase5"}, forms, pd.DataFrame(), pd.DataFrame())
    >>> said = calibration_answer(measurements.parse(measurements.TEMPLATE, "template"), card)
    >>> "8 sequences take 1.4 times as long as 1" in said and "phase5 is off by 5.0 %" in said
    True
    """
    if not measured.has_phases:
        raise InputError(f"latency file {measured.source}, prefill_s: none (expected prefill and decode timed apart)")
    points = measured.summary()
    longest = points[points["output_tokens"] == points["output_tokens"].max()]
    longest = longest[longest["prompt_tokens"] == longest["prompt_tokens"].max()].sort_values("batch_size")
    small, large = longest.iloc[0], longest.iloc[-1]
    errors = card.forms.set_index("form")["cv_mape"]
    others = [f"{form} by {percent(error)}" for form, error in errors.items() if form != card.facts["form"]]
    beside = f" ({', '.join(others)})" if others else ""
    return (
        f"At {small['prompt_tokens']:.0f} prompt and {small['output_tokens']:.0f} output tokens, "
        f"{large['batch_size']:.0f} sequences take {large['total_s'] / small['total_s']:.1f} times as long as "
        f"{small['batch_size']:.0f} ({seconds(large['total_s'])} and {seconds(small['total_s'])}, medians): prefill "
        f"{large['prefill_s'] / small['prefill_s']:.1f} times, decode {large['decode_s'] / small['decode_s']:.1f} "
        f"times. Of grid points left out, {card.facts['form']} is off by {percent(errors[card.facts['form']])} in the "
        f"mean{beside}."
    )


RIVALS = {"equal_mass_bins": "equal-mass bins", "dynamic_no_bins": "dynamic batching"}


def errors_answer(errors: pd.DataFrame) -> str:
    """How far the formula and phase5 are from measured times of points left out, by source."""
    by = study.by_form(errors).set_index(["source", "form"])
    sentences = []
    for source in dict.fromkeys(errors["source"]):
        affine, phase5 = by.loc[(source, "affine")], by.loc[(source, "phase5")]
        errors_of = [percent(form["mape_median"]) for form in (affine, phase5)]
        sentences.append(
            f"{source} ({affine['groups']:.0f} groups of GPU, framework and model): the original's formula misses "
            f"points left out by {errors_of[0]} (median), phase5 by {errors_of[1]}; "
            f"R² {affine['r2_median']:.2f} against {phase5['r2_median']:.4f}."
        )
    return " ".join(sentences)


def errors_numbers(errors: pd.DataFrame, left_out: pd.DataFrame) -> dict[str, Any]:
    """What the chapter's prose needs, by name."""
    unfitted = errors["note"].fillna("").str.startswith("no model fits")
    reasons = left_out["reason"].value_counts()
    return {
        "groups": errors["name"].nunique(),
        "unfitted": errors.loc[unfitted, "name"].nunique(),
        "left_out": len(left_out),
        "reasons": "; ".join(f"{count} for {reason}" for reason, count in reasons.items()),
    }


def computed_answer(evidence: pd.DataFrame) -> str:
    """Which grids were computed."""
    found = evidence.loc[evidence["computed"].astype(bool), "grid"]
    measured = evidence[~evidence["computed"].astype(bool)]
    return (
        f"Computed: {'; '.join(found)}. Of the {len(measured)} others none is; the smallest of their largest residuals "
        f"is {percent(measured['largest_residual'].min(), 2)}."
    )


def levels_answer(differences: pd.DataFrame) -> str:
    """Whether multi-bin batching's gain over dynamic batching survives measured batch times, by level and load."""
    pairs = differences.query(MULTI_DYNAMIC)
    sentences = []
    for (level, load), rows in pairs.groupby(["level", "load"], sort=False):
        formula = rows[rows["preset"].str.startswith("original")]
        measured = rows[~rows["preset"].str.startswith("original")]
        fewer, more = (
            [row for row in measured.itertuples() if _sure(row) and sign * row.difference < 0] for sign in (1, -1)
        )
        texts = [
            f"fewer late requests under {len(fewer)} of {len(measured)} measured models{_reach(fewer)}",
            f"more under {len(more)}{_reach(more)}",
        ]
        own = "; ".join(
            f"under the formula called calibrated {interval(row.ci_low, row.ci_high, points=True)}"
            for row in formula.itertuples()
        )
        sentences.append(
            f"Level {level}, load {load:g}: multi-bin batching has {', '.join(texts)}, an established difference under "
            f"none of the other {len(measured) - len(fewer) - len(more)}{f' ({own})' if own else ''}."
        )
    return " ".join(sentences)


def plans_answer(differences: pd.DataFrame) -> str:
    """Whether the joint optimum's gain survives measured batch times, by level, load and rival."""
    plans = differences[differences["scheduler_a"] == "joint_optimum"]
    sentences = []
    for (level, load), rows in plans.groupby(["level", "load"], sort=False):
        texts = []
        for rival, name in RIVALS.items():
            measured = rows[(rows["scheduler_b"] == rival) & ~rows["preset"].str.startswith("original")]
            fewer, more = (
                [row for row in measured.itertuples() if _sure(row) and sign * row.difference < 0] for sign in (1, -1)
            )
            texts.append(
                f"than {name} under {len(fewer)} of {len(measured)} measured models{_reach(fewer)}, more under "
                f"{len(more)}{_reach(more)}"
            )
        formula = rows[rows["preset"].str.startswith("original")]
        own = "; ".join(
            f"{interval(row.ci_low, row.ci_high, points=True)} against {RIVALS[row.scheduler_b]}"
            for row in formula.itertuples()
        )
        beside = f" (under the formula called calibrated {own})" if own else ""
        sentences.append(f"Level {level}, load {load:g}: fewer late requests {'; '.join(texts)}{beside}.")
    return " ".join(sentences)


def _sure(row: Any) -> bool:
    return established(row) and row.p_holm < 0.05


def _reach(rows: list[Any]) -> str:
    if not rows:
        return ""
    values = [row.difference for row in rows]
    return f" (means {interval(min(values), max(values), points=True)})"


def plans_gain(plans: pd.DataFrame) -> str:
    """What the formula for full batches says that the joint optimum carries over equal-mass bins, by level."""
    sentences = []
    for level, rows in plans.groupby("level", sort=False):
        ratio = over_equal_mass(rows)
        formula = ratio.index.get_level_values("latency").str.startswith("original")
        measured = ratio[~formula].dropna()
        own = "".join(f"{value:.2f} times under the formula called calibrated, " for value in ratio[formula].dropna())
        if len(measured):
            sentences.append(f"level {level}: {own}{measured.min():.2f} to {measured.max():.2f} under measured models")
    return "; ".join(sentences)
