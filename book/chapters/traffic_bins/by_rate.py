"""How many bins a load is worth: at low rates batches take so long to form that bins give back what they gain.

By the formulas of `joint_bins`; nothing is simulated. Servers are many enough for formed batches not to wait: the bound
of the Multi-Bin paper's Lemma 5.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from book.chapters.traffic_bins import held_out
from book.chapters.traffic_bins.deadline import coarse, totals
from book.kit.bins import joint_bins
from simlib.checks import InputError, check_each, check_integer, check_number
from simlib.stats import intervals
from simlib.stats.estimates import as_row
from simlib.stats.replications import replicate

if TYPE_CHECKING:
    import pandas as pd


SAME = 0.02  # of what a number of bins carries: within it of the best, fewer bins are as good


def by_rate(
    source: str = "log_normal",
    *,
    rates_rps: Iterable[float],
    deadlines_s: Iterable[float],
    k_values: Iterable[int] = (1, 2, 4, 8),
    budgets: Iterable[float] = (0.25, 0.5, 0.75),
    latency: Any = "original-synthetic",
    late_share: float = 0.1,
    rows: int = 1000,
    replications: int = 5,
    seed: int = 42,
    workers: int = 1,
) -> pd.DataFrame:
    """K*: how many bins are worth having at a rate and a deadline, once batches must also form in time.

    Parameters
    ----------
    source : str
        Lengths, as in `held_out.lengths_of`, drawn anew in each replication.
    rates_rps, deadlines_s, k_values, budgets : iterable
        Grid of rates and deadlines; numbers of bins to choose from; shares of the deadline that may go into forming a
        batch, of which the best is taken.
    latency, late_share, rows, replications, seed, workers

    Returns
    -------
    pandas.DataFrame
        ``rate_rps, deadline_s, rule, k_star, k_share, gain, ci_low, ci_high, gain_full, replications``, for
        equal-mass bins and for the joint optimum: the fewest bins within 2 % of the best (most frequent, and in which
        share of the draws); requests a GPU carries with them over one bin, with its t interval; and the same gain of
        servers that never lack a batch. A cell whose deadline cannot be met has no K*.
    """
    import pandas as pd

    rates_rps = check_each("rates_rps", rates_rps, lambda r: check_number("rate_rps", r, 0.0, open_low=True))
    deadlines_s = check_each("deadlines_s", deadlines_s, lambda d: check_number("deadline_s", d, 0.0, open_low=True))
    k_values = check_each("k_values", k_values, lambda k: check_integer("k_bins", k, 1, 64))
    budgets = check_each("budgets", budgets, lambda b: check_number("budget", b, 0.0, 1.0))
    ways = {"quantile": 1 - late_share, "latency": latency}

    def one(seed: int) -> dict[str, float]:
        lengths = coarse(totals(held_out.lengths_of(source, rows, seed))[0])
        found = {}
        for d, deadline_s in enumerate(deadlines_s):
            for rule in ("equal_mass", "optimal"):
                for r, rate_rps in [(-1, None), *enumerate(rates_rps)]:
                    each = [_best(lengths, k, rule, rate_rps, deadline_s, budgets, ways) for k in k_values]
                    most = max(each)
                    k_star = k_values[int(np.argmax(np.array(each) >= (1 - SAME) * most))] if most else 0
                    found |= {f"k {d} {rule} {r}": k_star, f"g {d} {rule} {r}": most / each[0] if each[0] else 0.0}
        return found

    drawn, table = replicate(one, replications, seed=seed, workers=workers), []
    for d, deadline_s in enumerate(deadlines_s):
        for r, rate_rps in enumerate(rates_rps):
            for rule in ("equal_mass", "optimal"):
                k_star, gain = drawn[f"k {d} {rule} {r}"], intervals.mean_interval(drawn[f"g {d} {rule} {r}"])
                usual = k_star.mode().iloc[0]
                table.append(
                    {"rate_rps": rate_rps, "deadline_s": deadline_s, "rule": rule, "k_star": int(usual)}
                    | {"k_share": float((k_star == usual).mean())}
                    | as_row(gain, "gain")
                    | {"gain_full": drawn[f"g {d} {rule} -1"].mean(), "replications": replications}
                )
    return pd.DataFrame(table)


def _best(
    lengths: np.ndarray,
    k_bins: int,
    rule: str,
    rate_rps: float | None,
    deadline_s: float,
    budgets: Sequence[float],
    ways: Mapping[str, Any],
) -> float:
    """Requests a GPU carries with the best share of the deadline for waiting; 0 where the deadline cannot be met."""
    rates = [0.0]
    for budget in budgets if rate_rps else [0.0]:
        more = {"waiting_budget_s": budget * deadline_s, "rate_rps": rate_rps, "bounds": rule, **ways}
        try:
            rates.append(joint_bins.joint_optimum(lengths, k_bins, deadline_s=deadline_s, **more).capacity_rps)
        except InputError:
            continue
    return max(rates)
