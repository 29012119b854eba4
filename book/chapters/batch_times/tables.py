"""Tables of batch times: errors by form, what a computed grid shows, differences and plans under measured times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.batch_times import study
from simlib.levels import MULTI_DYNAMIC
from simlib.policies.plan import short_name
from simlib.text import interval, percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def show_errors(errors: pd.DataFrame) -> Styler:
    """Errors on points left out by source and form."""
    table = study.by_form(errors)
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


def show_unfitted(errors: pd.DataFrame) -> Styler:
    """Groups that no form fits, with the reason."""
    rows = errors[errors["note"].fillna("").str.startswith("no model fits")]
    best = rows.groupby("name", sort=False).agg(error=("cv_mape", "min"), note=("note", "first")).reset_index()
    best["error"] = best["error"].map(percent)
    best["note"] = best["note"].str.removeprefix("no model fits: ")
    return best.rename(columns={"error": "smallest error", "note": "reason"}).style.hide()


def show_left_out(left_out: pd.DataFrame) -> Styler:
    """Groups that were not fitted, counted by framework and reason."""
    counts = left_out.groupby(["source", "framework", "reason"], sort=False).size().rename("groups")
    return counts.reset_index().style.hide()


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


def over_equal_mass(plans: pd.DataFrame) -> pd.Series:
    """What the joint optimum carries over equal-mass bins, by level and batch times."""
    wide = plans.pivot_table("capacity_rps", ["level", "latency"], "plan", sort=False)
    return wide["joint_optimum"] / wide["equal_mass_bins"]


def show_plans(plans: pd.DataFrame) -> Styler:
    """The plans for one's own use: where to cut, how large batches, and what the formula says that they carry."""
    own = plans[plans["plan"] == "joint_optimum"].set_index(["level", "latency"])
    ratio = over_equal_mass(plans).reindex(own.index)
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
