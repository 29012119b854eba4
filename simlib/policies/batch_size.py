"""How big a batch may be: Algorithm 1 (memory) and Algorithm 2 (SLA); the target is ``min(b_mem, b_sla)``.

Both stand here in four variants, which `Rules` holds with all their numbers:

``original``   the original system's rules: moving averages, a window that halves and creeps
``paper``      the SLA paper's intent (arXiv 2503.05248): equation (12) for memory, Algorithm 2 kept within its bounds
``printed``    the SLA paper to the letter: L0 as the residual slack, the window's low end free to fall below B_min
``released``   the memory patch that its authors published, with the paper's Algorithm 2

Under run-to-completion batches "decodes are present" reads "a batch has finished". The functions are kernels over a
controller's row of memory; a scheduler calls `target` to form a batch and `observe` when one has finished.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from simlib.checks import check_choice, check_integer, check_number, check_type, keep
from simlib.engine.batches import BLOCKS, SERVICE, SIZE, SQUARES, SUM_OUTPUT, SUM_PROMPT
from simlib.engine.shapes import BLOCK_TOKENS

MAX_BATCH, MAX_AVERAGE = 2**31, 4096
VARIANTS = ("original", "paper", "printed", "released")
NOTES = ("b_mem", "b_sla", "b_low", "b_high", "service_mean_s", "size_mean", "branch")
BRANCHES = ("no batch yet", "too slow", "fast enough", "within tolerance")  # of the SLA rule, by the note's number


@dataclass(frozen=True, slots=True)
class Memory:
    """What a GPU's memory holds. All in GB (kv in GB a token), the defaults are the original system's.

    Examples
    --------
    >>> round(Memory().capacity_tokens)
    1800000
    """

    total_gb: float = 12.0
    model_gb: float = 2.0
    margin_gb: float = 1.0
    kv_gb_per_token: float = 5e-6

    def __post_init__(self) -> None:
        check_number("memory total_gb", self.total_gb, 0.0, open_low=True)
        check_number("memory model_gb", self.model_gb, 0.0)
        check_number("memory margin_gb", self.margin_gb, 0.0)
        check_number("memory kv_gb_per_token", self.kv_gb_per_token, 1e-12)
        free = self.total_gb - self.model_gb - self.margin_gb
        check_number("memory left for the KV cache (total_gb - model_gb - margin_gb)", free, 0.0, open_low=True)

    @property
    def capacity_tokens(self) -> float:
        """Tokens that a batch may hold in all: what the model and the margin leave."""
        return (self.total_gb - self.margin_gb - self.model_gb) / self.kv_gb_per_token


@dataclass(frozen=True, slots=True)
class Rules:
    """Both algorithms' variant with its numbers.

    Parameters
    ----------
    variant : {"original", "paper", "printed", "released"}
    b_min, b_max : int
        Bounds of every batch size, 1 <= b_min <= b_max.
    epsilon_s : float
        Tolerance around the deadline (epsilon_D), seconds, >= 0.
    epsilon_m : float
        Accepted probability that a batch exceeds memory (epsilon_M), in (0, 0.5].
    alpha, delta : int
        Algorithm 2's least width of the window and its correction step, >= 1.
    average_batches : int
        Batches that the recent means cover (``original`` uses `smoothing` instead), >= 1.
    smoothing : float
        Weight of the newest batch in the original's moving averages, in (0, 1].
    candidates : int
        How many waiting requests the original looks at, >= 1.
    buffer_share : float
        The original's memory buffer L0, as a share of the token capacity, in [0, 1).
    initial_prompt_tokens, initial_output_tokens : float
        The original's means before the first batch.
    memory_factor : float
        Share of the blocks that the released patch plans with, in (0, 1].
    memory : Memory
    """

    variant: str = "original"
    b_min: int = 1
    b_max: int = 128
    epsilon_s: float = 0.05
    epsilon_m: float = 0.05
    alpha: int = 20
    delta: int = 5
    average_batches: int = 16
    smoothing: float = 0.2
    candidates: int = 64
    buffer_share: float = 0.1
    initial_prompt_tokens: float = 300.0
    initial_output_tokens: float = 200.0
    memory_factor: float = 0.95
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        check_choice("variant", self.variant, VARIANTS)
        keep(self, b_min=check_integer("b_min", self.b_min, 1))
        keep(self, b_max=check_integer("b_max", self.b_max, self.b_min, MAX_BATCH))
        check_number("epsilon_s", self.epsilon_s, 0.0)
        check_number("epsilon_m", self.epsilon_m, 0.0, 0.5, open_low=True)
        for name in ("alpha", "delta", "average_batches", "candidates"):
            most = MAX_BATCH if name != "average_batches" else MAX_AVERAGE
            keep(self, **{name: check_integer(name, getattr(self, name), 1, most)})
        check_number("smoothing", self.smoothing, 0.0, 1.0, open_low=True)
        check_number("buffer_share", self.buffer_share, 0.0, 1.0, open_high=True)
        check_number("initial_prompt_tokens", self.initial_prompt_tokens, 0.0, open_low=True)
        check_number("initial_output_tokens", self.initial_output_tokens, 0.0, open_low=True)
        check_number("memory_factor", self.memory_factor, 0.0, 1.0, open_low=True)
        check_type("memory", self.memory, Memory, "a Memory")

    @property
    def least(self) -> int:
        """The smallest size that Algorithm 2 asks for, however slow batches are (`least_of`)."""
        return least_of(self.variant, self.b_min, self.b_max, self.alpha)

    @property
    def pooled(self) -> bool:
        """Whether all GPUs share one controller (the original) or each has its own."""
        return self.variant == "original"

    def params(self, d_sla: float) -> np.ndarray:
        """The numbers that the kernels read, in the order of the constants below."""
        check_number("d_sla", d_sla, 0.0, open_low=True)
        memory = self.memory
        blocks = memory.capacity_tokens / BLOCK_TOKENS
        planned_tokens = (memory.total_gb - memory.model_gb) / memory.kv_gb_per_token * (1.0 - self.buffer_share)
        theta = NormalDist().inv_cdf(1.0 - self.epsilon_m)
        return np.array(
            (
                *(VARIANTS.index(self.variant), d_sla, self.epsilon_s, self.b_min, self.b_max, self.alpha, self.delta),
                *(self.smoothing, planned_tokens, memory.capacity_tokens, theta, self.memory_factor * blocks),
            ),
            dtype=np.float64,
        )

    def controller(self) -> np.ndarray:
        """A controller's memory before its first batch, shape (any,)."""
        row = np.zeros(FIRST + RECORD * (0 if self.pooled else self.average_batches))
        row[LOW], row[HIGH], row[B_MEM] = self.b_min, self.b_max, self.b_max
        if self.pooled:
            row[SIZE_MEAN] = 1.0
            row[PROMPT_MEAN], row[OUTPUT_MEAN] = self.initial_prompt_tokens, self.initial_output_tokens
        return row


