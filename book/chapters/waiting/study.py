"""A few requests in static batches, in two bins and on an engine, under a law that is worked in one's head.

A step takes `STEP_S`, whoever is in it, and makes one token for each. Reads nothing; what a GPU's places were doing is
told request by request, for the figure and for the sums of the text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from simlib.checks import check_each, check_integer, check_number
from simlib.continuous.settings import Continuous
from simlib.latency.phases import Phases
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.static import StaticFIFO
from simlib.requests.table import RequestTable
from simlib.simulation import simulate

if TYPE_CHECKING:
    import pandas as pd


STEP_S = 0.01
EDGE_TOKENS = 100  # where the short bin ends
STATIC, BINS, ENGINE = "static batches", "bins", "engine"
WAITING, LATER, TWO_GPUS = "all wait", "half come later", "two GPUs"
LATER_S = 1.0


def eight(output_tokens: Iterable[int], places: int = 4, deadline_s: float = 2.2) -> pd.DataFrame:
    """Serve the same requests three ways in three cases: on one GPU, with half of them later, and on two GPUs.

    Parameters
    ----------
    output_tokens : iterable of int
        The lengths of the answers, in order of arrival, each >= 1; prompts cost nothing.
    places : int
        How many requests a GPU holds at once, >= 1.
    deadline_s : float
        From arrival to the last token, > 0.

    Returns
    -------
    pandas.DataFrame
        One row a case, system and request: ``case, system, request, output_tokens, arrival_s, gpu, place, start_s,
        worked_until_s, completion_s, late``. Until `worked_until_s` its tokens are made, until `completion_s` its place
        is kept; numbers of requests and places begin at 1.

    Examples
    --------
    >>> served = eight([1, 5, 1, 5], places=2)
    >>> served.query("case == 'all wait' and system == 'static batches'")["completion_s"].tolist()
    [0.05, 0.05, 0.1, 0.1]
    """
    import pandas as pd

    lengths = np.array(check_each("output_tokens", output_tokens, lambda n: check_integer("output_tokens", n, 1)))
    check_integer("places", places, 1)
    check_number("deadline_s", deadline_s, 0.0, open_low=True)
    at_once = np.zeros(len(lengths))
    later = np.where(np.arange(len(lengths)) < len(lengths) // 2, 0.0, LATER_S)
    cases = {WAITING: (at_once, 1), LATER: (later, 1), TWO_GPUS: (at_once, 2)}
    rows = []
    for case, (arrival_s, gpus) in cases.items():
        table = RequestTable(arrival_s, np.ones_like(lengths), lengths, lengths)
        for system, (policy, execution) in systems(places).items():
            run = simulate(table, policy, Phases(STEP_S, 0.0, STEP_S, 0.0), gpus, execution, deadline_s)
            start_s, completion_s = run.times.start_s.round(9), run.times.completion_s.round(9)
            served = pd.DataFrame(
                {"case": case, "system": system, "request": np.arange(1, len(lengths) + 1), "output_tokens": lengths}
                | {"arrival_s": arrival_s, "gpu": run.places["gpu"], "place": 0, "start_s": start_s}
                | {"worked_until_s": (start_s + STEP_S * lengths).round(9), "completion_s": completion_s}
            )
            rows.append(_placed(served).assign(late=served["completion_s"] > served["arrival_s"] + deadline_s))
    return pd.concat(rows, ignore_index=True)


def systems(places: int) -> dict[str, tuple[Any, Any]]:
    """Who forms batches how; the bins' batches are of up to `places`, too, with no controller to make them smaller.

    Parameters
    ----------
    places : int
        How many requests a GPU holds at once, >= 1.

    Returns
    -------
    dict
        Policy and execution by system, as `simlib.simulate` takes them.
    """
    bins = MultiBinDynamic(2, bounds=(EDGE_TOKENS,), variant=Rules(b_min=places, b_max=places))
    return {
        STATIC: (StaticFIFO(places), "run_to_completion"),
        BINS: (bins, "run_to_completion"),
        ENGINE: ("fcfs", Continuous(max_seqs=places)),
    }


def _placed(served: pd.DataFrame) -> pd.DataFrame:
    """Give each request the lowest place of its GPU that is free when it starts."""
    free_s: dict[tuple[int, int], float] = {}
    places = {}
    for row in served.sort_values(["start_s", "request"]).itertuples():
        place = next(p for p in range(1, len(served) + 1) if free_s.get((row.gpu, p), 0.0) <= row.start_s + 1e-9)
        free_s[row.gpu, place] = row.completion_s
        places[row.Index] = place
    return served.assign(place=served.index.map(places))


def totals(served: pd.DataFrame) -> pd.DataFrame:
    """What each system comes to in each case.

    Parameters
    ----------
    served : pandas.DataFrame
        As `eight` gives it.

    Returns
    -------
    pandas.DataFrame
        ``case, system, last_s, latency_mean_s, late, kept_place_s, work_place_s, kept_share``: when the last token is
        there, and of the time that places were taken, that of requests which are done.
    """
    import pandas as pd

    rows = []
    for (case, system), own in served.groupby(["case", "system"], sort=False):
        kept_s = float((own["completion_s"] - own["worked_until_s"]).sum())
        work_s = float((own["worked_until_s"] - own["start_s"]).sum())
        rows.append(
            {"case": case, "system": system, "last_s": own["completion_s"].max()}
            | {"latency_mean_s": (own["completion_s"] - own["arrival_s"]).mean(), "late": int(own["late"].sum())}
            | {"kept_place_s": kept_s, "work_place_s": work_s, "kept_share": kept_s / (kept_s + work_s)}
        )
    return pd.DataFrame(rows).round(9)
