"""The claims of the original system's document, one by one, beside what the chapters found.

Enumerated by `statements`: ``data/original_statements.csv`` has every statement that the rule finds in the document,
and of each the claims that it is part of, or why it is none. Reads the chapters' tables; simulates one thing that no
chapter has, how busy the GPUs are at level 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from book.chapters.batch_times import public
from book.chapters.sla_paper import claims
from book.kit.evidence import (
    Change,
    Circular,
    Claim,
    Derived,
    Equal,
    Foremost,
    OneRun,
    Repeated,
    Unfounded,
    contradiction,
    relative_change,
)
from book.kit.joint import together
from book.kit.names import SCHEDULER_NAMES
from simlib import datasets, levels
from simlib.latency import presets
from simlib.simulation import simulate
from simlib.stats import intervals
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


SOURCE = "original system"
STATIC, DYNAMIC, MULTI = levels.SCHEDULERS
METRICS = {"late": "sla_violation_share", "latency": "latency_mean_s", "throughput": "throughput_rps"}
TEXTS = {"late": "share of late requests", "latency": "mean latency, s", "throughput": "throughput, requests/s"}
LATE, LATENCY = METRICS["late"], METRICS["latency"]
POINT, ALIKE = 0.01, 0.05  # margins of equality: of shares, of relative changes
GRID = "the original's, regenerated"
ELSEWHERE = "an execution time: it depends on the machine and the program"
UNSTATED = "an example whose settings are not stated; the document's tables of these levels have other figures"
NO_LIMITS = "they are on different quantities, and no two limits are given that would stand for each other"
EXAMPLES = {"synthetic": 1, "calibrated": 3}  # the example's two models, by the level that has the same


class Held(NamedTuple):
    """One claim's text, the chapter with the evidence, the evidence; and what the document's own figures say.

    `own` is the figure that follows from them, `against` a sentence that contradicts a claim in words, `claimed` the
    figure that such a claim amounts to.
    """

    text: str
    chapter: str
    evidence: Any
    own: float = math.nan
    against: str = ""
    claimed: float = math.nan


def statements_of() -> pd.DataFrame:
    """Every statement of the document, a row for each claim that it is part of.

    ``statement, line, section, kind, text``, and ``claim, claimed, slack``, or ``no_claim``: why it is none.
    """
    import pandas as pd

    return pd.read_csv(datasets.shipped("original_statements.csv"), keep_default_na=False)


def claims_of(results: Path) -> Iterator[Claim]:
    """Every claim, in the order in which the document first makes it, from the folder of the chapters' tables."""
    tested, statements = _tested(Chapters(results)), statements_of()
    for key, said in statements[statements["claim"] != ""].groupby("claim", sort=False):
        one, figures = tested[str(key)], said[said["claimed"] != ""]
        claimed, slack = one.claimed, 0.0
        if len(figures):
            claimed, slack = float(figures["claimed"].iloc[0]), float(figures["slack"].iloc[0])
        against = one.against or ("" if math.isnan(one.own) else contradiction(one.own, claimed, slack))
        section = "; ".join(dict.fromkeys(said["section"]))
        yield Claim(SOURCE, section, one.text, claimed, slack, one.evidence, one.chapter, against)


def together_of(results: Path) -> pd.DataFrame:
    """The figures of each documented run, one by one and together.

    ``level, scheduler``; of each of `METRICS` the claimed figure and the mean of the runs; ``distance, p_value`` of
    `joint.together`; ``replications``.
    """
    import pandas as pd

    found, rows = Chapters(results), []
    for (level, name), joint in found.joint.items():
        row: dict[str, Any] = {"level": level, "scheduler": name}
        for metric, column in METRICS.items():
            row[f"{metric}_claimed"] = found.own(level, column)[name]
            row[metric] = found.values(level, name, column).mean()
        rows.append(row | joint._asdict() | {"replications": found.replications(level)})
    return pd.DataFrame(rows)


