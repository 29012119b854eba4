"""Tables of the levels, as they are shown."""

import pandas as pd

from book.chapters.levels import tables
from simlib import levels


def table(level=1, inside=True, trace="", source="synthetic") -> pd.DataFrame:
    rows = [
        {
            "level": level,
            "scheduler": scheduler,
            "requests": 1000,
            "trace": trace,
            "claimed_violation_share": 0.433,
            "claimed_latency_mean_s": 1.0,
            "seed42_violation_share": 0.433,
            "seed42_latency_mean_s": 1.0,
            "mean_violation_share": 0.3,
            "ci_low": 0.25,
            "ci_high": 0.35,
            "latency_mean_s": 0.8,
            "replications": 100,
            "claim_percentile": None if inside is None else 68.5,
            "claim_inside": inside,
            "requests_from": source,
            "interval_method": "bootstrap_t",
        }
        for scheduler in levels.SCHEDULERS
    ]
    return pd.DataFrame(rows)


def test_displayed_tables_show_shares_in_per_cent():
    assert "43.3 %" in tables.show_level(table()).to_html()
    assert "–" in tables.show_level(table(inside=None)).to_html()


def test_where_no_replication_differs_requests_are_counted():
    given = table(2, None, "rows", "trace").assign(requests=400, mean_violation_share=[0.0, 0.0275, 0.000325])
    shown = tables.show_level(given.assign(interval_method=["rule_of_three", "constant", "bootstrap_t"])).data
    means = shown["mean (95 % interval)"].tolist()
    assert means == ["0 of 400 in every replication", "11 of 400 in every replication", "0.03 % (25.00 to 35.00 %)"]
    assert set(shown["requests"]) == {"400 of the trace (conditional on it)"}


def pairs(source: str, difference: float, p_holm: float) -> dict:
    two = {"scheduler_a": "multi_bin_dynamic", "scheduler_b": "dynamic_no_bins", "method": "paired"}
    rest = {"requests_from": source, "p_holm": p_holm, "share_of_replications_better": 0.3, "correlation": 0.5}
    ends = {"difference": difference, "ci_low": difference * 1.2, "ci_high": difference * 0.8}
    return {"level": 4, "metric": "sla_violation_share"} | two | rest | ends


def test_differences_are_shown_by_the_books_names():
    shown = tables.show_differences(pd.DataFrame([pairs("trace", 0.0, 1.0), pairs("population", -0.02, 0.001)])).data
    assert set(shown["A − B"]) == {"bins − dynamic batching"}
    assert shown["difference (95 % interval)"].iloc[0] == "none in any replication"


def test_the_summary_has_a_study_a_row_and_one_load_beside_its_own():
    both = pd.concat([table(4, None, "rows", "trace"), table(4, True, "", "population")])
    found = pd.DataFrame([pairs("trace", -0.0055, 0.001), pairs("population", -0.026, 0.3)])
    best = dict(zip(("scheduler_a", "scheduler_b"), tables.BEST, strict=True))
    one = pd.DataFrame([pairs("population", 0.148, 0.001), pairs("population", 0.02, 0.5) | best])
    one = one.assign(latency="original-calibrated", load=0.8).drop(columns="metric")
    shown = tables.show_summary(both, found, one).data
    assert shown["level"].tolist() == ["4 on the trace (conditional on it)", "4 in the population"]
    assert shown["bins"].tolist() == ["30.0 %", "30.0 %"]
    assert shown["bins minus dynamic (points)"].tolist() == [
        "−0.55 (−0.66 to −0.44)",
        "−2.6 (−3.1 to −2.1), not established",
    ]
    assert shown["at load 0.8, minus dynamic"].tolist() == ["–", "+14.8 (+17.8 to +11.8)"]
    against_best = shown["at load 0.8, minus the best without bins"].tolist()
    assert against_best == ["–", "+2.0 (+2.4 to +1.6), not established"]


def test_rankings_are_shown_by_the_books_names():
    ranking = "multi_bin_dynamic < static_fifo = dynamic_no_bins"
    rows = pd.DataFrame([{"level": 2, "ranking": ranking, "share": 0.5, "replications": 4, "requests_from": "trace"}])
    assert tables.show_rankings(rows).data["ranking, best first"].tolist() == [
        "bins < static batches = dynamic batching"
    ]


def test_requests_are_shown_with_where_they_are_from():
    shown = tables.show_level(table(2, True, "", "population")).to_html()
    assert "1000 of the population" in shown
