"""A planned configuration in the words of vLLM and of SGLang, and what of it neither has a word for.

By vLLM 0.32.0's ``vllm serve --help`` and the arguments of SGLang 0.5.23's server; no flag is given that is not among
their names, which are recorded in ``tests/planning/deployed/recorded``. Some words look alike and are not:

- What a step computes, prompts and decodes together, is vLLM's ``--max-num-batched-tokens``. SGLang bounds a prompt's
  chunk, ``--chunked-prefill-size``, which makes room for the decodes of its step where these are mixed
  (``--enable-mixed-chunk``); ``--max-prefill-tokens`` bounds whole prompts and is no budget of a step.
- vLLM's ``--gpu-memory-utilization`` is a share of a GPU for weights, activations and cache; SGLang's
  ``--mem-fraction-static`` one for weights and cache alone. The cache's tokens are what a plan has, and SGLang takes
  them as they are, ``--max-total-tokens``.
- The lower of two priorities is served first in vLLM and here, the higher in SGLang unless it is told otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from simlib.planning.fleet import KV_SHARE
from simlib.planning.objectives import Objective

#: An objective's metric: vLLM's family of buckets, SGLang's option for them.
BUCKETS = {
    "ttft": ("time_to_first_token", "--bucket-time-to-first-token"),
    "tpot": ("inter_token_latency", "--bucket-inter-token-latency"),
    "latency": ("request_latency", "--bucket-e2e-request-latency"),
}
EDGES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.1, 1.25, 1.5, 2.0, 4.0, 10.0, 40.0)  # of a limit, beside itself
BINS = "bins: no flag has classes of predicted length that take turns at admission; without them plan with --k-bins 1"


@dataclass(frozen=True, slots=True)
class Spelled:
    """What to start an engine with: its options, and in a sentence each what these do not say."""

    options: tuple[str, ...]
    unlike: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.options)


@dataclass(frozen=True, slots=True)
class Replicas:
    """A configuration, as far as engines have words for it.

    Attributes
    ----------
    replicas, gpus, max_seqs, token_budget, kv_tokens : int
        How many replicas; of each its GPUs (tensor parallel), sequences, tokens of a step, tokens of its cache.
    kv_share : float
        Of a GPU's memory that the plan takes for weights, activations and cache.
    k_bins, steps_in_flight : int
    prefix_cache, priority : bool
    routing : str
        One of `continuous.settings.ROUTING`.
    objectives : sequence of Objective
        Whose limits are to be ends of buckets, so that ``simlib plan --check`` can tell them from a scrape.
    """

    replicas: int
    gpus: int
    max_seqs: int
    token_budget: int
    kv_tokens: int
    kv_share: float = KV_SHARE
    k_bins: int = 1
    steps_in_flight: int = 1
    prefix_cache: bool = False
    priority: bool = False
    routing: str = "least_tokens"
    objectives: Sequence[Objective] = field(default=())

    @classmethod
    def of(cls, chosen: Any, objectives: Sequence[Objective] = (), **more: Any) -> Replicas:
        """Of a `planning.plan.Configuration`; `more` is what that does not say."""
        engine = chosen.engine
        limits = (chosen.replicas, engine.gpus, chosen.max_seqs, chosen.token_budget, engine.kv_tokens)
        told = {"k_bins": chosen.k_bins, "prefix_cache": chosen.prefix_cache, "priority": chosen.order == "priority"}
        return cls(*limits, **told | {"routing": chosen.routing, "objectives": tuple(objectives)} | more)

    @property
    def vllm(self) -> Spelled:
        """Options of ``vllm serve``.

        Examples
        --------
        >>> str(Replicas(1, 2, 64, 2048, 100_000).vllm).split(" --enable-chunked-prefill")[0]
        '--tensor-parallel-size 2 --max-num-seqs 64 --max-num-batched-tokens 2048 --gpu-memory-utilization 0.9'
        """
        options = [f"--tensor-parallel-size {self.gpus}"]
        options += [f"--data-parallel-size {self.replicas}"] if self.replicas > 1 else []
        options += [
            f"--max-num-seqs {self.max_seqs}",
            f"--max-num-batched-tokens {self.token_budget}",
            f"--gpu-memory-utilization {self.kv_share:g}",
            "--enable-chunked-prefill",
            "--enable-prefix-caching" if self.prefix_cache else "--no-enable-prefix-caching",
            f"--scheduling-policy {'priority' if self.priority else 'fcfs'}",
            "--async-scheduling" if self.steps_in_flight == 2 else "--no-async-scheduling",
        ]
        unlike = [
            f"its log says how many tokens the cache has: {self.kv_tokens:,} are planned, of a replica, and "
            f"--gpu-memory-utilization is what to change where they differ"
        ]
        if self.replicas > 1:
            balanced = self.routing == "least_requests"
            unlike += [] if balanced else [f"its balancer counts requests, which is not the planned {self.routing}"]
        return Spelled(tuple(options), (*unlike, *self._bins))

    @property
    def sglang(self) -> Spelled:
        """Options of ``python -m sglang.launch_server``.

        Examples
        --------
        >>> str(Replicas(2, 1, 64, 2048, 100_000, prefix_cache=True, steps_in_flight=2).sglang).split(" --chunked")[0]
        '--tp-size 1 --dp-size 2 --load-balance-method total_tokens --max-running-requests 64'
        """
        methods = {"least_tokens": "total_tokens", "least_requests": "total_requests", "round_robin": "round_robin"}
        options, unlike = [f"--tp-size {self.gpus}"], []
        if self.replicas > 1:
            options += [f"--dp-size {self.replicas}"]
            options += [f"--load-balance-method {methods[self.routing]}"] if self.routing in methods else []
            unlike += [] if self.routing in methods else [f"its balancer has no {self.routing}, which was planned"]
        options += [
            f"--max-running-requests {self.max_seqs}",
            f"--chunked-prefill-size {self.token_budget}",
            "--enable-mixed-chunk",
            f"--max-total-tokens {self.kv_tokens}",
            "--schedule-policy fcfs",
        ]
        if self.priority:
            options += ["--enable-priority-scheduling", "--schedule-low-priority-values-first"]
            unlike += [
                "it preempts for priorities that differ by 10 or more (--priority-scheduling-preemption-threshold)"
            ]
        options += [] if self.prefix_cache else ["--disable-radix-cache"]
        options += [] if self.steps_in_flight == 2 else ["--disable-overlap-schedule"]
        options += ["--enable-metrics"]
        unlike += ["a retracted request is the one with the shortest output, not the newest (--retraction-policy)"]
        return Spelled(tuple(options), (*unlike, *self._bins))

    @property
    def buckets(self) -> tuple[str, str]:
        """Options of vLLM and of SGLang by which a bucket ends at each limit; empty without objectives."""
        families: dict[str, set[float]] = {}
        for one in self.objectives:
            ends = {float(f"{share * one.limit_s:.4g}") for share in EDGES} | {float(one.limit_s)}
            families.setdefault(one.metric, set()).update(ends)
        custom = json.dumps({BUCKETS[metric][0]: sorted(ends) for metric, ends in families.items()})
        told = [
            f"{BUCKETS[metric][1]} {' '.join(f'{end:g}' for end in sorted(ends))}" for metric, ends in families.items()
        ]
        return (f"--custom-histogram-buckets '{custom}'", " ".join(told)) if families else ("", "")

    @property
    def _bins(self) -> tuple[str, ...]:
        return (BINS,) if self.k_bins > 1 else ()
