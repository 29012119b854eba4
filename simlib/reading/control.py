"""From tables of the rules for the size of a batch to sentences: overflow, memory rules, fixed points, regimes.

Reads what `studies.control` returns. One rule is called better or worse only where the interval says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.notebook import percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = [
    "capacity_answer",
    "fixed_answer",
    "floor_answer",
    "hindsight_answer",
    "memory_answer",
    "overflow_answer",
    "regime_answer",
    "settling_answer",
    "show_capacities",
    "show_hindsight",
    "show_memory",
    "show_settling",
    "show_throughputs",
    "throughput_answer",
]

LENGTHS = {"equal": "equal", "normal_like": "normal-like", "skewed": "skewed", "burstgpt": "BurstGPT"}
FEEDBACK = {
    "step": "the step's time",
    "decode": "the time of steps without prompts",
    "service": "requests' service time",
    "latency": "requests' end-to-end time",
}
ASKED = 0.05  # the probability of overflow that the answer speaks of
SAME = 1e-9  # equal but for rounding


@reads_tables
def overflow_answer(table: pd.DataFrame) -> str:
    """Measured overflow of the largest batches for one probability that was asked for, `ASKED`."""
    rows = table[(table["mean_requests"] == table["mean_requests"].max()) & (table["epsilon_m"] == ASKED)]
    said = []
    for seen, text in ((0, "with known moments"), (64, "with moments of 64 requests")):
        shares = [
            f"{percent(row.overflow_share)} ({LENGTHS[row.lengths]})"
            for row in rows[rows["requests_seen"] == seen].itertuples()
        ]
        said.append(f"{text} {', '.join(shares)}")
    return f"Where {percent(ASKED, 0)} are asked for, batches exceed the cache {'; '.join(said)}."


@reads_tables
def memory_answer(table: pd.DataFrame) -> str:
    """Each memory rule against none: throughput and preemptions over the kinds of lengths."""
    said = []
    for rule, rows in table[table["memory_rule"] != "none"].groupby("memory_rule", sort=False):
        less, more = (rows["ratio_ci_high"] < 1 - SAME).sum(), (rows["ratio_ci_low"] > 1 + SAME).sum()
        said.append(
            f"{rule}: throughput {rows['throughput_ratio'].min():.2f} to {rows['throughput_ratio'].max():.2f} of that "
            f"without a rule (less in {less}, more in {more} of {len(rows)}), preemptions a request "
            f"{rows['preemptions_per_request'].min():.2f} to {rows['preemptions_per_request'].max():.2f}"
        )
    none = table[table["memory_rule"] == "none"]["preemptions_per_request"]
    return f"Without a rule {none.min():.2f} to {none.max():.2f} preemptions a request. " + "; ".join(said) + "."


@reads_tables
def fixed_answer(table: pd.DataFrame) -> str:
    """How far from (D - a) / beta each rule settles."""
    away = table.assign(away=table["running"] - table["expected_batch"])
    said = [
        f"{rule} {rows['away'].min():+.1f} to {rows['away'].max():+.1f}".replace("-", "−")
        for rule, rows in away.groupby("sla_rule", sort=False)
    ]
    return "Sequences that run, less (D − a)/β: " + "; ".join(said) + "."


@reads_tables
def settling_answer(table: pd.DataFrame) -> str:
    """Slowest arrival and largest distance of each rule over starts, windows and intervals."""
    said = [
        f"{rule} needs {rows['steps'].min():.0f} to {rows['steps'].max():.0f} steps to come within a tenth, and runs "
        f"{rows['distance'].min():.1f} to {rows['distance'].max():.1f} sequences away from it (root mean square)"
        for rule, rows in table.groupby("sla_rule", sort=False)
    ]
    return "; ".join(said) + "."


@reads_tables
def regime_answer(table: pd.DataFrame) -> str:
    """Which regimes each feedback has, over rules and loads."""
    rows = table[table["start"] == "empty"]
    said = []
    for feedback, group in rows.groupby("feedback", sort=False):
        counts = group["regime"].value_counts()
        parts = ", ".join(f"{counts[name]} {name}" for name in counts.index)
        said.append(f"fed with {FEEDBACK[feedback]}: {parts} (of {len(group)})")
    return "; ".join(said) + "."


@reads_tables
def headline(table: pd.DataFrame) -> str:
    """In a sentence: what a rule is fed with decides whether it keeps up."""
    rows = table[table["start"] == "empty"]
    counts = pd.crosstab(rows["feedback"], rows["regime"]).assign(all=rows["feedback"].value_counts())
    counts = counts.reindex(columns=["stable", "collapsed", "bistable", "all"], fill_value=0)
    step, latency = counts.loc["step"], counts.loc["latency"]
    return (
        f"Fed with the time of its steps, an SLA controller keeps up in {step['stable']} of {step['all']} settings of "
        f"rule and load; fed with the time of whole requests, it starves itself at a load that it could carry in "
        f"{latency['collapsed']} of {latency['all']}, and in {latency['bistable']} more once it has a backlog."
    )


@reads_tables
def floor_answer(table: pd.DataFrame) -> str:
    """What a fallen Algorithm 2 completes over the rate of its floor, where both starts fell, at the highest load."""
    rows = table[(table["regime"] == "collapsed") & (table["feedback"] == "latency") & (table["sla"] == "paper")]
    rows = rows[rows["load"] == rows["load"].max()]
    ratio = rows["kept_up"] * rows["rate_rps"] / rows["floor_rps"]
    if rows.empty:
        return "No cell fell from both starts."
    return f"The fallen rule completes {ratio.min():.2f} to {ratio.max():.2f} of the rate of its floor."


def _shown(table: pd.DataFrame, columns: dict[str, str], estimates: dict[str, tuple[str, str, int]]) -> Any:
    shown = pd.DataFrame({title: table[name] for name, title in columns.items()})
    for name, (title, before, digits) in estimates.items():
        limits = table[[name, f"{before}ci_low", f"{before}ci_high"]].itertuples(index=False)
        shown[title] = [f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" for mean, low, high in limits]
    return shown.style.hide(axis="index")


@reads_tables
def hindsight_answer(table: pd.DataFrame) -> str:
    """Each rule's throughput over that of the static cap, with its interval, and its slowest steps."""
    said = [
        f"{row.sla_rule} (every {row.interval_steps}) {row.throughput_ratio:.3f} "
        f"({row.ratio_ci_low:.3f} to {row.ratio_ci_high:.3f}), 99th percentile {1000 * row.itl_p99_s:.1f} ms"
        for row in table[table["sla_rule"] != "static"].itertuples()
    ]
    return "Throughput over that of the static cap: " + "; ".join(said) + "."


