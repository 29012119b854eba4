"""Tables of the eight requests: when each is complete, and what it comes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from book.chapters.waiting.study import BINS, ENGINE, LATER, STATIC, STEP_S, TWO_GPUS, WAITING

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler


def show_requests(served: pd.DataFrame) -> Styler:
    """Of one case of `study.eight`: a row a request, a column a system; *late* stands where it is."""
    first = served[served["system"] == served["system"].iloc[0]]
    shown = first[["request", "arrival_s", "output_tokens"]].reset_index(drop=True)
    shown.columns = ["request", "arrives (s)", "tokens"]
    for system, own in served.groupby("system", sort=False):
        texts = [f"{row.completion_s:.2f}{' late' if row.late else ''}" for row in own.itertuples()]
        shown[f"complete (s): {system}"] = texts
    return shown.style.format({"arrives (s)": "{:g}"}).hide()


def show_totals(totals: pd.DataFrame, case: str) -> Styler:
    """What each system comes to in one case."""
    own = totals[totals["case"] == case]
    shown = {
        "system": own["system"],
        "all complete (s)": own["last_s"].map("{:.2f}".format),
        "latency, mean (s)": own["latency_mean_s"].map("{:.2f}".format),
        "late": own["late"],
        "places kept by who is done": [f"{100 * share:.0f} %" for share in own["kept_share"]],
    }
    return pd.DataFrame(shown).style.hide()


# When the text says that a request is complete: by the name of the number.
QUOTED = {
    "first": (WAITING, STATIC, 1),
    "second": (WAITING, STATIC, 8),
    "short": (WAITING, BINS, 1),
    "long": (WAITING, BINS, 8),
    "seventh": (WAITING, BINS, 7),
    "fifth_engine": (WAITING, ENGINE, 5),
    "sixth_engine": (WAITING, ENGINE, 6),
    "seventh_engine": (WAITING, ENGINE, 7),
    "eighth_engine": (WAITING, ENGINE, 8),
    "later_fourth": (LATER, BINS, 4),
    "later_seventh": (LATER, BINS, 7),
    "two_first": (TWO_GPUS, STATIC, 1),
    "two_seventh": (TWO_GPUS, BINS, 7),
}


def quoted(served: pd.DataFrame, totals: pd.DataFrame) -> dict[str, str]:
    """The times that the text works out, in seconds; *none* where there is no such request."""
    by_request = served.set_index(["case", "system", "request"])
    complete, tokens = by_request["completion_s"], by_request["output_tokens"]
    texts = {name: f"{complete[key]:.2f}" if key in complete.index else "none" for name, key in QUOTED.items()}
    sums = totals.set_index(["case", "system"])
    still = sums.loc[WAITING, STATIC]
    texts |= {"work": f"{still['work_place_s']:.2f}", "kept": f"{still['kept_place_s']:.2f}"}
    texts["taken"] = f"{still['work_place_s'] + still['kept_place_s']:.2f}"
    texts["seventh_alone"] = f"{STEP_S * tokens.get((WAITING, BINS, 7), 0):.2f}"
    names = {"later_static": STATIC, "later_bins": BINS, "later_engine": ENGINE}
    return texts | {name: f"{sums.loc[(LATER, system), 'last_s']:.2f}" for name, system in names.items()}
