"""Tables of continuous batching: what each system carries and takes, and the gains of binning in parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.continuous.executions import BATCHES, PAIRS, POINT, STEPS, SYSTEM
from book.chapters.continuous.gains import PARTS
from book.chapters.continuous.loops import CLOSED, OPEN
from book.kit.names import TRAFFIC_NAMES, system
from book.kit.tables import established, with_limits
from simlib.text import percent, seconds, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


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


def show_rates(rates: pd.DataFrame) -> Styler:
    """What each pair serves with a backlog, and its ratio with interval (`executions.ratios`)."""
    alone = rates[rates["execution_b"].isna() | (rates["execution_b"] == "")]
    served = alone.set_index(["execution_a", "scheduler_a"])["value"]
    rows = []
    for a, b in PAIRS:
        times = rows_of(rates, a, b).iloc[0]
        shown = {"A": system(*a), "over B": system(*b), "A (requests/s)": f"{served[a]:.2f}"}
        limits = with_limits(times["value"], times["ci_low"], times["ci_high"], ".2f")
        rows.append(shown | {"B (requests/s)": f"{served[b]:.2f}", "A / B": limits})
    return pd.DataFrame(rows).style.hide()


def show_systems(table: pd.DataFrame, loads: tuple[float, ...]) -> Styler:
    """Means by rate and system; *unstable* in their place where the number in system grows with the run."""
    rows = []
    for key, group in table[table["load"].isin(loads)].groupby(POINT, sort=False):
        means = group.set_index("metric")["mean"]
        label = group["stability"].iloc[0]
        lost, name = label == "unstable", system(*key[2:])
        name += " (near critical)" if label == "near_critical" else ""
        shown = {label: "unstable" if lost else text(means[name]) for name, (label, text) in SHOWN.items()}
        rows.append({"rate (1/s)": f"{key[1]:.2f}", "system": name} | shown)
    return pd.DataFrame(rows).style.hide()


def show_differences(differences: pd.DataFrame, loads: tuple[float, ...]) -> Styler:
    """Paired differences with their intervals, by rate and pair; a dagger marks those that are not established."""
    rows = []
    for load in loads:
        for a, b in PAIRS:
            own = rows_of(differences[differences["load"] == load], a, b).set_index("metric")
            if own.empty:
                continue
            row = {"rate (1/s)": f"{own['rate_rps'].iloc[0]:.2f}", "A − B": f"{system(*a)} − {system(*b)}"}
            for metric, unit in UNITS.items():
                number, values = SIGNED[metric], own.loc[metric]
                text = f"{number(values['difference'])} ({number(values['ci_low'])} to {number(values['ci_high'])})"
                row[f"{SHOWN[metric][0]}, {unit}"] = text if established(values) else f"{text} †"
            rows.append(row)
    return pd.DataFrame(rows).style.hide()


def rows_of(differences: pd.DataFrame, a: tuple[str, str], b: tuple[str, str]) -> pd.DataFrame:
    """The rows of one pair of systems, each an execution and a scheduler."""
    columns = ("execution_a", "scheduler_a", "execution_b", "scheduler_b")
    chosen = pd.Series(True, index=differences.index)
    for column, value in zip(columns, (*a, *b), strict=True):
        chosen &= differences[column] == value
    return differences[chosen]


def quoted(table: pd.DataFrame) -> dict[str, str]:
    """Means that the prose quotes, at the lowest rate and at the highest that static batches bear."""
    static = table[(table["execution"] == BATCHES) & (table["scheduler"] == "static_fifo") & table["mean"].notna()]
    busy = ("ttft_p99_s", "tpot_mean_s", "latency_p99_s", "sla_violation_share")
    texts = {}
    for word, load, metrics in (("idle", static["load"].min(), busy[:1]), ("busy", static["load"].max(), busy)):
        own = table[table["load"] == load].set_index([*SYSTEM, "metric"])["mean"]
        texts[f"{word}_rate"] = f"{static.loc[static['load'] == load, 'rate_rps'].iloc[0]:.2f}"
        for execution, short in ((BATCHES, "static"), (STEPS, "places")):
            for metric in metrics:
                said = SHOWN[metric][1](own[execution, "static_fifo", metric])
                texts[f"{word}_{short}_{metric.rsplit('_', 1)[0]}"] = said
    return texts


POLICY_NAMES = {
    "fcfs": "first come, first served",
    "routed": "first come, a line a GPU",
    "bins": "bins in turn",
    "shortest": "shortest predicted first",
    "aged": "shortest, with ageing",
    "dedicated": "dedicated GPUs",
}
PART_NAMES = {
    "line": "A line a GPU",
    "chance": "Order or classes\nby chance",
    "lengths": "Right lengths",
    "memory": "Memory is scarce",
    "padding": "Padding",
    "all": "All together",
}
METRIC_NAMES = {"ttft_mean_s": "mean time to first token", "latency_mean_s": "mean latency"}


def show_gains(gains: pd.DataFrame) -> Styler:
    """Ratios of capacity with intervals and verdicts: a row a policy and correlation, a column a kind of traffic.

    A double dagger marks a capacity above the rate that the policy's GPUs can serve for long.
    """
    rows = gains[gains["policy"] != "fcfs"]
    shown = pd.DataFrame(
        {
            "policy": rows["policy"].map(POLICY_NAMES),
            "rank correlation": ["" if math.isnan(rank) else f"{rank:g}" for rank in rows["rank_correlation"]],
            "traffic": rows["traffic"].map(TRAFFIC_NAMES),
            "ratio": [
                f"{ratio(row)}, {row.verdict}{' ‡' if row.share_of_limit > 1 else ''}" for row in rows.itertuples()
            ],
        }
    )
    wide = shown.pivot_table(
        index=["policy", "rank correlation"], columns="traffic", values="ratio", aggfunc="first", sort=False
    )
    return wide.reset_index().style.hide(axis="index")


def show_parts(parts: pd.DataFrame) -> Styler:
    """Factors of each gain with intervals."""
    shown = pd.DataFrame(
        {
            "policy": parts["policy"].map(POLICY_NAMES),
            "traffic": parts["traffic"].map(TRAFFIC_NAMES),
            "part": [PART_NAMES[part].replace("\n", " ") for part in parts["part"]],
            "ratio": [ratio(row) for row in parts.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["traffic", "policy"], columns="part", values="ratio", aggfunc="first", sort=False
    ).reindex(columns=[PART_NAMES[part].replace("\n", " ") for part in PARTS])
    return wide.fillna("").reset_index().style.hide(axis="index")


def show_saved(saved: pd.DataFrame) -> Styler:
    """Shares of busy time saved, beside the most that any order could save."""
    most = saved[saved["part"] == "most"].set_index(["traffic", "memory", "padding"])
    rows = saved[saved["part"] != "most"]
    shown = pd.DataFrame(
        {
            "traffic": rows["traffic"].map(TRAFFIC_NAMES),
            "scarce": [_engine(row) for row in rows.itertuples()],
            "policy": rows["policy"].map(POLICY_NAMES),
            "at most": [
                percent(most.loc[(row.traffic, row.memory, row.padding), "share"]) for row in rows.itertuples()
            ],
            "part": rows["part"],
            "share": [share(row._asdict()) for row in rows.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["traffic", "scarce", "at most", "policy"], columns="part", values="share", aggfunc="first", sort=False
    )
    return wide.reset_index().style.hide(axis="index")


def show_delays(ratios: pd.DataFrame) -> Styler:
    """Ratios of mean delays with intervals: a row a policy and load, a column a kind of traffic and metric."""
    rows = ratios[ratios["policy"] != "fcfs"]
    shown = pd.DataFrame(
        {
            "load": [f"{load:.0%}" for load in rows["load"]],
            "policy": rows["policy"].map(POLICY_NAMES),
            "traffic": rows["traffic"].map(TRAFFIC_NAMES),
            "of": rows["metric"].map(METRIC_NAMES),
            "ratio": [ratio(row) for row in rows.itertuples()],
        }
    )
    wide = shown.pivot_table(
        index=["of", "load", "policy"], columns="traffic", values="ratio", aggfunc="first", sort=False
    )
    return wide.reset_index().style.hide(axis="index")


def memory_of_the_longest(tails: pd.DataFrame) -> dict[str, str]:
    """What share of the memory the longest requests hold over their time, by traffic."""
    return {f"memory_{row.traffic}": percent(row.memory_share, 0) for row in tails.itertuples()}


def late_of_longest(late: pd.DataFrame) -> dict[str, str]:
    """Which shares of the late requests belong to the longest, over the kinds of traffic, by policy (`gains.late`)."""
    ranges = {policy: 100 * own["share"] for policy, own in late.groupby("policy")}
    return {f"late_{policy}": f"{own.min():.0f} to {own.max():.0f} %" for policy, own in ranges.items()}


def crossings(found: pd.DataFrame) -> dict[str, str]:
    """The padding from which dedicated GPUs carry more under Poisson traffic, where places or memory are scarce."""
    own = found[found["traffic"] == "poisson"]
    return {f"crossing_{'memory' if row.memory else 'places'}": _crossing(row) for row in own.itertuples()}


def _crossing(row: Any) -> str:
    if math.isinf(row.padding):
        return "no padding up to 1"
    high = "beyond 1" if math.isinf(row.high) else f"{row.high:.2f}"
    return f"{row.padding:.2f} (95 % interval {row.low:.2f} to {high})"


def _engine(row: Any) -> str:
    if row.padding:
        return f"memory, h = {row.padding:g} d"
    return "memory" if row.memory else "places"


def ratio(row: Any) -> str:
    """A ratio with its interval."""
    return with_limits(row.ratio, row.ci_low, row.ci_high)


def share(row: Any) -> str:
    """A share saved, which may be negative, with its interval."""
    limits = f"{100 * row['ci_low']:.1f} to {100 * row['ci_high']:.1f}".replace("-", "−")
    return f"{100 * row['share']:.1f} % ({limits})".replace("-", "−")


def show_loops(table: pd.DataFrame) -> Styler:
    """What a benchmark of so many clients says, and what the same rate meets openly (`loops.table_of`)."""
    rows = []
    for clients, own in table[table["clients"] > 0].groupby("clients"):
        value = own.set_index(["loop", "metric"])["value"]
        said = {"clients": clients, "requests/s": f"{value[CLOSED, 'rate_rps']:.1f}"}
        for loop, name in ((CLOSED, "of the clients"), (OPEN, "openly")):
            said[f"TTFT, P99, {name}"] = seconds(value[loop, "ttft_p99_s"], 2)
            said[f"late {name}"] = percent(value[loop, "late_share"], 1)
        rows.append(said)
    return pd.DataFrame(rows).style.hide()
