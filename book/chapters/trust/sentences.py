"""Sentences and numbers on what can be trusted: speed, coverage, the errors on a replayed log."""

from __future__ import annotations

import pandas as pd

from simlib.text import seconds, signed


def speed_answer(measured: pd.DataFrame, goals: pd.DataFrame) -> str:
    """What a request costs in the loop and in all, how it grows, and how many goals are met."""
    cost = measured.set_index(["case", "engine"])["ns_per_request"]
    ratio = measured.set_index(["case", "engine"])["ratio"]
    slopes = goals[goals["goal"].str.startswith("growth")]["measured"]
    return (
        f"A request costs {cost['event loop', 'static_fifo']:.0f} ns in the event loop under static batches, "
        f"{ratio['event loop', 'static_fifo']:.1f} times what the same loop costs in C "
        f"({ratio['event loop', 'multi_bin_dynamic']:.1f} times for multi-bin batches), and "
        f"{cost['whole pipeline', 'simlib']:.0f} ns in all; SimPy needs "
        f"{ratio['whole pipeline', 'SimPy M/M/4']:.0f} times as much for a queue without batches. The cost grows with "
        f"the number of requests to the power {slopes.min():.2f} to {slopes.max():.2f}. "
        f"{int(goals['met'].sum())} of {len(goals)} goals are met."
    )


def continuous_answer(measured: pd.DataFrame) -> str:
    """What a request costs under continuous batching, against SimPy, plain stepping and the token-by-token loop."""
    cost = measured.set_index(["case", "engine"])["ns_per_request"]
    ratio = measured.set_index(["case", "engine"])["ratio"]
    simpy = measured[measured["case"] == "continuous against SimPy"].set_index("ratio_to")["ratio"]
    return (
        f"Under continuous batching a request costs {cost['continuous, busy', 'step loop']:.0f} ns on a busy GPU, "
        f"1/{simpy['one GPU']:.0f} of SimPy's queue without steps; on four GPUs behind a router "
        f"1/{simpy['four GPUs, least requests']:.0f}. Taking steps at once is worth a factor of "
        f"{ratio['continuous, busy', 'step by step']:.1f} when busy, "
        f"{ratio['continuous, low load', 'step by step']:.0f} at low load and "
        f"{ratio['continuous, long outputs', 'step by step']:.0f} with outputs of thousands of tokens."
    )


def coverage_answer(table: pd.DataFrame) -> str:
    """What recommended methods cover, and what the two common mistakes do."""
    good = table[table["recommended"]]
    inside = good["coverage"].between(0.93, 0.97)
    reaching = good[~inside & (good["ci_high"] >= 0.93) & (good["ci_low"] <= 0.97)]
    rest = f"; of the others {len(reaching)} have intervals that reach into that range" if not inside.all() else ""
    return (
        f"Of {len(good)} cases in which a method is recommended, {inside.sum()} cover the truth in 93 to 97 % of "
        f"{good['experiments'].max()} experiments, where 95 % is promised ({_range(good)}{rest}). "
        f"The order statistics of one run, as if its requests were independent, cover its P99 in "
        f"{_range(table[table['method'] == 'order statistics'])}, "
        f"the t interval of its requests the mean in "
        f"{_range(table[(table['method'] == 'independent requests') & (table['quantity'] == 'mean')])}."
    )


def coverage_numbers(table: pd.DataFrame) -> dict[str, float]:
    """The queues' memories, in requests, and the shortest runs with which methods are recommended, in memories."""
    alone = table[(table["queue"] == "mm1") & (table["study"] == "steady_state")]
    memory = (alone["requests"] / alone["memories"]).groupby(alone["rho"]).first()
    shortest = table[table["recommended"]].groupby(["quantity", "method"])["memories"].min()
    return {
        "experiments": int(table["experiments"].max()),
        "load_low": memory.index.min(),
        "load_high": memory.index.max(),
        "memory_low": round(memory.iloc[0]),
        "memory_high": round(memory.iloc[-1]),
        "from_means": int(shortest["mean", "batch_means"]),
        "from_p95": int(shortest["p95", "sectioning"]),
        "from_p99": int(shortest["p99", "sectioning"]),
        "from_replications": int(shortest["mean", "replications"]),
    }


def _range(rows: pd.DataFrame) -> str:
    return f"{100 * rows['coverage'].min():.1f} to {100 * rows['coverage'].max():.1f} %"


def numbers(table: pd.DataFrame, parts: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, str]:
    """Errors as the chapter quotes them, by model and by metric and statistic, or by part."""
    texts = {}
    for row in drawn.itertuples():
        which = f"{row.metric}_{row.statistic}"
        for kind, column in (("refits", "ci"), ("own", "own"), ("shared", "shared")):
            low, high = (getattr(row, f"{column}_{end}") for end in ("low", "high"))
            texts[f"{kind}_{which}"] = f"{signed(low, 1)} to {signed(high, 1)} %"
        texts[f"later_profile_{which}"] = f"{signed(row.profile_percent, 1)} %"
        texts[f"refits_{which}_reach"] = f"{row.reach_percent:g} %"
        texts[f"refits_{which}_in_reach"] = f"{row.refits_in_reach:.0%}"
    for row in table.itertuples():
        value = f"{row.error_percent:.1f}" if row.statistic == "mape" else signed(row.error_percent, 1)
        texts[f"{row.step_model}_{row.metric}_{row.statistic}".replace("-", "_")] = f"{value} %"
    for row in parts.itertuples():
        name = f"{row.step_model}_{row.span}".replace("-", "_")
        texts |= {name: f"{signed(row.error_percent, 1)} %", f"{name}_s": seconds(row.engine_s, 1)}
    return texts
