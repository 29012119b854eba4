"""Tables of how good a predictor must be: where bins begin to pay, what was picked, what a scale tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from book.chapters.predictor.figures import OTHERS, gpus_of
from book.kit.names import SCHEDULER_NAMES
from book.kit.tables import established, with_limits
from simlib.text import percent

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def show_break_even(crossings: pd.DataFrame) -> Styler:
    """From which quality on bins carry more, on both scales, one row a deadline, number of GPUs and K."""
    shown = pd.DataFrame(
        {
            "deadline": crossings["deadline_s"].map("{:g} s".format),
            "GPUs": crossings["gpus"],
            "bins": crossings["k_bins"],
            "rank correlation (95 % interval)": [_crossing(row, "rank", ".2f") for _, row in crossings.iterrows()],
            "of the longest tenth found": [_crossing(row, "found", ".0%") for _, row in crossings.iterrows()],
        }
    )
    return shown.sort_values(["deadline", "GPUs", "bins"]).style.hide(axis="index")


def _crossing(row: Any, scale: str, form: str) -> str:
    if pd.isna(row[scale]):
        return "at none"
    high = "more than known lengths" if pd.isna(row[f"{scale}_high"]) else format(row[f"{scale}_high"], form)
    text = f"{row[scale]:{form}} ({row[f'{scale}_low']:{form}} to {high})"
    return text.replace("%", " %")


def show_ratios(ratios: pd.DataFrame) -> Styler:
    """What bins carry over the best without, and what both were picked to be; what is not established, in brackets."""
    shown = pd.DataFrame(
        {
            "deadline": ratios["deadline_s"].map("{:g} s".format),
            "GPUs": ratios["gpus"].map(gpus_of),
            "predictor": [OTHERS.get(name, name.replace("rank ", "score, rank ")) for name in ratios["predictor"]],
            "longest tenth found": [percent(share, 0) for share in ratios["found"]],
            "bins": [f"K = {row.k_bins}, {row.policy}" for row in ratios.itertuples()],
            "best without": [
                f"{SCHEDULER_NAMES['shortest_predicted_first']}, {row.over_policy}"
                if row.over in SCHEDULER_NAMES
                else row.over_policy
                for row in ratios.itertuples()
            ],
            "requests/s": [f"{row.capacity_rps:.2f}, {row.over_rps:.2f}" for row in ratios.itertuples()],
            "ratio (95 % interval)": [_ratio(row) for row in ratios.itertuples()],
        }
    )
    return shown.style.hide(axis="index")


def _ratio(row: Any) -> str:
    text = with_limits(row.ratio, row.ci_low, row.ci_high, ".2f")
    return text if established(row) else f"[{text}]"


def show_carried_over(table: pd.DataFrame, k_bins: int = 2) -> Styler:
    """What other predictors are worth, beside scores of the same rank correlation and scores that find as many."""
    rows = table[table["k_bins"] == k_bins]
    shown = pd.DataFrame(
        {
            "predictor": rows["predictor"].map(OTHERS),
            "rank correlation": rows["rank"].map("{:.2f}".format),
            "longest tenth found": [percent(share, 0) for share in rows["found"]],
            "deadline": rows["deadline_s"].map("{:g} s".format),
            "GPUs": rows["gpus"],
            "ratio": rows["ratio"].map("{:.2f}".format),
            "by its rank correlation": rows["by_rank"].map("{:.2f}".format),
            "by the longest found": rows["by_found"].map("{:.2f}".format),
        }
    )
    return shown.sort_values(["predictor", "deadline", "GPUs"]).style.hide(axis="index")
