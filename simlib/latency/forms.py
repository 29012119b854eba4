"""Forms of a law of a batch's time: which terms it has, and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

EQUAL = "_equal_lengths"


@dataclass(frozen=True, slots=True)
class Form:
    """A latency model that is linear in its coefficients: their names, and the column that each one multiplies.

    The first `prefill` columns are of the prompt's phase, the others of the output's; 0: the form knows no phases.
    """

    name: str
    coefficients: tuple[str, ...]
    columns: Callable[..., list[np.ndarray]]
    prefill: int = 0


def _affine(b: np.ndarray, p: np.ndarray, o: np.ndarray) -> list[np.ndarray]:
    return [np.ones_like(b), p + o, (p + o) * (b - 1) / b]


def _power(b: np.ndarray, p: np.ndarray, o: np.ndarray, exponent: float) -> list[np.ndarray]:
    return [np.ones_like(b), (p + o) * b**exponent]


def _steps(o: np.ndarray) -> np.ndarray:
    return np.maximum(o - 1, 0.0)  # prefill ends with the first token


def _phase4(b: np.ndarray, p: np.ndarray, o: np.ndarray) -> list[np.ndarray]:
    return [np.ones_like(b), b * p, _steps(o), b * _steps(o)]


def _phase5(b: np.ndarray, p: np.ndarray, o: np.ndarray) -> list[np.ndarray]:
    return [*_phase4(b, p, o), b * _steps(o) * (p + o / 2)]


def _phase4_equal(b: np.ndarray, p: np.ndarray, o: np.ndarray) -> list[np.ndarray]:
    # Half-way between b P and b (O - 1): which of the two the sum of their coefficients goes with is what is not known.
    return [np.ones_like(b), b * (p + _steps(o)) / 2, _steps(o)]


def _phase5_equal(b: np.ndarray, p: np.ndarray, o: np.ndarray) -> list[np.ndarray]:
    return [*_phase4_equal(b, p, o), b * _steps(o) * (p + o / 2)]


A, C1, D0, D1, D2 = "a_s", "c1_s_per_token", "d0_s_per_token", "d1_s_per_token", "d2_s_per_token2"
S1 = "c1_plus_d1_s_per_token"
FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form("affine", ("alpha_s", "beta_s_per_token", "gamma"), _affine),
        Form("power", ("alpha_s", "beta_s_per_token", "exponent"), _power),
        Form("phase4", (A, C1, D0, D1), _phase4, prefill=2),
        Form("phase5", (A, C1, D0, D1, D2), _phase5, prefill=2),
        Form("phase4" + EQUAL, (A, S1, D0), _phase4_equal),
        Form("phase5" + EQUAL, (A, S1, D0, D2), _phase5_equal),
    )
}
NAMES = tuple(name for name in FORMS if not name.endswith(EQUAL))  # what a user asks for; the grid says which it is
