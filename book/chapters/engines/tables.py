"""The tables of the ledger, as its page shows them: what fails, engine by engine, presets."""

from __future__ import annotations

import pandas as pd
from pandas.io.formats.style import Styler

from book.chapters.engines import rows
from book.chapters.engines.figures import LINES
from simlib.text import signed

WHY = {
    rows.FALLS: "a measured time is out of line: fewer clients waited longer",
    rows.UNMET: "what is taken from the card is longer than measured, so that the law misses its own two runs",
    rows.CACHE_FULL: "the cache's size is not given, only the card's memory",
    rows.MIXTURE: "time grows along a curve that reading experts does not explain",
    rows.IMAGES: "what an image is in tokens is not given",
    rows.SWITCHED: "processor sharing knows of no switch, the simulator of all",
    rows.DENSE: "time grows along a curve, and neither model bends",
}


def show_summary(summary: pd.DataFrame) -> Styler:
    """A row a line of the picture: errors of all runs; over models, and of blind runs, ours / the line's."""
    key = ["kind", "metric", "statistic", "circumstance"]
    every, blind = (summary[summary["blind"].astype(bool) == is_blind].set_index(key) for is_blind in (False, True))
    shown = []
    for line in LINES:
        at = tuple(line[1:])
        if at not in every.index:
            continue
        one = every.loc[at]
        shown.append(
            {"what": line.said, "series": f"{one['series']:.0f}", "models": f"{one['models']:.0f}"}
            | {"error % (P90)": f"{one['error_percent']:.1f} ({one['error_p90_percent']:.0f})"}
            | {"line %": f"{one['null_percent']:.1f}", "skill": skill(one)}
            | {"over models": f"{one['model_percent']:.1f} / {one['null_model_percent']:.1f}", "blind": "–"}
        )
        if at in blind.index:
            other = blind.loc[at]
            shown[-1]["blind"] = f"{other['error_percent']:.1f} / {other['null_percent']:.1f}"
    return pd.DataFrame(shown).style.hide(axis="index")


def skill(row: pd.Series) -> str:
    """With the interval over models, where there are enough of them."""
    said = signed(row["skill"], 2)
    if pd.isna(row["skill_low"]):
        return said
    return f"{said} ({signed(row['skill_low'], 2)} to {signed(row['skill_high'], 2)})"


def show_worst(worst: pd.DataFrame) -> Styler:
    """The series that are furthest off (`study.worst`), and why."""
    shown = pd.DataFrame(
        {
            "runs of": worst["series"].str.replace(r" \(\d+\)", "", regex=True),
            "judged on": worst["kind"],
            "error %": worst["error_percent"].map("{:.0f}".format),
            "line %": worst["null_percent"].map("{:.0f}".format),
            "why": worst["afterwards"].replace("", pd.NA).fillna(worst["circumstance"]).map(WHY),
        }
    )
    return shown.style.hide(axis="index")


def show_circumstances(summary: pd.DataFrame) -> Styler:
    """The mean time between tokens in closed loops, by what is known to make it hard."""
    own = summary[(summary["metric"] == "tpot") & ~summary["blind"].astype(bool)]
    own = own[own["kind"].isin((rows.CLOSED, rows.LENGTHS)) & (own["circumstance"] != "all")]
    shown = pd.DataFrame(
        {
            "foretold": own["kind"].map({rows.CLOSED: "more clients", rows.LENGTHS: "other lengths"}),
            "circumstance": own["circumstance"],
            "runs": own["rows"].map("{:,}".format),
            "error %": own["error_percent"].map("{:.1f}".format),
            "P90": own["error_p90_percent"].map("{:.0f}".format),
            "line %": own["null_percent"].map("{:.1f}".format),
            "skill": own["skill"].map(lambda value: signed(value, 2)),
        }
    )
    return shown.sort_values(["foretold", "circumstance"]).style.hide(axis="index")


def show_engines(table: pd.DataFrame) -> Styler:
    """Engine by engine: the median error of the time between tokens, and the line's; a star where all is blind."""
    own = table[table["metric"].isin(("tpot", "itl")) & table["statistic"].isin(("mean", "p50"))]
    own = own[(own["metric"] == "itl") | (own["statistic"] == "mean")]
    off = own.assign(
        error=own["error_percent"].abs(), null=own["null_error_percent"].abs(),
        where=own["kind"].map({rows.LENGTHS: "other lengths"}).fillna("other loads"),
    )  # fmt: skip
    by = ["engine", "model", "gpu", "source"]
    found = off.pivot_table(["error", "null"], by, "where", aggfunc="median")
    runs, blind = off.groupby(by).size(), off.groupby(by)["blind"].all()
    shown = pd.DataFrame({"runs": runs.astype(str) + blind.map({True: " *", False: ""})})
    for where, said in (("other loads", ("loads %", "line %")), ("other lengths", ("lengths %", "line % "))):
        for column, name in zip(("error", "null"), said, strict=True):
            shown[name] = found[column, where].map("{:.1f}".format).replace("nan", "–")
    return shown.reset_index().style.hide(axis="index")


def show_presets(checked: pd.DataFrame) -> Styler:
    """Presets beside measured engines, and the shares of prefill that the engines' runs support."""
    spans = zip(checked["error_low"], checked["error_high"], strict=True)
    shares = zip(checked["share_low"], checked["share_high"], strict=True)
    shown = pd.DataFrame(
        {
            "preset": checked["name"],
            "measured": checked["engine"] + ", " + checked["model"],
            "by": checked["source"],
            "runs": checked["runs"],
            "error %": [
                f"{signed(error, 0)} ({' to '.join(signed(end, 0) for end in ends)})"
                for error, ends in zip(checked["error_percent"], spans, strict=True)
            ],
            "prefill's share": ["–" if pd.isna(low) else f"{low:.2f} to {high:.2f}" for low, high in shares],
        }
    )
    return shown.style.hide(axis="index")


def show_others(table: pd.DataFrame) -> Styler:
    """The errors of means and P99 that another simulator publishes of the same runs, beside these, in per cent."""
    own = table.dropna(subset=["other_error_percent"]).query("statistic in ('mean', 'p99')")
    shown = pd.DataFrame(
        {
            "log": own["model"] + ", " + own["gpu"],
            "of": own["metric"].str.upper() + ", " + own["statistic"],
            "simlib": own["error_percent"].map(lambda value: signed(value, 1)),
            "other": own["other_error_percent"].map(lambda value: signed(value, 1)),
            "its name": own["other"],
            "a line before places": own["null_error_percent"].map(lambda value: signed(value, 1)),
        }
    )
    return shown.style.hide(axis="index")