@reads_tables
def show_hindsight(table: pd.DataFrame) -> Styler:
    """Rules against the static cap, with intervals; times in milliseconds."""
    shown = table.copy()
    times = [name for name in shown if name.startswith("itl_")]
    shown[times] *= 1000
    return _shown(
        shown,
        {"sla_rule": "rule", "interval_steps": "interval"},
        {
            "throughput_ratio": ("throughput, of the static cap", "ratio_", 3),
            "itl_p50_s": ("median time between tokens (ms)", "itl_p50_", 1),
            "itl_p99_s": ("99th percentile (ms)", "itl_p99_", 1),
        },
    )


@reads_tables
def show_memory(table: pd.DataFrame) -> Styler:
    """The memory rules in the engine, with intervals."""
    shown = table.assign(lengths=table["lengths"].map(LENGTHS))
    return _shown(
        shown,
        {"lengths": "lengths", "memory_rule": "rule"},
        {
            "throughput_ratio": ("throughput, of none", "ratio_", 3),
            "preemptions_per_request": ("preemptions a request", "preemptions_", 3),
        },
    )


@reads_tables
def show_settling(table: pd.DataFrame) -> Styler:
    """Settling from different starts, with intervals."""
    columns = {"sla_rule": "rule", "b_start": "first cap", "window_steps": "window",
               "interval_steps": "interval"}  # fmt: skip
    estimates = {"steps": ("steps", "steps_", 0), "away_share": ("away, share", "away_", 2),
                 "distance": ("distance", "", 1)}  # fmt: skip
    return _shown(table, columns, estimates)


