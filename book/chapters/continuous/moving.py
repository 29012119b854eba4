"""The chapter's live figure: clients who wait for their answers against open arrivals at the rate that they reach."""

from __future__ import annotations

from typing import Any

from book.chapters.continuous.executions import PRESET
from book.chapters.continuous.loops import DEADLINE_S, PLACES, SCORED
from book.live.moving import figure
from simlib.continuous.serve import SAMPLES
from simlib.continuous.settings import Continuous
from simlib.latency import presets

REQUESTS, DRAWS = 2000, 5
CLIENTS, THINKS_S = (8, 128, 8), (0, 10, 1)  # least, most, step
START = {"clients": 56, "think": 0, "measure": "tail"}
MEASURES = {"tail": "99 % of first tokens within", "mean": "mean time to first token"}
QUESTION = "What does a benchmark hide whose clients wait for their answers?"
STILL = "The figure above shows it without thinking; here you would move the clients and how long they think."
ANSWER = (
    "A client who waits for an answer sends nothing meanwhile, so that clients fall silent together while the engine "
    "is slow, and up to one client a place hardly a first token is late. Open arrivals do not fall silent: at the same "
    "rate they queue where chance bunches them, the longer the nearer that rate is to the most that the engine serves, "
    "and there the longer it lasts."
)


def closed() -> str:
    """The figure as HTML; what it is given is that of `about`."""
    return figure("closed", QUESTION, ANSWER, STILL, about())


def about() -> dict[str, Any]:
    """All that the figure's script is given, as one document of JSON."""
    engine = Continuous(max_seqs=PLACES)
    clients, thinks_s = (dict(zip(("low", "high", "step"), limits, strict=True)) for limits in (CLIENTS, THINKS_S))
    return {
        "numbers": [engine.max_seqs, engine.token_budget, engine.blocks, engine.bits],
        "law": presets.load(PRESET).step_law().params.tolist(),
        "requests": REQUESTS,
        "draws": DRAWS,
        "seed": 0,
        "scored": list(SCORED),
        "samples": SAMPLES,
        "places": PLACES,
        "deadline_s": DEADLINE_S,
        "controls": [
            {"name": "clients", "label": "Clients", "kind": "range", **clients},
            {"name": "think", "label": "Each thinks", "kind": "range", **thinks_s},
            {"name": "measure", "label": "Shown", "kind": "choice", "choices": MEASURES},
        ],
        "start": START,
    }
