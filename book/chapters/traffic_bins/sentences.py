"""From tables of bins for real lengths to sentences and tables: which rule, which batch sizes, where the gain goes.

Reads what `held_out`, `deadline` and `by_rate` return. A gain is called one only where its interval leaves out 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from book.chapters.traffic_bins.tables import SOURCE_NAMES, ratio
from simlib.text import percent

TAIL_SHARE, TAIL_BATCH = 0.2, 4  # a bin of fewer requests than this, in batches so many times smaller, is a tail


def rules_answer(table: pd.DataFrame) -> str:
    """Optimal bins against equal mass on lengths unseen, predictor by predictor; and what the rows do not support."""
    best = table[(table["rule"] == "optimal") & (table["refused"] == "")]
    said = []
    for name, rows in best.groupby("predictor", sort=False):
        better, worse = (rows["over_low"] > 1).sum(), (rows["over_high"] < 1).sum()
        span = f"{rows['over_equal_mass'].min():.2f} to {rows['over_equal_mass'].max():.2f}"
        said.append(f"{name}: {span} times, better in {better}, worse in {worse} of {len(rows)}")
    refused = table[(table["rule"] == "optimal") & (table["refused"] != "")]
    without = "; ".join(
        f"{rows['rows'].iloc[0]:.0f} {SOURCE_NAMES[source]} do not support {_cells(rows)}"
        for source, rows in refused.groupby("source", sort=False)
    )
    text = f"On lengths unseen, bins that the exact programme cuts carry against equal mass ({'; '.join(said)})."
    return f"{text} {without}." if without else text


def _cells(rows: pd.DataFrame) -> str:
    return ", ".join(f"B = {size} with K = {' or '.join(map(str, sorted(set(r['k_bins']))))}" for size, r in
                     rows.groupby("batch_size"))  # fmt: skip


def joint_answer(table: pd.DataFrame) -> str:
    """Where bins chosen together with their batch sizes carry more than equal mass, and where they isolate a tail."""
    rows = _with_tail(table)
    sentences = []
    for name, group in rows.groupby("predictor", sort=False):
        most = group.loc[group["ratio"].idxmax()]
        sentences.append(
            f"{name}: more in {(group['ratio_low'] > 1).sum()} of {len(group)} settings, up to {ratio(most)} times "
            f"({SOURCE_NAMES[most['source']]}, {most['deadline_s']:g} s, K = {most['k_bins']:.0f})"
        )
    oracle = rows[rows["predictor"] == "oracle"]
    tail, flat = oracle[oracle["tail"]], oracle[~oracle["tail"]]
    medians = ""
    if len(tail) and len(flat):
        medians = (
            f" Where the oracle's optimum isolates a tail ({len(tail)} of {len(oracle)}: fewer than "
            f"{percent(TAIL_SHARE, 0)} of the requests, in batches at most 1/{TAIL_BATCH} as large) its median gain is "
            f"{tail['ratio'].median():.2f} times, elsewhere {flat['ratio'].median():.2f}."
        )
    return (
        "Without a queue, the joint optimum against equal-mass bins with their own best batch sizes "
        f"({'; '.join(sentences)}).{medians}"
    )


def _with_tail(table: pd.DataFrame) -> pd.DataFrame:
    """The joint optima that exist, with whether their last bin is a tail of small batches."""
    rows = table[(table["choice"] == "joint") & (table["refused"] == "")].copy()
    sizes = [[int(size) for size in str(text).split()] for text in rows["batch_sizes"]]
    rows["tail"] = [s <= TAIL_SHARE and len(b) > 1 and TAIL_BATCH * b[-1] <= max(b) for s, b in
                    zip(rows["last_share"], sizes, strict=True)]  # fmt: skip
    return rows


def waiting_answer(table: pd.DataFrame) -> str:
    """What is left of the gain when requests also wait: greedy policies, by number of GPUs."""
    rows = table[(table["choice"] == "joint") & (table["kind"] == "greedy") & table["ratio"].notna()]
    said = []
    for (source, name, deadline_s), group in rows.groupby(["source", "predictor", "deadline_s"], sort=False):
        each = ", ".join(
            f"{ratio(row)} on {row['gpus']:.0f}{'' if row['p_holm'] <= 0.05 else ' (not established)'}"
            for _, row in group.iterrows()
        )
        said.append(f"{SOURCE_NAMES[source]}, {name}, {deadline_s:g} s: {each}")
    full = table[table["kind"] == "fixed"]
    none = f"{(full['refused'] != '').sum()} of {len(full)}"
    return (
        f"With waiting counted in the deadline, in simulation, that gain is, by number of GPUs, {'; '.join(said)}. "
        f"Batches that wait until they are full keep the deadline at no rate in {none} cases."
    )


def rate_answer(table: pd.DataFrame) -> str:
    """From which rate on bins pay, by deadline: where one bin is best, forming batches takes the gain back."""
    said = []
    for rule, name in (("equal_mass", "equal-mass bins"), ("optimal", "the joint optimum")):
        for deadline_s, rows in table[table["rule"] == rule].groupby("deadline_s"):
            paying = rows[(rows["k_star"] > 1) & (rows["ci_low"] > 1)]
            since = f"from {paying['rate_rps'].min():g}/s on" if len(paying) else "at none of these rates"
            said.append(f"{name} at {deadline_s:g} s {since}")
    return f"Bins pay: {'; '.join(said)}."


def absent_text(absent: Sequence[str]) -> str:
    """A sentence on what was not re-executed; empty where all data is there."""
    if not absent:
        return ""
    names = ", ".join(SOURCE_NAMES[name] for name in absent)
    return f"Not re-executed: data absent ({names}); its rows are the committed ones."
