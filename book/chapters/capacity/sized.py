"""Sizes that suit: each arm's cap, chosen by its mean capacity on other seeds than those that are judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from book.kit import arms
from simlib import levels
from simlib.checks import check_each, check_integer
from simlib.planning.carried import capacity
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable

CAPS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
LINES = (2, 4)  # by predicted length, from one of which a batch of the shortest is taken
NO_BINS = ("static_fifo", "dynamic_no_bins", "shortest_predicted_first")
UNCAPPED = "dynamic_uncapped"  # dynamic batching as the papers have it
TUNING = 4  # replications that choose, at most
TUNING_SEED = 200_000  # added to the seed: what chooses is not judged
KNOWN = 5000  # requests whose mean output sets the ageing
Arm = tuple[str, int]


def candidates(known: RequestTable, d_sla: float, caps: Iterable[int], k_bins: Iterable[int]) -> dict[Arm, list[Any]]:
    """What each arm may be, by scheduler and number of bins (no bins are one bin); the last has the largest cap.

    Parameters
    ----------
    known : RequestTable
        Requests whose mean output sets how much waiting outweighs a predicted token (`arms.ageing_s`).
    d_sla : float
        What controllers aim at, seconds.
    caps : iterable of int
        Largest batches, ascending.
    k_bins : iterable of int
        Bins of equal mass, at least 2 each.
    """
    caps = check_each("caps", caps, lambda cap: check_integer("caps", cap, 1))
    found = {
        ("static_fifo", 1): arms.static(caps),
        ("dynamic_no_bins", 1): arms.dynamic(d_sla, caps),
        ("shortest_predicted_first", 1): arms.shortest(arms.ageing_s(known.output_tokens, d_sla), LINES, caps),
    }
    for k in check_each("k_bins", k_bins, lambda k: check_integer("k_bins", k, 2)):
        found["multi_bin_dynamic", k] = arms.bins(d_sla, [k], caps)
    return {arm: list(policies.values()) for arm, policies in found.items()}


def best_of(
    tried: Mapping[Arm, list[Any]],
    search_of: Callable[..., capacity.Search],
    seed: int,
    replications: int = TUNING,
    workers: int = 1,
) -> dict[Arm, tuple[Any, float]]:
    """Each arm's candidate of the largest mean capacity (geometric), and that mean, as `arms.picked` has it.

    Parameters
    ----------
    search_of : callable
        Given policies by name, returns a search of their capacities.
    seed, replications, workers : int
        As for `replications.replicate`, but that `TUNING_SEED` is added to the seed and at most `TUNING` run.
    """
    ways = {"seed": seed + TUNING_SEED, "workers": workers, "progress": False}
    best: dict[Arm, tuple[Any, float]] = {}
    for arm, policies in tried.items():
        search = search_of({str(place): policy for place, policy in enumerate(policies)})
        place, mean_rps = arms.picked(search, min(TUNING, replications), **ways)
        best[arm] = (policies[int(place)], mean_rps)
    return best


def first_of(best: Mapping[Arm, tuple[Any, float]], family: Iterable[str]) -> Arm:
    """The arm of the largest mean capacity among some schedulers."""
    family = set(family)
    return max((arm for arm in best if arm[0] in family), key=lambda arm: best[arm][1])


def at_most(policy: Any) -> str:
    """The sizes that a policy was given, as a table shows them: ``12``, ``8, 2 lines``, ``32 and 8``."""
    if isinstance(policy, StaticFIFO):
        return str(policy.batch_size)
    if isinstance(policy, ShortestPredictedFirst):
        return f"{policy.batch_size}, {policy.k_bins} lines"
    if isinstance(policy, MultiBinDynamic) and policy.batch_sizes is not None:
        *first, last = map(str, policy.batch_sizes)
        return " and ".join([", ".join(first), last] if first else [last])
    return str(policy.variant.b_max)


class Contest(NamedTuple):
    """What is held against each other at a level: policies by name, and which is best without bins."""

    policies: dict[str, Any]
    best: str


def contest(
    level: int,
    search_of: Callable[..., capacity.Search],
    d_sla: float,
    k_bins: int,
    *,
    seed: int,
    replications: int,
    workers: int = 1,
) -> Contest:
    """The schedulers with sizes that suit them, and dynamic batching as the papers have it, by name.

    Parameters
    ----------
    level : int
        Of `levels.of`.
    search_of : callable
        Given policies by name, returns a search of their capacities.
    d_sla : float
        What controllers aim at, seconds.
    k_bins : int
        At least 2.
    seed, replications, workers : int
        As for `best_of`.
    """
    tried = candidates(levels.draw_of(level)(KNOWN, seed + TUNING_SEED), d_sla, CAPS, (k_bins,))
    best = best_of(tried, search_of, seed, replications, workers)
    policies = {UNCAPPED: tried["dynamic_no_bins", 1][-1]} | {arm[0]: policy for arm, (policy, _) in best.items()}
    return Contest(policies, first_of(best, NO_BINS)[0])
