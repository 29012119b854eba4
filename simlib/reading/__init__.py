"""From tables to sentences: what a chapter says is computed from what it measured, and so are the tables it shows.

A comparison is asserted only where its paired interval leaves out zero; a claim is judged by where it lies among the
replications. Nothing here simulates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from simlib.checks import reads_tables
from simlib.lazy import getter
from simlib.notebook import interval, percent, seconds, signed
from simlib.schedulers import short_name
from simlib.shares import wilson_interval
from simlib.studies import levels

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler  # needs what a terminal need not have

__all__ = [
    "collapse_numbers",
    "contest_answer",
    "controller_answer",
    "cross_level_answer",
    "equal_numbers",
    "established",
    "headline",
    "k_answer",
    "level_answer",
    "level_reading",
    "level_source",
    "place",
    "readable_differences",
    "show_branches",
    "show_contest",
    "show_differences",
    "show_k",
    "show_level",
    "show_rankings",
]

__getattr__ = getter(__name__)

VIOLATIONS = "sla_violation_share"
# Where requests are from: in a sentence after a level, before sentences of its own, after a number.
PLACES = {"synthetic": "", "trace": " on the trace", "population": " in the population"}
LEADS = {"synthetic": "", "trace": "On the trace: ", "population": "In the population: "}
OF = {"synthetic": "synthetic", "trace": "of the trace", "population": "of the population"}
# What a figure of `likeness` is of.
CAVEAT = (
    "The population is a model of workday conversations, fitted to part of the 400 rows and to published figures; API "
    "campaigns, most of the later trace, are left out as they are from its first rows. That a claim lies inside says "
    "that rows like the document's can give it, not that its own rows do."
)


@reads_tables
def place(level: int, requests_from: str) -> str:
    """A study in a sentence: ``level 1``, ``level 2 on the trace``, ``level 2 in the population``."""
    return f"level {level}{PLACES[requests_from]}"


@reads_tables
def level_source(table: pd.DataFrame) -> str:
    """Where the requests of a level are from, and what that does to the interval."""
    trace = table["trace"].iloc[0]
    if not trace:
        return "Requests are synthetic: Poisson arrivals and the original's recipe for lengths."
    drawn = table.loc[table["requests_from"] == "population", "requests"]
    return (
        f"Requests are, first, the {trace}, failures kept; only the predictions vary between replications, "
        "so that every interval is conditional on the trace. Second, each replication draws "
        f"{drawn.iloc[0]} requests from a *population* fitted to what is known of BurstGPT: conversations from a "
        "workday's midnight on, as the trace begins."
    )


@reads_tables
def level_answer(table: pd.DataFrame, differences: pd.DataFrame) -> str:
    """For each source of requests, one sentence on the shares, one on multi-bin against dynamic batching."""
    sentences = []
    for source, rows in table.groupby("requests_from", sort=False):
        shares = ", ".join(f"{row.scheduler} {_mean(row)}" for row in rows.itertuples())
        pairs = differences[differences["requests_from"] == source]
        sentences.append(f"Late requests{PLACES[source]}, mean with 95 % interval: {shares}.")
        sentences.append(_comparison(_pair(pairs, *levels.PAIRS[2])))
    return " ".join(sentences)


def _mean(row: Any) -> str:
    limits = "too few replications for an interval" if pd.isna(row.ci_low) else interval(row.ci_low, row.ci_high)
    return f"{percent(row.mean_violation_share)} ({limits})"


@reads_tables
def level_reading(table: pd.DataFrame, differences: pd.DataFrame) -> str:
    """What becomes of each claimed figure, and of each comparison of violation shares."""
    sentences = []
    for source, rows in table.groupby("requests_from", sort=False):
        claimed = [_claim(row) for row in rows.itertuples() if pd.notna(row.claimed_violation_share)]
        sentences += claimed + ([CAVEAT] if claimed and source == "population" else [])
        pairs = differences[differences["requests_from"] == source]
        compared = " ".join(_comparison(_pair(pairs, a, b)) for a, b in levels.PAIRS)
        sentences.append(f"{LEADS[source]}{compared}")
    return " ".join(sentences)


def _claim(row: Any) -> str:
    claimed = f"For {row.scheduler} the document claims {percent(row.claimed_violation_share)}; "
    drawn = row.requests_from == "population"
    found = percent(row.mean_violation_share if drawn else row.seed42_violation_share)
    here = f"draws of the population give {found} in the mean" if drawn else f"at its seed we find {found}"
    if pd.isna(row.claim_percentile):
        return claimed + here + f" on the {row.trace}, which is not the document's table, so the claim is not judged."
    where = "inside" if row.claim_inside else "outside"
    return claimed + here + (
        f", percentile {row.claim_percentile:.3g} of {row.replications} replications ({where} their central 95 %)."
    )  # fmt: skip


def _pair(differences: pd.DataFrame, a: str, b: str) -> Any:
    chosen = (differences["scheduler_a"] == a) & (differences["scheduler_b"] == b)
    chosen &= differences["metric"] == VIOLATIONS
    return next(differences[chosen].itertuples())


@reads_tables
def established(pair: Any) -> bool:
    """Whether a difference is called one: at 5 % after Holm's correction, so that its interval leaves out zero, too."""
    return bool(pair.p_holm <= 0.05)


