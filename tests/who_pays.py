"""The positions of the live figure of who pays, in the library's own runs."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from book.chapters.policies import moving, sizes
from book.chapters.policies.study import STEPS
from book.kit import arms
from simlib.continuous.settings import Continuous
from simlib.policies.dynamic import MultiBinDynamic
from simlib.policies.shortest_first import ShortestPredictedFirst
from simlib.requests import predictors, workload
from simlib.simulation import simulate

PLACES = pd.read_csv(Path(__file__).resolve().parents[1] / "data" / "results" / "policies_places.csv")
GPUS = 2
SCALES = PLACES[PLACES["traffic"] == "poisson"].set_index("execution")


def requests_of(execution, load, seed):
    """One draw, at a load."""
    table = workload.original(moving.REQUESTS, seed)
    table = predictors.predict(table, predictors.MultiplicativeNoise(0.5), family="explorer", replication=seed)
    return sizes.at_rate(table, load * SCALES.loc[execution, "capacity_rps"])


def variants_of(execution, order):
    """What competes for the place: in batches by sizes, of which the best on other draws is picked."""
    deadline_s = float(SCALES.loc[execution, "d_sla"])
    known = workload.original(moving.REQUESTS * len(moving.PICKED_BY), moving.PICKED_BY[0])
    ageing_s = arms.ageing_s(known.output_tokens, deadline_s)
    if execution == STEPS:
        engine = Continuous(max_seqs=moving.MOST, kv_tokens=1_800_000)
        in_bins = MultiBinDynamic(max(moving.LINES), deadline_s)
        return {"": ({"first": "fcfs", "bins": in_bins, "shortest": ShortestPredictedFirst(ageing_s)}[order], engine)}
    found = {
        "first": arms.dynamic(deadline_s, moving.CAPS),
        "bins": arms.bins(deadline_s, moving.LINES, moving.CAPS),
        "shortest": arms.shortest(ageing_s, moving.LINES, moving.CAPS),
    }
    return sizes.in_batches(found[order])


def thirds_of(execution, load, order):
    """Mean wait and time to the answer, 95th percentile of waiting and late share of each third, a row a draw."""
    variants, deadline_s = variants_of(execution, order), float(SCALES.loc[execution, "d_sla"])
    known = [requests_of(execution, load, seed) for seed in moving.PICKED_BY]
    policy, how = variants[sizes.picked(variants, known, moving.PRESET, GPUS, deadline_s)]
    found = {"wait": [], "total": [], "tail": [], "late": []}
    for seed in range(moving.DRAWS):
        table = requests_of(execution, load, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run = simulate(table, policy, moving.PRESET, GPUS, how)
        rank = np.argsort(np.argsort(table.output_tokens, kind="stable"), kind="stable") * 3 // len(table)
        total_s, waits_s = run.times.completion_s - table.arrival_s, run.times.start_s - table.arrival_s
        is_late = run.times.completion_s > table.arrival_s + deadline_s
        parts = [rank == third for third in range(3)]
        found["wait"].append([waits_s[part].mean() for part in parts])
        found["total"].append([total_s[part].mean() for part in parts])
        found["tail"].append([np.quantile(waits_s[part], 0.95) for part in parts])
        found["late"].append([is_late[part].mean() for part in parts])
    return {measure: np.array(rows) for measure, rows in found.items()}
