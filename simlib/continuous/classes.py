"""Classes of predicted output length that share a cluster's GPUs: where they are cut.

A router of `continuous` (``routing="by_class"``) reads them. A class that has a share of the GPUs is given that share
of the work; work is the time of a GPU that a request takes if steps are as full as they can be.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from simlib.checks import InputError
from simlib.continuous.state import StepRules
from simlib.latency.steps import StepLaw
from simlib.policies import bins
from simlib.requests.table import RequestTable
from simlib.theory import steps


def gpu_s(table: RequestTable, law: Any, rules: StepRules) -> np.ndarray:
    """Time of a GPU that each request takes where no step has room for more; seconds.

    Its share of the steps (the larger one of those of places and memory, `theory.steps.floors`) times their fixed
    part, and the law's part for its own tokens. Of a law that is not linear in totals, steps alone.
    """
    prompt, output = table.prompt_tokens.astype(float), table.output_tokens.astype(float)
    shares = steps.floors(prompt, output, rules.seats, rules.blocks, 1 << rules.bits, reserve=bool(rules.reserve))
    share = np.maximum(shares["places"], shares["memory"])
    if not isinstance(law, StepLaw):
        return share
    decodes = np.maximum(output - 1.0, 0.0)
    context = decodes * prompt + decodes * (decodes + 1.0) / 2.0
    return law.a_s * share + law.b_s * decodes + law.c_s * prompt + law.d_s * context


def edges(table: RequestTable, law: Any, rules: StepRules, gpus: int) -> np.ndarray:
    """Inner edges of the classes, in predicted tokens: below each one lies the work of the GPUs of the classes below.

    Of `StepRules.classes` classes class c has the GPUs from ``c * gpus // classes`` to before the next class's first.
    Requests of one predicted length are not divided: an edge lies where the work below it is nearest to its share.
    Work is that of the true lengths, in hindsight: whoever runs such a router has seen what each class takes, so poor
    predictions send requests to the wrong class, but do not leave a class with too few GPUs.

    Raises
    ------
    InputError
        If there are no predictions.
    """
    predicted = table.predicted_output_tokens
    if predicted is None:
        raise InputError("predicted_output_tokens: missing (expected a prediction a request, to route by its class)")
    lengths, which = np.unique(predicted, return_inverse=True)
    below = np.concatenate([[0.0], np.cumsum(np.bincount(which, gpu_s(table, law, rules)))])
    shares = np.arange(1, rules.classes) * gpus // rules.classes / gpus
    nearest = np.abs(below - shares[:, None] * below[-1]).argmin(axis=1)
    return np.append(lengths, lengths[-1] + 1)[nearest].astype(np.float64)


def assign(table: RequestTable, law: Any, rules: StepRules, gpus: int) -> np.ndarray:
    """The class of each request, from 0: shape (n_requests,). Errors as in `edges`."""
    cut = edges(table, law, rules, gpus)
    return bins.assign(table.predicted_output_tokens, cut)
