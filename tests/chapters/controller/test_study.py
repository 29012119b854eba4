"""The controller at work, against what was measured with the original system; its figure has its deadline."""

import html

import matplotlib
import pytest
from drawn import texts

import simlib
from book.chapters.controller import figures, study, tables
from simlib import levels
from simlib.checks import InputError

matplotlib.use("Agg")


def test_dynamic_batching_is_a_static_batch_of_64():
    # Measured with the original: 100 of 100 seeds at level 1, 99 at level 3.
    found = study.equals_static((1, 3), seed=0).set_index("level")
    assert found["share"].tolist() == [1.0, 0.99]
    assert found.loc[1, "ci_low"] > 0.96 and found.loc[1, "ci_high"] == 1.0
    assert "static batches of" in tables.show_equal(found.reset_index()).to_html()
    assert study.equals_static((1,), (8,), seed=0, replications=5)["share"].tolist() == [0.0]


def test_the_controller_takes_one_branch_at_the_documents_deadline_and_all_under_a_tight_one():
    table = study.controller_branches((3,), deadlines_s=(1.0, 0.5), replications=3)
    dynamic = table[table["scheduler"] == "dynamic_no_bins"].pivot_table(
        index="d_sla_s", columns="branch", values="share"
    )
    assert dynamic.loc[1.0, "too slow"] == dynamic.loc[1.0, "within tolerance"] == 0.0
    assert (dynamic.loc[0.5] > 0).all()
    assert table.groupby(["d_sla_s", "scheduler"])["share"].sum().tolist() == pytest.approx([1.0] * 4)


def test_the_collapse_needs_several_times_the_static_schedulers_time():
    clearing = study.clearing_times(study.collapse()).set_index(["scheduler", "variant"])
    static, collapsed = clearing.loc[("static_fifo", "")], clearing.loc[("dynamic_no_bins", "original")]
    assert collapsed["clearing_s"] > 5 * static["clearing_s"]
    assert collapsed["batch_size_mean"] < 2
    assert clearing.loc[("dynamic_no_bins", "paper"), "clearing_s"] < static["clearing_s"]
    shown = tables.show_clearing(clearing.reset_index()).to_html()
    assert "static batches" in shown and "original's rule" in html.unescape(shown) and "dynamic_no_bins" not in shown


def test_the_backlog_starts_at_the_burst_and_ends_empty():
    burst = study.collapse()
    time_s, number = study.backlog(simlib.simulate(burst, "static_fifo"))
    assert time_s[0] >= 0 and number[-1] == 0
    assert 300 < number.max() <= study.BURST


def test_the_controllers_figure_has_its_deadline():
    table = levels.requests_of(3, 300, 42)[0]
    run = simlib.simulate(table, simlib.DynamicNoBins(0.5), "original-calibrated", 2)
    figure = figures.controller_window(run.controller, run.served.size, 0.5)
    assert "deadline" in texts(figure) and "Batch size (requests)" in texts(figure)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: study.equals_static((1,), replications=0), "replications"),
        (lambda: study.equals_static((9,)), "level"),
        (lambda: study.controller_branches((1,), (0.0,), requests=5, replications=2), "d_sla"),
        (lambda: study.collapse(long_requests=0), "long_requests"),
        (lambda: study.collapse(burst=0), "burst"),
        (lambda: study.equals_static((1,), seed=None), "seed"),
        (lambda: study.equals_static((1,), (0,)), "batch_size"),
        (lambda: study.controller_branches((1,), (1.0,), seed=-1), "seed"),
    ],
)
def test_a_bad_setting_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