@reads_tables
def capacity_answer(table: pd.DataFrame) -> str:
    """The paper's rule over each static cap: its gain in capacity, with the interval."""
    said = []
    for kind, rows in table[table["engine"].str.startswith("static")].groupby("outputs", sort=False):
        gains = ", ".join(
            f"{row.gain:.2f} ({row.gain_ci_low:.2f} to {row.gain_ci_high:.2f}) over {row.engine}"
            for row in rows.itertuples()
        )
        said.append(f"{kind} lengths: {gains}")
    return "Capacity of the paper's rule, times that of a static cap; " + "; ".join(said) + "."


@reads_tables
def table_2_answer(table: pd.DataFrame, printed: Mapping[str, float]) -> str:
    """For each setting: which gains the paper's rule has over the static caps, and between which the printed one is."""
    said = []
    for setting, rows in table[table["engine"].str.startswith("static")].groupby("setting", sort=False):
        gains = "; ".join(
            f"{kind} outputs {own['gain'].min():.2f} to {own['gain'].max():.2f}"
            for kind, own in rows.groupby("outputs", sort=False)
        )
        within = rows["gain"].min() <= printed[setting] <= rows["gain"].max()
        said.append(f"{setting}: {gains} (printed {printed[setting]:.2f}, {'within' if within else 'outside'} this)")
    return "Gain in capacity over static caps by row of Table II: " + ". ".join(said) + "."


@reads_tables
def doubled_answer(table: pd.DataFrame) -> str:
    """How far capacities move when runs are twice as long."""
    moved = (table["doubled"] - 1).abs().max()
    apart = int(((table["doubled_ci_low"] > 1) | (table["doubled_ci_high"] < 1)).sum())
    return (
        f"In runs of twice as many requests capacities differ by {100 * moved:.1f} % at most; "
        f"{apart} of {len(table)} intervals of that ratio exclude 1."
    )


@reads_tables
def show_table_2(table: pd.DataFrame) -> Styler:
    """Capacities, gains and what longer runs change, with intervals."""
    return _shown(
        table,
        {"setting": "row", "outputs": "outputs", "engine": "engine"},
        {
            "capacity_rps": ("capacity (requests/s)", "", 2),
            "gain": ("paper's rule over it", "gain_", 3),
            "doubled": ("in longer runs, over shorter", "doubled_", 3),
        },
    )


@reads_tables
def throughput_answer(table: pd.DataFrame) -> str:
    """The memory rule's gain in throughput over each static cap: its range over settings and lengths."""
    said = [
        f"{rows['gain'].min():.2f} to {rows['gain'].max():.2f} over {engine}"
        for engine, rows in table[table["engine"].str.startswith("static")].groupby("engine", sort=False)
    ]
    return "Throughput of equation (12), times that of a static cap: " + "; ".join(said) + "."


@reads_tables
def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities and gains, with intervals."""
    shown = table.assign(expected=table["expected_rps"].map("{:.2f}".format))
    return _shown(
        shown,
        {"outputs": "outputs", "engine": "engine", "expected": "fluid limit (requests/s)"},
        {"capacity_rps": ("capacity (requests/s)", "", 2), "gain": ("paper's rule over it", "gain_", 2)},
    )


@reads_tables
def show_throughputs(table: pd.DataFrame) -> Styler:
    """Throughputs and gains, with intervals."""
    shown = table.assign(setting=[f"{row.prompt_tokens:g} / {row.output_tokens:g}" for row in table.itertuples()])
    return _shown(
        shown,
        {"setting": "prompt / output", "lengths": "lengths", "engine": "engine"},
        {"output_tokens_per_s": ("output tokens/s", "", 0), "gain": ("equation (12) over it", "gain_", 3)},
    )
