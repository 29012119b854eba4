"""From two execution models to sentences and tables: what each carries, what changes, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import percent, seconds, signed
from simlib.reading import established
from simlib.studies.executions import BATCHES, PAIRS, POINT, STEPS, SYSTEM

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["answer", "bins", "changes", "name_of", "numbers", "show_differences", "show_systems"]

NAMES = {
    (STEPS, "static_fifo"): "continuous, static's places",
    (STEPS, "fcfs"): "continuous, fcfs",
    (STEPS, "multi_bin_dynamic"): "continuous, bins' order",
}
SHOWN = {
    "sla_violation_share": ("late", lambda value: percent(value, 2)),
    "ttft_p99_s": ("TTFT, P99", lambda value: seconds(value, 2)),
    "tpot_mean_s": ("TPOT, mean", lambda value: f"{1000 * value:.1f} ms"),
    "latency_p99_s": ("E2E, P99", lambda value: seconds(value, 1)),
    "throughput_rps": ("requests/s", lambda value: f"{value:.2f}"),
    "goodput_rps": ("goodput/s", lambda value: f"{value:.2f}"),
}
SIGNED = {
    "sla_violation_share": lambda value: signed(100 * value, 2),
    "ttft_p99_s": lambda value: signed(value, 2),
    "tpot_mean_s": lambda value: signed(1000 * value, 1),
    "latency_p99_s": lambda value: signed(value, 1),
    "goodput_rps": lambda value: signed(value, 2),
}
UNITS = {"sla_violation_share": "points", "ttft_p99_s": "s", "tpot_mean_s": "ms", "latency_p99_s": "s"}
UNITS |= {"goodput_rps": "requests/s"}


def name_of(execution: str, scheduler: str) -> str:
    """A system as the pages call it."""
    return NAMES.get((execution, scheduler), scheduler)


@reads_tables
def answer(ratios: pd.DataFrame) -> str:
    """What continuous batching carries beside each scheduler, and what bins are worth in both worlds."""
    same, line, bins, among_batches, among_steps = (_ratio(ratios, *pair) for pair in PAIRS)
    return (
        f"At the same step times an engine carries {_times(same)} the rate of static batches with no more than their "
        f"places, {_times(line)} that of dynamic batches and {_times(bins)} that of multi-bin batches with as many "
        f"sequences as those may have. With bins, batches that run to completion carry {_times(among_batches)} what "
        f"they carry without; the engine, in the bins' order, {_times(among_steps)}: {_worth(among_steps)}."
    )


def _worth(row: Any) -> str:
    if row.ci_low > 1:
        return "their order hardly matters" if row.ci_high < 1.05 else "their order helps"
    return "their order costs" if row.ci_high < 1 else "no gain is established"


@reads_tables
def changes(differences: pd.DataFrame) -> str:
    """By how much the engine's order differs from its counterpart, at the highest rate that both bear."""
    sentences = []
    for a, b in PAIRS[:3]:
        rows = _pair(differences, a, b)
        if rows.empty:
            continue
        own = rows[rows["load"] == rows["load"].max()].set_index("metric")
        texts = [f"{SHOWN[metric][0]} {_change(own.loc[metric], metric)}" for metric in ("ttft_p99_s", "latency_p99_s")]
        rate = f"{own['rate_rps'].iloc[0]:.2f} requests/s"
        sentences.append(f"{name_of(*a).capitalize()} against {b[1]}, at {rate}: {' and '.join(texts)}.")
    return " ".join(sentences)


def _change(row: Any, metric: str) -> str:
    number = SIGNED[metric]
    text = f"{number(row['difference'])} {UNITS[metric]} ({number(row['ci_low'])} to {number(row['ci_high'])})"
    return text if established(row) else f"{text}, not established"


