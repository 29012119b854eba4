"""Every parameter of the core's public functions pushed out of its range: one kind of error, which names it.

Tables are in `test_table`, deadlines' texts in `test_metrics`, grids in `test_latency`, files in `test_run`.
"""

import math
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

import simlib
from book.chapters.controller import study
from book.chapters.levels import k_sensitivity
from book.chapters.workloads import traffic
from book.kit import style
from simlib import levels, named
from simlib.calibration import fit
from simlib.latency import models
from simlib.policies import bins
from simlib.requests import lengths, predictors
from simlib.runs import metrics

TABLE = simlib.RequestTable(np.arange(8) * 0.1, [100] * 8, [50] * 8, range(8))
LENGTHS = np.array([1, 5, 9])

NO_NUMBERS = (math.nan, math.inf, -math.inf, "1", None, True, [1], 10**400)
BELOW_ZERO = (*NO_NUMBERS, -1, -0.001)
NOT_ABOVE_ZERO = (*BELOW_ZERO, 0)
NO_LIMITS = (*(value for value in NOT_ABOVE_ZERO if value != "1"), "x", "1_0", "-1s", 3601)
NOT_COUNTS = (*NO_NUMBERS, -1, 0, 1.5)
NO_CHOICES = ("nothing", "", None, 5, True, ["original"], b"original")
NO_LENGTHS = ([], [10**400], None, "x", [[1, 2]], [1, math.nan], [1, math.inf], ["a"], [[1], [1, 2]], 5)
NO_TIMES = (None, [10**400], "x", [], [[1.0]], [-1.0], [math.nan], [math.inf], ["a"], [[1], [1, 2]])
NO_RUNS = (None, 5, "x", TABLE)


def takes_one(now_s, gpu, waiting, params, memory, note):
    queue = 0
    while waiting.tail[queue] == waiting.head[queue]:
        queue += 1
    return queue, 1


def run(policy="static_fifo", **options):
    return simlib.simulate(TABLE, policy, **options)


def custom(**changes):
    return run(simlib.Custom(**{"name": "mine", "decide": takes_one, **changes}), backend="interpreted")


def rules(**changes):
    return run(simlib.DynamicNoBins(1.0, simlib.Rules("paper", **changes)))


def original(**changes):
    return run(simlib.DynamicNoBins(1.0, simlib.Rules("original", **changes)))


