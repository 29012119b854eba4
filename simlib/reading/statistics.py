"""From the measured coverage to sentences and tables: which intervals keep their promise, and where they do not.

Reads ``data/results/coverage.csv`` and the records of `steady` and `stability`; simulates nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from pandas.io.formats.style import Styler

from simlib.checks import reads_tables
from simlib.notebook import percent
from simlib.stability import Verdict
from simlib.stats import Estimate

__all__ = ["coverage_answer", "coverage_numbers", "show_coverage", "show_steady_state"]


@reads_tables
def coverage_answer(table: pd.DataFrame) -> str:
    """What recommended methods cover, and what the two common mistakes do."""
    good = table[table["recommended"]]
    inside = good["coverage"].between(0.93, 0.97)
    reaching = good[~inside & (good["ci_high"] >= 0.93) & (good["ci_low"] <= 0.97)]
    rest = f"; of the others {len(reaching)} have intervals that reach into that range" if not inside.all() else ""
    return (
        f"Of {len(good)} cases in which a method is recommended, {inside.sum()} cover the truth in 93 to 97 % of "
        f"{good['experiments'].max()} experiments, where 95 % is promised ({_range(good)}{rest}). "
        f"The order statistics of one run, as if its requests were independent, cover its P99 in "
        f"{_range(table[table['method'] == 'order statistics'])}, "
        f"the t interval of its requests the mean in "
        f"{_range(table[(table['method'] == 'independent requests') & (table['quantity'] == 'mean')])}."
    )


@reads_tables
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


def _range(rows: pd.DataFrame) -> str:
    return f"{100 * rows['coverage'].min():.1f} to {100 * rows['coverage'].max():.1f} %"


@reads_tables
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


@reads_tables
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
