"""What three papers claim of predictions that say more than a number, beside what is found here.

Of 2604.00499 and 2606.18431 abstract, project page and introduction were read, of 2604.07931 the abstract.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.prompts.study import MAIN_LOAD, MAIN_SPREAD, OVERLOAD
from book.kit.evidence import Change, Claim, Repeated, Unfounded, ledger
from simlib.stats import intervals

if TYPE_CHECKING:
    import pandas as pd


CHAPTER = "predictor_laws"
TIE, PROD, BOOST = "Tail-inflated expectation", "Lengths from one prompt", "Boosting without prediction"
PLACES = (("batches", MAIN_LOAD), ("engine", MAIN_LOAD), ("engine", OVERLOAD))


def table_of(runs: pd.DataFrame, chosen: pd.DataFrame) -> pd.DataFrame:
    """The ledger: `runs` as of `study.runs_of`, `chosen` the weights as of `study.picked`."""
    return ledger(_claims(runs, chosen))


def _claims(runs: pd.DataFrame, chosen: pd.DataFrame) -> Iterator[Claim]:
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


def _estimated(ratios: pd.Series) -> Repeated:
    """The geometric mean of paired ratios, which is more or less than 1."""
    found = intervals.mean_interval(np.log(ratios))
    limits = (found.mean if limit is None else limit for limit in (found.ci_low, found.ci_high))
    return Repeated(math.exp(found.mean), *(math.exp(limit) for limit in limits), found.replications, 1.0)


def _kept(
    runs: pd.DataFrame, execution: str, load: float, says: str, tuning: bool = False
) -> dict[float, pd.DataFrame]:
    """The replications of what is said at the main spread, by weight: the judged ones, or those to pick on."""
    is_here = (runs["execution"] == execution) & (runs["load"] == load) & (runs["spread"] == MAIN_SPREAD)
    here = runs[is_here & (runs["tuning"] == tuning) & (runs["says"] == says)]
    return {weight: arm.set_index("replication") for weight, arm in here.groupby("weight_s")}


def _arm(runs: pd.DataFrame, chosen: pd.DataFrame, execution: str, load: float, says: str) -> pd.DataFrame:
    weights = chosen.set_index(["execution", "load", "spread", "says"])["weight_s"]
    return _kept(runs, execution, load, says)[weights[execution, load, MAIN_SPREAD, says]]