class Chapters:
    """The chapters' tables, and the document's, as the claims look things up in them.

    Of the trace's levels it is the draws of the population that count: they have as many rows as the document's.
    """

    def __init__(self, results: Path) -> None:
        import pandas as pd

        self.runs = {n: pd.read_csv(Path(results) / f"level_{n}_replications.csv") for n in levels.LEVELS}
        self.pairs = pd.read_csv(Path(results) / "levels_differences.csv")
        self.rankings = pd.read_csv(Path(results) / "levels_rankings.csv")
        self.grid = pd.read_csv(Path(results) / "batch_times_evidence_fit.csv").set_index("grid").loc[GRID]
        self.printed = levels.claims().set_index(["level", "scheduler"])
        said = statements_of().drop_duplicates("claim").set_index("claim")["slack"]
        self.joint = {}  # of each level and scheduler: the figures of its run, taken together
        for level in levels.LEVELS:
            for name in levels.SCHEDULERS:
                claimed = [self.own(level, metric)[name] for metric in METRICS.values()]
                slack = [float(said[f"l{level}_{_short(name)}_{metric}"]) for metric in METRICS]
                runs = np.column_stack([self.values(level, name, metric) for metric in METRICS.values()])
                self.joint[level, name] = together(claimed, slack, runs)

    def values(self, level: int, scheduler: str, metric: str) -> np.ndarray:
        """Of each replication, shape (replications,)."""
        runs = self.runs[level]
        kept = (runs["scheduler"] == scheduler) & (runs["requests_from"] == levels.of(level).sources[-1])
        return runs[kept].sort_values("replication")[metric].to_numpy()

    def runs_of(self, level: int, scheduler: str, metric: str) -> OneRun:
        """The runs that a figure of the document is judged by; the first has its seed, where requests are synthetic."""
        values, joint = self.values(level, scheduler, metric), self.joint[level, scheduler]
        if levels.of(level).on_trace:
            return OneRun(values, of="draws of the population", joint=joint)
        return OneRun(values, float(values[0]), joint=joint)

    def pair(self, level: int, a: str, b: str, metric: str = LATE) -> tuple[float, float, float, float]:
        """Difference of a to b, its limits, and its adjusted p."""
        rows = self.pairs[(self.pairs["level"] == level) & (self.pairs["metric"] == metric)]
        rows = rows[(rows["requests_from"] == levels.of(level).sources[-1]) & (rows["scheduler_a"] == a)]
        row = rows[rows["scheduler_b"] == b].iloc[0]
        return row["difference"], row["ci_low"], row["ci_high"], row["p_holm"]

    def against_both(self, level: int) -> list[tuple[float, float, float, float]]:
        """Multi-bin batching against each of the other two, in late requests."""
        return [self.pair(level, a, b) for a, b in levels.PAIRS[1:]]

    def change(self, level: int, a: str, b: str, metric: str = LATE, sign: int = 0) -> Change:
        """Of a against b at one level."""
        p_holm = self.pair(level, a, b, metric)[3]
        return Change(self.values(level, a, metric), self.values(level, b, metric), p_holm, sign)

    def own(self, level: int, metric: str = LATE) -> dict[str, float]:
        """What the document's table prints, by scheduler."""
        return {name: float(self.printed.loc[(level, name), metric]) for name in levels.SCHEDULERS}

    def own_change(self, level: int, a: str, b: str) -> float:
        """What follows from the table for a change of the share of late requests."""
        one, other = self.own(level)[a], self.own(level)[b]
        return one / other - 1 if other else math.inf if one else 0.0

    def replications(self, level: int) -> int:
        """How many runs there are of each scheduler."""
        return len(self.values(level, STATIC, LATE))


