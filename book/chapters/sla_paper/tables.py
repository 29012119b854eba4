"""Tables of the rules for the size of a batch, and of what they carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.sla_paper.rules import RULE_NAMES
from book.kit.tables import with_limits

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


LENGTHS = {"equal": "equal", "normal_like": "normal-like", "skewed": "skewed", "burstgpt": "BurstGPT"}
MEMORY_NAMES = {"none": "none", "paper": "equation (12)", "printed": "as printed", "released": "released patch",
                "original": "original's rule"}  # fmt: skip
FED = {"step": "steps", "service": "service times", "latency": "end-to-end times"}
STARTS = {"empty": "from empty", "backlog": "from a backlog"}


def _shown(table: pd.DataFrame, columns: dict[str, str], estimates: dict[str, tuple[str, str, int]]) -> Any:
    shown = pd.DataFrame({title: table[name] for name, title in columns.items()})
    for name, (title, before, digits) in estimates.items():
        limits = table[[name, f"{before}ci_low", f"{before}ci_high"]].itertuples(index=False)
        shown[title] = [with_limits(*one, form=f".{digits}f") for one in limits]
    return shown.style.hide(axis="index")


def show_collapse(table: pd.DataFrame) -> Styler:
    """From which load on half of the runs collapse, by start, and what is left at the highest load, with intervals."""
    starts = {start: rows.reset_index(drop=True) for start, rows in table.groupby("start", sort=False)}
    first, last = starts["empty"], starts["backlog"]
    shown = pd.DataFrame({"rule": first["sla"].map(RULE_NAMES), "fed with": first["feedback"].map(FED)})
    if (changed := first["changed"].fillna("")).any():
        shown["changed"] = changed.where(changed != "", first["requests"].map("runs of {:,} requests".format))
    for start, rows in starts.items():
        shown[STARTS[start]] = [_from_load(row) for row in rows.itertuples()]
    limits = last[["kept_up", "kept_ci_low", "kept_ci_high"]].itertuples(index=False)
    shown["then completed at the highest"] = [with_limits(*one, form=".2f") for one in limits]
    return shown.style.hide(axis="index")


def _from_load(row: Any) -> str:
    if pd.isna(row.collapse_load):
        return f"not up to {row.ci_low:g}"
    high = "more" if pd.isna(row.ci_high) else f"{row.ci_high:.2f}"
    return f"{row.collapse_load:.2f} ({row.ci_low:.2f} to {high})"


def show_hindsight(table: pd.DataFrame) -> Styler:
    """Rules against the static cap, with intervals; times in milliseconds."""
    shown = table.assign(
        sla_rule=table["sla_rule"].replace(RULE_NAMES | {"static": "static cap"}),
        interval_steps=table["interval_steps"].map({0: "–", 1: "every step"}).fillna("every 16th step"),
    )
    times = [name for name in shown if name.startswith("itl_")]
    shown[times] *= 1000
    return _shown(
        shown,
        {"sla_rule": "rule", "interval_steps": "decided"},
        {
            "throughput_ratio": ("throughput, of the static cap", "ratio_", 3),
            "itl_p50_s": ("median time between tokens (ms)", "itl_p50_", 1),
            "itl_p99_s": ("99th percentile (ms)", "itl_p99_", 1),
        },
    )


def show_memory(table: pd.DataFrame) -> Styler:
    """The memory rules in the engine, with intervals."""
    shown = table.assign(lengths=table["lengths"].map(LENGTHS), memory_rule=table["memory_rule"].map(MEMORY_NAMES))
    return _shown(
        shown,
        {"lengths": "lengths", "memory_rule": "rule"},
        {
            "throughput_ratio": ("throughput, of none", "ratio_", 3),
            "preemptions_per_request": ("preemptions a request", "preemptions_", 3),
        },
    )


def show_settling(table: pd.DataFrame) -> Styler:
    """The slowest of each rule's settings, and how far off it then is, with intervals."""
    slowest = table.loc[table.groupby("sla_rule", sort=False)["steps"].idxmax()]
    shown = slowest.assign(sla_rule=slowest["sla_rule"].map(RULE_NAMES))
    columns = {"sla_rule": "rule", "b_start": "first cap", "window_steps": "window (steps)",
               "interval_steps": "decided every (steps)"}  # fmt: skip
    estimates = {"steps": ("steps until near", "steps_", 0), "away_share": ("share of decisions off later", "away_", 2),
                 "distance": ("sequences off", "", 1)}  # fmt: skip
    return _shown(shown, columns, estimates)


def show_table_2(table: pd.DataFrame, printed: Mapping[str, float]) -> Styler:
    """Gains of the paper's rule over static caps, by row of Table II, with intervals, and the gains that it prints."""
    wide = _gains(table, ["setting", "outputs"])
    wide["printed"] = wide["setting"].map(printed).map("{:.2f}".format)
    return wide.rename(columns={"setting": "row"}).style.hide(axis="index")


def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities and gains, with intervals."""
    shown = table.assign(expected=table["expected_rps"].map("{:.2f}".format), engine=table["engine"].map(engine_name))
    return _shown(
        shown,
        {"outputs": "outputs", "engine": "engine", "expected": "fluid limit (requests/s)"},
        {"capacity_rps": ("capacity (requests/s)", "", 2), "gain": ("paper's rule over it", "gain_", 2)},
    )


def show_throughputs(table: pd.DataFrame) -> Styler:
    """Throughput of equation (12) over that of static caps and the released patch, with intervals."""
    setting = [f"{row.prompt_tokens:g} / {row.output_tokens:g}" for row in table.itertuples()]
    return _gains(table.assign(**{"prompt / output": setting}), ["prompt / output", "lengths"]).style.hide(axis="index")


def engine_name(engine: str) -> str:
    """An engine of `capacity`, as tables call it."""
    names = {"paper": "paper's rule", "regression": "regression", "released": "released patch"}
    return names.get(engine, engine.replace("static ", "static cap of "))


def _gains(table: pd.DataFrame, places: list[str]) -> pd.DataFrame:
    """The paper's rule over each other engine, an engine a column."""
    limits = table[["gain", "gain_ci_low", "gain_ci_high"]].itertuples(index=False)
    shown = table.assign(told=[with_limits(*one, form=".2f") for one in limits])
    shown = shown.assign(
        over="over "
        + shown["engine"]
        .map(engine_name)
        .str.replace("static cap of ", "a cap of ")
        .replace("released patch", "the patch")
    ).query("engine != 'paper'")
    return shown.pivot_table(
        index=places, columns="over", values="told", aggfunc="first", sort=False
    ).reset_index().rename_axis(columns=None)  # fmt: skip
