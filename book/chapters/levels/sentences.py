"""Sentences on the fidelity levels: what becomes of each claim, and which comparisons hold.

A comparison is asserted only where its paired interval leaves out zero; a claim is judged by where it lies among the
replications.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from book.chapters.levels.tables import flips, mean_share, with_kinds
from book.kit.tables import change, established, sign
from simlib import levels
from simlib.levels import PLACES, VIOLATIONS, place
from simlib.text import interval, percent, signed

LEADS = {"synthetic": "", "trace": "On the trace: ", "population": "In the population: "}
# What a figure of `likeness` is of.
CAVEAT = (
    "The population is a model of workday conversations, fitted to part of the 400 rows and to published figures; API "
    "campaigns, most of the later trace, are left out as they are from its first rows. That a claim lies inside says "
    "that rows like the document's can give it, not that its own rows do."
)


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


def level_answer(table: pd.DataFrame, differences: pd.DataFrame) -> str:
    """For each source of requests, one sentence on the shares, one on multi-bin against dynamic batching."""
    sentences = []
    for source, rows in table.groupby("requests_from", sort=False):
        shares = ", ".join(f"{row.scheduler} {mean_share(row)}" for row in rows.itertuples())
        pairs = differences[differences["requests_from"] == source]
        sentences.append(f"Late requests{PLACES[source]}, mean with 95 % interval: {shares}.")
        sentences.append(_comparison(_pair(pairs, *levels.PAIRS[2])))
    return " ".join(sentences)


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


def _comparison(pair: Any) -> str:
    by = f"{signed(100 * pair.difference)} points, 95 % interval {interval(pair.ci_low, pair.ci_high, 2, points=True)}"
    share = f"strictly better in {percent(pair.share_of_replications_better, 0)} of the replications"
    if pair.ci_low == pair.ci_high == 0.0:
        return f"{pair.scheduler_a} equals {pair.scheduler_b} in every replication."
    if not established(pair):
        return f"No difference between {pair.scheduler_a} and {pair.scheduler_b} is established ({by}; {share})."
    verb = "has fewer late requests than" if pair.difference < 0 else "has more late requests than"
    return f"{pair.scheduler_a} {verb} {pair.scheduler_b} ({by}; {share})."


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


def k_answer(table: pd.DataFrame) -> str:
    """Where more bins help on synthetic Poisson arrivals, and where they hurt, under round robin."""
    sentences = []
    for latency, rows in table[(table["arrivals"] == "poisson") & (table["bin_select"] == "round_robin")].groupby(
        "latency"
    ):
        better = rows[rows["difference_ci_high"] < 0]["k_bins"].tolist()
        worse = rows[rows["difference_ci_low"] > 0]["k_bins"].tolist()
        helps = (
            f"fewer late requests than one bin at K = {_listed(better)}" if better else "no K with fewer late requests"
        )
        hurts = f", more at K = {_listed(worse)}" if worse else ""
        best = rows.loc[rows["violation_share"].idxmin()]
        share = percent(best["violation_share"])
        sentences.append(f"{latency}: {helps}{hurts}; the lowest mean is {share} at K = {best['k_bins']}")
    return "Poisson arrivals, round robin, paired 95 % intervals. " + ". ".join(sentences) + "."


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


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


def matched_answer(rankings: pd.DataFrame, differences: pd.DataFrame) -> str:
    """Whether one ranking holds, and how often multi-bin batching is alone the best or better than dynamic batching."""
    cells = rankings.groupby(["level", "latency", "load"], sort=False)
    common = cells.first()["ranking"]
    alone = rankings["share"].where(rankings["ranking"].str.startswith("multi_bin_dynamic <"), 0.0)
    best = alone.groupby([rankings[key] for key in ("level", "latency", "load")], sort=False).sum()
    counted = flips(differences)
    fewer, more = int(counted["fewer"].sum()), int(counted["more"].sum())
    kinds = common.nunique()
    return (
        f"{'No' if kinds > 1 else 'Yes'}: of {len(common)} places and loads the most likely ranking is "
        f"{'one of ' + str(kinds) if kinds > 1 else 'the same in all'}. Multi-bin batching alone is best with more "
        f"than even odds in {int((best > 0.5).sum())} of them; against dynamic batching it has fewer late requests in "
        f"{fewer}, more in {more}, and no established difference in {len(common) - fewer - more}."
    )


def causes_answer(differences: pd.DataFrame, causes: pd.DataFrame) -> str:
    """Whether late requests follow what bins save in service and cost in waiting, and what work they make or save."""
    a, b = levels.PAIRS[2]
    rows = differences[(differences["scheduler_a"] == a) & (differences["scheduler_b"] == b)]
    both = rows.merge(causes, on=["level", "latency", "load"])
    sure = both[[sign(row) != 0 for row in both.itertuples()]]
    agree = int((np.sign(sure["waiting"] + sure["service"]) == np.sign(sure["difference"])).sum())
    shorter, longer = int((causes["service_high"] < 0).sum()), int((causes["waiting_low"] > 0).sum())
    smaller = int((causes["batch_size_a"] < causes["batch_size_b"]).sum())
    more, less = with_kinds(causes[causes["work_low"] > 0]), with_kinds(causes[causes["work_high"] < 0])
    spared = less.groupby(["requests", "times"], sort=False).size()
    parts = [f"{count} with {requests} requests, {times} times" for (requests, times), count in spared.items()]
    saved = f", and less in {len(less)} (down to {change(less['work'].min())}; {', '.join(parts)})" if parts else ""
    return (
        f"Bins make batches alike: in {shorter} of {len(causes)} places and loads a request's service is shorter than "
        f"under dynamic batching. They also make them smaller ({smaller} of {len(causes)}), and in {longer} requests "
        f"wait longer. Where a difference in late requests is established, it has the sign of the two together in "
        f"{agree} of {len(sure)}. What bins do to the wait shows in the GPU time that a request takes: it is more in "
        f"{len(more)} (up to {change(more['work'].max())}), as fewer share a batch{saved}, as each member of a "
        "mixed batch is charged for its longest."
    )


def loads_answer(loads: pd.DataFrame) -> str:
    """How far apart the document's levels are in load and deadline."""
    least, most = loads.loc[loads["load"].idxmin()], loads.loc[loads["load"].idxmax()]
    return (
        f"In these terms the document's levels lie between a load of {least['load']:.2f} (level {least['level']:.0f}) "
        f"and one of {most['load']:.2f} (level {most['level']:.0f}), and their deadline of a second is "
        f"{loads['slack'].min():.1f} to {loads['slack'].max():.1f} times what a batch takes."
    )
