"""What a card and a network's published settings tell of a step, where two measured runs cannot.

Room for the cache, the time to read a token of context, the time to prefill a token: arithmetic, nothing fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

USED = 0.9  # of a card's memory that an engine takes, by default
SUSTAINED = 0.5  # of a card's peak that prefill keeps up
WEIGHT_BYTES = {"fp8": 1.0, "fp4": 0.5}  # else two
LATENT = 61 * 576 * 2  # of DeepSeek's attention: a latent vector a layer


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU: memory in bytes, its bandwidth in bytes a second, dense operations of 16 bits a second."""

    memory_bytes: float
    bytes_per_s: float
    flops_per_s: float = 989e12


@dataclass(frozen=True, slots=True)
class Network:
    """A model: weights, those that a token meets, and the bytes of a token of context, two a number.

    Of grouped attention layers × 2 × heads of keys × size of a head × 2, which the cards of a tensor-parallel group
    share; of a latent vector each card holds all (``shared=False``). `read` is the share of the context that a step
    reads, below one where layers look back over a window only. Of a mixture, how many experts a layer has and a token
    takes, and the weights of all of them.
    """

    weights: float
    active: float
    token_bytes: float
    shared: bool = True
    read: float = 1.0
    experts: int = 0
    taken: int = 0
    expert_weights: float = 0.0


CARDS = {"H100": Card(80e9, 3.35e12), "H200": Card(141e9, 4.8e12)}
NETWORKS = {
    "Llama-3.1-8B-Instruct": Network(8.0e9, 8.0e9, 32 * 2 * 8 * 128 * 2),
    "Llama-3.1-70B": Network(70.6e9, 70.6e9, 80 * 2 * 8 * 128 * 2),
    "Llama-3.1-70B-Instruct": Network(70.6e9, 70.6e9, 80 * 2 * 8 * 128 * 2),
    "Llama-3.3-70B-Instruct": Network(70.6e9, 70.6e9, 80 * 2 * 8 * 128 * 2),
    "Llama-3.1-405B-Instruct-FP8": Network(406e9, 406e9, 126 * 2 * 8 * 128 * 2),
    "Qwen3-8B": Network(8.2e9, 8.2e9, 36 * 2 * 8 * 128 * 2),
    "Qwen3-14B": Network(14.8e9, 14.8e9, 40 * 2 * 8 * 128 * 2),
    "Qwen3-32B": Network(32.8e9, 32.8e9, 64 * 2 * 8 * 128 * 2),
    "Qwen3-VL-8B-Instruct": Network(8.8e9, 8.2e9, 36 * 2 * 8 * 128 * 2),
    "Qwen3-VL-32B-Instruct": Network(33.4e9, 32.8e9, 64 * 2 * 8 * 128 * 2),
    "Qwen3-235B-A22B-FP8": Network(235e9, 22e9, 94 * 2 * 4 * 128 * 2, experts=128, taken=8, expert_weights=227e9),
    "gpt-oss-120b": Network(117e9, 5.1e9, 36 * 2 * 8 * 64 * 2, True, 0.5, 128, 4, 114e9),
    "MiniMax-M2.5": Network(229e9, 10e9, 62 * 2 * 8 * 128 * 2, experts=256, taken=8, expert_weights=224e9),
    "DeepSeek-V3": Network(671e9, 37e9, LATENT, False, 1.0, 256, 8, 653e9),
    "DeepSeek-R1": Network(671e9, 37e9, LATENT, False, 1.0, 256, 8, 653e9),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A network on cards: what a rank of its engine can hold, and how long it takes at least.

    Parameters
    ----------
    network, card : str
        Of `NETWORKS` and `CARDS`; of another network nothing is known, and no term but the measured ones is used.
    gpus : int
        Cards that share a token's work (tensor parallel).
    precision : str
        Of the weights; eight bits double a card's operations.
    ranks : int
        Groups of cards with requests of their own, which share the weights (data-parallel attention).
    cache_bytes : float
        Of a number in the cache.

    Examples
    --------
    >>> one = Placed("Llama-3.1-8B-Instruct", "H100", 1)
    >>> one.room_tokens, round(1e9 * one.context_s), round(1e6 * one.prefill_s)
    (427246, 39, 32)
    """

    network: str
    card: str
    gpus: int
    precision: str = "bf16"
    ranks: int = 1
    cache_bytes: float = 2.0

    @property
    def known(self) -> bool:
        """Whether the network's settings are."""
        return self.network in NETWORKS

    @property
    def _token_bytes(self) -> float:
        network = NETWORKS[self.network]
        return network.token_bytes * self.cache_bytes / 2 * (1 if network.shared else self.gpus)

    @property
    def room_tokens(self) -> int | None:
        """Tokens that the cache holds; None, without limit, where nothing is known."""
        if not self.known:
            return None
        weights = NETWORKS[self.network].weights * WEIGHT_BYTES.get(self.precision, 2.0) / self.ranks
        return max(int((USED * CARDS[self.card].memory_bytes * self.gpus - weights) / self._token_bytes), 0)

    @property
    def context_s(self) -> float:
        """Seconds to read a token of context."""
        if not self.known:
            return 0.0
        return self._token_bytes * NETWORKS[self.network].read / self.gpus / CARDS[self.card].bytes_per_s

    @property
    def prefill_s(self) -> float:
        """Seconds to prefill a token: two operations a weight that it meets, at `SUSTAINED` of the peak."""
        if not self.known:
            return 0.0
        peak = CARDS[self.card].flops_per_s * (2 if self.precision == "fp8" else 1) * self.gpus
        return 2 * NETWORKS[self.network].active / (SUSTAINED * peak)

    def experts_s(self, sequences: float) -> float:
        """Seconds to read the experts that a step of so many sequences on each rank meets, on average.

        A token takes its experts at random: of `experts` a step of n tokens leaves (1 − taken/experts)ⁿ unread.

        Examples
        --------
        >>> mixture = Placed("gpt-oss-120b", "H100", 2, "fp4")
        >>> [round(1e3 * mixture.experts_s(n), 2) for n in (1, 16, 1000)]
        [0.27, 3.39, 8.51]
        """
        if not self.known or not NETWORKS[self.network].experts:
            return 0.0
        network, card = NETWORKS[self.network], CARDS[self.card]
        read = network.expert_weights * WEIGHT_BYTES.get(self.precision, 2.0) / (self.gpus * self.ranks)
        met = 1.0 - (1.0 - network.taken / network.experts) ** (sequences * self.ranks)
        return read * met / card.bytes_per_s