def _comparison(pair: Any) -> str:
    by = f"{signed(100 * pair.difference)} points, 95 % interval {interval(pair.ci_low, pair.ci_high, 2, points=True)}"
    share = f"strictly better in {percent(pair.share_of_replications_better, 0)} of the replications"
    if pair.ci_low == pair.ci_high == 0.0:
        return f"{pair.scheduler_a} equals {pair.scheduler_b} in every replication."
    if not established(pair):
        return f"No difference between {pair.scheduler_a} and {pair.scheduler_b} is established ({by}; {share})."
    verb = "has fewer late requests than" if pair.difference < 0 else "has more late requests than"
    return f"{pair.scheduler_a} {verb} {pair.scheduler_b} ({by}; {share})."


@reads_tables
def cross_level_answer(rankings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """In what share of the replications multi-bin batching is strictly best, and whether the rankings agree."""
    first = rankings["ranking"].str.startswith("multi_bin_dynamic <")
    best = rankings["share"].where(first, 0.0).groupby([rankings[key] for key in levels.STUDY], sort=False).sum()
    shares = ", ".join(f"{place(*study)}: {percent(share, 0)}" for study, share in best.items())
    common = rankings.sort_values("share", ascending=False).groupby(levels.STUDY).first()["ranking"]
    kinds = len(set(common))
    same = "the same" if kinds == 1 else f"not the same ({kinds} different ones)"
    return (
        f"multi_bin_dynamic alone is best in this share of the replications: {shares}. "
        f"The most frequent ranking is {same} in these {len(common)} studies."
    )


@reads_tables
def headline(table: pd.DataFrame, differences: pd.DataFrame) -> str:
    """What holds of the document's comparison of multi-bin with dynamic batching, and what does not."""
    found: dict[str, list[str]] = {"fewer late requests": [], "more late requests": [], "no established difference": []}
    for study, rows in differences.groupby(levels.STUDY, sort=False):
        pair = _pair(rows, *levels.PAIRS[2])
        verdict = list(found)[int(pair.difference > 0) if established(pair) else 2]
        found[verdict].append(f"{place(*study)} ({interval(pair.ci_low, pair.ci_high, 2, points=True)})")
    parts = [f"{verdict} at {', '.join(places)}" for verdict, places in found.items() if places]
    judged = table[table["claim_inside"].notna()]
    outside = len(judged) - int(judged["claim_inside"].sum())
    drawn = int((judged["requests_from"] == "population").sum())
    against = f" ({drawn} of them against draws from a fitted population of BurstGPT's conversations)" if drawn else ""
    lies = "lies" if outside == 1 else "lie"
    return (
        f"Against dynamic batching, multi-bin batching has {'; '.join(parts)}; 95 % intervals. "
        f"Of the {len(judged)} claimed shares that can be judged{against}, {outside} {lies} outside the central 95 % "
        "of the replications."
    )


@reads_tables
def show_level(table: pd.DataFrame) -> Styler:
    """Claimed figures beside ours."""
    times = ("claimed_latency_mean_s", "seed42_latency_mean_s", "latency_mean_s")
    shown = pd.DataFrame(
        {
            "scheduler": table["scheduler"],
            "requests": [f"{row.requests} {OF[row.requests_from]}" for row in table.itertuples()],
            "claimed": _texts(table["claimed_violation_share"], percent),
            "same seed": _texts(table["seed42_violation_share"], percent),
            "mean (95 % interval)": [_mean(row) for row in table.itertuples()],
            "percentile": _texts(table["claim_percentile"], "{:.3g}".format),
            "inside": table["claim_inside"].map({True: "yes", False: "no"}).fillna("–"),
        }
        | {
            name: _texts(table[column], "{:.3f}".format)
            for name, column in zip(("latency, claimed (s)", "same seed (s)", "mean (s)"), times, strict=True)
        }
    )
    return shown.style.hide(axis="index")


@reads_tables
def readable_differences(differences: pd.DataFrame) -> pd.DataFrame:
    """Differences, A minus B, with how they were found, as texts: points, seconds, requests per second."""
    units = {VIOLATIONS: ("late requests", 100.0, "points"), "latency_mean_s": ("mean latency", 1.0, "s")}
    units["throughput_rps"] = ("throughput", 1.0, "requests/s")
    rows = []
    for pair in differences.itertuples():
        metric, factor, unit = units[pair.metric]
        difference, low, high = (factor * v for v in (pair.difference, pair.ci_low, pair.ci_high))
        rows.append(
            {"level": place(pair.level, pair.requests_from)}
            | {"A − B": f"{short_name(pair.scheduler_a)} − {short_name(pair.scheduler_b)}", "of": metric}
            | {"difference (95 % interval)": f"{signed(difference)} ({signed(low)} to {signed(high)}) {unit}"}
            | {"A better in": percent(pair.share_of_replications_better, 0), "samples": pair.method}
            | {"correlation": "–" if pd.isna(pair.correlation) else signed(pair.correlation)}
            | {"p (Holm)": _p_value(pair.p_holm)}
        )
    shown = pd.DataFrame(rows)
    alike = [column for column in ("level", "samples") if len(set(shown[column])) == 1]
    return shown.drop(columns=alike)


def show_differences(differences: pd.DataFrame) -> Styler:
    """The same for a page."""
    return readable_differences(differences).style.hide(axis="index")


def _p_value(p: float) -> str:
    return "–" if pd.isna(p) else f"{p:.2f}" if p >= 0.005 else "< 0.005"


def _texts(values: pd.Series, text: Callable[[float], str]) -> list[str]:
    return ["–" if pd.isna(value) else text(value) for value in values]


@reads_tables
def show_rankings(rankings: pd.DataFrame) -> Styler:
    """How often each ranking occurs."""
    shown = rankings.assign(share=_texts(rankings["share"], lambda share: percent(share, 0)))
    shown["level"] = [place(row.level, row.requests_from) for row in rankings.itertuples()]
    shown = shown.drop(columns="requests_from")
    return shown.rename(columns={"ranking": "ranking, best first"}).style.hide(axis="index")


@reads_tables
def k_answer(table: pd.DataFrame) -> str:
    """Where more bins help on synthetic Poisson arrivals, and where they hurt, under round robin."""
    sentences = []
    for latency, rows in table[(table["arrivals"] == "poisson") & (table["bin_select"] == "round_robin")].groupby(
        "latency"
    ):
        better = rows[rows["difference_ci_high"] < 0]["k_bins"].tolist()
        worse = rows[rows["difference_ci_low"] > 0]["k_bins"].tolist()
        helps = (
            f"fewer late requests than one bin at K = {_list(better)}" if better else "no K with fewer late requests"
        )
        hurts = f", more at K = {_list(worse)}" if worse else ""
        best = rows.loc[rows["violation_share"].idxmin()]
        share = percent(best["violation_share"])
        sentences.append(f"{latency}: {helps}{hurts}; the lowest mean is {share} at K = {best['k_bins']}")
    return "Poisson arrivals, round robin, paired 95 % intervals. " + ". ".join(sentences) + "."


def _list(values: list[int]) -> str:
    return ", ".join(map(str, values))


@reads_tables
def show_k(table: pd.DataFrame) -> Styler:
    """Violation shares by K, and their difference to one bin."""
    rows = [
        {
            "latency": row.latency,
            "arrivals": row.arrivals,
            "K": row.k_bins,
            "late requests": percent(row.violation_share, 2),
        }
        | {"minus K = 1": interval(row.difference_ci_low, row.difference_ci_high, 2, points=True)}
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


@reads_tables
def contest_answer(table: pd.DataFrame) -> str:
    """How the last policy of a contest fares against each other one."""
    *others, last = table.itertuples()
    verdicts: dict[str, list[str]] = {"fewer": [], "more": [], "no established difference": []}
    for row in others:  # the difference is the other's share minus the last's
        low, high = -row.difference_ci_high, -row.difference_ci_low
        verdict = "fewer" if high < 0 else "more" if low > 0 else "no established difference"
        verdicts[verdict].append(f"{row.scheduler} ({interval(low, high, 2, points=True)})")
    found = [f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items() if names]
    return f"Late requests of {last.scheduler} against the others, paired 95 % intervals: {'; '.join(found)}."


@reads_tables
def show_contest(table: pd.DataFrame) -> Styler:
    """Each policy's mean violation share, its difference to the last, and how it ran."""
    last, rows = table["scheduler"].iloc[-1], []
    for row in table.itertuples():
        limits = (row.difference_ci_low, row.difference_ci_high)
        rows.append(
            {"scheduler": row.scheduler}
            | {"late requests (95 % interval)": f"{percent(row.violation_share)} ({interval(row.ci_low, row.ci_high)})"}
            | {f"minus {last}": "–" if pd.isna(row.difference) else interval(*limits, 2, points=True)}
            | {"ran": row.backend}
        )
    return pd.DataFrame(rows).style.hide(axis="index")


@reads_tables
def controller_answer(branches: pd.DataFrame, equal: Mapping[int, float], clearing: pd.DataFrame) -> str:
    """Whether the feedback acts at the document's deadline, and what the collapse costs."""
    texts = equal_numbers(equal, int(branches["replications"].max()))
    always = ", ".join(f"{texts[f'equal_{level}']} at level {level}" for level in equal)
    numbers = collapse_numbers(clearing)
    return (
        f"No: with the document's deadline, dynamic batching equals a static batch of 64 request by request "
        f"(share of replications: {always}). After a spell of long requests (one run, made by hand) its window "
        f"collapses: a burst that static batches of 8 clear in {numbers['static_s']} then takes {numbers['dynamic_s']}."
        if min(equal.values()) > 0.5
        else f"Dynamic batching equals a static batch of 64 request by request in part of the replications ({always})."
    )


def equal_numbers(equal: Mapping[int, float], replications: int) -> dict[str, str]:
    """Shares of replications in which two schedulers are the same, by level, with Wilson's interval, as texts."""
    found = {level: wilson_interval(round(share * replications), replications) for level, share in equal.items()}
    return {
        f"equal_{level}": f"{percent(one.value, 0)} ({interval(one.ci_low, one.ci_high)})"
        for level, one in found.items()
    }


@reads_tables
def collapse_numbers(clearing: pd.DataFrame) -> dict[str, str]:
    """Clearing times of the static and of the original's dynamic scheduler, and the latter's mean batch, as texts."""
    rows = clearing.set_index(["scheduler", "variant"])
    original = rows.loc[("dynamic_no_bins", "original")]
    return {
        "static_s": seconds(rows.loc[("static_fifo", ""), "clearing_s"], 1),
        "dynamic_s": seconds(original["clearing_s"], 1),
        "dynamic_batch": f"{original['batch_size_mean']:.1f}",
    }


@reads_tables
def show_branches(branches: pd.DataFrame) -> Styler:
    """Share of batch formations that take each branch, one row a level, deadline and scheduler."""
    wide = branches.pivot_table(index=["level", "d_sla_s", "scheduler"], columns="branch", values="share", sort=False)
    shown = wide.map(percent).reset_index().rename(columns={"d_sla_s": "deadline (s)"})
    return shown.style.format(precision=2, subset=["deadline (s)"]).hide(axis="index")
