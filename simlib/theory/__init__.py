"""Closed forms and exact chains to check the engine against, and what the papers' theorems say.

Stands beside the flow and imports nothing of the engine, so that a mean that both agree on was computed in two ways.
The names live in four modules: `theory.queues` (M/M/1 to batches of exponential time), `theory.batches` (batches of any
time), `theory.bins` (the Multi-Bin paper's theorems) and `theory.maxima` (any service times, bins and errors); beside
them `theory.control` (the fixed points of a controller), `theory.steps` (the fewest steps of an engine) and
`theory.preemption` (a floor under any order's latency).
"""

from __future__ import annotations

from simlib.lazy import getter
from simlib.theory.batches import BatchChain, batch_chain, longest_member, take_all_bounds_s
from simlib.theory.bins import (
    bins_needed,
    exponential_bound_s,
    exponential_edges_s,
    exponential_max_s,
    multi_bin_batch_s,
    multi_bin_latency_s,
    multi_bin_throughput_limit_rps,
    multi_bin_throughput_rps,
    uniform_max_s,
)
from simlib.theory.maxima import (
    bin_max_s,
    bin_shares,
    binned_batch_s,
    binned_throughput_rps,
    distribution_max_s,
    sample_max_s,
)
from simlib.theory.queues import (
    formation_delay_s,
    full_batch_latency_s,
    full_batch_waiting_share,
    greedy_batch_idle_share,
    greedy_batch_latency_s,
    mg1_latency_s,
    mm1_latency_s,
    mmc_latency_s,
    mmc_waiting_share,
    processor_sharing_latency_s,
)

__all__ = [
    "BatchChain",
    "batch_chain",
    "bin_max_s",
    "bin_shares",
    "binned_batch_s",
    "binned_throughput_rps",
    "bins_needed",
    "distribution_max_s",
    "exponential_bound_s",
    "exponential_edges_s",
    "exponential_max_s",
    "formation_delay_s",
    "full_batch_latency_s",
    "full_batch_waiting_share",
    "greedy_batch_idle_share",
    "greedy_batch_latency_s",
    "longest_member",
    "mg1_latency_s",
    "mm1_latency_s",
    "mmc_latency_s",
    "mmc_waiting_share",
    "multi_bin_batch_s",
    "multi_bin_latency_s",
    "multi_bin_throughput_limit_rps",
    "multi_bin_throughput_rps",
    "processor_sharing_latency_s",
    "sample_max_s",
    "take_all_bounds_s",
    "uniform_max_s",
]

__getattr__ = getter(__name__)
