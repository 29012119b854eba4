"""The chapter's live figure: who pays for an order. What its page is given to simulate: sizes, scales, controls."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from book.chapters.continuous.executions import PRESET
from book.chapters.policies.study import BATCHES, STEPS
from book.kit import arms
from book.live.moving import figure
from simlib.continuous.settings import Continuous
from simlib.policies.batch_size import Rules
from simlib.requests import workload

if TYPE_CHECKING:
    import pandas as pd

CAPS, LINES = (12, 16, 24, 32, 64), (2, 4)  # requests of a batch, at most; bins, or lines of like predictions
MOST = 64  # places in an engine
LOADS = (0.5, 1.3)
REQUESTS, DRAWS = 1000, 20  # the page's own intervals are of 20
PICKED_BY = (60, 61, 62, 63)  # seeds that are not shown
PREDICTOR = "noise_0.5"
ORDERS = {"shortest": "shortest predicted first", "bins": "bins in turn", "first": "first come, first served"}
STILL = "The table below has the numbers of all traffic; here they would move under your hand."
SHORT = {"shortest": "shortest first", "bins": "bins", "first": "first come"}
QUESTION = "Whose wait does an order shorten, and who pays?"
ANSWER = (
    "Sorted batches are shorter, so that near capacity the short third gains most under either order; but shortest "
    "predicted first lets the long third wait longest, and bins in turn let all thirds wait alike. "
    "In an engine nobody waits for a batch: below capacity the order changes next to nothing, and above it shortest "
    "predicted first takes waiting from the short third and gives it to the long."
)


def thirds(places: pd.DataFrame, gpus: int = 2) -> str:
    """The figure as HTML; what it is given is that of `about`."""
    return figure("thirds", QUESTION, ANSWER, STILL, about(places, gpus))


def about(places: pd.DataFrame, gpus: int = 2) -> dict[str, Any]:
    """All that the figure's script is given, as one document of JSON.

    Parameters
    ----------
    places : pandas.DataFrame
        From `study.scales`: what load 1 is, and the deadline, of Poisson traffic in each execution.
    gpus : int
        On which that was found.
    """
    scales = places[places["traffic"] == "poisson"].set_index("execution")
    length = workload.original(REQUESTS * len(PICKED_BY), PICKED_BY[0]).output_tokens
    engine = Continuous(max_seqs=MOST, kv_tokens=int(Rules().memory.capacity_tokens))
    executions = {}
    for execution, sizes in ((BATCHES, _of_batches), (STEPS, _of_steps)):
        deadline_s = float(scales.loc[execution, "d_sla"])
        executions[execution] = {
            "capacity_rps": float(scales.loc[execution, "capacity_rps"]),
            "deadline_s": deadline_s,
            "sizes": sizes(deadline_s, arms.ageing_s(length, deadline_s)),
        }
    return {
        "latency": PRESET,
        "predictor": PREDICTOR,
        "gpus": gpus,
        "requests": REQUESTS,
        "draws": DRAWS,
        "seed": 0,
        "picked_by": list(PICKED_BY),
        "places": {"max_seqs": engine.max_seqs, "token_budget": engine.token_budget},
        "engine": [engine.blocks, engine.bits],
        "executions": executions,
        "orders": ORDERS,
        "controls": controls(),
        "start": {"load": 0.95, "execution": BATCHES, "order": "shortest", "measure": "total"},
    }


def _sizes(deadline_s: float, caps: Iterable[int], lines: Iterable[int], called: str) -> list[dict[str, Any]]:
    """Dynamic batching with so many bins, of at most so many requests."""
    found = []
    for cap in caps:
        rules = Rules(b_max=cap)
        numbers = [*rules.params(deadline_s).tolist(), rules.candidates]
        given = {"numbers": numbers, "controller": rules.controller().tolist()}
        found += [given | {"lines": count, "called": called.format(count, cap)} for count in lines]
    return found


def _of_batches(deadline_s: float, ageing_s: float) -> dict[str, list[dict[str, Any]]]:
    """Each order's sizes, of which one is picked."""
    controller = Rules().controller().tolist()
    return {
        "first": _sizes(deadline_s, CAPS, (1,), "batches of at most {1}"),
        "bins": _sizes(deadline_s, CAPS, LINES, "{0} of them, batches of at most {1}"),
        "shortest": [
            {
                "numbers": [cap, ageing_s],
                "controller": controller,
                "lines": lines,
                "called": f"{lines} lines, at most {cap}",
            }
            for cap in CAPS
            for lines in LINES
        ],
    }


def _of_steps(deadline_s: float, ageing_s: float) -> dict[str, list[dict[str, Any]]]:
    """An engine has places of its own: nothing is picked."""
    whole = _sizes(deadline_s, (MOST,), (1,), "")
    bins = _sizes(deadline_s, (MOST,), (max(LINES),), "{0} of them")
    shortest = {"numbers": [1, ageing_s], "controller": Rules().controller().tolist(), "lines": 64, "called": ""}
    return {"first": whole, "bins": bins, "shortest": [shortest]}


def controls() -> list[dict[str, Any]]:
    """What a reader moves: a slider with its limits, and choices by what they are called."""
    return [
        {"name": "load", "label": "Load", "kind": "range", "low": LOADS[0], "high": LOADS[1], "step": 0.05, "unit": ""},
        {
            "name": "execution",
            "label": "Execution",
            "kind": "choice",
            "choices": {BATCHES: "batches", STEPS: "an engine"},
        },
        {"name": "order", "label": "Order", "kind": "choice", "choices": SHORT},
        {
            "name": "measure",
            "label": "Shown",
            "kind": "choice",
            "choices": {"total": "mean time", "tail": "95 % wait at most", "late": "late"},
        },
    ]
