"""From batch times to sentences and tables: what measured GPUs say of the formula, and of the levels' conclusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import interval, percent
from simlib.reading import established
from simlib.schedulers import short_name
from simlib.studies import batch_times

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["computed_answer", "errors_answer", "errors_numbers", "levels_answer", "show_errors", "show_evidence"]
__all__ += ["show_left_out", "show_measured_differences", "show_unfitted"]

PAIR = "scheduler_a == 'multi_bin_dynamic' and scheduler_b == 'dynamic_no_bins'"


@reads_tables
def errors_answer(errors: pd.DataFrame) -> str:
    """How far the formula and phase5 are from measured times of points left out, by source."""
    by = batch_times.by_form(errors).set_index(["source", "form"])
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


@reads_tables
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


@reads_tables
def computed_answer(evidence: pd.DataFrame) -> str:
    """Which grids were computed."""
    found = evidence.loc[evidence["computed"].astype(bool), "grid"]
    measured = evidence[~evidence["computed"].astype(bool)]
    return (
        f"Computed: {'; '.join(found)}. Of the {len(measured)} others none is; the smallest of their largest residuals "
        f"is {percent(measured['largest_residual'].min(), 2)}."
    )


@reads_tables
def levels_answer(differences: pd.DataFrame) -> str:
    """Whether multi-bin batching's gain over dynamic batching survives measured batch times, by level and load."""
    pairs = differences.query(PAIR)
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


def _sure(row: Any) -> bool:
    return established(row) and row.p_holm < 0.05


def _reach(rows: list[Any]) -> str:
    if not rows:
        return ""
    values = [row.difference for row in rows]
    return f" (means {interval(min(values), max(values), points=True)})"


@reads_tables
def show_errors(errors: pd.DataFrame) -> Styler:
    """Errors on points left out by source and form."""
    table = batch_times.by_form(errors)
    shown = pd.DataFrame(
        {
            "measured by": table["source"],
            "form": table["form"],
            "groups": table["groups"],
            "median R²": table["r2_median"].map("{:.4f}".format),
            "median error": table["mape_median"].map(percent),
            "groups within 10 %": table["within_10_percent"].map(percent),
            "groups beyond 25 %": table["beyond_25_percent"],
        }
    )
    return shown.style.hide()


@reads_tables
def show_evidence(evidence: pd.DataFrame) -> Styler:
    """What speaks for a computed grid, by grid."""
    shown = pd.DataFrame(
        {
            "grid": evidence["grid"],
            "held against": evidence["form"],
            "points": evidence["points"],
            "largest residual": evidence["largest_residual"].map("{:.1g}".format),
            "p of means so near": evidence["residual_p"].map(_p),
            "p of spreads so alike": evidence["spread_p"].map(_p),
            "computed": evidence["computed"].astype(bool).map({True: "yes", False: "no"}),
        }
    )
    return shown.style.hide()


def _p(value: float) -> str:
    return "no repetitions" if pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


@reads_tables
def show_unfitted(errors: pd.DataFrame) -> Styler:
    """Groups that no form fits, with the reason."""
    rows = errors[errors["note"].fillna("").str.startswith("no model fits")]
    best = rows.groupby("name", sort=False).agg(error=("cv_mape", "min"), note=("note", "first")).reset_index()
    best["error"] = best["error"].map(percent)
    best["note"] = best["note"].str.removeprefix("no model fits: ")
    return best.rename(columns={"error": "smallest error", "note": "reason"}).style.hide()


@reads_tables
def show_left_out(left_out: pd.DataFrame) -> Styler:
    """Groups that were not fitted, counted by framework and reason."""
    counts = left_out.groupby(["source", "framework", "reason"], sort=False).size().rename("groups")
    return counts.reset_index().style.hide()


@reads_tables
def show_measured_differences(differences: pd.DataFrame) -> Styler:
    """Multi-bin minus dynamic batching by level, load and model, in points."""
    rows = differences.query(PAIR)
    shown = pd.DataFrame(
        {
            "level": rows["level"],
            "load": rows["load"],
            "batch times": rows["latency"],
            f"{short_name('multi_bin_dynamic')} − {short_name('dynamic_no_bins')}, late requests (95 % interval)": [
                f"{100 * row.difference:+.1f} ({interval(row.ci_low, row.ci_high, points=True)})".replace("-", "−")
                for row in rows.itertuples()
            ],
            "p (Holm)": rows["p_holm"].map(_p),
        }
    )
    return shown.style.hide()