def _tested(found: Chapters) -> dict[str, Held]:
    """All claims by their keys in ``data/original_statements.csv``."""
    tested = _across(found) | _on_level_4(found) | _fit(found) | _examples(found)
    for level in levels.LEVELS:
        tested |= _on_level(found, level)
    tested["l2_dynamic_static_late"] = _equal(found, 2, "relative difference of late requests, dynamic to static: none")
    tested["l4_equal"] = _equal(found, 4, "dynamic batching has about as many late requests as static batches")
    tested["all_time"] = Held("execution time of all levels, s: less than half a second", "", Unfounded(ELSEWHERE))
    change = found.change(2, MULTI, DYNAMIC, LATENCY, -1)
    tested["l2_best_latency"] = Held("level 2: bins have the least mean latency", "level_2", change)
    stricter = "a deadline from arrival to completion is stricter than one on decode steps"
    tested["sla_stricter"] = Held(stricter, "", Unfounded(NO_LIMITS))
    quoted = "the SLA paper's gain of capacity, as the document quotes it"
    tested["sla_paper_capacity"] = Held(quoted, "claims", Derived(claims.capacity_gain("LLaMA3-70B")))
    return tested


def _on_level(found: Chapters, level: int) -> dict[str, Held]:
    """A level's table, the changes that follow, and who is best."""
    tested = {f"l{level}_time": Held(f"level {level}: execution time, s", "", Unfounded(ELSEWHERE))}
    for name in levels.SCHEDULERS:
        for metric, column in METRICS.items():
            runs = found.runs_of(level, name, column)
            text = f"level {level}, {SCHEDULER_NAMES[name]}: {TEXTS[metric]}"
            own = found.own(level, column)[name]
            tested[f"l{level}_{_short(name)}_{metric}"] = Held(text, f"level_{level}", runs, own)
    for a, b in levels.PAIRS:
        text = f"level {level}: late requests with {SCHEDULER_NAMES[a]}, relative to {SCHEDULER_NAMES[b]}"
        one = Held(text, f"level_{level}", found.change(level, a, b, sign=-1))
        # The document gives no figure for the pair of the first and the last.
        own = math.nan if (a, b) == levels.PAIRS[1] else found.own_change(level, a, b)
        tested[f"l{level}_{_short(a)}_{_short(b)}_late"] = one._replace(own=own)
    text = f"level {level}: bins have the fewest late requests of the three"
    best = Foremost(found.against_both(level), found.replications(level))
    tested[f"l{level}_best"] = Held(text, "levels", best, against=_not_best(found, level))
    return tested


def _short(scheduler: str) -> str:
    return scheduler.split("_")[0]


def _not_best(found: Chapters, level: int) -> str:
    """What contradicts, in the document's own table, that multi-bin batching alone has the fewest late requests."""
    own = found.own(level)
    if all(own[MULTI] < own[name] for name in (STATIC, DYNAMIC)):
        return ""
    return f"at level {level} they are " + ", ".join(
        f"{SCHEDULER_NAMES[name]} {share:g}" for name, share in own.items()
    )


def _equal(found: Chapters, level: int, text: str) -> Held:
    difference, low, high, _ = found.pair(level, DYNAMIC, STATIC)
    equal = Equal(difference, low, high, POINT, found.replications(level))
    own = found.own(level)
    against = contradiction(own[DYNAMIC] - own[STATIC], 0.0, POINT)
    return Held(f"level {level}: {text}", f"level_{level}", equal, against=against, claimed=0.0)