# By function and parameter, whose name the message must hold: what is called with the bad value, the bad values.
SIMULATE = {
    "simulate.requests": (lambda v: simlib.simulate(v, "static_fifo"), (None, 5, "x", [], object())),
    "simulate.policy": (run, (None, 5, "fifo", simlib.StaticFIFO, object(), ["static_fifo"])),
    "simulate.latency": (
        lambda v: run(latency=v),
        (None, 5, "fast", "1,2", "a,b,c", "-1,0,0", [1], simlib.Affine, {}, b"x"),
    ),
    "simulate.gpus": (lambda v: run(gpus=v), (*NOT_COUNTS, 5000)),
    "simulate.execution": (lambda v: run(execution=v), NO_CHOICES),
    "simulate.sla": (lambda v: run(sla=v), (math.nan, math.inf, "x", True, [1], 10**400, 0, -1, "", {"latency": 1})),
    "simulate.oversize": (lambda v: run(oversize=v), NO_CHOICES),
    "simulate.backend": (lambda v: run(backend=v), NO_CHOICES),
}
POLICIES = {
    "StaticFIFO.batch_size": (lambda v: run(simlib.StaticFIFO(v)), (*NOT_COUNTS, 10**30)),
    "DynamicNoBins.d_sla": (simlib.DynamicNoBins, NO_LIMITS),
    "DynamicNoBins.variant": (lambda v: simlib.DynamicNoBins(variant=v), (*NO_CHOICES, simlib.Rules)),
    "MultiBinDynamic.k_bins": (simlib.MultiBinDynamic, (*NOT_COUNTS, 5000)),
    "MultiBinDynamic.d_sla": (lambda v: simlib.MultiBinDynamic(d_sla=v), NO_LIMITS),
    "MultiBinDynamic.bin_select": (lambda v: simlib.MultiBinDynamic(bin_select=v), NO_CHOICES),
    "MultiBinDynamic.bounds": (
        lambda v: run(simlib.MultiBinDynamic(4, bounds=v)),
        (
            None,
            5,
            "mass",
            [1, 2],
            [3, 2, 1],
            [1, 1, 2],
            [1, 2, 10**400],
            [1, math.nan, 3],
            ["a", "b", "c"],
            {1, 2, 3},
            [[1, 2, 3]],
        ),
    ),
    "MultiBinDynamic.variant": (lambda v: simlib.MultiBinDynamic(variant=v), (*NO_CHOICES, simlib.Rules)),
    "MultiBinDynamic.batch_sizes": (
        lambda v: simlib.MultiBinDynamic(2, batch_sizes=v),
        (*(v for v in NOT_COUNTS if v is not None), 10**30, [], [1, 2, 3], [1, 0], [1, None], (1, 1.5), {1, 2}),
    ),
    "ShortestPredictedFirst.seconds_per_token": (
        simlib.ShortestPredictedFirst,
        tuple(v for v in BELOW_ZERO if v is not None and v != math.inf),
    ),
    "ShortestPredictedFirst.k_bins": (lambda v: simlib.ShortestPredictedFirst(k_bins=v), (*NOT_COUNTS, 5000)),
    "ShortestPredictedFirst.batch_size": (
        lambda v: simlib.ShortestPredictedFirst(batch_size=v),
        (*NOT_COUNTS, 10**30),
    ),
    "MultiBinFixed.batch_size": (
        lambda v: run(simlib.MultiBinFixed(v, 2)),
        (*NOT_COUNTS, 10**30, [], [1, 2, 3], [1, 0], [[1, 2], [3, 4]], np.ones((2, 2)), {1, 2}),
    ),
    "MultiBinFixed, optimal.rows": (lambda v: run(simlib.MultiBinFixed(v, 2, "optimal")), (2, [1, 2], 128)),
    "MultiBinFixed.k_bins": (lambda v: simlib.MultiBinFixed(2, v), (*NOT_COUNTS, 5000)),
    "MultiBinFixed.bounds": (
        lambda v: run(simlib.MultiBinFixed(2, 4, v)),
        (None, 5, "mass", [1, 2], [3, 2, 1], [1, math.inf, 3]),
    ),
    "MultiBinFixed with B = 1.batch_size": (lambda v: run(simlib.MultiBinFixed(1, 4, v)), ("lemma_a1",)),
    "Custom.name": (lambda v: custom(name=v), (None, 5, ["x"])),
    "Custom.decide": (lambda v: custom(decide=v), (None, 5, "static_fifo", lambda now_s: (0, 1))),
    "Custom.learn": (lambda v: custom(learn=v), (None, 5, lambda now_s: None)),
    "Custom.k_bins": (lambda v: custom(k_bins=v), (*NOT_COUNTS, 5000)),
    "Custom.bounds": (lambda v: custom(bounds=v), (None, 5, "mass", [1, 2])),
    "Custom with K = 3.bounds": (lambda v: custom(bounds=v, k_bins=3), (None, 5, "mass", [1], [2, 1])),
    "Custom.params": (lambda v: custom(params=v), (None, 5, "x", ["a"], [[1.0]], [[1], [1, 2]])),
    "Custom.memory": (lambda v: custom(memory=v), (None, 5, "x", [1.0], [["a"]], [[1], [1, 2]])),
    "Custom.notes": (lambda v: custom(notes=v), (None, 5, "ab", (1, 2))),
    "Custom.capacity_tokens": (
        lambda v: custom(capacity_tokens=v),
        (math.nan, -math.inf, "1", None, True, 0, -1, 10**400),
    ),
}
RULES = {
    "Rules.variant": (simlib.Rules, NO_CHOICES),
    "Rules.b_min": (lambda v: rules(b_min=v), NOT_COUNTS),
    "Rules.b_max": (lambda v: rules(b_max=v), (*NOT_COUNTS, 10**30)),
    "Rules with b_min = 5.b_max": (lambda v: rules(b_min=5, b_max=v), (4,)),
    "Rules.epsilon_s": (lambda v: rules(epsilon_s=v), BELOW_ZERO),
    "Rules.epsilon_m": (lambda v: rules(epsilon_m=v), (*NOT_ABOVE_ZERO, 0.51, 1)),
    "Rules.alpha": (lambda v: rules(alpha=v), NOT_COUNTS),
    "Rules.delta": (lambda v: rules(delta=v), NOT_COUNTS),
    "Rules.average_batches": (lambda v: rules(average_batches=v), (*NOT_COUNTS, 10**30)),
    "Rules.smoothing": (lambda v: original(smoothing=v), (*NOT_ABOVE_ZERO, 1.01)),
    "Rules.candidates": (lambda v: original(candidates=v), (*NOT_COUNTS, 10**30)),
    "Rules.buffer_share": (lambda v: original(buffer_share=v), (*BELOW_ZERO, 1, 1.5)),
    "Rules.initial_prompt_tokens": (lambda v: original(initial_prompt_tokens=v), NOT_ABOVE_ZERO),
    "Rules.initial_output_tokens": (lambda v: original(initial_output_tokens=v), NOT_ABOVE_ZERO),
    "Rules.memory_factor": (lambda v: rules(memory_factor=v), (*NOT_ABOVE_ZERO, 1.01)),
    "Rules.memory": (lambda v: rules(memory=v), (None, 12, "12 GB", simlib.Memory, {})),
    "Rules.params.d_sla": (lambda v: simlib.Rules().params(v), NOT_ABOVE_ZERO),
    "Memory.total_gb": (lambda v: simlib.Memory(total_gb=v), (*NOT_ABOVE_ZERO, 3)),
    "Memory.model_gb": (lambda v: simlib.Memory(model_gb=v), (*BELOW_ZERO, 11)),
    "Memory.margin_gb": (lambda v: simlib.Memory(margin_gb=v), (*BELOW_ZERO, 10)),
    "Memory.kv_gb_per_token": (lambda v: simlib.Memory(kv_gb_per_token=v), (*NOT_ABOVE_ZERO, 1e-320)),
}
LATENCIES = {
    "Affine.alpha_s": (lambda v: simlib.Affine(v, 0, 0), BELOW_ZERO),
    "Affine.beta_s_per_token": (lambda v: simlib.Affine(0, v, 0), BELOW_ZERO),
    "Affine.gamma": (lambda v: simlib.Affine(0, 0, v), BELOW_ZERO),
    "Affine.floor_s": (lambda v: simlib.Affine(0, 0, 0, v), BELOW_ZERO),
    "Affine.batch_time_s.size": (lambda v: simlib.Affine(1, 1, 1).batch_time_s(v, 10), (0, -1, math.nan, "x", None)),
    "Affine.batch_time_s.max_total_tokens": (
        lambda v: simlib.Affine(1, 1, 1).batch_time_s(1, v),
        (-1, math.nan, "x", None),
    ),
    "GivenTimes": (simlib.GivenTimes, NO_TIMES),
    "GivenBatchTimes": (simlib.GivenBatchTimes, NO_TIMES),
    "simulate.GivenTimes": (lambda v: run(latency=simlib.GivenTimes(v)), ([1.0], [1.0] * 7, [1.0] * 9)),
    "simulate.GivenBatchTimes": (lambda v: run(latency=simlib.GivenBatchTimes(v)), ([1.0], [1.0] * 7)),
    "Function.latency": (models.Function, (None, 5, "x", lambda: 1.0, lambda a: 1.0, float)),
    "from_grid.latency": (fit.from_grid, (None, 5, [1], "absent.csv", Path("absent.csv"), b"x")),
    "resolve.latency": (named.latency_of, (None, 5, [1], "absent.csv", Path("absent.csv"), "x")),
}
BINS = {
    "edges.bounds": (
        lambda v: bins.edges(v, LENGTHS, 3),
        (None, 5, "mass", [1], [2, 1], [1, 1], ["a", "b"], [[1], [2, 3]]),
    ),
    "edges, equal mass.lengths_tokens": (lambda v: bins.edges("equal_mass", v, 3), NO_LENGTHS),
    "edges, equal width.lengths_tokens": (lambda v: bins.edges("equal_width", v, 3), NO_LENGTHS),
    "edges, Lemma A.1.tokens": (lambda v: bins.edges("lemma_a1", v, 3), ([], None, "x", [0, 0], [1, math.nan])),
    "edges.k_bins": (lambda v: bins.edges("equal_mass", LENGTHS, v), NOT_COUNTS),
    "edges.batch_size": (lambda v: bins.edges("lemma_a1", LENGTHS, 3, v), (*NOT_COUNTS, 1)),
    "equal_mass.lengths_tokens": (lambda v: bins.equal_mass(v, 3), NO_LENGTHS),
    "equal_mass.k_bins": (lambda v: bins.equal_mass(LENGTHS, v), NOT_COUNTS),
    "equal_width.lengths_tokens": (lambda v: bins.equal_width(v, 3), NO_LENGTHS),
    "equal_width.k_bins": (lambda v: bins.equal_width(LENGTHS, v), NOT_COUNTS),
    "lemma_a1.mean_tokens": (lambda v: bins.lemma_a1(v, 3, 8), NOT_ABOVE_ZERO),
    "lemma_a1.k_bins": (lambda v: bins.lemma_a1(10.0, v, 8), (math.nan, math.inf, "1", None, True, [1], -1, 0, 1.5)),
    "lemma_a1.batch_size": (lambda v: bins.lemma_a1(10.0, 3, v), (math.nan, math.inf, "1", None, [1], -1, 0, 1.5)),
    "assign.lengths_tokens": (lambda v: bins.assign(v, np.array([3.0])), (None, "x", [[1, 2]], [math.nan], ["a"])),
    "assign.edges": (lambda v: bins.assign(LENGTHS, v), (None, "x", [2.0, 1.0], [math.nan], [[1.0]])),
}
METRICS = {
    "summary.run": (metrics.summary, NO_RUNS),
    "violations.run": (metrics.violations, NO_RUNS),
    "request_times.run": (metrics.request_times, NO_RUNS),
    "by_class.run": (lambda v: metrics.by_class(v, "priority"), NO_RUNS),
}
RUNS = levels.runs_of(1, requests=30, replications=2)
NO_FRAMES = (None, 5, "x", [], {}, TABLE, RUNS[:0], RUNS.drop(columns="scheduler"))
NOT_SEVERAL = (None, 5, "x", [], [None], [math.nan], [[]], ["x"])
STUDY = {"requests": 30, "replications": 2}
STUDIES = {
    "levels.of.level": (levels.of, (None, 0, 5, True, 1.5, "1", [], {}, math.nan)),
    "levels.requests_of.level": (levels.requests_of, (None, 0, 5, True, [], {})),
    "levels.runs_of.replications": (lambda v: levels.runs_of(1, replications=v), (*NOT_COUNTS, 10**12)),
    "levels.runs_of.seed": (lambda v: levels.runs_of(1, replications=2, seed=v), (*NO_NUMBERS, -1, 2**32 - 3)),
    "levels.table_of.runs": (levels.table_of, NO_FRAMES),
    "levels.table_of.as_claimed": (lambda v: levels.table_of(RUNS, v), (None, 5, "x", RUNS)),
    "levels.differences.runs": (levels.differences, NO_FRAMES),
    "levels.differences.settings": (lambda v: levels.differences(RUNS, v), (5, "x", [1])),
    "levels.times_of.level": (levels.times_of, NOT_SEVERAL),
    "levels.progress.replications": (lambda v: levels.progress(v, "x"), NOT_COUNTS),
    "k_sensitivity.k_": (lambda v: k_sensitivity.k_sensitivity(k_values=v, **STUDY), NOT_SEVERAL),
    "k_sensitivity.select": (lambda v: k_sensitivity.k_sensitivity(selections=v, **STUDY), NOT_SEVERAL),
    "k_sensitivity.arrivals": (lambda v: k_sensitivity.k_sensitivity(arrivals=v, **STUDY), NOT_SEVERAL),
    "k_sensitivity.seed": (lambda v: k_sensitivity.k_sensitivity(seed=v, **STUDY), (*NO_NUMBERS, -1)),
    "k_sensitivity.replications": (lambda v: k_sensitivity.k_sensitivity(replications=v), (*NOT_COUNTS, 1, 10**12)),
    "equals_static.seed": (lambda v: study.equals_static([1], seed=v, **STUDY), (*NO_NUMBERS, -1)),
    "equals_static.replications": (lambda v: study.equals_static([1], replications=v), (*NOT_COUNTS, 10**12)),
    "controller_branches.numbers|level": (lambda v: study.controller_branches(v, [1.0], **STUDY), NOT_SEVERAL),
    "controller_branches.d": (lambda v: study.controller_branches([1], v, **STUDY), NOT_SEVERAL),
    "controller_branches.seed": (lambda v: study.controller_branches([1], [1.0], seed=v, **STUDY), (None, "x", -1)),
    "collapse.burst": (lambda v: study.collapse(1.0, 40, v), (*NOT_COUNTS, 10**12)),
    "collapse.long_requests": (lambda v: study.collapse(1.0, v), (*NOT_COUNTS, 10**12)),
    "backlog.run": (study.backlog, NO_RUNS),
    "late_alone.d_sla": (lambda v: traffic.late_alone(100.0, v, 1, 30, 50.0), NOT_ABOVE_ZERO),
}
TRAFFIC = {
    "dispersion_index.arrival_s": (lambda v: traffic.dispersion_index(v, 1.0), (None, 5, "x", [], ["a"], [math.nan])),
    "dispersion_index.window_s": (lambda v: traffic.dispersion_index(LENGTHS, v), (*NOT_ABOVE_ZERO, 1e-300, 5.0)),
    "gap_variation.arrival_s": (traffic.gap_variation, (None, 5, "x", [], [1.0], [1.0, 1.0], ["a"], [3.0, 2.0, 1.0])),
    "burstiness.table": (traffic.burstiness, (None, 5, "x", RUNS)),
    "burstiness.window": (lambda v: traffic.burstiness(TABLE, v), NOT_SEVERAL),
    "burstiness.replications": (lambda v: traffic.burstiness(TABLE, [0.1], v), (*NOT_COUNTS, 19, 10**12)),
    "arrivals_by_hour.table": (traffic.arrivals_by_hour, (None, 5, "x", RUNS)),
    "arrivals_by_hour.offset_s": (lambda v: traffic.arrivals_by_hour(TABLE, v), (*NO_NUMBERS, 1e300)),
    "length_table.tables": (traffic.length_table, (None, 5, "x", {"a": None})),
    "length_table.quantiles": (lambda v: traffic.length_table({"a": TABLE}, v), (*NOT_SEVERAL, [2.0])),
}
HUGE = [10**400]  # no float holds it
TOO_LARGE = {
    "Empirical.values": (lengths.Empirical, (HUGE,)),
    "Confusion.matrix": (lambda v: predictors.Confusion(v, (0, 5)), ([HUGE],)),
    "edges.bounds": (lambda v: bins.edges(v, LENGTHS, 2), (HUGE,)),
    "assign.lengths_tokens": (lambda v: bins.assign(v, [3.0]), (HUGE,)),
    "batch_time_s.size": (lambda v: simlib.Affine(1, 1, 1).batch_time_s(v, 10), (HUGE,)),
    "GivenTimes": (simlib.GivenTimes, (HUGE,)),
    "Custom.params": (lambda v: custom(params=v), (HUGE,)),
    "Custom.capacity_tokens": (lambda v: custom(capacity_tokens=v), (RUNS,)),
    "RequestTable.index": (lambda v: simlib.RequestTable([0.0], [1], [1], index=v), (5, 1.5, True, object())),
    "RequestTable.arrival_s": (lambda v: simlib.RequestTable(v, [1], [1]), ([1j], np.ones(1, np.complex64), HUGE)),
}
PARAMETERS = SIMULATE | POLICIES | RULES | LATENCIES | BINS | METRICS | STUDIES | TRAFFIC | TOO_LARGE


