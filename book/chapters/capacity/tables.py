"""Tables of capacities, by scheduler and by number of GPUs, and of the conditions that decide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.capacity.sensitivity import FACTORS, OUTCOMES
from book.chapters.capacity.sized import UNCAPPED
from book.kit.names import SCHEDULER_NAMES, system
from book.kit.tables import as_texts, with_limits
from simlib.text import interval, p_value, percent, signed

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


NAMES = SCHEDULER_NAMES | {UNCAPPED: "dynamic batching, no cap"}


def rate_of(row: Any) -> str:
    """A capacity with its interval."""
    return with_limits(row.capacity_rps, row.ci_low, row.ci_high, ".1f")


def show_capacities(table: pd.DataFrame) -> Styler:
    """Capacities with intervals, and what becomes of them in runs twice as long."""
    shown = pd.DataFrame(
        {
            "level": table["level"],
            "scheduler": table["policy"].map(NAMES),
            "at most": table["at_most"],
            "capacity, requests/s (95 % interval)": [rate_of(row) for row in table.itertuples()],
            "runs twice as long: times": [
                with_limits(row.doubled_ratio, row.doubled_ci_low, row.doubled_ci_high) for row in table.itertuples()
            ],
            "verdict": table["verdict"],
        }
    )
    return shown.style.hide(axis="index")


def show_ratios(ratios: pd.DataFrame) -> Styler:
    """How many times the load of another scheduler each carries."""
    shown = pd.DataFrame(
        {
            "level": ratios["level"],
            "scheduler": ratios["policy"].map(NAMES),
            "over": ratios["over"].map(NAMES),
            "capacity, times (95 % interval)": [
                with_limits(row.ratio, row.ci_low, row.ci_high) for row in ratios.itertuples()
            ],
            "correlation": as_texts(ratios["correlation"], signed),
            "samples": ratios["method"],
            "p (Holm)": [p_value(p) for p in ratios["p_holm"]],
        }
    )
    return shown.style.hide(axis="index")


def show_choice(ratios: pd.DataFrame) -> Styler:
    """The best with bins over the best without, by number of GPUs, and what the papers' comparison gives for four."""
    of_bins = ratios[(ratios["over"] == "best") & (ratios["k_bins"] > 1)]
    equal = (ratios["scheduler"] == "multi_bin_dynamic") & (ratios["k_bins"] == 4)
    four = {over: _by_place(ratios[equal & (ratios["over"] == over)]) for over in ("best", "dynamic")}
    rows = [
        {
            "late": f"{100 * row.late_share:g} %",
            "GPUs": row.gpus,
            "best without bins": f"{SCHEDULER_NAMES[row.over_scheduler]}, {row.over_at_most}",
            "best with bins": f"{_system(row)}: {row.at_most}",
            "capacity, times": times(row),
            "four of equal mass": times(four["best"][row.gpus, row.late_share]),
            "as the papers compare": times(four["dynamic"][row.gpus, row.late_share]),
        }
        for row in of_bins[of_bins["best"]].itertuples()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def _by_place(ratios: pd.DataFrame) -> dict[tuple[int, float], Any]:
    return {(row.gpus, row.late_share): row for row in ratios.itertuples()}


def show_by_gpus(table: pd.DataFrame) -> Styler:
    """Capacities with intervals and the sizes they were given, a row an arm, a column a number of GPUs."""
    shown = pd.DataFrame(
        {
            "late": [f"{100 * share:g} %" for share in table["late_share"]],
            "system": [
                _system(row) + (", no cap" if (row.execution, row.sizes) == ("run_to_completion", "open") else "")
                for row in table.itertuples()
            ],
            "GPUs": table["gpus"],
            "rate": [
                with_limits(row.capacity_rps, row.ci_low, row.ci_high, ".3g")
                + ("†" if row.beyond else "")
                + (f"; {row.at_most}" if row.sizes == "chosen" else "")
                for row in table.itertuples()
            ],
        }
    )
    return _wide(shown, ["late", "system"], "GPUs", "rate")


def show_paired_ratios(ratios: pd.DataFrame) -> Styler:
    """Paired ratios of capacities, a row a comparison, a column a number of GPUs."""
    overs = {
        "best": "the best without bins",
        "dynamic": "dynamic batching, no cap",
        "fcfs": system("continuous", "fcfs"),
    }
    best = (ratios["k_bins"] == 1) & (ratios["over"] == "dynamic")
    shown = pd.DataFrame(
        {
            "late": [f"{100 * share:g} %" for share in ratios["late_share"]],
            "over": ratios["over"].map(overs),
            "system": ["the best without bins" if own else _system(row)
                       for own, row in zip(best, ratios.itertuples(), strict=True)],
            "GPUs": ratios["gpus"],
            "ratio": [times(row) for row in ratios.itertuples()],
        }
    )  # fmt: skip
    return _wide(shown, ["late", "over", "system"], "GPUs", "ratio")


def show_conditions(ratios: pd.DataFrame) -> Styler:
    """By deadline and predictor: four bins of equal mass, and the best bins, over the best without."""
    equal = (ratios["scheduler"] == "multi_bin_dynamic") & (ratios["k_bins"] == 4)
    over_best, with_bins = ratios["over"] == "best", ratios["k_bins"] > 1
    asked = {
        "best bins, over the best without": over_best & with_bins & ratios["best"],
        "four of equal mass, over the best without": over_best & equal,
        "four of equal mass, as the papers compare": (ratios["over"] == "dynamic") & equal,
    }
    shown = pd.concat(
        pd.DataFrame(
            {
                "GPUs": rows["gpus"],
                "deadline": [f"{seconds:.1f} s" for seconds in rows["deadline_s"]],
                "predictions": rows["predictor"],
                "compared": title,
                "ratio": [times(row) for row in rows.itertuples()],
            }
        )
        for title, rows in ((title, ratios[mask]) for title, mask in asked.items())
    )
    return _wide(shown, ["GPUs", "deadline", "predictions"], "compared", "ratio")


def _wide(shown: pd.DataFrame, rows: list[str], columns: str, values: str) -> Styler:
    wide = shown.pivot_table(index=rows, columns=columns, values=values, aggfunc="first", sort=False)
    return wide.rename_axis(columns=None).reset_index().fillna("–").style.hide(axis="index")


def _system(row: Any) -> str:
    """An arm, by its scheduler and number of bins."""
    if row.execution == "run_to_completion" and row.k_bins > 1:
        kind = "batch sizes of their own" if row.scheduler == "joint_optimum" else "equal mass"
        return f"{row.k_bins} bins, {kind}"
    return system(row.execution, row.scheduler) + (f", {row.k_bins} bins" if row.k_bins > 1 else "")


def times(row: Any) -> str:
    """A ratio of capacities with its interval."""
    return with_limits(row.ratio, row.ci_low, row.ci_high, ".2f")


def show_factors() -> Styler:
    """The box: each factor with its range."""
    rows = [
        {"factor": factor.label, "from": f"{factor.low:g}", "to": f"{factor.high:g}"}
        | {"uniform in": "its logarithm" if factor.log else "itself"}
        for factor in FACTORS.values()
    ]
    return pd.DataFrame(rows).style.hide(axis="index")


def show_indices(indices: pd.DataFrame) -> Styler:
    """Total indices with their intervals, one row a factor, one column an outcome."""
    totals = indices[indices["index"] == "total"].sort_values("value", ascending=False)
    order = list(totals.loc[totals["outcome"] == next(iter(OUTCOMES)), "factor"])
    texts = {(row.factor, row.outcome): _range(row) for row in totals.itertuples()}
    shown = [
        {"factor": FACTORS[name].label} | {title: texts[name, key] for key, title in OUTCOMES.items()} for name in order
    ]
    return pd.DataFrame(shown).style.hide(axis="index")


def _range(row: Any) -> str:
    return f"{percent(row.value, 0)} ({interval(row.ci_low, row.ci_high, 0)})"
