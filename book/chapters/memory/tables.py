"""The tables of the chapter on a full memory, as they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

LABELS = ("stable", "near_critical", "unstable", "bistable")
SCARCE = {"memory": "memory", "places": "places", "tokens": "tokens of a step"}
REMEDIES = {"none": "nothing", "nothing found again": "nothing, and no block is found again"}
COUNTS = {"near_critical": "near critical"}


def show_capacity(capacity: pd.DataFrame) -> Styler:
    """What is served over the formula's rate, and over what the scarcest resource allows."""
    shown = pd.DataFrame(
        {
            "engine or lengths": capacity["case"],
            "scarcest": capacity["scarcest"].map(SCARCE),
            "served ÷ formula": _limits(capacity, "of_rate", ".2f"),
            "served ÷ scarcest full": capacity["of_bound"].map("{:.2f}".format),
            "δ": capacity["delta"].map("{:.2f}".format),
            "evictions a request": capacity["evictions"].map("{:.2f}".format),
        }
    )
    return shown.style.hide(axis="index")


def show_labels(labels: pd.DataFrame) -> Styler:
    """How many runs got each label, from two starts."""
    shown = labels[["case", "load", *LABELS]].rename(columns={"load": "load ÷ formula", "case": "scarcest"} | COUNTS)
    shown["scarcest"] = shown["scarcest"].replace(
        {"16 places": "places", "short outputs": "tokens of a step", "as in the log": "memory"}
    )
    return shown.style.format(precision=2, subset=["load ÷ formula"]).hide(axis="index")


def show_regions(regions: pd.DataFrame) -> Styler:
    """The largest load at which all runs were labelled stable, the least at which all were unstable, and saturation."""
    rows = []
    for (shape, scheduler), own in regions.groupby(["shape", "scheduler"], sort=False):
        runs = own[list(LABELS)].sum(axis=1)
        stable, unstable = own[own["stable"] == runs], own[own["unstable"] == runs]
        last = own.iloc[-1]
        rows.append(
            {"requests": shape, "scheduler": scheduler, "all stable up to": stable["load"].max()}
            | {"all unstable from": unstable["load"].min()}
            | {"saturated": with_limits(last["saturated"], last["ci_low"], last["ci_high"], ".2f")}
        )
    return pd.DataFrame(rows).style.format(precision=2, na_rep="–").hide(axis="index")


def show_remedies(remedies: pd.DataFrame) -> Styler:
    """Served over what fits without evictions, by what is done about them."""
    shown = pd.DataFrame(
        {
            "what is done": remedies["remedy"].replace(REMEDIES),
            "served ÷ without evictions": _limits(remedies, "of_bound", ".2f"),
            "evictions a request": remedies["evictions"].map("{:.2f}".format),
            "prefill computed again": (100 * remedies["computed_again"]).map("{:.0f} %".format),
            "running": [
                f"{low:.0f} to {high:.0f}" for low, high in remedies[["running_low", "running_high"]].to_numpy()
            ],
        }
    )
    return shown.style.hide(axis="index")


def show_starts(starts: pd.DataFrame) -> Styler:
    """Who is in the system at the end, by arrivals, load and start."""
    shown = starts.assign(start=starts["waiting"].map(lambda waiting: f"{waiting} wait" if waiting else "empty"))
    shown["in the system at the end"] = _limits(starts, "left", ".0f")
    shown["evictions a request"] = starts["evictions"].map("{:.2f}".format)
    columns = ["arrivals", "load", "start", "in the system at the end", "evictions a request"]
    return shown[columns].style.format(precision=2, subset=["load"]).hide(axis="index")


def show_lengths(lengths: pd.DataFrame) -> Styler:
    """Two classes of outputs where evicted answers start over."""
    shown = lengths.drop(columns="input_dominated").assign(coprime=lengths["coprime"].map({True: "yes", False: "no"}))
    names = {"prompt_tokens": "prompt tokens", "outputs": "output tokens", "of_bound": "served ÷ without evictions",
             "evictions": "evictions a completion"}  # fmt: skip
    return shown.rename(columns=names).style.format(precision=3, thousands=",").hide(axis="index")


def _limits(table: pd.DataFrame, name: str, form: str) -> list[str]:
    """An estimate with its interval; without, where no chance is involved."""
    columns = table[[name, "ci_low", "ci_high"]].to_numpy(float)
    return [f"{value:{form}}" if pd.isna(low) else with_limits(value, low, high, form) for value, low, high in columns]
