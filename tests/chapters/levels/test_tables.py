"""Sentences follow the numbers: the same function says the opposite of the opposite table."""

import pandas as pd
import pytest

from book.chapters.levels import sentences, tables
from simlib import levels

SAMPLE = "BurstGPT sample (400 rows)"


def difference(low, high, a="multi_bin_dynamic", b="dynamic_no_bins", level=1, source="synthetic") -> dict:
    return {
        "level": level,
        "scheduler_a": a,
        "scheduler_b": b,
        "metric": "sla_violation_share",
        "difference": (low + high) / 2,
        "ci_low": low,
        "ci_high": high,
        "replications": 100,
        "share_of_replications_better": 0.31,
        "requests_from": source,
        "correlation": 0.8,
        "method": "paired",
        "p_holm": 0.4 if low <= 0.0 <= high else 0.01,
    }


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
        }
        for scheduler in levels.SCHEDULERS
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.26, -0.22, "fewer late requests than"),
        (0.01, 0.02, "more late requests than"),
        (-0.01, 0.02, "No difference"),
        (0.0, 0.0, "equals"),
    ],
)
def test_a_comparison_is_asserted_only_where_the_interval_leaves_out_zero(low, high, said):
    sentence = sentences.level_answer(table(), pd.DataFrame([difference(low, high)]))
    assert said in sentence
    assert "31 %" in sentence or said == "equals"


def test_a_claim_is_judged_only_on_its_own_rows():
    pairs = pd.DataFrame([difference(-0.1, 0.1, a, b) for a, b in levels.PAIRS])
    assert "percentile 68.5 of 100 replications (inside" in sentences.level_reading(table(), pairs)
    assert "(outside" in sentences.level_reading(table(inside=False), pairs)
    assert sentences.CAVEAT not in sentences.level_reading(table(), pairs)
    sample = sentences.level_reading(
        table(inside=None, trace=SAMPLE, source="trace"), pairs.assign(requests_from="trace")
    )
    assert "not judged" in sample and "percentile" not in sample and sentences.CAVEAT not in sample


def test_a_claim_is_judged_against_the_population_with_its_caveat_and_apart_from_the_trace():
    both = pd.concat([table(2, None, SAMPLE, "trace"), table(2, True, "", "population")])
    pairs = [difference(-0.2, -0.1, a, b, 2, "trace") for a, b in levels.PAIRS]
    pairs = pd.DataFrame(pairs + [difference(0.1, 0.2, a, b, 2, "population") for a, b in levels.PAIRS])
    trace, drawn = sentences.level_reading(both, pairs).split("For static_fifo")[1:]
    assert "not judged" in trace and "fewer late requests" in trace and "more late requests" not in trace
    assert "draws of the population give 30.0 %" in drawn and "more late requests" in drawn
    assert sentences.CAVEAT in drawn and "fewer late requests" not in drawn
    answer = sentences.level_answer(both, pairs)
    assert "Late requests on the trace" in answer and "Late requests in the population" in answer
    assert "1000 of the population" in tables.show_level(both).to_html()
    assert sentences.headline(both, pairs).count("level 2 on the trace") == 1
    assert "3 of them against draws from a fitted population" in sentences.headline(both, pairs)


def test_the_headline_counts_claims_outside_and_lists_every_level():
    both = pd.concat([table(1, True), table(3, False)])
    pairs = pd.DataFrame([difference(-0.1, 0.1), difference(-0.3, -0.2, level=3)])
    text = sentences.headline(both, pairs)
    assert "fewer late requests at level 3 (−30.00 to −20.00 points)" in text
    assert "no established difference at level 1" in text and "more late requests" not in text
    assert "Of the 6 claimed shares that can be judged, 3 lie outside" in text


def test_the_source_of_a_trace_makes_the_interval_conditional():
    both = pd.concat([table(2, None, SAMPLE, "trace"), table(2, True, "", "population")])
    assert "conditional on the trace" in sentences.level_source(both)
    assert "draws 1000 requests" in sentences.level_source(both)
    assert "synthetic" in sentences.level_source(table())


def test_the_cross_level_answer_sums_the_rankings_that_multi_bin_wins_alone():
    rankings = pd.DataFrame(
        [
            {"level": 1, "ranking": "multi_bin_dynamic < static_fifo = dynamic_no_bins", "share": 0.2},
            {"level": 1, "ranking": "multi_bin_dynamic < dynamic_no_bins < static_fifo", "share": 0.1},
            {"level": 1, "ranking": "static_fifo = dynamic_no_bins < multi_bin_dynamic", "share": 0.7},
            {"level": 2, "ranking": "static_fifo = dynamic_no_bins = multi_bin_dynamic", "share": 1.0},
            {"level": 2, "ranking": "multi_bin_dynamic < static_fifo = dynamic_no_bins", "share": 0.6},
            {"level": 2, "ranking": "static_fifo = dynamic_no_bins = multi_bin_dynamic", "share": 0.4},
        ]
    ).assign(requests_from=["synthetic"] * 3 + ["trace"] + ["population"] * 2)
    text = sentences.cross_level_answer(rankings, pd.DataFrame())
    assert "level 1: 30 %" in text and "not the same (3 different ones) in these 3 studies" in text
    assert "level 2 on the trace: 0 %" in text and "level 2 in the population: 60 %" in text


def test_displayed_tables_show_shares_in_per_cent():
    assert "43.3 %" in tables.show_level(table()).to_html()
    assert "–" in tables.show_level(table(inside=None)).to_html()
