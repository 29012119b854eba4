"""The arrays of the views agree with the runs that they are of, and what follows with the intervals of `shares`."""

import json

import numpy as np
import pytest

from book.explorer.state import Position
from book.explorer.views import CURVE_S, counts, following, view
from book.explorer.widget import packed
from simlib.runs import metrics
from simlib.stats import shares

SMALL = {"requests": 400}


@pytest.mark.parametrize("d_sla", [0.05, 0.31, 1.0, 5.0])
def test_the_late_part_of_the_distribution_is_the_late_requests(d_sla):
    for run in Position(d_sla=d_sla, **SMALL).runs():
        first, number = counts(run, d_sla)
        assert number.sum() == 400
        assert number[max(-first, 0) :].sum() == metrics.violations(run, d_sla).sum()
        latency_s = run.times.completion_s - run.table.arrival_s
        edges = d_sla * 2.0 ** ((first + np.arange(len(number) + 1)) / 4)
        assert edges[0] < latency_s.min() and latency_s.max() <= edges[-1] * (1 + 1e-12)


@pytest.mark.parametrize(
    "settings", [{}, {"execution": "continuous"}, {"gpus": 16, "load": 0.1}, {"schedulers": ["multi_bin_fixed"]}]
)
def test_a_view_can_be_sent_and_has_a_row_a_scheduler(settings):
    position = Position(**SMALL | settings)
    seen = view(position)
    json.dumps(packed(seen)[0], allow_nan=False)
    assert [run["scheduler"] for run in seen["runs"]] == list(position.schedulers)
    for run, served in zip(seen["runs"], position.runs(), strict=True):
        assert run["summary"]["sla_violation_share"] == served.summary()["sla_violation_share"]
        blocks, series = run["blocks"], run["series"]
        assert (np.diff(series["time_s"]) > 0).all() and len(series["time_s"]) <= 160
        assert (blocks["end_s"] > seen["window_s"][0]).all() and (blocks["start_s"] < seen["window_s"][1]).all()
        assert set(np.unique(blocks["gpu"])) <= set(range(position.gpus))


def test_sizes_over_time_lie_in_the_controllers_window_and_average_to_the_mean():
    position = Position(schedulers=["dynamic_no_bins"], **SMALL)
    (run,), seen = position.runs(), view(position)["runs"][0]
    series = seen["series"]
    assert (series["low"] <= series["high"]).all() and series["target"].max() <= run.controller["b_sla"].max()
    assert run.served.size.min() <= series["size"].min() and series["size"].max() <= run.served.size.max()


def test_what_follows_are_intervals_of_independent_runs_and_a_curve_through_them():
    position = Position(d_sla=0.5, **SMALL)
    parts = list(following(position, replications=12))
    assert parts.count(None) >= 24  # it can be left off
    intervals, curve, by_load, by_bins, last = (part for part in parts if part is not None)
    runs = [position.served(position.drawn(r), "dynamic_no_bins") for r in range(12)]
    expected = shares.share_interval([metrics.violations(run).sum() for run in runs], 400)
    found = intervals["intervals"]["dynamic_no_bins"]
    assert (found["mean"], found["low"], found["high"]) == (expected.value, expected.ci_low, expected.ci_high)
    assert intervals["replications"] == 12 and not intervals["conditional"]
    (line,) = (line for line in curve["curve"] if line["scheduler"] == "dynamic_no_bins")
    assert line["share"][CURVE_S.index(0.5)] == expected.value
    for name, place, found in (("load_curve", 1.0, by_load), ("k_curve", 4, by_bins)):
        line = next(line for line in found[name] if line["scheduler"] == "multi_bin_dynamic")
        assert line["share"][line["x"].index(place)] == intervals["intervals"]["multi_bin_dynamic"]["mean"]
    assert last == {"settled": True}
    (pair,) = (pair for pair in intervals["differences"] if pair["a"] == "multi_bin_dynamic" and "dyn" in pair["b"])
    assert pair["low"] <= pair["mean"] <= pair["high"]


def test_where_nothing_is_random_no_interval_is_claimed():
    parts = [part for part in following(Position(workload="burstgpt", predictor="oracle", **SMALL)) if part]
    assert [set(part) for part in parts] == [{"curve"}, {"load_curve"}, {"k_curve"}, {"settled"}]
    assert all(low is None for line in parts[0]["curve"] for low in line["low"])


def test_a_shorter_trace_and_what_the_simulation_warns_of_are_noted():
    seen = view(Position(workload="burstgpt", requests=5000, latency="a100-vllm-llama2-7b"))
    assert seen["requests"] < 5000 and any("as many as there are" in note for note in seen["notes"])
    assert len(seen["notes"]) >= 2  # the measured model says that batches lie outside its measurements
