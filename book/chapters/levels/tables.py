"""Tables of the fidelity levels, of K, of contests, and of rankings at matched load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.batch_times import measured_levels
from book.kit.names import SCHEDULER_NAMES, TRAFFIC_NAMES
from book.kit.tables import as_texts, change, sign
from simlib import levels
from simlib.levels import place, readable_differences
from simlib.text import interval, percent, signed

if TYPE_CHECKING:
    from IPython.display import HTML
    from pandas.io.formats.style import Styler

OF = {"synthetic": "synthetic", "trace": "of the trace (conditional on it)", "population": "of the population"}
FORMULAS = {"original-synthetic": "the faster formula", "original-calibrated": "the slower formula"}
SELECTION_NAMES = {"round_robin": "in turn", "longest_queue": "longest queue", "oldest_head": "oldest request"}
BEST = measured_levels.PAIRS[0]  # the best bins against the best without
REQUESTS = {number: TRAFFIC_NAMES[level.sources[-1]] for number, level in levels.LEVELS.items()}


def times_name(latency: str) -> str:
    """Where batch times are from: one of the original's formulas, or a measured GPU and its engine."""
    return (measured_levels.GPU_NAMES | FORMULAS).get(latency, latency)


def place_name(level: int, latency: str) -> str:
    """A place by its batch times, with the level where the original has it."""
    own = latency == levels.LEVELS[level].latency
    return f"level {level}: {times_name(latency)}" if own else times_name(latency)


def mean_share(row: Any) -> str:
    """A level's mean share of late requests with its interval; a count where no replication differs."""
    if row.interval_method in ("constant", "rule_of_three"):
        return f"{round(row.mean_violation_share * row.requests)} of {row.requests} in every replication"
    digits = _digits(row.mean_violation_share)
    few = "too few replications for an interval"
    limits = few if pd.isna(row.ci_low) else interval(row.ci_low, row.ci_high, digits)
    return f"{percent(row.mean_violation_share, digits)} ({limits})"


def show_level(table: pd.DataFrame) -> Styler:
    """Claimed figures beside ours."""
    times = ("claimed_latency_mean_s", "seed42_latency_mean_s", "latency_mean_s")
    shown = pd.DataFrame(
        {
            "scheduler": table["scheduler"].map(SCHEDULER_NAMES),
            "requests": [f"{row.requests} {OF[row.requests_from]}" for row in table.itertuples()],
            "claimed": as_texts(table["claimed_violation_share"], percent),
            "same seed": as_texts(table["seed42_violation_share"], percent),
            "mean (95 % interval)": [mean_share(row) for row in table.itertuples()],
            "percentile": as_texts(table["claim_percentile"], "{:.3g}".format),
            "inside": table["claim_inside"].map({True: "yes", False: "no"}).fillna("–"),
        }
        | {
            name: as_texts(table[column], "{:.3f}".format)
            for name, column in zip(("latency, claimed (s)", "same seed (s)", "mean (s)"), times, strict=True)
        }
    )
    return shown.style.hide(axis="index")


def show_differences(differences: pd.DataFrame) -> Styler:
    """The same for a page."""
    pairs = zip(differences["scheduler_a"], differences["scheduler_b"], strict=True)
    same = (differences["ci_low"] == 0) & (differences["ci_high"] == 0)
    named = {"A − B": [f"{SCHEDULER_NAMES[a]} − {SCHEDULER_NAMES[b]}" for a, b in pairs]}
    shown = readable_differences(differences).assign(**named)
    shown.loc[same.to_numpy(), "difference (95 % interval)"] = "none in any replication"
    return shown.style.hide(axis="index")


def pair_of(differences: pd.DataFrame, pair: tuple[str, str] = levels.PAIRS[2]) -> pd.DataFrame:
    """Of a table of differences, late requests of a pair, by default with bins against dynamic batching."""
    rows = differences[(differences["scheduler_a"] == pair[0]) & (differences["scheduler_b"] == pair[1])]
    return rows[rows["metric"] == "sla_violation_share"] if "metric" in rows else rows


