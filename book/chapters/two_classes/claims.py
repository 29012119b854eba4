"""What four papers claim of classes with deadlines of their own, beside what is found here.

Of 2503.22562, 2507.17769 and 2506.19677 the abstract and the beginning of the introduction were read; of the later
version of the first, QoServe, the abstract as others quote it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from book.chapters.two_classes.engines import OWN_ENGINES, SHARED
from book.chapters.two_classes.study import FIRST, FIRST_REFUSES, MAIN_LOAD, OVERLOAD, REFUSES
from book.kit.evidence import Claim, Repeated, Unfounded, ledger
from simlib.stats import intervals

if TYPE_CHECKING:
    import pandas as pd


CHAPTER = "two_classes"
NIYAMA, QOSERVE = "Breaking the silos", "Breaking the silos, later version"
POLYSERVE, SABER = "Multi-SLO serving", "Adaptive requests for code models"
EVEN_MIX, SUITED_MIX = 0.5, 0.7  # interactive requests: as in most of the chapter, and where an engine each suits best


def table_of(orders: pd.DataFrame, carried: pd.DataFrame, bound: pd.DataFrame) -> pd.DataFrame:
    """The ledger, from the replications of orders, of what two engines carry, and of the bound."""
    return ledger(_claims(orders, carried, bound))


def _claims(orders: pd.DataFrame, carried: pd.DataFrame, bound: pd.DataFrame) -> Iterator[Claim]:
    gain = "times the load of an engine for each class"
    for source, claimed, mix in ((NIYAMA, 1.32, EVEN_MIX), (NIYAMA, 1.32, SUITED_MIX), (QOSERVE, 1.23, SUITED_MIX)):
        wide = carried[carried["mix"] == mix].pivot_table(index="replication", columns="way", values="carried_rps")
        yield Claim(
            source, "abstract", f"shared engines carry so many {gain} ({100 * mix:.0f} % interactive)", claimed, 0.005,
            _estimated(wide[SHARED] / wide[OWN_ENGINES]), CHAPTER, part_of=f"shared engines carry more {gain}",
        )  # fmt: skip
    missed = {order: 1 - _both(orders, OVERLOAD, order) for order in (FIRST, REFUSES)}
    yield Claim(
        NIYAMA, "abstract", f"so many times fewer miss their deadline than under first come (load {OVERLOAD:g})", 10.0,
        0.5, _estimated(missed[FIRST] / missed[REFUSES]), CHAPTER,
    )  # fmt: skip
    best = bound[(bound["load"] == MAIN_LOAD) & (bound["order"] == REFUSES)]["of_bound"]
    found = intervals.mean_interval(best)
    yield Claim(
        POLYSERVE, "abstract", f"of the optimum's goodput, against a bound (load {MAIN_LOAD:g})", 0.925, 0.0005,
        Repeated(found.mean, *_limits(found), found.replications), CHAPTER,
    )  # fmt: skip
    yield Claim(
        POLYSERVE, "abstract", "goodput over existing policies, times", 1.23, 0.005,
        Unfounded("which tiers of deadlines, which traffic and which policies stand in neither abstract nor beginning"),
    )  # fmt: skip
    for load in (0.7, 0.9):
        ratio = _both(orders, load, FIRST_REFUSES) / _both(orders, load, FIRST)
        yield Claim(
            SABER, "abstract", f"goodput of feasible requests only, over the best fixed batch, times (load {load:g})",
            1.26, 0.005, _estimated(ratio), CHAPTER, part_of="up to 26 % more goodput than the best fixed settings",
        )  # fmt: skip
    yield Claim(
        SABER, "abstract", "latency varies less than with the best fixed batch, share", -0.45, 0.005,
        Unfounded("of which requests at which rate it varies, and whether refused ones count, is not in the abstract"),
    )  # fmt: skip


def _both(orders: pd.DataFrame, load: float, order: str) -> pd.Series:
    """Goodput of both classes on average, by replication."""
    is_here = (orders["load"] == load) & (orders["order"] == order) & (orders["setting"] == "own")
    return orders[is_here].set_index("replication")["both"]


def _estimated(ratios: pd.Series) -> Repeated:
    """The geometric mean of paired ratios, which is more or less than 1."""
    found = intervals.mean_interval(np.log(ratios))
    return Repeated(math.exp(found.mean), *map(math.exp, _limits(found)), found.replications, 1.0)


def _limits(found: intervals.Interval) -> tuple[float, float]:
    low, high = (found.mean if limit is None else limit for limit in (found.ci_low, found.ci_high))
    return low, high
