"""Where a measured latency model holds: the range of its measurements, and one warning when a run leaves it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from simlib.checks import check_number, check_type
from simlib.engine.batches import Batches
from simlib.latency.models import LatencyModel
from simlib.latency.steps import StepLaw
from simlib.latency.trust import Trust, say, was_said
from simlib.requests.table import RequestTable

PARTS = ("batch_size", "prompt_tokens", "output_tokens")
EQUAL_LENGTHS = "measured at equal lengths, so that prefill's share of the time is an assumption"
RATIO = 0.5, 2.0  # of prompt to output: beyond, times measured at equal lengths rest on an assumption


@dataclass(frozen=True, slots=True)
class Range:
    """Smallest and largest batch size, prompt and output that were measured; tokens.

    `equal_lengths`: every prompt was as long as its output, so that prefill and decode were not told apart.
    """

    batch_size: tuple[float, float]
    prompt_tokens: tuple[float, float]
    output_tokens: tuple[float, float]
    equal_lengths: bool = False

    def __str__(self) -> str:
        return ", ".join(f"{name} {getattr(self, name)[0]:g} to {getattr(self, name)[1]:g}" for name in PARTS)


@dataclass(frozen=True, slots=True)
class Measured(LatencyModel):
    """A latency model with a name and the range of the measurements that it was fitted to.

    Parameters
    ----------
    model : LatencyModel
        What is simulated.
    name : str
        For warnings.
    measured : Range
        Batches outside are simulated as the model says, with one warning for each name and process.
    mape, r2 : float
        Of batches that it was not fitted to; NaN where nobody knows.

    Examples
    --------
    >>> from simlib.latency.models import Affine
    >>> str(Measured(Affine(0.01, 2e-4, 0.3), "mine", Range((1, 64), (128, 2048), (128, 2048))).measured)
    'batch_size 1 to 64, prompt_tokens 128 to 2048, output_tokens 128 to 2048'
    """

    model: LatencyModel
    name: str
    measured: Range
    mape: float = field(default=math.nan, compare=False, repr=False)
    r2: float = field(default=math.nan, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_type("latency model", self.model, LatencyModel, "a latency model")
        for part in PARTS:
            low, high = getattr(self.measured, part)
            check_number(f"latency {self.name}, {part}", high, check_number(f"latency {self.name}, {part}", low, 0.0))

    @property
    def law(self) -> Callable[[np.ndarray, np.ndarray], float]:
        return self.model.law

    @property
    def params(self) -> np.ndarray:
        return self.model.params

    def batch_time_s(self, *shape: Any) -> Any:
        """The model's own, see there."""
        return self.model.batch_time_s(*shape)

    @property
    def trust(self) -> Trust:
        """The same for a law of steps, which carries it."""
        assumes = (EQUAL_LENGTHS,) if self.measured.equal_lengths else ()
        ranges = {part: getattr(self.measured, part) for part in PARTS}
        return Trust(self.name, ranges, self.mape, self.r2, assumes)

    def step_law(self) -> StepLaw:
        """The model's own, with its trust."""
        return replace(self.model.step_law(), trust=self.trust)

    def first_token_s(self, shape: np.ndarray) -> np.ndarray:
        return self.model.first_token_s(shape)

    def report(self, table: RequestTable, served: Batches) -> None:
        """Warn, once, if batches lie outside the measured range, or the assumption about equal lengths matters."""
        kinds = ["range", *(["ratio"] if self.measured.equal_lengths else [])]
        if not len(served.size) or was_said(self.name, *kinds):
            return
        output = np.zeros(len(served.size))
        taken = served.batch_of >= 0
        np.maximum.at(output, served.batch_of[taken], table.output_tokens[taken])
        prompt = served.max_prompt_tokens
        shape = {"batch_size": served.size, "prompt_tokens": prompt, "output_tokens": output}
        outside = np.zeros(len(output), bool)
        for name, values in shape.items():
            low, high = getattr(self.measured, name)
            outside |= (values < low) | (values > high)
        if outside.any():
            share = f"{outside.mean():.0%} of a run's batches"
            say(self.name, "range", [f"{share} lie outside the measured {self.measured}"])
        if self.measured.equal_lengths:
            skewed = (prompt < RATIO[0] * output) | (prompt > RATIO[1] * output)
            if skewed.any():
                text = f"{skewed.mean():.0%} of a run's batches have prompt/output outside {RATIO[0]:g} to {RATIO[1]:g}"
                say(self.name, "ratio", [f"{text}; {EQUAL_LENGTHS} (see presets.load, split)"])