def at_level_loads(matched: pd.DataFrame, load: float = 0.8, pair: tuple[str, str] = levels.PAIRS[2]) -> pd.DataFrame:
    """Of `matched.differences`, a pair at the four levels as they are, at one load."""
    rows = pair_of(matched, pair)
    own = rows["latency"] == rows["level"].map({number: level.latency for number, level in levels.LEVELS.items()})
    return rows[own & (rows["load"] == load)].sort_values("level")


def show_summary(table: pd.DataFrame, differences: pd.DataFrame, matched: pd.DataFrame) -> Styler:
    """Each level in a row: late requests, bins against dynamic batching, and the same at one load for all levels."""
    keys = ["level", "requests_from"]
    late = table.pivot_table(index=keys, columns="scheduler", values="mean_violation_share", sort=False)
    own = pair_of(differences).set_index(keys)
    at_one = {
        f"at load 0.8, minus {name}": at_level_loads(matched, pair=pair).set_index("level")
        for name, pair in (("dynamic", levels.PAIRS[2]), ("the best without bins", BEST))
    }
    rows = []
    for (level, source), shares in late.iterrows():
        trace = " (conditional on it)" if source == "trace" else ""
        rows.append(
            {"level": place(level, source).removeprefix("level ") + trace}
            | {SCHEDULER_NAMES[name]: percent(shares[name], _digits(shares[name])) for name in levels.SCHEDULERS[1:]}
            | {"bins minus dynamic (points)": points_with_limits(own.loc[(level, source)])}
            | {
                said: "–" if trace or level not in one.index else points_with_limits(one.loc[level])
                for said, one in at_one.items()
            }
        )
    return pd.DataFrame(rows).style.hide(axis="index")


def points_with_limits(pair: Any) -> str:
    """A difference of shares in points with its interval; in words where it is not established."""
    value, low, high = (
        signed(100 * share, _digits(pair.difference)) for share in (pair.difference, pair.ci_low, pair.ci_high)
    )
    return f"{value} ({low} to {high}){'' if sign(pair) else ', not established'}"


def show_rankings(rankings: pd.DataFrame) -> Styler:
    """How often each ranking occurs."""
    shown = rankings.assign(share=as_texts(rankings["share"], lambda share: percent(share, 0)))
    shown["level"] = [place(row.level, row.requests_from) for row in rankings.itertuples()]
    shown["ranking"] = [_named(ranking) for ranking in shown["ranking"]]
    shown = shown.drop(columns="requests_from")
    return shown.rename(columns={"ranking": "ranking, best first"}).style.hide(axis="index")


