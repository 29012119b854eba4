"""The eight requests under the reader's hand: what the page needs to serve them as `study` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from book.chapters.waiting.study import BINS, EDGE_TOKENS, ENGINE, LATER_S, STATIC, STEP_S, systems
from book.live import batches
from book.live import moving as live
from simlib.latency.phases import Phases

MOST_PLACES = 8


def eight(output_tokens: Sequence[int], places: int, deadline_s: float) -> str:
    """The live figure, as it stands at first; its script is ``book/_static/moving/eight.js``.

    Parameters
    ----------
    output_tokens : sequence of int
        The lengths of the answers, in order of arrival, each >= 1.
    places : int
        How many requests a GPU holds at once, >= 1.
    deadline_s : float
        From arrival to the last token, seconds, > 0.

    Returns
    -------
    str
        HTML of a cell.
    """
    return live.figure(
        "eight",
        "Whose place is kept, and who waits?",
        "A batch lasts as long as its longest answer, so that short ones keep places which others wait for; bins put "
        "like to like, and who misses the batch of its bin waits for another bin's. An engine gives a place away as "
        "soon as its answer is complete: nothing is kept, and nothing is left that sorting could save.",
        "The figure above shows it at rest; a browser that runs scripts and WebAssembly lets you drag it here.",
        about(output_tokens, places, deadline_s),
    )


def about(output_tokens: Sequence[int], places: int, deadline_s: float) -> dict[str, Any]:
    """What the script is given: the law, and the numbers of each system's policy by places."""
    law = Phases(STEP_S, 0.0, STEP_S, 0.0)
    return {
        "tokens": list(output_tokens),
        "places": places,
        "deadline_s": deadline_s,
        "later_s": LATER_S,
        "step_s": STEP_S,
        "edge": EDGE_TOKENS,
        "law": {"batch": [*law.params.tolist(), batches.PHASES], "step": law.step_law().params.tolist()},
        "controllers": [_controller(count) for count in range(1, max(MOST_PLACES, places) + 1)],
        "systems": {"static": STATIC, "bins": BINS, "engine": ENGINE},
        "budget": systems(places)[ENGINE][1].token_budget,
    }


def _controller(places: int) -> dict[str, list[float]]:
    """The numbers of the bins' policy, and its memory before the first batch."""
    policy, _ = systems(places)[BINS]
    rules = policy.variant
    return {"numbers": [*rules.params(policy.d_sla).tolist(), rules.candidates], "memory": rules.controller().tolist()}
