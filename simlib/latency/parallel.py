"""What several GPUs to a model add to a step: all-reduces between cards, experts by rank, and what engines share.

Knows sizes, links and a table of experts' times; hands `kernel_profile` seconds by the tokens of a step. Rings, as NCCL
has them: n cards send n - 1 messages of an n-th of the data, twice that to reduce it everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simlib.checks import InputError, check_integer, check_number, keep

REDUCES = 2  # all-reduces a layer: behind attention, and behind the layers or experts that follow it
SLOWEST_S = 0.01  # of a link between cards; more was meant in microseconds


@dataclass(frozen=True, slots=True)
class Link:
    """What connects two cards: bytes a second in one direction, and seconds that each message takes beside.

    Examples
    --------
    >>> Link(16e9, 20e-6).all_reduce_s(np.array([0.0, 16e6]), ranks=2).round(9).tolist()
    [4e-05, 0.00104]
    """

    bandwidth_bytes_s: float
    latency_s: float

    def __post_init__(self) -> None:
        check_number("link bandwidth_bytes_s", self.bandwidth_bytes_s, 0.0, open_low=True)
        check_number("link latency_s", self.latency_s, 0.0, SLOWEST_S)

    def gather_s(self, size_bytes: np.ndarray, ranks: int) -> np.ndarray:
        """Seconds until each of the ranks has all data, or its part of their sum."""
        return (ranks - 1) * (self.latency_s + size_bytes / ranks / self.bandwidth_bytes_s)

    def all_reduce_s(self, size_bytes: np.ndarray, ranks: int) -> np.ndarray:
        """Seconds until each of the ranks has the sum."""
        return 2 * self.gather_s(size_bytes, ranks)


@dataclass(frozen=True, slots=True, eq=False)
class Experts:
    """Times of a layer's experts on one card, by tokens and by how many experts these wake.

    Parameters
    ----------
    tokens, activated : ndarray
        The axes, ascending.
    seconds : ndarray
        Of each pair, NaN where it cannot be: shape (tokens, activated).
    experts, per_token : int
        Of the model.

    Notes
    -----
    Tokens choose experts evenly, each of them without repetition: n tokens wake the share 1 - (1 - k / E) ** n. With
    experts by rank a card has its part of them, and sees the tokens of all ranks.
    """

    tokens: np.ndarray
    activated: np.ndarray
    seconds: np.ndarray
    experts: int
    per_token: int

    def layer_s(self, tokens: np.ndarray, ranks: int = 1) -> np.ndarray:
        """Seconds of one layer's experts with so many tokens, the experts cut over so many ranks."""
        woken = self.experts / ranks * (1 - (1 - self.per_token / self.experts) ** tokens)
        by_tokens = []
        for column in self.seconds.T:
            known = np.isfinite(column)
            by_tokens.append(_line(tokens, self.tokens[known], column[known]))
        times_s = np.column_stack(by_tokens)
        return np.array([np.interp(w, self.activated, row) for w, row in zip(woken, times_s, strict=True)])


@dataclass(frozen=True, slots=True)
class Parallel:
    """How a model is cut over cards and engines.

    Parameters
    ----------
    tensor : int
        Cards of one engine, which cut every layer.
    engines : int
        Engines that share the requests (data parallel).
    expert : bool
        Whether experts are cut by rank over all cards of all engines, whose steps run together then.
    hidden_size : int, optional
        Numbers of a token between two layers; needed with a link.
    element_bytes : int
        Bytes of such a number.
    link : Link, optional
        Between cards; None: what they tell each other takes no time.
    """

    tensor: int = 1
    engines: int = 1
    expert: bool = False
    hidden_size: int | None = None
    element_bytes: int = 2
    link: Link | None = None

    def __post_init__(self) -> None:
        for name in ("tensor", "engines", "element_bytes"):
            keep(self, **{name: check_integer(name, getattr(self, name), 1, 1024)})
        if self.hidden_size is not None:
            keep(self, hidden_size=check_integer("hidden_size", self.hidden_size, 1, 2**20))
        if self.talks and self.link is not None and self.hidden_size is None:
            raise InputError("hidden_size: None (expected the model's, with a link between its cards)")

    @property
    def together(self) -> bool:
        """Whether the engines make their steps together: each has a part of every layer's experts."""
        return self.expert and self.engines > 1

    @property
    def talks(self) -> bool:
        """Whether cards tell each other anything in a step."""
        return self.tensor > 1 or self.together

    @property
    def messages(self) -> int:
        """Messages one after another that an engine's all-reduces are in a layer, each of a `tensor`-th of the data."""
        return REDUCES * 2 * (self.tensor - 1)

    def reduces_s(self, tokens: np.ndarray) -> np.ndarray:
        """Seconds that a layer's all-reduces take in an engine, by the tokens of its step."""
        if self.tensor == 1 or self.link is None:
            return np.zeros(len(tokens))
        return REDUCES * self.link.all_reduce_s(tokens * self.hidden_size * self.element_bytes, self.tensor)

    def experts_s(self, experts: Experts, tokens: np.ndarray) -> np.ndarray:
        """Seconds of a layer's experts by the tokens of all engines that share them, gathered before and after."""
        times_s = experts.layer_s(tokens, self.tensor * self.engines if self.expert else 1)
        if self.together and self.link is not None:
            size_bytes = tokens * self.hidden_size * self.element_bytes
            times_s = times_s + 2 * self.link.gather_s(size_bytes, self.engines)
        return times_s


ALONE = Parallel()


def _line(at: np.ndarray, axis: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Linear between points, the first value before them, the last slope behind them."""
    inside = np.interp(at, axis, values)
    if len(axis) < 2:
        return inside
    slope = (values[-1] - values[-2]) / (axis[-1] - axis[-2])
    return inside + slope * np.maximum(at - axis[-1], 0.0)
