"""What four papers claim of predictions that say more than a number, or say it again, beside what is found here.

Of 2604.00499 and 2606.18431 abstract, project page and introduction were read, of 2604.07931 the abstract, of
2410.01035 its beginning: the figures at its end are taken as quoted. They are ranges, of which the middle stands, give
or take half.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.prompts.quality import AGAIN, LAW, RENEWED
from book.chapters.prompts.study import FIRST, HEAVY_PLACES, MAIN_LOAD, MAIN_SPREAD, OVERLOAD
from book.kit.evidence import Change, Claim, Repeated, Unfounded, ledger
from simlib.stats import intervals

if TYPE_CHECKING:
    import pandas as pd


CHAPTER = "predictor_laws"
TIE, PROD, BOOST = "Tail-inflated expectation", "Lengths from one prompt", "Boosting without prediction"
TRAIL = "Renewed from embeddings"
PLACES = (("batches", MAIN_LOAD), ("engine", MAIN_LOAD), ("engine", OVERLOAD))


def table_of(
    runs: pd.DataFrame, chosen: pd.DataFrame, heavy: pd.DataFrame, heavy_chosen: pd.DataFrame, quality: pd.DataFrame
) -> pd.DataFrame:
    """The ledger, of `study.runs_of`, `study.heavy_runs_of`, the weights of `study.picked`, and `quality.runs_of`."""
    claims = (*_said(runs, chosen), *_heavy(heavy, heavy_chosen), *_renewed(quality))
    return ledger(claims)


def _said(runs: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[Claim]:
    for execution, load in PLACES:
        at = f"{execution}, load {load:g}"
        arms = {says: _arm(runs, chosen, execution, load, says) for says in ("one answer", "median", "mean and tail")}
        factor = arms["one answer"]["mean_s"] / arms["mean and tail"]["mean_s"]
        yield Claim(
            TIE, "abstract", f"less latency than ranks by one number, times ({at})", 2.31, 0.005,
            _estimated(factor), CHAPTER, part_of="less latency than the strongest of three that say one number",
        )  # fmt: skip
        p_value = intervals.paired_difference(arms["one answer"]["mean_s"], arms["median"]["mean_s"]).p_value
        yield Claim(
            PROD, "abstract", f"labels of one answer cost latency, against the median of the law ({at})", math.nan, 0.0,
            Change(arms["one answer"]["mean_s"], arms["median"]["mean_s"], p_value * len(PLACES), 1), CHAPTER,
            part_of="a label of one answer has an error that no model takes away",
        )  # fmt: skip
        known, tried = (_kept(runs, execution, load, "the length", tuning) for tuning in (False, True))
        waits = [weight_s for weight_s in tried if weight_s < math.inf]
        least = min(waits, key=lambda weight_s: tried[weight_s]["p99_s"].mean())
        yield Claim(
            BOOST, "abstract", f"P99 of an order in which waiting counts, over shortest first's, lengths known ({at})",
            0.575, 0.075, _estimated(known[least]["p99_s"] / known[math.inf]["p99_s"]), CHAPTER,
            part_of="P99 35 to 50 % below shortest first with perfect lengths",
        )  # fmt: skip
    yield Claim(
        BOOST, "abstract", "the same without any prediction, by statistical signals", 0.575, 0.075,
        Unfounded("which signals raise a request's priority stands in neither abstract nor project page; it preempts"),
    )  # fmt: skip


def _heavy(runs: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[Claim]:
    """The first paper's, where lengths have the law that it found."""
    for execution, load, spread in HEAVY_PLACES[1:]:
        one, tail = (_arm(runs, chosen, execution, load, says, spread) for says in ("one answer", "mean and tail"))
        at = f"{execution}, load {load:g}, log-t, spread {spread:g}"
        yield Claim(
            TIE, "abstract", f"less latency than ranks by one number, times ({at})", 2.31, 0.005,
            _estimated(one["mean_s"] / tail["mean_s"]), CHAPTER,
            part_of="less latency than the strongest of three that say one number",
        )  # fmt: skip


def _renewed(runs: pd.DataFrame) -> Iterator[Claim]:
    """The fourth paper's, with memory that is kept, and computed again as it does."""
    for load in (MAIN_LOAD, OVERLOAD):
        told = runs[(runs["execution"] == "engine") & (runs["load"] == load) & (runs["told"] == LAW)]
        first = _kept(told, "engine", load, FIRST)[0.0]
        for says, means in ((RENEWED, "memory kept"), (AGAIN, "computed again")):
            arm = _kept(told, "engine", load, says)[math.inf]
            what = f"({means}, load {load:g})"
            yield Claim(
                TRAIL, "abstract", f"less mean latency than first come, times {what}", 1.835, 0.175,
                _estimated(first["mean_s"] / arm["mean_s"]), CHAPTER, part_of="1.66 to 2.01 times less mean latency",
            )  # fmt: skip
            if says == RENEWED:
                yield Claim(
                    TRAIL, "abstract", f"sooner first token than first come, times {what}", 12.915, 11.155,
                    _estimated(first["first_s"] / arm["first_s"]), CHAPTER,
                    part_of="1.76 to 24.07 times less mean time to the first token",
                )  # fmt: skip


def _estimated(ratios: pd.Series) -> Repeated:
    """The geometric mean of paired ratios, which is more or less than 1."""
    found = intervals.mean_interval(np.log(ratios))
    limits = (found.mean if limit is None else limit for limit in (found.ci_low, found.ci_high))
    return Repeated(math.exp(found.mean), *(math.exp(limit) for limit in limits), found.replications, 1.0)


def _kept(
    runs: pd.DataFrame, execution: str, load: float, says: str, tuning: bool = False, spread: float = MAIN_SPREAD
) -> dict[float, pd.DataFrame]:
    """The replications of what is said, by weight: the judged ones, or those to pick on."""
    is_here = (runs["execution"] == execution) & (runs["load"] == load) & (runs["spread"] == spread)
    here = runs[is_here & (runs["tuning"] == tuning) & (runs["says"] == says)]
    return {weight: arm.set_index("replication") for weight, arm in here.groupby("weight_s")}


def _arm(
    runs: pd.DataFrame, chosen: pd.DataFrame, execution: str, load: float, says: str, spread: float = MAIN_SPREAD
) -> pd.DataFrame:
    weights = chosen.set_index(["execution", "load", "spread", "says"])["weight_s"]
    return _kept(runs, execution, load, says, spread=spread)[weights[execution, load, spread, says]]
