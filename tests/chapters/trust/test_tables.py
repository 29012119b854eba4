"""Tables about coverage follow the numbers."""

import pandas as pd
import pytest

from book.chapters.trust import tables
from book.kit.two_starts import Verdict
from simlib import datasets
from simlib.stats.intervals import Estimate


def row(method, coverage, recommended, quantity="mean", rho=0.5, memories=1000, study="steady_state"):
    made = {"queue": "mm1", "rho": rho, "quantity": quantity, "method": method, "experiments": 1000}
    return (
        made
        | {"coverage": coverage, "recommended": recommended, "study": study, "requests": 10 * memories}
        | {"memories": memories}
    )


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        row("batch_means", 0.951, True),
        row("batch_means", 0.94, True, rho=0.9, memories=2000),
        row("sectioning", 0.949, True, "p95"),
        row("sectioning", 0.948, True, "p99", memories=3000),
        row("order statistics", 0.21, False, "p99"),
        row("order statistics", 0.08, False, "p99", rho=0.9),
        row("independent requests", 0.33, False),
        row("replications", 0.95, True, study="terminating", memories=500),
    ]
    return pd.DataFrame(rows).assign(ci_low=0.0, ci_high=1.0)


def test_the_numbers_are_the_shortest_recommended_runs(table):
    numbers = tables.coverage_numbers(table)
    shortest = {key: value for key, value in numbers.items() if key.startswith("from_")}
    assert shortest == {"from_means": 1000, "from_p95": 1000, "from_p99": 3000, "from_replications": 500}
    assert (numbers["memory_low"], numbers["load_low"], numbers["load_high"]) == (10, 0.5, 0.9)


def test_the_table_stars_what_is_recommended_and_tells_the_studies_apart(table):
    shown = tables.show_coverage(table).data.set_index("interval")
    assert shown.loc["mean: batches of one long run", "M/M/1, 0.5"] == "95.1 % *"
    assert shown.loc["mean: independent runs", "M/M/1, 0.5"] == "95.0 % *"
    assert shown.loc["mean: independent runs", "M/M/1, 0.9"] == "–"
    assert shown.loc["P99: requests taken for independent", "M/M/1, 0.9"] == "8.0 %"


@pytest.fixture
def edge() -> pd.DataFrame:
    capacities = [
        row("mean share", 0.95, True, "capacity, 10 s", rho=0.7),
        row("mean of roots", 0.6, False, "capacity, 10 s", rho=0.7),
    ]
    runs = [
        row(method, coverage, method == "sectioning", "p99", rho=0.95, memories=memories) | {"given_share": given}
        for memories, given in ((50, 0.004), (200, 0.995))
        for method, coverage in (("sectioning", 0.94), ("plain sections", 0.7))
    ]
    return pd.DataFrame([made | {"given_share": 1.0} for made in capacities] + runs).assign(ci_low=0.5, ci_high=1.0)


def test_near_saturation_capacities_and_runs_have_a_table_each(edge):
    rate = tables.show_edge_capacities(edge).data.iloc[0]
    assert (rate["queue, deadline"], rate["capacity, services/s"]) == ("M/M/1, 10 s", "0.700")
    assert (rate["mean share"][:6], rate["mean of roots"][:6]) == ("95.0 %", "60.0 %")
    runs = tables.show_edge_runs(edge).data.set_index("memories")
    assert runs["P99"].str[:6].tolist() == ["–", "94.0 %"]  # hardly one of 50 memories is given an interval
    assert runs["given"].tolist() == ["0.4 %", "99.5 %"]
    assert tables.edge_numbers(edge) == {
        "edge_load": 0.95, "edge_memory": 10, "edge_short": "0.4 %", "edge_long": "99.5 %"
    }  # fmt: skip


def test_every_method_of_the_committed_experiments_has_a_name_of_its_own():
    committed = pd.read_csv(datasets.committed("coverage")).dropna(subset=["coverage"])
    named = committed.assign(line=[tables.method_name(row) for row in committed.itertuples()])
    assert set(named.loc[named["recommended"], "line"]) == set(tables.METHODS["recommended"])
    assert set(tables.METHODS["instead"]) <= set(named.loc[~named["recommended"], "line"])
    twice = named[named["method"] != "independent requests"].duplicated(["line", "queue", "rho"])
    assert not twice.any()


def test_an_estimate_without_an_interval_shows_its_reason():
    good = Estimate(1.5, 1.25, 1.75, "batch_means", 20)
    none = Estimate(9.0, None, None, "none", 20, "too short")
    verdict = Verdict("near_critical", Estimate(0.98, 0.9, 1.1, "windows", 20), "stable", "unclear")
    shown = tables.show_steady_state({"static_fifo": (good, none, verdict)}).data.iloc[0]
    assert shown["scheduler"] == "static batches"
    assert shown["mean (s)"] == "1.500 (1.250 to 1.750)"
    assert shown["P99 (s)"] == "9.000 (no interval: too short)"
    assert (shown["two starts"], shown["load"]) == ("near critical", "0.980 (0.900 to 1.100)")


def test_a_benchmark_is_told_by_the_schedulers_names():
    row = {"case": "event loop", "requests": 10, "engine": "multi_bin_dynamic, K = 64", "ns_per_request": 5.0}
    shown = tables.show_benchmarks(pd.DataFrame([row | {"ratio_to": "static_fifo", "ratio": 1.5}])).data.iloc[0]
    assert (shown["engine"], shown["against"]) == ("bins, K = 64", "static batches")


def test_the_replays_errors_stand_in_one_table_with_the_limits_of_the_law_from_the_log():
    table, drawn, parts = (
        pd.read_csv(datasets.committed(f"vllm_validation{part}")) for part in ("", "_refits", "_spans")
    )
    shown = tables.show_replay(table, drawn).data.set_index("of")
    assert len(shown) == 15 and shown.loc["first token, mean", "profile"] == "+0.6"
    assert shown.loc["first token, P90", "(95 % of refits)"] == "+5.6 to +7.8"
    assert shown.loc["end to end, single requests", "engine"] == "–"
    spans = tables.show_spans(parts).data.set_index("part")
    assert spans.loc["decodes only"].tolist() == ["12.7 s", "−4.4", "−4.2", "−6.0"]
