"""Tables of what can be trusted: benchmarks and their goals, coverage of intervals, long runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from book.kit.names import SCHEDULER_NAMES
from book.kit.tables import as_texts
from book.kit.two_starts import Verdict
from simlib.stats.intervals import Estimate
from simlib.text import percent, seconds, signed

METHODS = {  # of a coverage experiment, in the order in which they are shown; the others are in the table
    "recommended": (
        "mean: independent runs",
        "mean: independent runs, until narrow enough",
        "mean: batches of one long run",
        "mean: cycles of one long run",
        "P95: sections of one long run",
        "P99: sections of one long run",
        "share of 1 %: independent runs",
        "share of 1 %: batches of one long run",
        "share of 1 %: cycles of one long run",
        "nothing late: rule of three over groups",
    ),
    "instead": (
        "mean: batches, warm-up from the same run",
        "mean: requests taken for independent",
        "P99: mean of the batches' P99",
        "P99: requests taken for independent",
        "share of 1 %: requests taken for independent",
        "nothing late: rule of three over requests",
    ),
}
QUANTITIES = {"p95": "P95", "p99": "P99", "share 0.01": "share of 1 %", "share 0.05": "nothing late"}
QUANTITIES |= {"share 0.0001": "nothing late"}
WAYS = {
    "replications": "independent runs",
    "replications, bootstrap_t": "independent runs",
    "replications, logit": "independent runs, logit",
    "replications, t": "independent runs, Student's t",
    "10 replications": "ten independent runs",
    "sequential": "independent runs, until narrow enough",
    "batch_means": "batches of one long run",
    "batches, bootstrap_t": "batches of one long run",
    "batches, logit": "batches of one long run, logit",
    "batch_means, cut by the same run": "batches, warm-up from the same run",
    "batch_quantiles": "mean of the batches' P99",
    "regenerative": "cycles of one long run",
    "cycles, bootstrap_t": "cycles of one long run",
    "sectioning": "sections of one long run",
    "independent requests": "requests taken for independent",
    "order statistics": "requests taken for independent",
    "rule of three": "rule of three over groups",
    "rule of three, requests": "rule of three over requests",
}
QUEUES = {"mm1": "M/M/1", "md1": "M/D/1", "batch_4": "batches of four"}
RARE = 0.02  # where intervals are given in fewer runs than that, their coverage is not shown


def method_name(row: Any) -> str:
    """A row of a coverage experiment in words: what the interval is of, and how it is made."""
    return f"{QUANTITIES.get(row.quantity, row.quantity)}: {WAYS[row.method]}"


def show_benchmarks(measured: pd.DataFrame) -> Styler:
    """Cost of a request and ratio to the rival, one row a case and engine."""
    shown = pd.DataFrame(
        {
            "case": measured["case"],
            "engine": measured["engine"].map(_plain),
            "requests": measured["requests"].map("{:,}".format),
            "ns a request": measured["ns_per_request"].map("{:,.0f}".format),
            "against": measured["ratio_to"].fillna("–").map(_plain),
            "ratio": as_texts(measured["ratio"], "{:.2f}".format),
        }
    )
    return shown.style.hide(axis="index")


def _plain(text: str) -> str:
    """A benchmark's words with the schedulers' names in place of those in tables."""
    for name, said in SCHEDULER_NAMES.items():
        text = re.sub(rf"\b{name}\b", said, text)
    return text


def show_goals(goals: pd.DataFrame) -> Styler:
    """Each goal with what was measured, and whether it is met."""
    signs = goals["at_most"].map({True: "≤", False: "≥"})
    shown = pd.DataFrame(
        {
            "goal": goals["goal"].map(_plain),
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
        case=rows["queue"].map(QUEUES) + ", " + rows["rho"].map("{:g}".format),
        text=rows["coverage"].map(percent) + rows["recommended"].map({True: " *", False: ""}),
    )
    # Two studies have a row of the same name: requests taken for independent, within replications and in one run.
    twice = said["method"].eq("independent requests") & said["study"].eq("terminating")
    lines = [method_name(row) for row in said.itertuples()] + twice.map({True: " within runs", False: ""})
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


def show_edge_capacities(table: pd.DataFrame) -> Styler:
    """Coverage of capacities (rows of ``coverage_edge``): from the mean share of all runs, and from the mean root."""
    rows = table[table["quantity"].str.startswith("capacity")]
    cases = [QUEUES[row.queue] + row.quantity.removeprefix("capacity") for row in rows.itertuples()]
    wide = rows.assign(text=[_covered(row) for row in rows.itertuples()], case=cases).pivot_table(
        "text", ["case", "rho"], "method", aggfunc="first", sort=False
    )
    shown = wide.reset_index().rename(columns={"case": "queue, deadline", "rho": "capacity, services/s"})
    shown["capacity, services/s"] = shown["capacity, services/s"].map("{:.3f}".format)
    return shown.rename_axis(columns=None).style.hide(axis="index")


def show_edge_runs(table: pd.DataFrame) -> Styler:
    """Of one run near saturation (rows of ``coverage_edge``): how often an interval is given, how often it covers."""
    rows = table[~table["quantity"].str.startswith("capacity")]
    said = rows.assign(
        text=[_covered(row) for row in rows.itertuples()],
        column=[
            QUANTITIES.get(row.quantity, row.quantity) + ("" if row.recommended else ", plain")
            for row in rows.itertuples()
        ],
        queue=rows["queue"].map(QUEUES),
    )
    wide = said.pivot_table("text", ["queue", "memories"], "column", aggfunc="first", sort=False)
    given = rows[rows["method"] == "sectioning"].groupby(["queue", "memories"], sort=False)["given_share"].mean()
    given = given.rename(index=QUEUES, level="queue").map(percent)
    return wide.assign(given=given).reset_index().rename_axis(columns=None).style.hide(axis="index")


def _covered(row: Any) -> str:
    """A share with its limits; nothing where hardly an interval is given."""
    return (
        "–" if row.given_share < RARE else f"{percent(row.coverage)} ({percent(row.ci_low)} to {percent(row.ci_high)})"
    )


def edge_numbers(table: pd.DataFrame) -> dict[str, Any]:
    """What the text says of one run near saturation, and of capacities (`table`: ``coverage_edge``)."""
    alone = table[(table["queue"] == "mm1") & (table["method"] == "sectioning") & (table["quantity"] == "p99")]
    short, long = (alone.loc[alone["memories"] == memories].iloc[0] for memories in (50, 200))
    return {
        "edge_load": float(short["rho"]),
        "edge_memory": round(short["requests"] / short["memories"]),
        "edge_short": percent(short["given_share"]),
        "edge_long": percent(long["given_share"]),
    }


def show_steady_state(found: Mapping[str, tuple[Estimate, Estimate, Verdict]]) -> Styler:
    """Mean and P99 of each system's long run, in seconds, and its verdict of two starts, with the load."""
    rows = [
        {
            "scheduler": SCHEDULER_NAMES[name],
            "mean (s)": _estimate(mean),
            "P99 (s)": _estimate(p99),
            "load": _estimate(verdict.load),
        }
        | {"two starts": verdict.label.replace("_", " ")}
        for name, (mean, p99, verdict) in found.items()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


METRICS = {"ttft": "first token", "tpot": "between tokens", "e2e": "end to end"}
STATISTICS = {"mean": "mean", "p50": "median", "p90": "P90", "p99": "P99", "mape": "single requests"}
PARTS = {"filling": "cache fills", "decoding": "decodes only", "full": "cache full"}


def show_replay(table: pd.DataFrame, drawn: pd.DataFrame) -> Styler:
    """Signed errors of a replay, in per cent: by the three models of a step; of single requests without a sign."""
    off = table.pivot_table("error_percent", ["metric", "statistic"], "step_model", sort=False)
    off = off.reindex([(metric, statistic) for metric in METRICS for statistic in STATISTICS])
    limits = drawn.set_index(["metric", "statistic"])
    engine_s = table[table["step_model"] == "profile"].set_index(["metric", "statistic"])["engine_s"]

    def said(line: tuple[str, str], value: float) -> str:
        return f"{value:.1f}" if line[1] == "mape" else signed(value, 1)

    def span(line: tuple[str, str], column: str) -> str:
        if line not in limits.index:
            return "–"
        return " to ".join(signed(limits.loc[line, f"{column}_{end}"], 1) for end in ("low", "high"))

    rows = [
        {
            "of": f"{METRICS[line[0]]}, {STATISTICS[line[1]]}",
            "engine": "–" if pd.isna(engine_s[line]) else seconds(engine_s[line]),
            "profile": said(line, row["profile"]),
            "affine": said(line, row["affine"]),
            "from the log": said(line, row["affine-from-log"]),
            "(95 % of refits)": span(line, "ci"),
            "if prompts begin alike": span(line, "shared"),
        }
        for line, row in off.iterrows()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def show_logs(found: pd.DataFrame) -> Styler:
    """Signed errors of several logs, in per cent: with nothing fitted, with a constant, and another simulator's."""
    shown = found[found["statistic"].isin(["mean", "p99"])].copy()
    shown["of"] = shown["metric"].map(METRICS) + ", " + shown["statistic"].map(STATISTICS)
    shown["log"] = shown["model"].str.partition(",")[0] + ", " + shown["parallel"]
    index = ["log", "of"]
    wide = shown.pivot_table("error_percent", index, "fitted", sort=False)
    wide["LLMServingSim"] = shown.groupby(index)["other_error_percent"].first()
    return wide.map(lambda value: signed(value, 1)).rename_axis(columns=None).reset_index().style.hide(axis="index")


def show_spans(parts: pd.DataFrame) -> Styler:
    """How much too long each part of the log is simulated, in per cent, by the three models of a step."""
    wide = parts.pivot_table("error_percent", "span", "step_model", sort=False).map(lambda value: signed(value, 1))
    engine_s = parts.groupby("span", sort=False)["engine_s"].first()
    shown = pd.DataFrame({"part": engine_s.index.map(PARTS), "engine": [seconds(value, 1) for value in engine_s]})
    names = {"profile": "profile", "affine": "affine", "affine-from-log": "from the log"}
    for model, name in names.items():
        shown[name] = wide[model].to_numpy()
    return shown.style.hide(axis="index")


def show_conformance(outcome: pd.DataFrame) -> Styler:
    """Of how many recorded cases all is equal, by mode (rows) and kind (columns)."""
    said = outcome["equal"].map(str) + " of " + outcome["cases"].map(str)
    wide = outcome.assign(mode=outcome["mode"].str.replace("_", ", "), said=said).pivot_table(
        "said", "mode", "kind", aggfunc="first", sort=False
    )
    return wide.fillna("–").reset_index().rename_axis(columns=None).style.hide(axis="index")


def show_wrong_engines(wrong: pd.DataFrame) -> Styler:
    """Each rule that was made wrong, and in how many cases that shows."""
    shown = pd.DataFrame({"the rule": wrong["rule"], "cases that differ without it": wrong["cases_that_differ"]})
    return shown.style.hide(axis="index")


def show_events(events: pd.DataFrame) -> Styler:
    """In how many cases each event occurs, and how often in all."""
    return events[["event", "cases", "times"]].style.format({"times": "{:,}"}).hide(axis="index")


DEVICES = {"clock": "Clock for a device", "cpu": "Processor"}


def show_loads(by_load: pd.DataFrame) -> Styler:
    """Errors of each predicted load, per cent, and how many numbers lie in their intervals (`real_engine.summary`)."""
    off = {"first token": "ttft_mean", "between tokens": "tpot_mean", "end to end": "e2e_mean", "its P99": "e2e_p99"}
    rows = [
        {
            "device": row["run"].partition("-")[0],
            "load": row["load"],
            "requests/s": f"{row['rate_rps']:g}",
            **{name: signed(row[column], 1) for name, column in off.items()},
            "inside": f"{row['inside']} of {row['count']}",
            "inside, seed unknown": f"{row['ahead']} of {row['count']}",
        }
        for row in by_load.to_dict("records")
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


SWITCHES = {
    "cache-on": "a prefix cache, where prompts begin alike",
    "two-steps": "two steps in flight",
    "tight": "110 blocks of memory",
    "cap": "17 sequences at once, not 32",
    "priority-11": "shortest predicted first, 11 requests/s",
    "priority-14": "shortest predicted first, 14 requests/s",
    "priority-19.5": "shortest predicted first, 19.5 requests/s",
}


def show_switches(changes: pd.DataFrame) -> Styler:
    """What each switch changes, per cent, measured and predicted (`real_engine.switches`)."""
    named = {("ttft", "mean"): "first token", ("tpot", "mean"): "between tokens", ("e2e", "mean"): "end to end"}
    named[("e2e", "p99")] = "its P99"
    rows = []
    for switch, own in changes.groupby("switch", sort=False):
        by = own.set_index(["metric", "statistic"])
        both = {
            name: " / ".join(signed(100 * (by.loc[key, which] - 1), 0) for which in ("measured", "predicted"))
            for key, name in named.items()
        }
        rows.append({"switch": SWITCHES[switch], **both})
    return pd.DataFrame(rows).style.hide(axis="index")


def show_overload(beyond: pd.DataFrame) -> Styler:
    """Mean latencies end to end beside those of a fluid queue, with both errors (`real_engine.overload`)."""
    shown = pd.DataFrame({"requests/s": beyond["rate_rps"].map("{:g}".format)})
    for name in ("measured", "predicted", "fluid"):
        shown[name] = beyond[f"{name}_s"].map(seconds)
    for name in ("predicted", "fluid"):
        error = 100 * (beyond[f"{name}_s"] / beyond["measured_s"] - 1)
        shown[f"{name}, off"] = [f"{signed(each, 1)} %" for each in error]
    return shown.style.hide(axis="index")


PARTS_OF_A_LAW = {
    "a_s": ("a step", 1e3, "ms"),
    "b_s_per_decode": ("a sequence that decodes", 1e3, "ms"),
    "c_s_per_prefill_token": ("a prompt's token", 1e6, "µs"),
    "d_s_per_context_token": ("a token of context", 1e6, "µs"),
}


def show_laws(law: Any, clock: Mapping[str, float], asked: pd.DataFrame) -> Styler:
    """The clock's law beside those found: fitted to the server's light loads, and asked of the engine itself."""
    rows = []
    wide = asked.set_index(["engine", "coefficient"])["value"]
    for (name, (said, unit, word)), fitted in zip(PARTS_OF_A_LAW.items(), law.params, strict=False):
        row = {"of": f"{said} ({word})", "the clock": clock[name], "light loads": fitted}
        row |= {"asked, one step in flight": wide["clock", name], "asked, two": wide["clock-two-steps", name]}
        rows.append({key: value if key == "of" else f"{unit * value:.3g}" for key, value in row.items()})
    way = {"of": "the way in, from client to queue and back (ms)", "the clock": "–"}
    rows.append(way | {"light loads": f"{1e3 * law.way_in_s:.3g}", "asked, one step in flight": "–", "asked, two": "–"})
    return pd.DataFrame(rows).style.hide(axis="index")


def show_drift(drift: pd.DataFrame) -> Styler:
    """Of each load of the processor what its brackets took, how far they are apart, and what was predicted."""
    drift = drift.sort_values("rate_rps", kind="stable")
    shown = pd.DataFrame({"requests/s": drift["rate_rps"].map("{:g}".format)})
    for name in ("before", "after"):
        shown[f"a token {name}"] = [f"{1e3 * each:.2f} ms" for each in drift[f"{name}_s"]]
    shown["apart"] = [f"{each:.0f} %" for each in drift["drift_percent"]]
    shown["end to end, off"] = [f"{signed(each, 0)} %" for each in drift["error_percent"]]
    shown["half the interval"] = [f"{each:.0f} %" for each in drift["half_width_percent"]]
    return shown.style.hide(axis="index")


def _estimate(found: Estimate) -> str:
    limits = (
        f"{found.ci_low:.3f} to {found.ci_high:.3f}" if found.ci_low is not None else f"no interval: {found.reason}"
    )
    return f"{found.value:.3f} ({limits})"
