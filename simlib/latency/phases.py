"""Service times from what a batch does: prefill, which grows with batch × prompt, and decode, which grows with output.

Laws of the forms that `forms` names, as kernels like those of `models`; `measured` says where a fitted one holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.checks import check_choice, check_number
from simlib.engine.batches import MAX_OUTPUT, MAX_PROMPT, MAX_TOTAL, SIZE, SUM_OUTPUT, SUM_PROMPT
from simlib.latency.models import LatencyModel, OfLongestTotal
from simlib.latency.steps import StepLaw


def padded_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of padded `Phases`; `params` is (a, c1, d0, d1, d2)."""
    size, prompt, output = batch[SIZE], batch[MAX_PROMPT], batch[MAX_OUTPUT]
    step_s = params[2] + size * (params[3] + params[4] * (prompt + 0.5 * output))
    return params[0] + params[1] * size * prompt + max(output - 1.0, 0.0) * step_s


def packed_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of packed `Phases`; `params` is (a, c1, d0, d1, d2)."""
    prompts, outputs = batch[SUM_PROMPT], batch[SUM_OUTPUT]
    context = (prompts + 0.5 * outputs) / batch[SIZE]
    decoded = max(outputs - batch[SIZE], 0.0)
    steps_s = max(batch[MAX_OUTPUT] - 1.0, 0.0) * params[2] + decoded * (params[3] + params[4] * context)
    return params[0] + params[1] * prompts + steps_s


def power_law(batch: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `Power`; `params` is (alpha, beta, exponent)."""
    return params[0] + params[1] * batch[MAX_TOTAL] * math.pow(batch[SIZE], params[2])


@dataclass(frozen=True, slots=True)
class Phases(LatencyModel):
    """T = a + c1 b P + (O - 1) (d0 + d1 b + d2 b (P + O/2)): prefill, decode, and the reading of a growing KV cache.

    Parameters
    ----------
    a_s : float
        Fixed time of a batch, seconds, >= 0.
    c1_s_per_token : float
        Prefill of one prompt token, seconds, >= 0.
    d0_s_per_token, d1_s_per_token : float
        A decode step: reading the weights, and what each member adds; seconds, >= 0.
    d2_s_per_token2 : float
        What each token in a member's cache adds to a decode step, seconds, >= 0; 0 is the form *phase4*.
    tokens : {"padded", "packed"}
        Padded: P and O are the batch's longest, and every member costs as much as they do, as in static batches.
        Packed: a prompt token costs prefill only where there is one, and a member's decode ends with its output; the
        cache's term then takes the mean member for all.

    Notes
    -----
    Prefill is compute-bound and takes all prompts of a batch at once; a decode step is memory-bound, so that its time
    grows with output and barely with b. Prefill ends with the first token, so that O tokens take O - 1 decode steps, in
    which a member's cache holds P + 1, ..., P + O - 1 tokens: (O - 1) (P + O/2) in all.

    Examples
    --------
    >>> model = Phases(0.01, 1e-4, 0.015, 1e-4, 1e-8)
    >>> round(float(model.batch_time_s(8, 500, 100)), 6)
    1.978556
    """

    a_s: float
    c1_s_per_token: float
    d0_s_per_token: float
    d1_s_per_token: float
    d2_s_per_token2: float = 0.0
    tokens: str = "padded"

    def __post_init__(self) -> None:
        for name in self.__slots__[:5]:
            check_number(f"latency {name}", getattr(self, name), 0.0)
        check_choice("latency tokens", self.tokens, ("padded", "packed"))

    @property
    def law(self) -> Any:
        return padded_law if self.tokens == "padded" else packed_law

    @property
    def params(self) -> np.ndarray:
        return np.array([getattr(self, name) for name in self.__slots__[:5]], dtype=np.float64)

    def batch_time_s(self, size: Any, prompt_tokens: Any, output_tokens: Any) -> Any:
        """T(b, P, O) in seconds, for numbers or arrays."""
        b, p, o = (np.asarray(value, float) for value in (size, prompt_tokens, output_tokens))
        a, c1, d0, d1, d2 = self.params
        return (a + c1 * b * p + np.maximum(o - 1.0, 0.0) * (d0 + b * (d1 + d2 * (p + 0.5 * o))))[()]

    def step_law(self) -> StepLaw:
        """The same coefficients as a law of steps: tau = d0 + d1 decodes + c1 prefill tokens + d2 context tokens.

        A request alone then takes as long step by step as in a batch of its own, but for a batch's fixed time, in
        whose place the step that prefills has that of a step, d0.
        """
        return StepLaw(self.d0_s_per_token, self.d1_s_per_token, self.c1_s_per_token, self.d2_s_per_token2)

    def first_token_s(self, shape: np.ndarray) -> np.ndarray:
        prompts = shape[:, SIZE] * shape[:, MAX_PROMPT] if self.tokens == "padded" else shape[:, SUM_PROMPT]
        return self.a_s + self.c1_s_per_token * prompts


@dataclass(frozen=True, slots=True)
class Power(OfLongestTotal):
    """T(b, L) = alpha + beta L b^exponent, L the batch's largest prompt + output.

    Parameters
    ----------
    alpha_s, beta_s_per_token : float
        Fixed time of a batch, and of a token of its longest member; seconds, >= 0.
    exponent : float
        How the time of a token grows with the batch, >= 0.

    Examples
    --------
    >>> float(Power(0.01, 2e-4, 0.5).batch_time_s(16, 500))
    0.41000000000000003
    """

    alpha_s: float
    beta_s_per_token: float
    exponent: float
    law = staticmethod(power_law)

    def __post_init__(self) -> None:
        for name in self.__slots__:
            check_number(f"latency {name}", getattr(self, name), 0.0)

    @property
    def params(self) -> np.ndarray:
        return np.array([self.alpha_s, self.beta_s_per_token, self.exponent], dtype=np.float64)

    def _time_s(self, size: np.ndarray, max_total_tokens: np.ndarray) -> np.ndarray:
        return self.alpha_s + self.beta_s_per_token * max_total_tokens * np.power(size, self.exponent)