def show_k(table: pd.DataFrame) -> Styler:
    """Violation shares by K, and their difference to one bin."""
    rows = [
        {
            "batch times": times_name(row.latency),
            "arrivals": TRAFFIC_NAMES[row.arrivals].replace("-like", "'s rows"),
            "K": row.k_bins,
            "late requests": percent(row.violation_share, 2),
        }
        | {"minus K = 1": interval(row.difference_ci_low, row.difference_ci_high, 2, points=True)}
        for row in table.itertuples()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def show_contest(table: pd.DataFrame) -> Styler:
    """Each policy's mean violation share, its difference to the last, and how it ran."""
    last, rows = table["scheduler"].iloc[-1], []
    for row in table.itertuples():
        limits = (row.difference_ci_low, row.difference_ci_high)
        rows.append(
            {"scheduler": SCHEDULER_NAMES.get(row.scheduler, row.scheduler)}
            | {"late requests (95 % interval)": f"{percent(row.violation_share)} ({interval(row.ci_low, row.ci_high)})"}
            | {
                f"minus {SCHEDULER_NAMES.get(last, last)}": "–"
                if pd.isna(row.difference)
                else interval(*limits, 2, points=True)
            }
            | {"ran": row.backend}
        )
    return pd.DataFrame(rows).style.hide(axis="index")


def flips(differences: pd.DataFrame, pair: tuple[str, str] = levels.PAIRS[2]) -> pd.DataFrame:
    """In how many places a pair's first has fewer late requests, more, or no established difference.

    ``requests, times, load, places, fewer, more``: by kind of requests, by kind of batch times (the formula of the
    levels, or measured), and by load. `differences` is `matched.differences`'s.
    """
    rows = pair_of(differences, pair)
    kinds = with_kinds(rows).assign(sign=[sign(row) for row in rows.itertuples()])
    grouped = kinds.groupby(["requests", "times", "load"], sort=False)["sign"]
    found = grouped.agg(places="size", fewer=lambda s: int((s < 0).sum()), more=lambda s: int((s > 0).sum()))
    return found.reset_index()


def show_loads(loads: pd.DataFrame) -> Styler:
    """The document's levels in the terms of this study."""
    loads = loads.assign(latency=loads["latency"].map(times_name))
    names = {
        "latency": "batch times",
        "rate_rps": "requests/s",
        "saturated_rps": "batches of 8 serve (requests/s)",
        "slack": "deadline ÷ batch",
    }
    return loads.rename(columns=names).style.format(precision=2).hide(axis="index")


def show_flips(differences: pd.DataFrame, pair: tuple[str, str] = levels.PAIRS[2]) -> Styler:
    """A pair by load: in how many places its first has fewer late requests, more, or neither."""
    counted = flips(differences, pair)
    texts = [_counts(row) for row in counted.itertuples()]
    named = counted.rename(columns={"times": "batch times"}).assign(text=texts)
    keys = ["requests", "batch times"]
    wide = named.pivot_table(index=keys, columns="load", values="text", aggfunc="first", sort=False)
    wide.columns = [f"load {load:g}" for load in wide.columns]
    return wide.reset_index().style.hide(axis="index")


def show_causes(causes: pd.DataFrame) -> Styler:
    """Means over the places of a kind, by load: waiting and service in shares of the deadline, GPU time relative."""
    means = with_kinds(causes).groupby(["requests", "times", "load"], sort=False)[["waiting", "service", "work"]].mean()
    shown = means.reset_index().rename(columns={"times": "batch times", "work": "GPU time"})
    formats = {"load": "{:g}", "waiting": signed, "service": signed, "GPU time": change}
    return shown.style.format(formats).hide(axis="index")


def show_matched_rankings(rankings: pd.DataFrame) -> HTML:
    """Every ranking with its probability, to be unfolded load by load."""
    from IPython.display import HTML

    parts = []
    for load, rows in rankings.groupby("load", sort=False):
        shown = pd.DataFrame(
            {
                "level": rows["level"],
                "batch times": rows["latency"].map(times_name),
                "ranking, best first": [_named(ranking).replace("<", "&lt;") for ranking in rows["ranking"]],
                "probability": [percent(share, 0) for share in rows["share"]],
                "95 % interval": [interval(row.ci_low, row.ci_high, 0) for row in rows.itertuples()],
            }
        )
        table = shown.style.hide(axis="index").to_html()
        parts.append(f"<details><summary>load {load:g}: {len(rows)} rankings</summary>{table}</details>")
    return HTML("".join(parts))


def with_kinds(table: pd.DataFrame) -> pd.DataFrame:
    """With the kind of requests, and whether batch times are the formula of the levels or measured."""
    return table.assign(
        requests=table["level"].map(REQUESTS),
        times=["formula" if latency in FORMULAS else "measured" for latency in table["latency"]],
    )


def _counts(row: Any) -> str:
    neither = row.places - row.fewer - row.more
    parts = [(row.fewer, "fewer"), (row.more, "more"), (neither, "neither")]
    return ", ".join(f"{count} {word}" for count, word in parts if count)


def _digits(share: float) -> int:
    """As many decimals of a per cent or point as a small one needs."""
    return 2 if 0 < abs(share) < 0.01 else 1


def _named(ranking: str) -> str:
    for name in levels.SCHEDULERS:
        ranking = ranking.replace(name, SCHEDULER_NAMES[name])
    return ranking