def least_of(variant: str, b_min: int, b_max: int, alpha: int) -> int:
    """The smallest size that a rule asks for: the middle of the least window that it keeps; 0 where it has no choice.

    The original's rule comes down so far only from small batches: its window may close above.

    Examples
    --------
    >>> least_of("original", 1, 128, 20), least_of("paper", 1, 128, 20), least_of("paper", 1, 8, 20)
    (1, 11, 4)
    """
    if b_min == b_max:
        return 0
    if variant not in ("paper", "printed", "released"):
        return b_min
    high = b_min + alpha if variant == "printed" else min(b_min + alpha, b_max)
    return min((b_min + high) // 2, b_max)


ORIGINAL, PAPER, PRINTED, RELEASED = range(4)
VARIANT, DEADLINE, EPSILON, B_LEAST, B_MOST, ALPHA, DELTA, SMOOTHING, PLANNED, CAPACITY, THETA, PATCH_BLOCKS = range(12)
PARAMS = 12
# A controller's row: the window, b_{t-1} of Algorithm 1, the recent means, the number of batches seen; then, but for
# the original, a ring of the last batches, RECORD numbers each.
LOW, HIGH, B_MEM, TAU_MEAN, SIZE_MEAN, PROMPT_MEAN, OUTPUT_MEAN, SQUARE_MEAN, BLOCK_MEAN, SEEN, FIRST = range(11)
RECORD = 6


def target(row: np.ndarray, params: np.ndarray, note: np.ndarray) -> int:
    """Kernel: the next batch's size ``min(b_mem, b_sla)``; writes `NOTES` into `note`.

    Source: Section IV of the SLA paper (arXiv 2503.05248), "Combined"; the original architecture document.
    """
    b_mem = memory_bound(row, params)
    branch = sla_original(row, params) if params[VARIANT] == ORIGINAL else sla_paper(row, params)
    b_sla = int((row[LOW] + row[HIGH]) / 2.0) if params[VARIANT] == ORIGINAL else math.floor((row[LOW] + row[HIGH]) / 2)
    b_sla = int(min(max(b_sla, params[B_LEAST]), params[B_MOST]))
    note[0], note[1], note[2], note[3] = b_mem, b_sla, row[LOW], row[HIGH]
    note[4], note[5], note[6] = row[TAU_MEAN], row[SIZE_MEAN], branch
    return min(b_mem, b_sla)


def memory_bound(row: np.ndarray, params: np.ndarray) -> int:
    """Kernel of Algorithm 1: the largest batch that memory is planned for, within [b_min, b_max]."""
    variant, mean_tokens = params[VARIANT], row[PROMPT_MEAN] + row[OUTPUT_MEAN]
    if variant != ORIGINAL and row[SEEN] == 0.0:
        return int(row[B_MEM])  # no decodes yet: b_{t-1} stands
    if mean_tokens <= 0.0:  # only failed requests so far: no evidence of need
        return int(params[B_MOST])
    variance = max(0.0, row[SQUARE_MEAN] - row[PROMPT_MEAN] ** 2 - row[OUTPUT_MEAN] ** 2)
    spread = params[THETA] * math.sqrt(variance)
    if variant == ORIGINAL:
        bound = params[PLANNED] / mean_tokens
    elif variant == PAPER:  # equation (12) with the mean and the deviation of one request
        root = (math.sqrt(spread * spread + 4.0 * mean_tokens * params[CAPACITY]) - spread) / (2.0 * mean_tokens)
        bound = root * root
    elif variant == PRINTED:  # L0 = eta - (theta sigma_S + mu_S) at b_{t-1}, so that eta - L0 = theta sigma_S + mu_S
        bound = row[B_MEM] + spread * math.sqrt(row[B_MEM]) / mean_tokens  # whole where lengths do not vary
    else:  # the released patch: blocks in use per sequence
        bound = params[PATCH_BLOCKS] / row[BLOCK_MEAN]
    row[B_MEM] = min(max(math.floor(bound), params[B_LEAST]), params[B_MOST])
    return int(row[B_MEM])


def sla_original(row: np.ndarray, params: np.ndarray) -> int:
    """Kernel of the original's window rule; moves the window in `row`, returns the branch taken (`BRANCHES`)."""
    tau, size, least, most = row[TAU_MEAN], int(row[SIZE_MEAN]), params[B_LEAST], params[B_MOST]
    if tau == 0.0:
        return 0
    branch = 3
    if tau > params[DEADLINE] + params[EPSILON]:
        branch = 1
        row[HIGH] = min(row[HIGH], size)
        row[LOW] = max(row[LOW], int(0.8 * row[SIZE_MEAN]))
    elif tau < params[DEADLINE] - params[EPSILON]:
        branch = 2
        row[LOW] = max(row[LOW], size)
        row[HIGH] = min(row[HIGH] + int(0.2 * row[SIZE_MEAN]), most)
    else:
        width = max(1, int(0.1 * (row[HIGH] - row[LOW])))
        row[LOW] = max(size - width, 1)
        row[HIGH] = min(size + width, most)
    row[LOW] = min(max(row[LOW], least), most)
    row[HIGH] = min(max(row[HIGH], least), most)
    row[LOW] = min(row[LOW], row[HIGH])
    return branch


def sla_paper(row: np.ndarray, params: np.ndarray) -> int:
    """Kernel of Algorithm 2; moves the window in `row`, returns the branch taken (`BRANCHES`).

    ``printed`` keeps what the paper prints; the others keep both ends within [b_min, b_max], which the printed rule
    leaves when the mean size is below b_min or the window is narrower than alpha.
    """
    if row[SEEN] == 0.0:
        return 0
    tau, size, least, most = row[TAU_MEAN], row[SIZE_MEAN], params[B_LEAST], params[B_MOST]
    low, high, alpha, delta = row[LOW], row[HIGH], params[ALPHA], params[DELTA]
    branch = 3
    if tau > params[DEADLINE] + params[EPSILON]:
        branch = 1
        row[HIGH] = max(size, low + alpha)
        row[LOW] = max(low - delta, least)
    elif tau < params[DEADLINE] - params[EPSILON]:
        branch = 2
        row[LOW] = min(size, high - alpha)
        row[HIGH] = min(high + delta, most)
    else:
        row[HIGH] = min(size + math.floor(alpha / 2.0), most)
        row[LOW] = max(size - math.floor(alpha / 2.0), least)
    if params[VARIANT] != PRINTED:
        row[LOW] = min(max(row[LOW], least), most)
        row[HIGH] = min(max(row[HIGH], least), most)
    return branch


def observe(row: np.ndarray, batch: np.ndarray, params: np.ndarray) -> None:
    """Kernel: a batch has finished; bring the recent means up to date."""
    row[SEEN] += 1.0
    size = batch[SIZE]
    if params[VARIANT] == ORIGINAL:
        weight = params[SMOOTHING]
        row[TAU_MEAN] += weight * (batch[SERVICE] - row[TAU_MEAN])
        row[SIZE_MEAN] += weight * (size - row[SIZE_MEAN])
        row[PROMPT_MEAN] += weight * (batch[SUM_PROMPT] / size - row[PROMPT_MEAN])
        row[OUTPUT_MEAN] += weight * (batch[SUM_OUTPUT] / size - row[OUTPUT_MEAN])
        return
    slots = (len(row) - FIRST) // RECORD
    slot = FIRST + RECORD * (int(row[SEEN] - 1.0) % slots)
    row[slot], row[slot + 1], row[slot + 2] = batch[SERVICE], size, batch[SUM_PROMPT]
    row[slot + 3], row[slot + 4], row[slot + 5] = batch[SUM_OUTPUT], batch[SQUARES], batch[BLOCKS]
    batches = min(int(row[SEEN]), slots)
    time_s = requests = prompt = output = squares = blocks = 0.0
    for i in range(batches):
        slot = FIRST + RECORD * i
        time_s += row[slot]
        requests += row[slot + 1]
        prompt += row[slot + 2]
        output += row[slot + 3]
        squares += row[slot + 4]
        blocks += row[slot + 5]
    row[TAU_MEAN], row[SIZE_MEAN] = time_s / batches, requests / batches
    row[PROMPT_MEAN], row[OUTPUT_MEAN] = prompt / requests, output / requests
    row[SQUARE_MEAN], row[BLOCK_MEAN] = squares / requests, blocks / requests
