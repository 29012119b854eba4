"""From the Multi-Bin experiments to sentences and tables, beside the paper's own numbers.

Reads `throughput`'s and `carried`'s tables. A difference from theory is called one only where the interval of
the estimate leaves theory out.
"""

from __future__ import annotations

import pandas as pd

from book.chapters.multi_bin.tables import kept, points_of, ratio_errors, with_interval
from simlib.text import interval, percent, signed


def throughput_answer(plateaus: pd.DataFrame, long_run: pd.DataFrame) -> str:
    """What bins carry, how it compares with theorem and paper, and what a long run gives."""
    first, last = plateaus.iloc[0], plateaus.iloc[-1]
    off = (plateaus["throughput_rps"] / plateaus["paper_rps"] - 1).abs().max()
    more = percent(last["throughput_rps"] / first["throughput_rps"] - 1)
    return (
        f"One server carries {with_interval(first)} requests per second with {_bins(first['k'])} and "
        f"{with_interval(last)} with {_bins(last['k'])}, {more} more; the "
        f"plateaus lie within {percent(off, 2)} of the paper's. Theorem 4.2 says "
        f"{first['theory_rps']:.3f} and {last['theory_rps']:.3f}: the difference is what filling the first batches and "
        f"flushing the last ones costs a finite run. Without both, the mean lies within "
        f"{percent(_gaps(long_run)['throughput_rps'].abs().max(), 2)} of c_k for k = {long_run['k'].min()} to "
        f"{long_run['k'].max()}."
    )


def throughput_numbers(finite: pd.DataFrame, costs: pd.DataFrame, long_run: pd.DataFrame) -> dict[str, str]:
    """With most bins: the gap to c_k, what flush and filling cost, and what is left to chance; the long run's range."""
    most = finite[finite["k"] == finite["k"].max()].set_index("counted")
    cost = costs[costs["k"] == costs["k"].max()].set_index("cost")
    gap, limits = _gaps(most), _gaps(long_run)
    met = ((limits["ci_low"] <= 0) & (limits["ci_high"] >= 0)).sum()
    return {
        "most_bins": _bins(most["k"].iloc[0]),
        "gap_all": _share(gap.loc["with_flush"]),
        "gap_flush": _cost(cost.loc["flush"]),
        "gap_fill": _cost(cost.loc["fill"]),
        "gap_left": _share(gap.loc["warm_up_removed"]),
        "long_run_worst": percent(limits.abs().max(axis=None), 2),
        "long_run_met": f"{met} of {len(limits)}",
    }


def latency_answer(parts: pd.DataFrame) -> str:
    """Whether many servers meet the lemma, how far above it one server lies, and which part makes the difference."""
    rows = parts[parts["part"] == "latency_s"]
    few, many = rows[rows["gpus"] == rows["gpus"].min()], rows[rows["gpus"] == rows["gpus"].max()]
    off = (many["mean_s"] / many["lemma_s"] - 1).abs().max()
    above = (few["mean_s"] / few["lemma_s"] - 1)[few["k"] > 1]
    alone = few[few["k"] == 1].iloc[0]
    return (
        f"With {many['gpus'].iloc[0]} servers the mean latency lies within {percent(off, 2)} of Lemma 5.1 at every "
        f"rate. One server lies {percent(above.min(), 0)} to {percent(above.max(), 0)} above it with two bins or more, "
        f"as batches of different bins are formed at the same time and one of them waits; with one bin it takes "
        f"{with_interval(alone, 'mean_s', 2)} s at {alone['rate_rps']:g} requests per second, where the lemma says "
        f"{alone['lemma_s']:.2f}."
    )


def latency_numbers(parts: pd.DataFrame) -> dict[str, str]:
    """At the lowest rate with most bins: what a formed batch waits, and how far the latency lies above the lemma."""
    rows = parts[parts["gpus"] == parts["gpus"].min()]
    place = (rows["k"] == rows["k"].max()) & (rows["rate_rps"] == rows["rate_rps"].min())
    at = rows[place].set_index("part")
    return {
        "low_rate": f"{rows['rate_rps'].min():g}",
        "low_bins": _bins(at["k"].iloc[0]),
        "low_waiting": f"{with_interval(at.loc['waiting_s'], 'mean_s', 2)} s",
        "low_above": f"{at.loc['latency_s', 'mean_s'] - at.loc['latency_s', 'lemma_s']:.2f} s",
    }