def _across(found: Chapters) -> dict[str, Held]:
    """Claims on all levels at once, and on how two of them differ."""
    own = {level: found.own(level) for level in levels.LEVELS}
    every = [pair for level in levels.LEVELS for pair in found.against_both(level)]
    lost = next(filter(None, (_not_best(found, level) for level in levels.LEVELS)), "")
    alike = [f"at level {level} two are the same" for level, by_name in own.items() if len(set(by_name.values())) < 3]
    orders = {tuple(sorted(by_name, key=lambda name: by_name[name])) for by_name in own.values()}
    orders_text = f"they give {len(orders)} rankings" if len(orders) > 1 else ""
    rows = found.rankings[found.rankings["requests_from"] != "trace"].sort_values("share", ascending=False)
    common = rows.groupby("level")["ranking"].first()
    tested = {
        "wins": Held(
            "at every level bins have the fewest late requests",
            *("levels", Foremost(every, found.replications(1))),
            against=lost,
        ),
        "distinct": Held(
            "levels at which all three schedulers differ in late requests (in most runs): all",
            *("levels", Derived(sum(_differ(found, level) for level in levels.LEVELS), strict=False)),
            against=next(iter(alike), ""),
            claimed=len(levels.LEVELS),
        ),
        "rankings": Held(
            "how many rankings of the schedulers the levels have (the most frequent of each): one",
            *("levels", Derived(common.nunique(), strict=False)),
            against=orders_text,
            claimed=1.0,
        ),
        "l1_utilization": Held(
            "level 1: GPUs are busier with static batches than with the other two (share of time)",
            *("claims", _less_busy(found.replications(1))),
        ),
    }
    for name in levels.SCHEDULERS:
        change, low, high, runs = relative_change(found.values(3, name, LATENCY), found.values(1, name, LATENCY))
        grown = Repeated(1 + change, 1 + low, 1 + high, runs, base=1.0)
        text = f"mean latency at level 3 over that at level 1, {SCHEDULER_NAMES[name]}: 3 to 4"
        own_ratio = found.own(3, LATENCY)[name] / found.own(1, LATENCY)[name]
        tested[f"slower_{_short(name)}"] = Held(text, "level_3", grown, own_ratio)
    return tested


def _differ(found: Chapters, level: int) -> bool:
    """Whether each two schedulers have different shares of late requests in most runs."""
    shares = [found.values(level, name, LATE) for name in levels.SCHEDULERS]
    return all(np.mean(a != b) > 0.5 for a, b in combinations(shares, 2))


def _less_busy(replications: int) -> Foremost:
    """The other two against static batches, in the share of time that the GPUs of level 1 are busy."""

    def one(seed: int) -> dict[str, float]:
        table, _ = levels.requests_of(1, seed=seed)
        runs = (simulate(table, policy, levels.of(1).latency, 2) for policy in levels.policies().values())
        return {name: run.summary()["gpu_utilization"] for name, run in zip(levels.SCHEDULERS, runs, strict=True)}

    busy = replicate(one, replications, seed=levels.DOCUMENTED["seed"])
    return Foremost(_holm_pairs([(busy[name], busy[STATIC]) for name in (DYNAMIC, MULTI)]), replications)


def _holm_pairs(pairs: list[tuple[Any, Any]]) -> list[tuple[float, float, float, float]]:
    found = [intervals.paired_difference(a, b) for a, b in pairs]
    adjusted = intervals.holm([pair.p_value for pair in found])
    return [(one.mean, one.ci_low, one.ci_high, float(p)) for one, p in zip(found, adjusted, strict=True)]


def _on_level_4(found: Chapters) -> dict[str, Held]:
    """What is said of level 4 as the one that counts."""
    bursty = "bursty arrivals, several GPUs: late requests with bins, relative to dynamic batching"
    others = [(found.values(level, MULTI, LATE), found.values(4, MULTI, LATE)) for level in (1, 2, 3)]
    shares = {level: found.own(level)[MULTI] for level in levels.LEVELS}
    largest = max(shares, key=lambda level: shares[level])
    return {
        "bursty_multi_dynamic_late": Held(
            bursty, "level_4", found.change(4, MULTI, DYNAMIC, sign=-1), found.own_change(4, MULTI, DYNAMIC)
        ),
        "l4_conservative": Held(
            "level 4 is the most conservative: of the levels, bins have most late requests there",
            *("levels", Foremost(_holm_pairs(others), found.replications(4))),
            against="" if largest == 4 else f"level {largest} has more, {shares[largest]:g}",
        ),
        "l4_realism": Held(
            "level 4 is the most realistic, of highest validity, without approximations: its times were measured",
            *("batch_times", Circular(math.nan, bool(found.grid["computed"]))),
        ),
    }


