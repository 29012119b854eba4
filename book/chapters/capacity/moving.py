"""The chapter's live figure: bins on GPUs. What its page is given to simulate: sizes of batches, draws, controls."""

from __future__ import annotations

from typing import Any

from book.chapters.continuous.executions import PRESET
from book.live.moving import figure
from simlib.policies.batch_size import Rules
from simlib.requests import workload

CAPS = (16, 64)  # requests of a batch, at most: what suits batches without bins, and the largest that was measured
GPUS, BINS, RATES = range(1, 9), (2, 8), (0.3, 0.8)
REQUESTS, DRAWS = 1000, 20  # the page's own intervals are of 20
PREDICTORS = {"original": "the original's", "oracle": "perfect"}
STILL = "The figure above has the chapter's numbers; here they would move under your hand."
QUESTION = "How many GPUs do bins need?"
ANSWER = (
    "With half as many GPUs as bins most of a wait passes while every GPU serves other bins, with twice as many only "
    "a small part; what remains then is that sorted batches are shorter. "
    "Let a batch hold at most 16, and most of what bins gain on eight GPUs is gone: a queue with a well-chosen cap has "
    "it, too."
)


def bins(deadline_s: float) -> str:
    """The figure as HTML; the deadline as for `about`."""
    return figure("bins", QUESTION, ANSWER, STILL, about(deadline_s))


def about(deadline_s: float) -> dict[str, Any]:
    """All that the figure's script is given, as one document of JSON.

    Parameters
    ----------
    deadline_s : float
        What is scored, and what controllers aim at.

    Examples
    --------
    >>> sorted(about(22.4)["caps"])
    ['16', '64']
    """
    caps = {}
    for cap in CAPS:
        rules = Rules(b_max=cap)
        numbers = [*rules.params(deadline_s).tolist(), rules.candidates]
        caps[str(cap)] = {"numbers": numbers, "controller": rules.controller().tolist()}
    return {
        "latency": PRESET,
        "deadline_s": deadline_s,
        "requests": REQUESTS,
        "draws": DRAWS,
        "seed": 0,
        "rate_rps": workload.ORIGINAL_RATE_RPS,
        "gpus": list(GPUS),
        "caps": caps,
        "controls": controls(),
        "start": {"bins": 4, "gpus": 2, "rate": 0.7, "predictor": "original", "cap": "64"},
    }


def controls() -> list[dict[str, Any]]:
    """What a reader moves: sliders with their limits, and choices by what they are called."""
    return [
        {"name": "bins", "label": "Bins", "kind": "range", "low": BINS[0], "high": BINS[1], "step": 1, "unit": ""},
        {"name": "gpus", "label": "GPUs", "kind": "range", "low": GPUS[0], "high": GPUS[-1], "step": 1, "unit": ""},
        {
            "name": "rate",
            "label": "Requests/s a GPU",
            "kind": "range",
            "low": RATES[0],
            "high": RATES[1],
            "step": 0.05,
            "unit": "",
        },
        {"name": "predictor", "label": "Predictions", "kind": "choice", "choices": PREDICTORS},
        {
            "name": "cap",
            "label": "A batch holds at most",
            "kind": "choice",
            "choices": {str(cap): str(cap) for cap in CAPS},
        },
    ]
