"""Tables of what can be trusted: benchmarks and their goals, coverage of intervals, long runs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

from book.kit.tables import as_texts
from simlib.runs.stability import Verdict
from simlib.stats.intervals import Estimate
from simlib.text import percent


def show_benchmarks(measured: pd.DataFrame) -> Styler:
    """Cost of a request and ratio to the rival, one row a case and engine."""
    shown = pd.DataFrame(
        {
            "case": measured["case"],
            "engine": measured["engine"],
            "requests": measured["requests"].map("{:,}".format),
            "ns a request": measured["ns_per_request"].map("{:,.0f}".format),
            "against": measured["ratio_to"].fillna("–"),
            "ratio": as_texts(measured["ratio"], "{:.2f}".format),
        }
    )
    return shown.style.hide(axis="index")


def show_goals(goals: pd.DataFrame) -> Styler:
    """Each goal with what was measured, and whether it is met."""
    signs = goals["at_most"].map({True: "≤", False: "≥"})
    shown = pd.DataFrame(
        {
            "goal": goals["goal"],
            "measured": goals["measured"].map("{:,.3g}".format),
            "wanted": signs + " " + goals["limit"].map("{:,.3g}".format),
            "unit": goals["unit"],
            "met": goals["met"].map({True: "yes", False: "no"}),
        }
    )
    return shown.style.hide(axis="index")


def show_coverage(table: pd.DataFrame) -> Styler:
    """Coverage by quantity and method (rows), queue and load (columns); a star where the method is recommended."""
    rows = table.dropna(subset=["coverage"])
    said = rows.assign(
        case=rows["queue"] + ", " + rows["rho"].map("{:g}".format),
        text=rows["coverage"].map(percent) + rows["recommended"].map({True: " *", False: ""}),
    )
    # Two studies have a row of the same name: requests taken for independent, within replications and in one run.
    lines = (
        said["quantity"] + ": " + said["method"] + said["study"].map({"terminating": "", "steady_state": " (one run)"})
    )
    wide = said.assign(interval=lines).pivot_table("text", "interval", "case", aggfunc="first", sort=False)
    return wide.fillna("–").reset_index().rename_axis(columns=None).style.hide(axis="index")


def coverage_numbers(table: pd.DataFrame) -> dict[str, float]:
    """The queues' memories, in requests, and the shortest runs with which methods are recommended, in memories."""
    alone = table[(table["queue"] == "mm1") & (table["study"] == "steady_state")]
    memory = (alone["requests"] / alone["memories"]).groupby(alone["rho"]).first()
    shortest = table[table["recommended"]].groupby(["quantity", "method"])["memories"].min()
    return {
        "experiments": int(table["experiments"].max()),
        "load_low": memory.index.min(),
        "load_high": memory.index.max(),
        "memory_low": round(memory.iloc[0]),
        "memory_high": round(memory.iloc[-1]),
        "from_means": int(shortest["mean", "batch_means"]),
        "from_p95": int(shortest["p95", "sectioning"]),
        "from_p99": int(shortest["p99", "sectioning"]),
        "from_replications": int(shortest["mean", "replications"]),
    }


def show_steady_state(found: Mapping[str, tuple[Estimate, Estimate, Verdict]]) -> Styler:
    """Mean and P99 of each system's long run, in seconds, and its verdict of two starts, with the load."""
    rows = [
        {"scheduler": name, "mean (s)": _estimate(mean), "P99 (s)": _estimate(p99), "load": _estimate(verdict.load)}
        | {"two starts": verdict.label.replace("_", " ")}
        for name, (mean, p99, verdict) in found.items()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def _estimate(found: Estimate) -> str:
    limits = (
        f"{found.ci_low:.3f} to {found.ci_high:.3f}" if found.ci_low is not None else f"no interval: {found.reason}"
    )
    return f"{found.value:.3f} ({limits})"
