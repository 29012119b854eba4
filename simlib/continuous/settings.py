"""Continuous batching: membership changes at each step, memory is the KV cache.

The engine's settings; `serve` serves a request table with them, `loop` is the loop itself, and how long a step takes is
a law of `latency.steps`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from simlib.checks import InputError, check_choice, check_integer, check_number, check_type, keep
from simlib.continuous import state
from simlib.continuous.control import StepControl
from simlib.requests.table import RequestTable

PREFILL = ("first", "mixed", "chunked")
ROUTING = ("shared", "round_robin", "least_tokens", "least_requests", "by_class", "prefix", "prefix_cost")
MOST_SEATS, MOST_TOKENS = 2**20, 2**40


@dataclass(frozen=True, slots=True)
class Continuous:
    """Settings of a serving engine that batches continuously.

    Parameters
    ----------
    max_seqs : int
        Sequences that run at once on a GPU, at most; each of them takes a token of the budget, so that no more than
        `token_budget` run.
    kv_tokens : int, optional
        Tokens that the KV cache of a GPU holds; by default without limit.
    block_tokens : int
        The cache is given out in blocks of so many tokens, a power of two; 1: token by token.
    token_budget : int
        Tokens of a step, decodes and prompts together.
    prefill : {"chunked", "mixed", "first"}
        Prompts fill what the decodes leave of the budget, the last one cut to fit; whole prompts only, as many as fit
        beside the decodes; whole prompts in steps of their own, which come first. A prompt above the budget goes alone
        where prompts are whole: in ``mixed`` once nothing decodes.
    steps_in_flight : {1, 2}
        With 2, a step is composed while the one before it runs.
    reserve : bool
        Whether a sequence is given the memory of all its tokens when it is admitted, or blocks as it needs them; in
        that case the newest sequences are preempted when none are left, and computed again later.
    watermark : float
        Share of the cache that an admission leaves free for those that run.
    reuse : bool
        Whether a sequence that was preempted finds the blocks again that nobody else was given meanwhile; free blocks
        are given out in the order in which they became free, a sequence's last ones first. So do engines that cache
        prefixes; without, all of it is computed again.
    share_cached : bool
        Whether the cached tokens of a prompt lie in blocks that other sequences hold: whole blocks of them take no
        memory then. Otherwise each sequence holds its own.
    whole_prompt : bool
        Whether a prompt is admitted only if all of it fits, or if its first chunk does.
    routing : {"shared", "round_robin", "least_tokens", "least_requests", "by_class", "prefix", "prefix_cost"}
        GPUs take from one line; or each request is given, at its arrival, to the next GPU, to the one with the fewest
        tokens of unfinished requests (prompt and predicted output, the true one without predictions), or with the
        fewest such requests; or, by its predicted output, to the one with the fewest of those that its class has; or to
        the one whose cache holds most of its prompt's blocks at that instant, of equals the one with the fewest
        requests; or to the one of least cost (`overlap_score_weight`).
    classes : int, optional
        Of ``routing="by_class"``: how many classes of predicted output share the GPUs, each as many as the others or
        one more, at most one a GPU; by default one a GPU. Where they are cut: `classes.edges`.
    timeout_s : float, optional
        A client who has waited for so long, and was not admitted, is gone.
    control : control.StepControl, optional
        A controller on each GPU, which sets how many sequences run at once, or the tokens of a step, within the above.
    prefix_cache : bool
        Whether blocks are found by what they hold (the table's `block_ids`, or `prefix_group` and `prefix_tokens`), by
        others and by whoever lost its memory, until they are given out for something else. Of a table that has neither
        only what lost its memory is found; `cached_prompt_tokens`, the simple way, are not looked at.
    overlap_score_weight : float, optional
        Of ``routing="prefix_cost"``, 1 by default: what a block to compute counts against a block in use. The cost of a
        GPU is this weight times the blocks of prompts that it has to compute, and the blocks of its unfinished
        requests' prompts, those that they share once; both with the request that is to be given away. It is the rule of
        NVIDIA Dynamo's KV router (``kv-overlap-score-weight``, since its version 1.2 ``prefill-load-scale``), at
        temperature 0 and with caches that tell it at once what they hold.
    long_prefill_tokens : int
        A chunk of a prompt is cut to so many tokens, so that several prompts advance at once, as long as the sequence
        is not alone in running and waiting; 0: to none.
    known_ends : bool
        Whether the engine knows of a sequence's last token before it is sampled. If not, as where a stop token ends it,
        with two steps in flight the step composed meanwhile computes it once more, in vain; where the table's
        `max_tokens` are its output, its end is known all the same.

    Examples
    --------
    >>> Continuous(max_seqs=64, kv_tokens=60_000).prefill
    'chunked'
    """

    max_seqs: int = 256
    kv_tokens: int | None = None
    block_tokens: int = 16
    token_budget: int = 2048
    prefill: str = "chunked"
    steps_in_flight: int = 1
    reserve: bool = False
    watermark: float = 0.0
    reuse: bool = False
    share_cached: bool = False
    whole_prompt: bool = True
    routing: str = "shared"
    timeout_s: float | None = None
    control: StepControl | None = None
    classes: int | None = None
    prefix_cache: bool = False
    overlap_score_weight: float | None = None
    long_prefill_tokens: int = 0
    known_ends: bool = True

    def __post_init__(self) -> None:
        block = check_integer("block_tokens", self.block_tokens, 1, 2**16)
        if block & (block - 1):
            raise InputError(f"block_tokens: {block} (expected a power of two)")
        keep(
            self,
            block_tokens=block,
            max_seqs=check_integer("max_seqs", self.max_seqs, 1, MOST_SEATS),
            token_budget=check_integer("token_budget", self.token_budget, block, MOST_TOKENS),
            steps_in_flight=check_integer("steps_in_flight", self.steps_in_flight, 1, 2),
            long_prefill_tokens=check_integer("long_prefill_tokens", self.long_prefill_tokens, 0, MOST_TOKENS),
        )
        if self.kv_tokens is not None:
            keep(self, kv_tokens=check_integer("kv_tokens", self.kv_tokens, block, MOST_TOKENS))
        for name in ("reserve", "reuse", "share_cached", "whole_prompt", "prefix_cache", "known_ends"):
            check_type(name, getattr(self, name), (bool, np.bool_), "True or False")
        for name in ("reserve", "share_cached"):
            if self.prefix_cache and getattr(self, name):
                raise InputError(
                    f"{name}: True (expected False with prefix_cache: blocks are found and given as needed)"
                )
        check_choice("prefill", self.prefill, PREFILL)
        if self.long_prefill_tokens and self.prefill != "chunked":
            raise InputError(f"long_prefill_tokens: {self.long_prefill_tokens} (expected prefill 'chunked' with it)")
        if not self.known_ends and (self.reserve or self.prefill == "first"):
            what = "reserve False" if self.reserve else "prefill 'chunked' or 'mixed'"
            raise InputError(f"known_ends: False (expected {what} with it)")
        check_number("watermark", self.watermark, 0.0, 1.0, open_high=True)
        check_choice("routing", self.routing, ROUTING)
        if self.timeout_s is not None:
            check_number("timeout_s", self.timeout_s, 0.0, open_low=True)
        if self.control is not None:
            check_type("control", self.control, StepControl, "a StepControl")
        if self.classes is not None:
            keep(self, classes=check_integer("classes", self.classes, 1))
            if self.routing != "by_class":
                raise InputError(f"classes: {self.classes} (expected routing 'by_class', not {self.routing!r})")
        if self.routing in ("prefix", "prefix_cost") and not self.prefix_cache:
            raise InputError(f"routing: {self.routing!r} (expected prefix_cache beside it: it looks into caches)")
        if self.overlap_score_weight is not None:
            weight = check_number("overlap_score_weight", self.overlap_score_weight, 0.0)
            if self.routing != "prefix_cost":
                raise InputError(
                    f"overlap_score_weight: {weight:g} (expected routing 'prefix_cost', not {self.routing!r})"
                )
            keep(self, overlap_score_weight=weight)

    def report(self, table: RequestTable) -> None:
        """Warn where a prefix cache has nothing to go by."""
        if self.prefix_cache and table.block_ids is None and table.prefix_group is None:
            text = (
                "prefix_cache: no request says what its prompt contains, so that only who lost its memory finds "
                "something (block_ids, or prefix_group and prefix_tokens, say it; traces.read(…, engine_block_tokens="
                f"{self.block_tokens}) makes block_ids of a trace's hash_ids)"
            )
            warnings.warn(text, stacklevel=3)

    @property
    def bits(self) -> int:
        """Of the tokens of a block, which are ``1 << bits``."""
        return self.block_tokens.bit_length() - 1

    @property
    def blocks(self) -> int:
        """Blocks of a GPU's cache."""
        return (MOST_TOKENS if self.kv_tokens is None else self.kv_tokens) // self.block_tokens

    def needed_tokens(self, table: RequestTable) -> np.ndarray:
        """Tokens of its own that each request holds at its end: the last one is never read, and takes no place."""
        return needed_tokens(table, self.bits, int(self.share_cached))

    def needed_blocks(self, table: RequestTable) -> np.ndarray:
        """Blocks of its own that each request holds at its end."""
        return state.blocks_of(self.needed_tokens(table), self.bits)


def needed_tokens(table: RequestTable, bits: int, share: int) -> np.ndarray:
    return state.own_prompt_tokens(table, bits, share) + np.maximum(table.output_tokens - 1, 0)