@reads_tables
def bins(differences: pd.DataFrame) -> str:
    """What bins do to late requests in both worlds, by rate."""
    sentences = []
    for (a, b), where in ((PAIRS[3], "run to completion"), (PAIRS[4], "the engine")):
        rows = _pair(differences, a, b)
        rows = rows[rows["metric"] == "sla_violation_share"]
        fewer, more = ([row for _, row in rows.iterrows() if established(row) and sign * row["difference"] < 0]
                       for sign in (1, -1))  # fmt: skip
        texts = [f"{word} at {_rates(found)}" for word, found in (("more", more), ("fewer", fewer)) if found]
        if not texts:
            largest = rows["difference"].abs().max() if len(rows) else 0.0
            texts = [f"no established difference at any rate (the largest mean one is {100 * largest:.2f} points)"]
        sentences.append(f"In {where}, late requests with bins against none: {'; '.join(texts)}.")
    return " ".join(sentences).replace("In run to completion", "Run to completion")


def _rates(rows: list[Any]) -> str:
    rates = ", ".join(f"{row['rate_rps']:.2f}" for row in rows)
    return f"{rates} requests/s"


@reads_tables
def numbers(table: pd.DataFrame) -> dict[str, str]:
    """Means that the prose quotes, at the lowest rate and at the highest that static batches bear."""
    static = table[(table["execution"] == BATCHES) & (table["scheduler"] == "static_fifo") & table["mean"].notna()]
    texts = {}
    for word, load in (("idle", static["load"].min()), ("busy", static["load"].max())):
        own = table[table["load"] == load].set_index([*SYSTEM, "metric"])["mean"]
        texts[f"{word}_rate"] = f"{static.loc[static['load'] == load, 'rate_rps'].iloc[0]:.2f}"
        for execution, scheduler, short in ((BATCHES, "static_fifo", "static"), (STEPS, "static_fifo", "places")):
            for metric, (_, shown) in SHOWN.items():
                texts[f"{word}_{short}_{metric.rsplit('_', 1)[0]}"] = shown(own[execution, scheduler, metric])
    return texts


@reads_tables
def show_systems(table: pd.DataFrame, loads: tuple[float, ...]) -> Styler:
    """Means by rate and system; *unstable* in their place where the number in system grows with the run."""
    rows = []
    for key, group in table[table["load"].isin(loads)].groupby(POINT, sort=False):
        means = group.set_index("metric")["mean"]
        label = group["stability"].iloc[0]
        lost, name = label == "unstable", name_of(*key[2:])
        name += " (near critical)" if label == "near_critical" else ""
        shown = {label: "unstable" if lost else text(means[name]) for name, (label, text) in SHOWN.items()}
        rows.append({"rate (1/s)": f"{key[1]:.2f}", "system": name} | shown)
    return pd.DataFrame(rows).style.hide()


@reads_tables
def show_differences(differences: pd.DataFrame, loads: tuple[float, ...]) -> Styler:
    """Paired differences with their intervals, by rate and pair; a dagger marks those that are not established."""
    rows = []
    for load in loads:
        for a, b in PAIRS:
            own = _pair(differences[differences["load"] == load], a, b).set_index("metric")
            if own.empty:
                continue
            row = {"rate (1/s)": f"{own['rate_rps'].iloc[0]:.2f}", "A − B": f"{name_of(*a)} − {name_of(*b)}"}
            for metric, unit in UNITS.items():
                number, values = SIGNED[metric], own.loc[metric]
                text = f"{number(values['difference'])} ({number(values['ci_low'])} to {number(values['ci_high'])})"
                row[f"{SHOWN[metric][0]}, {unit}"] = text if established(values) else f"{text} †"
            rows.append(row)
    return pd.DataFrame(rows).style.hide()


def _pair(differences: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> pd.DataFrame:
    columns = ("execution_a", "scheduler_a", "execution_b", "scheduler_b")
    chosen = pd.Series(True, index=differences.index)
    for column, value in zip(columns, (*a, *b), strict=True):
        chosen &= differences[column] == value
    return differences[chosen]


def _ratio(ratios: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> Any:
    return _pair(ratios, a, b).iloc[0]


def _times(row: Any) -> str:
    digits = 3 if row.value < 1.1 else 2
    return f"{row.value:.{digits}f} times ({row.ci_low:.{digits}f} to {row.ci_high:.{digits}f})"
