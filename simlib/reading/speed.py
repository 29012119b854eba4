"""From benchmarks to sentences and tables: what was measured, and which goals are met."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from simlib.checks import reads_tables
from simlib.reading import _texts

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

__all__ = ["continuous_answer", "show_benchmarks", "show_goals", "speed_answer"]


@reads_tables
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


@reads_tables
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


@reads_tables
def show_benchmarks(measured: pd.DataFrame) -> Styler:
    """Cost of a request and ratio to the rival, one row a case and engine."""
    shown = pd.DataFrame(
        {
            "case": measured["case"],
            "engine": measured["engine"],
            "requests": measured["requests"].map("{:,}".format),
            "ns a request": measured["ns_per_request"].map("{:,.0f}".format),
            "against": measured["ratio_to"].fillna("–"),
            "ratio": _texts(measured["ratio"], "{:.2f}".format),
        }
    )
    return shown.style.hide(axis="index")


@reads_tables
def show_goals(goals: pd.DataFrame) -> Styler:
    """Each goal with what was measured, and whether it is met."""
    signs = goals["at_most"].map({True: "≤", False: "≥"})
    shown = pd.DataFrame(
        {
            "goal": goals["goal"],
            "measured": goals["measured"].map("{:,.3g}".format),
            "wanted": signs + " " + goals["limit"].map("{:,.3g}".format),
            "unit": goals["unit"],
            "met": goals["met"].map({True: "yes", False: "no"}),
        }
    )
    return shown.style.hide(axis="index")
