"""From tables of the rules for the size of a batch to sentences: overflow, memory rules, fixed points, regimes.

Reads what `rules` returns. One rule is called better or worse only where the interval says so.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from book.chapters.sla_paper.tables import LENGTHS
from simlib.text import percent

FEEDBACK = {
    "step": "the step's time",
    "decode": "the time of steps without prompts",
    "service": "requests' service time",
    "latency": "requests' end-to-end time",
}
ASKED = 0.05  # the probability of overflow that the answer speaks of
SAME = 1e-9  # equal but for rounding


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


def fixed_answer(table: pd.DataFrame) -> str:
    """How far from (D - a) / beta each rule settles."""
    away = table.assign(away=table["running"] - table["expected_batch"])
    said = [
        f"{rule} {rows['away'].min():+.1f} to {rows['away'].max():+.1f}".replace("-", "−")
        for rule, rows in away.groupby("sla_rule", sort=False)
    ]
    return "Sequences that run, less (D − a)/β: " + "; ".join(said) + "."


def settling_answer(table: pd.DataFrame) -> str:
    """Slowest arrival and largest distance of each rule over starts, windows and intervals."""
    said = [
        f"{rule} needs {rows['steps'].min():.0f} to {rows['steps'].max():.0f} steps to come within a tenth, and runs "
        f"{rows['distance'].min():.1f} to {rows['distance'].max():.1f} sequences away from it (root mean square)"
        for rule, rows in table.groupby("sla_rule", sort=False)
    ]
    return "; ".join(said) + "."


def regime_answer(table: pd.DataFrame) -> str:
    """Which regimes each feedback has, over rules and loads."""
    rows = table[table["start"] == "empty"]
    said = []
    for feedback, group in rows.groupby("feedback", sort=False):
        counts = group["regime"].value_counts()
        parts = ", ".join(f"{counts[name]} {name}" for name in counts.index)
        said.append(f"fed with {FEEDBACK[feedback]}: {parts} (of {len(group)})")
    return "; ".join(said) + "."


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


def floor_answer(table: pd.DataFrame) -> str:
    """What a fallen Algorithm 2 completes over the rate of its floor, where both starts fell, at the highest load."""
    rows = table[(table["regime"] == "collapsed") & (table["feedback"] == "latency") & (table["sla"] == "paper")]
    rows = rows[rows["load"] == rows["load"].max()]
    ratio = rows["kept_up"] * rows["rate_rps"] / rows["floor_rps"]
    if rows.empty:
        return "No cell fell from both starts."
    return f"The fallen rule completes {ratio.min():.2f} to {ratio.max():.2f} of the rate of its floor."


def hindsight_answer(table: pd.DataFrame) -> str:
    """Each rule's throughput over that of the static cap, with its interval, and its slowest steps."""
    said = [
        f"{row.sla_rule} (every {row.interval_steps}) {row.throughput_ratio:.3f} "
        f"({row.ratio_ci_low:.3f} to {row.ratio_ci_high:.3f}), 99th percentile {1000 * row.itl_p99_s:.1f} ms"
        for row in table[table["sla_rule"] != "static"].itertuples()
    ]
    return "Throughput over that of the static cap: " + "; ".join(said) + "."


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


def doubled_answer(table: pd.DataFrame) -> str:
    """How far capacities move when runs are twice as long."""
    moved = (table["doubled"] - 1).abs().max()
    apart = int(((table["doubled_ci_low"] > 1) | (table["doubled_ci_high"] < 1)).sum())
    return (
        f"In runs of twice as many requests capacities differ by {100 * moved:.1f} % at most; "
        f"{apart} of {len(table)} intervals of that ratio exclude 1."
    )


def throughput_answer(table: pd.DataFrame) -> str:
    """The memory rule's gain in throughput over each static cap: its range over settings and lengths."""
    said = [
        f"{rows['gain'].min():.2f} to {rows['gain'].max():.2f} over {engine}"
        for engine, rows in table[table["engine"].str.startswith("static")].groupby("engine", sort=False)
    ]
    return "Throughput of equation (12), times that of a static cap: " + "; ".join(said) + "."
