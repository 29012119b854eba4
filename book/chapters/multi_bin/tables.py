"""From the Multi-Bin experiments to sentences and tables, beside the paper's own numbers.

Reads `throughput`'s and `carried`'s tables. A difference from theory is called one only where the interval of
the estimate leaves theory out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.kit.tables import as_texts
from simlib.text import interval, percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def show_plateaus(plateaus: pd.DataFrame) -> Styler:
    """Throughput of an overloaded server by number of bins: ours, Theorem 4.2's and the paper's."""
    shown = pd.DataFrame(
        {
            "bins k": plateaus["k"],
            "simulated, requests/s (95 % interval)": [with_interval(row) for _, row in plateaus.iterrows()],
            "theorem 4.2": plateaus["theory_rps"].map("{:.3f}".format),
            "from the theorem": (plateaus["throughput_rps"] / plateaus["theory_rps"] - 1).map(points_of),
            "paper": as_texts(plateaus["paper_rps"], "{:.3f}".format),
            "from the paper": as_texts(plateaus["throughput_rps"] / plateaus["paper_rps"] - 1, points_of),
        }
    )
    return shown.style.hide(axis="index")


def show_parts(parts: pd.DataFrame) -> Styler:
    """Mean latency by its parts at each rate, for few and for many servers, beside the lemma; seconds."""
    index = ["k", "rate_rps", "gpus"]
    wide = parts.assign(text=[f"{row.mean_s:.2f} ± {row.ci_high - row.mean_s:.2f}" for row in parts.itertuples()])
    wide = wide.pivot_table("text", index, "part", aggfunc="first", sort=False)
    lemma = parts[parts["part"] == "latency_s"].set_index(index)["lemma_s"]
    columns = {"formation_s": "formation", "waiting_s": "waiting", "service_s": "service", "latency_s": "latency"}
    shown = wide[list(columns)].rename(columns=columns).assign(**{"lemma 5.1": lemma.map("{:.2f}".format)})
    shown = shown.reset_index().rename(columns={"rate_rps": "rate (1/s)", "gpus": "servers"})
    return shown.rename_axis(columns=None).style.format({"rate (1/s)": "{:g}"}).hide(axis="index")


def show_latencies(table: pd.DataFrame, read: pd.DataFrame) -> Styler:
    """Mean latencies beside those read off the paper's figure, seconds."""
    both = read.merge(table, on=["k", "rate_rps"])
    shown = pd.DataFrame(
        {
            "bins k": both["k"].astype(int),
            "rate (1/s)": both["rate_rps"].map("{:g}".format),
            "simulated, s (95 % interval)": [with_interval(row, "latency_mean_s", 2) for _, row in both.iterrows()],
            "paper": both["value"].map("{:.2f}".format),
            "difference": (both["latency_mean_s"] / both["value"] - 1).map(points_of),
        }
    )
    return shown.style.hide(axis="index")


def show_measured(measured: pd.DataFrame) -> Styler:
    """Throughput under the measured confusion matrices, and what is left of an oracle's gain."""
    shown = pd.DataFrame(
        {
            "batch": measured["batch_size"],
            "bins k": measured["k"],
            "bin is right": measured["accuracy_share"].map(percent),
            "simulated, requests/s (95 % interval)": [with_interval(row) for _, row in measured.iterrows()],
            "exact": measured["theory_rps"].map("{:.3f}".format),
            "oracle": measured["oracle_rps"].map("{:.3f}".format),
            "of the gain is left": [kept(row) for row in measured.itertuples()],
        }
    )
    return shown.sort_values(["batch", "bins k"]).style.hide(axis="index")


def show_exponential(table: pd.DataFrame) -> Styler:
    """Throughput by number of bins and rule, requests per second: simulated with interval, and the exact integral."""
    said = table.assign(text=[f"{with_interval(row)}; {row['theory_rps']:.3f}" for _, row in table.iterrows()])
    wide = said.pivot_table("text", "k", "rule", aggfunc="first", sort=False).reset_index()
    names = {"k": "bins k", "equal_mass": "equal mass", "lemma_a1": "Lemma A.1"}
    return wide.rename(columns=names).rename_axis(columns=None).style.hide(axis="index")


def show_llm_like(ratios: pd.DataFrame, service: pd.DataFrame) -> Styler:
    """Throughput and its ratio to one bin's, beside the paper's."""
    alone, off = service[service["k"] == 1].iloc[0], ratio_errors(ratios, service)
    shown = pd.DataFrame(
        {
            "bins k": service["k"],
            "simulated, requests/s (95 % interval)": [with_interval(row) for _, row in service.iterrows()],
            "exact": service["theory_rps"].map("{:.3f}".format),
            "ratio (95 % interval)": [with_interval(row, "ratio") for _, row in ratios.iterrows()],
            "paper's threshold": service["paper_rps"].map("{:.2f}".format),
            "paper's ratio": (service["paper_rps"] / alone["paper_rps"]).map("{:.3f}".format),
            "difference": [points_of(value) for value in off],
            "implied ms/token": (1000 * service["implied_s_per_token"]).map("{:.2f}".format),
        }
    )
    return shown.style.hide(axis="index")


def ratio_errors(ratios: pd.DataFrame, service: pd.DataFrame) -> pd.Series:
    """Our ratio over the paper's, less one, by number of bins."""
    paper_rps = service.set_index("k")["paper_rps"]
    return ratios.set_index("k")["ratio"] / (paper_rps / paper_rps[1]) - 1


def kept(row: object) -> str:
    return f"{percent(row.kept_share)} ({interval(row.kept_ci_low, row.kept_ci_high)})"


def with_interval(row: pd.Series, quantity: str = "throughput_rps", digits: int = 3) -> str:
    return f"{row[quantity]:.{digits}f} ({row['ci_low']:.{digits}f} to {row['ci_high']:.{digits}f})"


def points_of(share: float) -> str:
    return f"{signed(100 * share)} %"
