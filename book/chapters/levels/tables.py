"""Tables of the fidelity levels, of K, of contests, and of rankings at matched load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.kit.names import TRAFFIC_NAMES
from book.kit.tables import as_texts, change, sign
from simlib import levels
from simlib.levels import place, readable_differences
from simlib.policies.plan import short_name
from simlib.text import interval, percent, signed

if TYPE_CHECKING:
    from IPython.display import HTML
    from pandas.io.formats.style import Styler

OF = {"synthetic": "synthetic", "trace": "of the trace", "population": "of the population"}


def mean_share(row: Any) -> str:
    """A level's mean share of late requests with its interval."""
    limits = "too few replications for an interval" if pd.isna(row.ci_low) else interval(row.ci_low, row.ci_high)
    return f"{percent(row.mean_violation_share)} ({limits})"


def show_level(table: pd.DataFrame) -> Styler:
    """Claimed figures beside ours."""
    times = ("claimed_latency_mean_s", "seed42_latency_mean_s", "latency_mean_s")
    shown = pd.DataFrame(
        {
            "scheduler": table["scheduler"],
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
    return readable_differences(differences).style.hide(axis="index")


def show_rankings(rankings: pd.DataFrame) -> Styler:
    """How often each ranking occurs."""
    shown = rankings.assign(share=as_texts(rankings["share"], lambda share: percent(share, 0)))
    shown["level"] = [place(row.level, row.requests_from) for row in rankings.itertuples()]
    shown = shown.drop(columns="requests_from")
    return shown.rename(columns={"ranking": "ranking, best first"}).style.hide(axis="index")


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


def flips(differences: pd.DataFrame, pair: tuple[str, str] = levels.PAIRS[2]) -> pd.DataFrame:
    """In how many places a pair's first scheduler has fewer late requests, more, or no established difference.

    ``requests, times, load, places, fewer, more``: by kind of requests, by kind of batch times (the formula of the
    levels, or measured), and by load. `differences` is `matched.differences`'s.
    """
    rows = differences[(differences["scheduler_a"] == pair[0]) & (differences["scheduler_b"] == pair[1])]
    kinds = with_kinds(rows).assign(sign=[sign(row) for row in rows.itertuples()])
    grouped = kinds.groupby(["requests", "times", "load"], sort=False)["sign"]
    found = grouped.agg(places="size", fewer=lambda s: int((s < 0).sum()), more=lambda s: int((s > 0).sum()))
    return found.reset_index()


def show_loads(loads: pd.DataFrame) -> Styler:
    """The document's levels in the terms of this study."""
    names = {"rate_rps": "requests/s", "saturated_rps": "batches of 8 serve (requests/s)", "slack": "deadline ÷ batch"}
    return loads.rename(columns=names).style.format(precision=2).hide(axis="index")


def show_flips(differences: pd.DataFrame) -> Styler:
    """Multi-bin against dynamic batching by load: in how many places fewer late requests, more, or neither."""
    counted = flips(differences)
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
                "batch times": rows["latency"],
                "ranking, best first": [_short(ranking) for ranking in rows["ranking"]],
                "probability": [percent(share, 0) for share in rows["share"]],
                "95 % interval": [interval(row.ci_low, row.ci_high, 0) for row in rows.itertuples()],
            }
        )
        table = shown.style.hide(axis="index").to_html()
        parts.append(f"<details><summary>load {load:g}: {len(rows)} rankings</summary>{table}</details>")
    return HTML("".join(parts))


def with_kinds(table: pd.DataFrame) -> pd.DataFrame:
    """With the kind of requests, and whether batch times are the formula of the levels or measured."""
    formula = {level.latency for level in levels.LEVELS.values()}
    return table.assign(
        requests=[TRAFFIC_NAMES[levels.of(level).sources[-1]] for level in table["level"]],
        times=["formula" if latency in formula else "measured" for latency in table["latency"]],
    )


def _counts(row: Any) -> str:
    neither = row.places - row.fewer - row.more
    parts = [(row.fewer, "fewer"), (row.more, "more"), (neither, "neither")]
    return ", ".join(f"{count} {word}" for count, word in parts if count)


def _short(ranking: str) -> str:
    for name in levels.SCHEDULERS:
        ranking = ranking.replace(name, short_name(name))
    return ranking.replace("<", "&lt;")
