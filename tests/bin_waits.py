"""The live figure of bins on GPUs, in the library's own runs: who is late, and what a request waits for."""

import itertools
import warnings

import numpy as np

from book.chapters.capacity import moving
from simlib.policies import bins
from simlib.policies.batch_size import Rules
from simlib.policies.dynamic import DynamicNoBins, MultiBinDynamic
from simlib.requests import predictors, workload
from simlib.simulation import simulate

DEADLINE_S = 22.4


def runs_of(k_bins, gpus, rate, predictor="original", cap=64, draws=moving.DRAWS):
    """One run a draw; one bin is none."""
    rules = Rules(b_max=cap)
    policy = MultiBinDynamic(k_bins, DEADLINE_S, variant=rules) if k_bins > 1 else DynamicNoBins(DEADLINE_S, rules)
    for seed in range(draws):
        table = workload.original(moving.REQUESTS, seed)
        if predictor == "oracle":
            table = predictors.predict(table, predictors.Oracle(), family="explorer", replication=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield simulate(table.at_rate(rate * gpus / workload.ORIGINAL_RATE_RPS), policy, moving.PRESET, gpus)


def late(*where):
    """The share of late requests, a number a draw."""
    return np.array([run.summary(DEADLINE_S)["sla_violation_share"] for run in runs_of(*where)])


def parts_of(run, k_bins: int) -> tuple[float, float, float]:
    """Mean seconds waiting while no GPU serves the request's bin, waiting otherwise, and in its batch."""
    table, start_s, end_s = run.table, run.times.start_s, run.times.completion_s
    own = np.zeros(len(start_s), int)
    if k_bins > 1:
        own = bins.assign(
            table.predicted_output_tokens, np.floor(bins.equal_mass(table.predicted_output_tokens, k_bins))
        )
    meanwhile_s = np.zeros(len(start_s))
    for line in range(k_bins):
        mine = own == line
        edges_s = np.unique(np.concatenate([start_s[mine], end_s[mine]]))
        for low, high in itertools.pairwise(edges_s):
            if ((start_s[mine] <= low) & (end_s[mine] >= high)).any():
                meanwhile_s[mine] += np.clip(
                    np.minimum(start_s[mine], high) - np.maximum(table.arrival_s[mine], low), 0, None
                )
    waits_s = start_s - table.arrival_s
    if k_bins == 1:
        meanwhile_s = waits_s
    return (waits_s - meanwhile_s).mean(), meanwhile_s.mean(), (end_s - start_s).mean()