def _fit(found: Chapters) -> dict[str, Held]:
    """What is said of the calibration: all of it rests on the grid."""
    computed = bool(found.grid["computed"])
    points = public.original_grid()
    tokens = points["prompt_tokens"] + points["output_tokens"]
    columns = [np.ones(len(points)), tokens, tokens * (1 - 1 / points["batch_size"])]
    times = points["total_s"].to_numpy()
    (alpha, beta, beta_gamma), *_ = np.linalg.lstsq(np.array(columns).T, times, rcond=None)
    left = times - np.array(columns).T @ [alpha, beta, beta_gamma]
    synthetic = presets.PRESETS["original-synthetic"]
    changes = {
        "alpha": alpha / synthetic.alpha_s - 1,
        "beta": beta / synthetic.beta_s_per_token - 1,
        "gamma": beta_gamma / beta / synthetic.gamma - 1,
    }
    tested = {
        f"fit_{name}": Held(
            f"measured {name}, relative to the synthetic one", "batch_times", Circular(change, computed)
        )
        for name, change in changes.items()
    }
    r2 = 1 - float(np.sum(left**2) / np.sum((times - times.mean()) ** 2))
    tested["fit_r2"] = Held("fit to the measurements, R²", "batch_times", Circular(r2, computed))
    grid_points = Derived(int(found.grid["points"]))
    return tested | {"fit_points": Held("points of the measured grid", "batch_times", grid_points)}


def _examples(found: Chapters) -> dict[str, Held]:
    """The example of the section on scientific validity: two models, static batches and multi-bin batching."""
    tested: dict[str, Held] = {}
    statements = statements_of().set_index("claim")["claimed"]
    for model, level in EXAMPLES.items():
        for metric in ("throughput", "late"):
            printed = {name: float(statements[f"ex_{model}_{name}_{metric}"]) for name in ("static", "multi")}
            for name in printed:
                said = {"static": "static batches", "multi": "bins"}[name]
                text = f"example, {model} model, {said}: {TEXTS[metric]}"
                tested[f"ex_{model}_{name}_{metric}"] = Held(text, "", Unfounded(UNSTATED))
            pair = f"{printed['multi']:g}/{printed['static']:g}"
            text = f"example, {model} model: {TEXTS[metric]} with bins, relative to static batches ({pair})"
            change = found.change(level, MULTI, STATIC, METRICS[metric])
            own = printed["multi"] / printed["static"] - 1
            tested[f"ex_{model}_{metric}"] = Held(text, f"level_{level}", change, own)
    for metric in ("throughput", "late"):
        printed_changes = [float(statements[f"ex_{model}_{metric}"]) for model in EXAMPLES]
        against = contradiction(printed_changes[1] - printed_changes[0], 0.0, ALIKE)
        tested[f"ex_consistent_{metric}"] = Held(
            f"the relative change of {TEXTS[metric]} is the same under both models",
            *("levels", _same_change(found, METRICS[metric])),
            against=against,
            claimed=0.0,
        )
    return tested


def _same_change(found: Chapters, metric: str) -> Equal:
    """Whether multi-bin over static batches changes by the same share at levels 1 and 3, whose runs share requests."""
    changes = []
    for level in EXAMPLES.values():
        a, b = (found.values(level, name, metric) for name in (MULTI, STATIC))
        changes.append(np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0) - 1)
    apart = changes[1] - changes[0]
    mean = intervals.mean_interval(apart[np.isfinite(apart)])
    low, high = (mean.mean if limit is None else limit for limit in (mean.ci_low, mean.ci_high))
    return Equal(mean.mean, low, high, ALIKE, mean.replications)
