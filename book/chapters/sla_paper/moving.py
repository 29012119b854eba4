"""The controller that starves, under the reader's hand: what the page's engine is given to run as `stability` does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from book.chapters.sla_paper.control import capacity_rps, sla_batch
from book.chapters.sla_paper.rules import A_S, BETA_S, D_SLA, LAW, OPEN
from book.live.moving import figure
from simlib.continuous.control import DECIDED, DECISIONS, StepControl
from simlib.continuous.serve import FIRST_COME, SAMPLES, rules_of
from simlib.continuous.settings import Continuous

RULES, FEEDBACK = ("paper", "printed", "original", "aimd"), ("step", "service", "latency")
REQUESTS, BACKLOG, GAP_UNIT, SEED = 4000, 300, 1e-3, 1
QUESTION = "Can the controller starve itself, and which clock does it?"
WHY = (
    "A queue makes end-to-end times long whatever the batch size is, so a controller that is fed with them cuts the"
    " batch, which serves fewer requests and keeps the queue: with enough of a crowd it does not come back. The time of"
    " a step knows nothing of the queue, so a controller that is fed with it lets a crowd in, and the queue goes."
)
STILL = "On paper and without scripts, the chapter’s figure says from which load on each rule starves."


def starving(mean_output_tokens: float) -> str:
    """The figure as HTML.

    Parameters
    ----------
    mean_output_tokens : float
        Mean length of an answer; lengths are geometric, as in the chapter.

    Returns
    -------
    str
    """
    return figure("starving", QUESTION, WHY, STILL, given(mean_output_tokens))


def given(mean_output_tokens: float) -> dict[str, Any]:
    """What ``starving.js`` is given: the engine, each controller's numbers, and requests whose gaps a load scales."""
    gaps, outputs = drawn(mean_output_tokens)
    cap = sla_batch(A_S, BETA_S, D_SLA)
    return {
        "engine": numbers(OPEN),
        "law": LAW.params.tolist(),
        "most_rps": capacity_rps(A_S, BETA_S, mean_output_tokens, cap),
        "cap": int(cap),
        "gaps": gaps.tolist(),
        "gap_unit": GAP_UNIT,
        "outputs": outputs.tolist(),
        "backlog": BACKLOG,
        "controllers": {
            f"{rule} {feedback}": controller(controlled(rule, feedback, mean_output_tokens), len(gaps))
            for rule in RULES
            for feedback in FEEDBACK
        },
        "rows": {"decided": [DECISIONS, len(DECIDED)], "sampled": [SAMPLES, 4]},
    }


def drawn(mean_output_tokens: float) -> tuple[np.ndarray, np.ndarray]:
    """Gaps of a mean of one, in whole units, and the lengths of answers; of those last ones a backlog is taken."""
    rng = np.random.default_rng(SEED)
    gaps = np.rint(rng.exponential(1.0, REQUESTS) / GAP_UNIT).astype(int)
    return gaps, rng.geometric(1 / mean_output_tokens, REQUESTS + BACKLOG)


def controlled(rule: str, feedback: str, mean_output_tokens: float) -> Continuous:
    """The chapter's engine under a rule that is fed with these times."""
    target_s = D_SLA * (1.0 if feedback == "step" else mean_output_tokens)
    control = StepControl(target_s, rule, feedback=feedback, epsilon_s=target_s / 50, interval_steps=4)
    return replace(OPEN, control=control)


def numbers(settings: Continuous) -> list[float]:
    """An engine as `book.live.loops.engine` reads it."""
    return [float(n) for n in (settings.max_seqs, settings.token_budget, settings.blocks, settings.bits)]


def controller(settings: Continuous, requests: int) -> dict[str, list[float]]:
    """An engine's controller as it begins, and its rules, for so many requests; nothing without one."""
    if settings.control is None:
        return {"controller": [], "rules": []}
    rules = rules_of(settings, LAW, 1, FIRST_COME)
    rows, of, _ = settings.control.arrays(rules._replace(seats=min(rules.seats, requests)), 1)
    return {"controller": rows[0].tolist(), "rules": of.ravel().tolist()}