def errors_answer(table: pd.DataFrame, measured: pd.DataFrame) -> str:
    """How far simulation lies from the exact integral, what one error in a hundred costs, what measured ones leave."""
    off = _gaps(table)["throughput_rps"].abs().max()
    sentences = [f"Simulation lies within {percent(off, 2)} of the exact integral at every point."]
    for size, rows in measured.groupby("batch_size"):
        left = ", ".join(f"{kept(row)} with {_bins(row.k)}" for row in rows.itertuples())
        sentences.append(f"Of the gain over one bin, the paper's own predictor leaves with batches of {size}: {left}.")
    few = table[(table["p_e"] == 0.01) & (table["batch_size"] == table["batch_size"].max())]
    for row in few[few["k"] == few["k"].min()].itertuples():
        same = table[(table["k"] == row.k) & (table["batch_size"] == row.batch_size)]
        lost = 1 - row.throughput_rps / same[same["p_e"] == 0.0]["throughput_rps"].iloc[0]
        sentences.append(
            f"One error in a hundred costs {percent(lost, 0)} of the throughput with {_bins(row.k)} and batches of "
            f"{row.batch_size}."
        )
    return " ".join(sentences)


def exponential_answer(table: pd.DataFrame) -> str:
    """What equal-mass bins lose against the optimal ones, and how little Lemma A.1's do."""
    wide = table[table["k"] > 1].pivot_table(["throughput_rps", "theory_rps"], "k", "rule")
    found, exact = wide["throughput_rps"], wide["theory_rps"]
    lost = 1 - found["equal_mass"] / found["optimal"]
    off = _gaps(table)["throughput_rps"].abs().max()
    met = ((table["ci_low"] <= table["theory_rps"]) & (table["theory_rps"] <= table["ci_high"])).sum()
    return (
        f"Equal-mass bins carry {percent(lost.min(), 0)} to {percent(lost.max(), 0)} less than the optimal ones for "
        f"exponential times. Lemma A.1's bins carry at most "
        f"{percent((1 - exact['lemma_a1'] / exact['optimal']).max(), 3)} less by the exact integral: minimising the "
        f"bound is as good as minimising the mean. Simulation lies within {percent(off, 2)} of the integral, which "
        f"{met} of {len(table)} intervals contain."
    )


def llm_like_answer(ratios: pd.DataFrame, service: pd.DataFrame, tolerance: float = 0.05, up_to: int = 16) -> str:
    """Whether the ratios agree with the paper's to the tolerance, and that the thresholds themselves do not."""
    off = ratio_errors(ratios, service)
    near = off[(off.index <= up_to) & (off.index > 1)]
    verdict = "agree" if (near.abs() <= tolerance).all() else "do not all agree"
    most = ratios.iloc[-1]
    return (
        f"Ratios of throughput {verdict} with the paper's to {percent(tolerance, 0)} up to {_bins(near.index.max())} "
        f"(largest difference {percent(near.abs().max())}); with {_bins(most['k'])} we have "
        f"{with_interval(most, 'ratio')}, a difference of {points_of(off.iloc[-1])}. The thresholds themselves are "
        f"{(service['paper_rps'] / service['throughput_rps']).min():.1f} to "
        f"{(service['paper_rps'] / service['throughput_rps']).max():.1f} times what the printed time per token gives."
    )


def llm_like_numbers(service: pd.DataFrame) -> dict[str, str]:
    """The time per token at which our throughput would be the paper's, milliseconds."""
    implied_ms = 1000 * service["implied_s_per_token"]
    return {"implied_low": f"{implied_ms.min():.2f}", "implied_high": f"{implied_ms.max():.2f} ms"}


def _gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Estimate and limits over theory, less one."""
    return table[["throughput_rps", "ci_low", "ci_high"]].div(table["theory_rps"], axis=0) - 1


def _share(row: pd.Series) -> str:
    return f"{points_of(row['throughput_rps'])} ({signed(100 * row['ci_low'])} to {points_of(row['ci_high'])})"


def _cost(row: pd.Series) -> str:
    return f"{percent(row['share'], 2)} ({interval(row['ci_low'], row['ci_high'], 2)})"


def _bins(k: float) -> str:
    return "one bin" if k == 1 else f"{int(k)} bins"
