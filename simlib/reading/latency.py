"""From batch times to sentences and tables: what measured GPUs say of the formula, and of the levels' conclusions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import interval, percent
from simlib.reading import established
from simlib.schedulers import short_name
from simlib.studies import batch_times
from simlib.studies.levels import MULTI_DYNAMIC

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["computed_answer", "errors_answer", "errors_numbers", "levels_answer", "show_errors", "show_evidence"]
__all__ += ["plans_answer", "plans_gain", "show_left_out", "show_measured_differences", "show_plans", "show_unfitted"]

RIVALS = {"equal_mass_bins": "equal-mass bins", "dynamic_no_bins": "dynamic batching"}


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


@reads_tables
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
    rows = differences.query(MULTI_DYNAMIC)
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


@reads_tables
def plans_gain(plans: pd.DataFrame) -> str:
    """What the formula for full batches says that the joint optimum carries over equal-mass bins, by level."""
    sentences = []
    for level, rows in plans.groupby("level", sort=False):
        ratio = _over_equal_mass(rows)
        formula = ratio.index.get_level_values("latency").str.startswith("original")
        measured = ratio[~formula].dropna()
        own = "".join(f"{value:.2f} times under the formula called calibrated, " for value in ratio[formula].dropna())
        if len(measured):
            sentences.append(f"level {level}: {own}{measured.min():.2f} to {measured.max():.2f} under measured models")
    return "; ".join(sentences)


def _over_equal_mass(plans: pd.DataFrame) -> pd.Series:
    wide = plans.pivot_table("capacity_rps", ["level", "latency"], "plan", sort=False)
    return wide["joint_optimum"] / wide["equal_mass_bins"]


@reads_tables
def show_plans(plans: pd.DataFrame) -> Styler:
    """The plans for one's own use: where to cut, how large batches, and what the formula says that they carry."""
    own = plans[plans["plan"] == "joint_optimum"].set_index(["level", "latency"])
    ratio = _over_equal_mass(plans).reindex(own.index)
    shown = pd.DataFrame(
        {
            "level": own.index.get_level_values("level"),
            "batch times": own.index.get_level_values("latency"),
            "cut at, tokens": own["edges"].to_numpy(),
            "batch sizes": own["batch_sizes"].to_numpy(),
            "requests/s, full batches": [f"{rate:.3g}" for rate in own["capacity_rps"]],
            "times equal mass": ["–" if pd.isna(value) else f"{value:.2f}" for value in ratio],
        }
    )
    return shown.style.hide()
