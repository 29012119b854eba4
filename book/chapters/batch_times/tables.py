"""Tables of batch times: errors by form, what a computed grid shows, differences and plans under measured times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.batch_times import study
from book.chapters.batch_times.measured_levels import ARMS, BEST, BINS, UNSORTED, WITHOUT_BINS
from book.kit.names import MULTI_DYNAMIC, SCHEDULER_NAMES
from book.kit.tables import sign
from simlib.text import interval, percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def show_errors(errors: pd.DataFrame) -> Styler:
    """Errors on points left out by source and form."""
    table = study.by_form(errors)
    shown = pd.DataFrame(
        {
            "measured by": table["source"],
            "form": table["form"].map(study.FORM_NAMES),
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
            "held against": evidence["form"].replace(study.FORM_NAMES),
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


RIVALS = {
    "the best without bins": BEST,
    "the best without predictions": f"scheduler_a == {BINS!r} and scheduler_b == {UNSORTED!r}",
    "four bins and dynamic batching, as the original compares": MULTI_DYNAMIC,
}
ARM_NAMES = SCHEDULER_NAMES | {
    "equal_mass_bins": "bins of equal mass with batch sizes of their own",
    "joint_optimum": "joint optimum",
}
TRAFFIC = {3: "synthetic (level 3)", 4: "BurstGPT-like (level 4)"}


def counted(differences: pd.DataFrame) -> pd.DataFrame:
    """Under how many measured models bins have fewer late requests, and more, by rival, level and load.

    Returns
    -------
    pandas.DataFrame
        ``rival, level, load, models, fewer, more, least, most``: the last two are the ends of the differences.
    """
    rows = []
    for rival, where in RIVALS.items():
        measured = differences.query(where)
        measured = measured[~measured["preset"].str.startswith("original")]
        for (level, load), group in measured.groupby(["level", "load"]):
            signs = [sign(pair) for pair in group.itertuples()]
            rows.append(
                {"rival": rival, "level": level, "load": load, "models": len(group)}
                | {"fewer": signs.count(-1), "more": signs.count(1)}
                | {"least": group["difference"].min(), "most": group["difference"].max()}
            )
    return pd.DataFrame(rows)


def opposite(differences: pd.DataFrame) -> int:
    """At how many levels, loads and GPUs the two ends of prefill's share establish opposite signs against the best."""
    rows = differences.query(BEST).dropna(subset=["split"])
    signs = rows.assign(sign=[sign(pair) for pair in rows.itertuples()]).groupby(["level", "load", "preset"])["sign"]
    return int(((signs.min() < 0) & (signs.max() > 0)).sum())


def show_counts(differences: pd.DataFrame) -> Styler:
    """Late requests with bins against three rivals: models with fewer, with more, and the range of the differences."""
    counts = counted(differences)
    shown = pd.DataFrame(
        {
            "traffic": counts["level"].map(TRAFFIC),
            "load": counts["load"].map("{:g}".format),
            "bins against": counts["rival"],
            "models": counts["models"],
            "fewer late": counts["fewer"],
            "more late": counts["more"],
            "points": [f"{signed(100 * low, 1)} to {signed(100 * high, 1)}" for low, high in _ends(counts)],
        }
    )
    return shown.sort_values(["traffic", "load"], ascending=[False, True], kind="stable").style.hide()


def _ends(counts: pd.DataFrame) -> zip[tuple[float, float]]:
    return zip(counts["least"], counts["most"], strict=True)


def show_arms(arms: pd.DataFrame) -> Styler:
    """Which arm was the best of its side, under how many models: by traffic and load."""
    rows = []
    for (level, load), group in arms.groupby(["level", "load"]):
        row = {"traffic": TRAFFIC[level], "load": f"{load:g}"}
        for name, side in (("with bins", BINS), ("without bins", WITHOUT_BINS)):
            won = group.loc[group[side], "arm"].value_counts().reindex(ARMS[side]).dropna().astype(int)
            row[f"best {name} (models)"] = ", ".join(f"{ARM_NAMES[arm]} ({count})" for arm, count in won.items())
        rows.append(row)
    return pd.DataFrame(rows).style.hide()


def show_measured_differences(differences: pd.DataFrame, arms: pd.DataFrame, table: pd.DataFrame) -> Styler:
    """Bins less the best without, by traffic, load and GPU, in points: with the deadline, and what was chosen."""
    keys = ["level", "load", "latency"]
    deadline_s = table.groupby(keys)["d_sla_s"].first()
    chosen = {side: arms[arms[side]].set_index(keys) for side in (BINS, WITHOUT_BINS)}
    rows = []
    for pair in differences.query(BEST).itertuples():
        key = (pair.level, pair.load, pair.latency)
        row = {"traffic": TRAFFIC[pair.level], "load": f"{pair.load:g}", "batch times": pair.latency}
        row["deadline (s)"] = f"{deadline_s[key]:.3g}"
        for name, side in (("bins", BINS), ("without", WITHOUT_BINS)):
            best = chosen[side].loc[key]
            row[name] = f"{ARM_NAMES[best['arm']]}: {best['setting']}"
        points = interval(pair.ci_low, pair.ci_high, points=True)
        row["late requests, points"] = f"{100 * pair.difference:+.1f} ({points})".replace("-", "−")
        rows.append(row | {"p (Holm)": _p(pair.p_holm)})
    return pd.DataFrame(rows).style.hide()


def show_prefill(shares: pd.DataFrame) -> Styler:
    """Prefill's share by number of GPUs, model and engine."""
    gpus = [f"{row.gpus} {row.gpu}" for row in shares.itertuples()]
    shown = pd.DataFrame(
        {
            "GPUs": gpus,
            "model": shares["model"] + ", " + shares["precision"],
            "engine": shares["engine"] + " " + shares["version"],
            "error on shapes left out": shares["error"].map(percent),
            "prefill's share (95 % interval)": [
                f"{row.share:.2f} ({row.share_low:.2f} to {row.share_high:.2f})" for row in shares.itertuples()
            ],
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
            "traffic": own.index.get_level_values("level").map(TRAFFIC),
            "batch times": own.index.get_level_values("latency"),
            "cut at, tokens": own["edges"].to_numpy(),
            "batch sizes": own["batch_sizes"].to_numpy(),
            "requests/s, full batches": [f"{rate:.3g}" for rate in own["capacity_rps"]],
            "times equal mass": ["–" if pd.isna(value) else f"{value:.2f}" for value in ratio],
        }
    )
    return shown.style.hide()
