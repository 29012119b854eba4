"""The statistics figures draw what their table says."""

import matplotlib
import numpy as np
import pandas as pd

from book.chapters.trust import figures

matplotlib.use("Agg")

ROW = {"queue": "mm1", "rho": 0.5, "quantity": "mean", "method": "batch_means", "coverage": 0.95, "ci_low": 0.93}
ROW |= {"ci_high": 0.96, "recommended": True}
OTHER = ROW | {
    "queue": "batch_4",
    "quantity": "p99",
    "method": "order statistics",
    "coverage": 0.2,
    "recommended": False,
}


def names(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


def test_coverage_keeps_what_is_recommended_apart_from_what_is_done_instead():
    good, poor = figures.coverage(pd.DataFrame([ROW, OTHER, OTHER | {"coverage": np.nan}])).axes
    assert names(good) == ["mean: batches of one long run"] and names(poor) == ["P99: requests taken for independent"]
    marks = [[(line.get_xdata()[0], line.get_marker()) for line in axis.lines[1:]] for axis in (good, poor)]
    assert marks == [[(0.95, "o")], [(0.2, "s")]]
    assert good.get_xlim() == (0.9, 1.0) and poor.get_xlim() == (0.0, 1.0)


def test_near_saturation_a_line_is_a_capacity_or_a_run_by_its_length_and_who_is_refused_has_no_mark():
    run = ROW | {"rho": 0.95, "quantity": "p99", "method": "sectioning", "memories": 50, "given_share": 0.004}
    plain = run | {"method": "plain sections", "recommended": False, "coverage": 0.55, "given_share": 1.0}
    rate = plain | {"quantity": "capacity, 10 s", "method": "mean of roots"}
    axis = figures.edge(pd.DataFrame([run, plain, rate, rate | {"recommended": True, "coverage": 0.95}])).axes[0]
    assert names(axis) == ["M/M/1: capacity at a deadline of 10 s", "M/M/1: P99 of a run of 50 memories"]
    marks = {(line.get_xdata()[0], line.get_ydata()[0], line.get_marker()) for line in axis.lines[1:]}
    assert marks == {(0.55, 0, "s"), (0.95, 0, "o"), (0.55, 1, "s")}
    assert [text.get_text() for text in axis.texts] == ["refused", "often done instead", "recommended"]


def test_growth_shows_the_cost_of_a_request_by_plain_names():
    ways = ("static_fifo", "multi_bin_dynamic, K = 64", "multi_bin_dynamic, light", "continuous, busy")
    rows = [(way, requests, 20.0 * place) for place, way in enumerate(ways, 1) for requests in (10, 100)]
    axis = figures.growth(pd.DataFrame(rows, columns=["engine", "requests", "ns_per_request"])).axes[0]
    assert {text.get_text() for text in axis.texts} == {"static batches", "64 bins", "bins, light load", "busy"}
    assert [line.get_ydata()[-1] for line in axis.lines] == [20.0, 40.0, 60.0, 80.0]


def test_errors_have_a_panel_for_the_profile_and_one_for_the_law_from_the_log_with_its_limits():
    lines = [(metric, statistic) for metric in figures.METRICS for statistic in figures.MARKERS]
    models = ("profile", "affine", "affine-from-log")
    table = pd.DataFrame([(m, *line, n) for n, m in enumerate(models) for line in lines])
    table.columns = ["step_model", "metric", "statistic", "error_percent"]
    drawn = pd.DataFrame(lines, columns=["metric", "statistic"])
    drawn = drawn.assign(ci_low=1.0, ci_high=3.0, shared_low=-1.0, shared_high=2.0)
    profile, law = figures.errors(table, drawn).axes
    assert [line.get_xdata()[0] for line in profile.lines[1:]] == [0] * 12
    assert [line.get_xdata()[0] for line in law.lines[1:]] == [2] * 12
    assert names(profile)[::4] == ["first token, mean", "between tokens, mean", "end to end, mean"]


def test_the_warm_up_shows_each_system_and_the_cut():
    averages = {"static_fifo": np.array([0.0, 1.0, 2.0]), "dynamic_no_bins": np.array([0.0, 0.5, 0.5])}
    figure = figures.warm_up(averages, 2, "Latency (s)")
    axis = figure.axes[0]
    assert [line.get_ydata()[-1] for line in axis.lines[:2]] == [2.0, 0.5]
    assert axis.lines[2].get_xdata()[0] == 2
    assert axis.texts[0].get_text() == "cut: 2"
    assert {text.get_text() for text in axis.texts[1:]} == {"static batches", "dynamic batching"}
    assert not figure.legends