def shown(value) -> str:
    return value.__name__ if callable(value) and hasattr(value, "__name__") else repr(value)[:20]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(place, value, id=f"{place}={shown(value)}")
        for place, (_, values) in PARAMETERS.items()
        for value in values
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_value_out_of_range_is_refused_by_name(place, value):
    with pytest.raises(simlib.InputError, match=place.split(".")[-1]):
        PARAMETERS[place][0](value)


@pytest.mark.parametrize(
    ("figure", "name", "folder"), [(None, "a", "."), (plt.Figure(), 5, "."), (plt.Figure(), "a", 5)]
)
def test_what_cannot_be_saved_as_a_figure_is_refused(figure, name, folder):
    with pytest.raises(simlib.InputError):
        style.save(figure, name, folder)


def test_a_figure_cannot_be_saved_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(simlib.InputError, match="file"):
        style.save(plt.Figure(), "a", tmp_path / "file")


def test_the_same_calls_take_values_in_range():
    """Or the table above could pass whatever is refused."""
    assert run(gpus=2, sla=0.5, oversize="reject", backend="interpreted", latency="0.1,0.2,0.3").gpus == 2
    mine = custom(params=[1.0], memory=[[0.0]], notes=("a",), capacity_tokens=math.inf, k_bins=2, bounds=[3])
    assert mine.rejected == 0
    assert rules(b_min=2, b_max=2, epsilon_s=0, epsilon_m=0.5, alpha=1, delta=1, memory_factor=1).rejected == 0
    assert original(smoothing=1, buffer_share=0, candidates=1, initial_prompt_tokens=1).rejected == 0
    assert simlib.Affine(0, 0, 0, 0).batch_time_s(1, 10) == 0
    assert bins.edges("lemma_a1", LENGTHS, 3, 2).shape == (2,)
    assert bins.assign(LENGTHS, np.array([3.0])).tolist() == [0, 1, 1]
