"""How long a step of continuous batching takes: the affine law.

The step loop calls a law's kernel with the step's shape (`shapes.SHAPE`) and the law's numbers. A law that is linear
in the totals lets the loop take many steps at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from simlib.checks import check_number
from simlib.engine.shapes import CONTEXT, LONGEST, N_DECODES, PREFILL
from simlib.latency.trust import Trust


def linear_law(shape: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `StepLaw`; `params` is (a, b, c, d, h)."""
    spread = params[4] * (shape[N_DECODES] * shape[LONGEST] - shape[CONTEXT]) if params[4] > 0.0 else 0.0
    return params[0] + params[1] * shape[N_DECODES] + params[2] * shape[PREFILL] + params[3] * shape[CONTEXT] + spread


@dataclass(frozen=True, slots=True)
class StepLaw:
    """Time of a step: a + b decodes + c prefill tokens + d context tokens + h (n longest context - total context).

    Parameters
    ----------
    a_s : float
        Fixed time of a step, seconds, >= 0; chiefly that of reading the weights.
    b_s, c_s, d_s : float
        Seconds for each sequence that decodes, each prompt token that is prefilled, each token of the decoding
        sequences' contexts (the one that is being decoded included), >= 0.
    h_s : float
        Seconds for each token by which a context is shorter than the longest of the step: padding, or stragglers among
        a kernel's blocks; >= 0, by default 0.
    way_in_s : float
        Seconds from the client to the engine's queue and back, which no step takes: every time that a client measures
        from sending a request is so much longer; >= 0, by default 0.
    trust : Trust, optional
        Where it was measured, and how well it fits; None: it was typed, and nobody knows.

    Notes
    -----
    With ``h_s=0`` linear in the step's totals: without recomputation a run's busy time depends on the number of its
    steps only, not on their order.

    Examples
    --------
    >>> StepLaw(0.0078, 0.0001, 0.000073, 58e-9).step_s(decodes=32, prefill_tokens=200, context_tokens=9000)
    0.026122
    """

    a_s: float
    b_s: float = 0.0
    c_s: float = 0.0
    d_s: float = 0.0
    h_s: float = 0.0
    way_in_s: float = 0.0
    trust: Trust | None = field(default=None, compare=False, repr=False)
    law = staticmethod(linear_law)
    linear = True

    def __post_init__(self) -> None:
        for name in ("a_s", "b_s", "c_s", "d_s", "h_s", "way_in_s"):
            check_number(f"latency {name}", getattr(self, name), 0.0)

    @property
    def spread(self) -> bool:
        """Whether the law looks at the longest context."""
        return self.h_s > 0

    @property
    def params(self) -> np.ndarray:
        """Numbers that `law` reads, shape (5,)."""
        return np.array([self.a_s, self.b_s, self.c_s, self.d_s, self.h_s], dtype=np.float64)

    def step_s(self, decodes: float, prefill_tokens: float = 0.0, context_tokens: float = 0.0) -> float:
        """Seconds of a step with equal contexts."""
        return float(self.a_s + self.b_s * decodes + self.c_s * prefill_tokens + self.d_s * context_tokens)

    def draw(self, number: int, times: float = 1.0) -> StepLaw:
        """The law as the engine's may be, without noise: one of the draws that its `trust` keeps, which come in turn.

        Parameters
        ----------
        number : int
            Of the draw; where none is kept, it is the law itself that is drawn.
        times : float
            How many times as long each step takes.
        """
        draws = () if self.trust is None else self.trust.draws
        *steps, way_in_s = draws[number % len(draws)] if draws else (*self.params[:4].tolist(), self.way_in_s)
        return StepLaw(*(times * each for each in steps), self.h_s, way_in_s)

    def drawn(self, count: int, span_s: float, seed: int = 0) -> list[NoisyLaw]:
        """Draws of the law in turn (`draw`), each with a run's noise.

        Parameters
        ----------
        count : int
        span_s : float
            How long the run is, seconds: the longer, the more of the noise of seconds averages out.
        seed : int

        Returns
        -------
        list of NoisyLaw
            None where no draws are known.
        """
        if self.trust is None or not self.trust.draws:
            return []
        rng = np.random.default_rng(seed)
        times = np.exp(self.trust.noise / np.sqrt(span_s) * rng.standard_normal(count))
        return [
            NoisyLaw(self.draw(number, slower), self.trust.step_noise, float(key))
            for number, (slower, key) in enumerate(zip(times.tolist(), rng.random(count), strict=True))
        ]


def noisy_law(shape: np.ndarray, params: np.ndarray) -> float:
    """Kernel of `NoisyLaw`; `params` is that of its law, the noise, and the number that tells runs apart."""
    place = params[6] + 0.754878 * shape[CONTEXT] + 0.569840 * shape[PREFILL] + 0.618034 * shape[N_DECODES]
    first, second = math.sin(12.9898 * place) * 43758.5453, math.sin(78.233 * place) * 24634.6345
    first, second = first - math.floor(first), second - math.floor(second)
    normal = math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)
    return linear_law(shape, params) * math.exp(params[5] * (normal - 0.5 * params[5]))


@dataclass(frozen=True, slots=True)
class NoisyLaw:
    """A law whose steps take more and less than it says, at random, but on average as long.

    Parameters
    ----------
    base : StepLaw
    noise : float
        Standard deviation of the logarithm of a step's time, >= 0.
    key : float
        Tells one run's noise from another's: it is a function of this and of the step's shape.

    Examples
    --------
    >>> law = NoisyLaw(StepLaw(0.01), 0.1, 0.5)
    >>> times_s = [law.law(np.array([1.0, n, 0.0, n, 0.0, 0.0, 0.0]), law.params) for n in range(10_000)]
    >>> round(float(np.mean(times_s)), 4), round(float(np.std(times_s)), 3)
    (0.01, 0.001)
    """

    base: StepLaw
    noise: float
    key: float
    law = staticmethod(noisy_law)
    linear = False

    @property
    def spread(self) -> bool:
        """As its law's."""
        return self.base.spread

    @property
    def way_in_s(self) -> float:
        """As its law's."""
        return self.base.way_in_s

    @property
    def params(self) -> np.ndarray:
        """Numbers that `law` reads, shape (7,)."""
        return np.append(self.base.params, [self.noise, self.key])
