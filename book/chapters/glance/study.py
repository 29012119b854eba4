"""All results at a glance: one row a result, taken from the chapters' tables by a list of what to take.

A result is a number with its interval, the value that it is read against, and the series that it stands in. Nothing
is computed here: `SOURCES` names the tables, their columns and the rows that a reader wants to see first.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from book.kit.names import BIN_RULE_NAMES, EXECUTION_NAMES, MULTI_DYNAMIC, SCHEDULER_NAMES, TRAFFIC_NAMES
from simlib.checks import InputError

if TYPE_CHECKING:
    import pandas as pd


LATE = "late requests, bins − dynamic batching"
# How names in tables are said; a name that is not here loses its underscores.
WORDS = SCHEDULER_NAMES | EXECUTION_NAMES | TRAFFIC_NAMES | BIN_RULE_NAMES
WORDS |= {"oracle": "perfect predictions", "mm1": "M/M/1", "batch_4": "batches of four", "original": "original's"}
WORDS |= {"round_robin": "bins in turn", "oldest_head": "oldest bin first", "longest_queue": "longest bin first"}
WORDS |= {
    "ttft": "time to first token",
    "tpot": "time between tokens",
    "itl": "gap between tokens",
    "e2e": "end to end",
}
WORDS |= {"live": "a live cache", "none": "no cache", "recorded": "recorded hits", "stays": "conversations stay"}
WORDS |= {"service": "service times", "latency": "end-to-end times", "aimd": "additive increase"}
# What a place in a series is called.
AXES = {
    "requests": "requests a run:",
    "rate_rps": "requests/s offered:", "p_e": "error", "k": "K =", "k_bins": "K =", "batch_size": "batches of",
    "memory_tokens": "memory (tokens):", "times_waiting": "memory over waiting conversations:", "clients": "clients:",
    "spread": "spread within prompts", "mixed": "cost of a token short", "mix": "interactive", "seats": "sequences:",
    "gpus": "GPUs:", "deadline_s": "deadline (s)", "rho": "utilisation", "rank_correlation": "rank correlation",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """Which rows of a table are results, and how they are said.

    Parameters
    ----------
    table, chapter : str
        The table's name, without ``.csv``, and the chapter that explains it.
    statement : str
        What the number is, with the row's columns in braces.
    value, low, high : str
        Its column, and those of its 95 % interval.
    unit : str
        ``points`` (of a share, shown a hundredfold), ``%`` (likewise), or what follows the number.
    where : str
        Which rows, as `pandas.DataFrame.query` reads it.
    reference : float or str, optional
        What the value is read against: a number, or the column that has it.
    over, at : str and float, optional
        The column along which rows with the same statement are a series, and the place of the number that is shown;
        by default, and where it is missing, the series' end.
    """

    table: str
    chapter: str
    statement: str
    value: str
    low: str = "ci_low"
    high: str = "ci_high"
    unit: str = "times"
    where: str = ""
    reference: float | str | None = None
    over: str = ""
    at: float | None = None


DIFFERENCE = {"value": "difference", "unit": "points", "reference": 0.0}
RATIO = {"value": "ratio", "reference": 1.0}
RATE = {"value": "throughput_rps", "unit": "requests/s", "reference": "theory_rps"}

SOURCES = (
    Source("levels_differences", "levels", "Level {level}, {requests_from} requests: " + LATE,
           where=f"metric == 'sla_violation_share' and {MULTI_DYNAMIC}", **DIFFERENCE),
    Source("matched_levels_differences", "matched_levels", "Level {level}'s requests, {latency}: " + LATE,
           where=MULTI_DYNAMIC, over="load", at=0.8, **DIFFERENCE),
    Source("measured_levels_differences", "measured_levels",
           "Level {level}, {latency}: late requests, best bins − best without",
           where="scheduler_a == 'best_bins' and scheduler_b == 'best_without_bins'", over="load", **DIFFERENCE),
    Source("multi_bin_throughput", "bins_and_throughput", "Throughput, K = {k}", over="rate_rps", **RATE),
    Source("multi_bin_latency", "bins_and_latency", "Mean latency, K = {k} (mark: Lemma 5.1)", "latency_mean_s",
           unit="s", reference="lemma_s", over="rate_rps", at=6.0),
    Source("prediction_errors", "prediction_errors", "Throughput, K = {k}, batches of {batch_size}", over="p_e",
           **RATE),
    Source("exponential_bins", "exponential_bins", "Throughput, boundaries {rule}", over="k", **RATE),
    Source("llm_like_ratios", "llm_like_service", "Throughput of K bins over one, service like an LLM's", over="k",
           **RATIO),
    Source("traffic_bins", "traffic_bins", "Throughput, optimal over equal-mass bins (K = 4), {source}, {predictor}",
           "over_equal_mass", "over_low", "over_high", where="rule == 'optimal' and k_bins == 4 and refused != refused",
           reference=1.0, over="batch_size"),
    Source("joint_optimum_capacity", "traffic_bins",
           "Capacity, 2 bins of own sizes over the best without, {source}, {predictor}, {deadline_s} s, {kind}",
           "ratio", "ratio_low", "ratio_high", where="choice == 'joint' and ratio == ratio", reference=1.0,
           over="gpus"),
    Source("predictor", "predictor", "Capacity, {k_bins} bins over the best without, {gpus} GPUs, {deadline_s} s",
           where="predictor.str.startswith('rank')", over="rank", **RATIO),
    Source("capacity", "capacity", "Level {level}: capacity with 5 % late, {policy}", "capacity_rps",
           unit="requests/s"),
    Source("capacity_ratios", "capacity", "Level {level}: capacity, {policy} over {over}",
           where="policy == 'multi_bin_dynamic'", **RATIO),
    Source("deadline_capacity_ratios", "deadline_capacity",
           "Capacity, {scheduler}, K = {k_bins}, over the best without bins, {late_share:.0%} late",
           where="k_bins > 1 and over == 'best'", over="gpus", **RATIO),
    Source("deadline_capacity_ratios", "deadline_capacity",
           "Capacity of an engine, bins in turn, K = {k_bins}, over first come, {late_share:.0%} late",
           where="over == 'fcfs'", over="gpus", **RATIO),
    Source("k_sensitivity", "k_sensitivity", "Late requests, K bins − one, {latency}, {arrivals}, {bin_select}",
           "difference", "difference_ci_low", "difference_ci_high", "points", reference=0.0, over="k_bins", at=4),
    Source("executions_differences", "executions",
           "Late requests, engine with {scheduler_a} − batches with {scheduler_b}",
           where="metric == 'sla_violation_share' and execution_a == 'continuous' and "
           "execution_b == 'run_to_completion'", over="load", at=0.9, **DIFFERENCE),
    Source("executions_loops", "executions", "Late first tokens, one engine at one throughput, {loop} loop", "value",
           unit="points", where="metric == 'late_share' and loop != 'borne'", reference=0.0, over="clients", at=64),
    Source("prefix_cache_ratios", "prefix_cache", "Capacity of a chat, {cache} over {over}",
           where="workload == 'chat'", over="memory_tokens", at=200_000, **RATIO),
    Source("prefix_cache_router_ratios", "prefix_cache",
           "Capacity of a chat on {engines} engines, {routing} over fewest requests",
           where="workload == 'chat'", **RATIO),
    Source("prefix_cache_waiting", "prefix_cache", "Hits, of those with memory for all, {think_s:g} s between turns",
           "found_share", unit="%", reference=1.0, over="times_waiting", at=1),
    Source("batch_size_fixed_points", "batch_size_rules", "Sequences running, rule {sla_rule} (mark: expected)",
           "running", unit="sequences", reference="expected_batch", over="deadline_s", at=0.06),
    Source("controller_stability", "controller_stability",
           "Load at which half of the runs collapse: {sla}, fed with {feedback}{changed}, from {start}",
           "collapse_load", unit="of full load", where="changed == ''", reference=1.0, over="requests", at=4000),
    Source("sla_capacity", "sla_capacity", "Capacity, steered over {engine}, {outputs} outputs", "gain",
           "gain_ci_low", "gain_ci_high", where="engine.str.startswith('static')", reference=1.0),
    Source("sla_table_2", "sla_capacity", "Table II: capacity, steered over {engine}, {setting}, {outputs} outputs",
           "gain", "gain_ci_low", "gain_ci_high", where="engine.str.startswith('static')", reference=1.0),
    Source("binning_continuous", "binning_continuous", "Capacity of an engine, {policy} over first come, {traffic}",
           where="rank_correlation == rank_correlation", over="rank_correlation", at=1.0, **RATIO),
    Source("memory_capacity", "memory_pressure", "Requests served over what memory allows, {case}", "of_rate",
           reference=1.0),
    Source("predictor_laws_chosen", "predictor_laws", "Mean latency over first come's, {execution}, {says} said",
           where="metric == 'mean_s' and load == 0.9", over="spread", at=0.6, **RATIO),
    Source("specialised_slowed", "specialised", "GPUs that two pools save, spread {lengths} of prompts", "saved",
           unit="%", reference=0.0, over="mixed", at=0.05),
    Source("two_classes_carried_ratios", "two_classes", "Load carried, {way} over {over}", over="mix", at=0.5, **RATIO),
    Source("prefill_modes", "prefill_modes", "Served by steps of their own over mixed steps, {system}, {mix}",
           where="law == 'measured' and kind == 'best exclusive'", over="seats", at=128, **RATIO),
    Source("recut_bins", "recut_bins", "Late requests, {arm} − the best without, {traffic}, {gpus} GPUs", "difference",
           "difference_ci_low", "difference_ci_high", "points", "metric == 'late' and predictor == 'noise 0.5' and "
           "batches == 2 and arm in ('most in time', 'most work')", 0.0, "load", 1.1),
    Source("policies", "which_scheduler", "Late requests, {policy} − first come, {execution}, {traffic}",
           "difference", "difference_ci_low", "difference_ci_high", "points", "metric == 'sla_violation_share' and "
           "predictor == 'oracle' and difference == difference", 0.0, "load", 0.95),
    Source("which_scheduler_map", "which_scheduler",
           "Late requests, bins − the best without, {gpus} GPUs, {deadline_s} s", "difference", "difference_ci_low",
           "difference_ci_high", "points", "predictor == 'noise 0.5' and deadline_s in (22.4, 35.3)", 0.0, "load", 0.8),
    Source("sensitivity", "sensitivity", "Variance of the {outcome} of late requests with {factor}, in all", "value",
           unit="%", where="index == 'total'", reference=0.0),
    Source("own_scheduler", "own_scheduler", "Late requests, {scheduler} − a scheduler of one's own", "difference",
           "difference_ci_low", "difference_ci_high", "points", "difference == difference", 0.0),
    Source("plan", "plan_your_deployment", "Planned deployment, {quantity} (mark: limit)", "middle", "low", "high", "s",
           where="quantity != 'load'", reference="limit_s"),
    Source("vllm_validation_refits", "vllm_validation",
           "Replayed log, law from its first half, {statistic} of {metric}", "error_percent", unit="per cent",
           where="refits_in_reach >= 0", reference=0.0),
    Source("engines_summary", "engines",
           "Error of a straight line that the simulated engine saves: {kind}, {metric}, {statistic}", "skill",
           "skill_low", "skill_high", "%", "not blind and circumstance == 'all' and "
           "kind in ('closed loop', 'other lengths', 'full engine')", 0.0),
    Source("coverage", "coverage", "Intervals that cover: {quantity}, {method}, {queue}", "coverage", unit="%",
           where="recommended", reference=0.95, over="rho"),
)  # fmt: skip


def collect(results: Path, sources: tuple[Source, ...] = SOURCES) -> pd.DataFrame:
    """The results: ``chapter, statement, unit, value, ci_low, ci_high, reference, table, at, series``.

    Shares are a hundredfold where the unit is points or per cent. ``series`` holds tuples of place, value, low and
    high: one of them alone for a result that stands in no series. A table without such rows gives no result.

    Parameters
    ----------
    results : Path
        The folder of the chapters' tables.
    sources : tuple of Source
        What to take.

    Raises
    ------
    InputError
        If a table is missing, has not the columns, or has rows that the statement does not tell apart.
    """
    import pandas as pd

    return pd.DataFrame([row for source in sources for row in _rows(Path(results), source)])


def _rows(results: Path, source: Source) -> list[dict]:
    import pandas as pd

    path = results / f"{source.table}.csv"
    if not path.is_file():
        raise InputError(f"results: {path} is not there (expected the chapters' tables, as in a copy of data/results)")
    table = pd.read_csv(path)
    table["changed"] = table["changed"].fillna("").map(lambda text: text and f", {text}") if "changed" in table else ""
    try:
        table = table.query(source.where) if source.where else table
        said = [source.statement.format(**_words(row)) for row in table.to_dict("records")]
        scale = 100.0 if source.unit in ("points", "%") else 1.0
        numbers = scale * table[[source.value, source.low, source.high]].astype(float)
    except (KeyError, pd.errors.UndefinedVariableError) as missing:
        raise InputError(f"{path}: {missing} (expected what {source.chapter} writes)") from None
    numbers.columns = ["value", "ci_low", "ci_high"]
    numbers = numbers.assign(place=table[source.over].astype(float) if source.over else 0.0, statement=said)
    given = isinstance(source.reference, str)
    numbers["reference"] = scale * table[source.reference].astype(float) if given else source.reference
    if source.reference is not None and not given:
        numbers["reference"] = scale * source.reference
    known = numbers.dropna(subset=["value"])  # what a short run could not measure is no result
    return [_row(source, statement, rows) for statement, rows in known.groupby("statement", sort=False)]


def _words(row: dict) -> dict:
    """A row of a table as it is said."""
    return {
        name: WORDS.get(value, value.replace("_", " ")) if isinstance(value, str) else value
        for name, value in row.items()
    }


def _row(source: Source, statement: str, rows: pd.DataFrame) -> dict:
    """One result: the row at the place that is shown, with those beside it."""
    rows = rows.sort_values("place", kind="stable")
    if rows["place"].duplicated().any():
        raise InputError(f"{source.table}: several rows are {statement!r} (expected one, or one a place)")
    at = rows[rows["place"] == source.at]
    shown = (at if len(at) else rows.tail(1)).iloc[0]
    place = f", {AXES.get(source.over, source.over)} {shown['place']:g}" if source.over else ""
    number = {name: shown[name] for name in ("value", "ci_low", "ci_high", "reference")}
    series = list(rows[["place", "value", "ci_low", "ci_high"]].itertuples(index=False, name=None))
    return {
        "chapter": source.chapter, "statement": statement + place, "unit": source.unit, **number,
        "table": source.table, "at": shown["place"], "series": series,
    }  # fmt: skip
