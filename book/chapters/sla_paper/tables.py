"""From tables of the rules for the size of a batch to sentences: overflow, memory rules, fixed points, regimes.

Reads what `rules` returns. One rule is called better or worse only where the interval says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


LENGTHS = {"equal": "equal", "normal_like": "normal-like", "skewed": "skewed", "burstgpt": "BurstGPT"}


def _shown(table: pd.DataFrame, columns: dict[str, str], estimates: dict[str, tuple[str, str, int]]) -> Any:
    shown = pd.DataFrame({title: table[name] for name, title in columns.items()})
    for name, (title, before, digits) in estimates.items():
        limits = table[[name, f"{before}ci_low", f"{before}ci_high"]].itertuples(index=False)
        shown[title] = [f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})" for mean, low, high in limits]
    return shown.style.hide(axis="index")


def show_hindsight(table: pd.DataFrame) -> Styler:
    """Rules against the static cap, with intervals; times in milliseconds."""
    shown = table.copy()
    times = [name for name in shown if name.startswith("itl_")]
    shown[times] *= 1000
    return _shown(
        shown,
        {"sla_rule": "rule", "interval_steps": "interval"},
        {
            "throughput_ratio": ("throughput, of the static cap", "ratio_", 3),
            "itl_p50_s": ("median time between tokens (ms)", "itl_p50_", 1),
            "itl_p99_s": ("99th percentile (ms)", "itl_p99_", 1),
        },
    )


def show_memory(table: pd.DataFrame) -> Styler:
    """The memory rules in the engine, with intervals."""
    shown = table.assign(lengths=table["lengths"].map(LENGTHS))
    return _shown(
        shown,
        {"lengths": "lengths", "memory_rule": "rule"},
        {
            "throughput_ratio": ("throughput, of none", "ratio_", 3),
            "preemptions_per_request": ("preemptions a request", "preemptions_", 3),
        },
    )


def show_settling(table: pd.DataFrame) -> Styler:
    """Settling from different starts, with intervals."""
    columns = {"sla_rule": "rule", "b_start": "first cap", "window_steps": "window",
               "interval_steps": "interval"}  # fmt: skip
    estimates = {"steps": ("steps", "steps_", 0), "away_share": ("away, share", "away_", 2),
                 "distance": ("distance", "", 1)}  # fmt: skip
    return _shown(table, columns, estimates)


def show_table_2(table: pd.DataFrame) -> Styler:
    """Capacities, gains and what longer runs change, with intervals."""
    return _shown(
        table,
        {"setting": "row", "outputs": "outputs", "engine": "engine"},
        {
            "capacity_rps": ("capacity (requests/s)", "", 2),
            "gain": ("paper's rule over it", "gain_", 3),
            "doubled": ("in longer runs, over shorter", "doubled_", 3),
        },
    )


def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities and gains, with intervals."""
    shown = table.assign(expected=table["expected_rps"].map("{:.2f}".format))
    return _shown(
        shown,
        {"outputs": "outputs", "engine": "engine", "expected": "fluid limit (requests/s)"},
        {"capacity_rps": ("capacity (requests/s)", "", 2), "gain": ("paper's rule over it", "gain_", 2)},
    )


def show_throughputs(table: pd.DataFrame) -> Styler:
    """Throughputs and gains, with intervals."""
    shown = table.assign(setting=[f"{row.prompt_tokens:g} / {row.output_tokens:g}" for row in table.itertuples()])
    return _shown(
        shown,
        {"setting": "prompt / output", "lengths": "lengths", "engine": "engine"},
        {"output_tokens_per_s": ("output tokens/s", "", 0), "gain": ("equation (12) over it", "gain_", 3)},
    )
