"""Sentences about the Multi-Bin experiments say what the tables say."""

import pandas as pd

from book.chapters.multi_bin import sentences


def estimates(**columns):
    return pd.DataFrame(columns)


def test_the_throughput_answer_has_gain_and_distance_from_the_paper():
    flat = estimates(k=[1, 5], throughput_rps=[6.0, 9.0], ci_low=[5.9, 8.9], ci_high=[6.1, 9.1])
    plateaus = flat.assign(theory_rps=[6.1, 9.3], paper_rps=[6.0, 9.09])
    long_run = flat.assign(theory_rps=[6.006, 9.0])
    text = sentences.throughput_answer(plateaus, long_run)
    assert "50.0 % more" in text and "within 0.99 % of the paper's" in text and "within 0.10 % of c_k" in text


def test_long_runs_that_meet_the_theorem_are_counted():
    long_run = estimates(
        k=[1, 2], throughput_rps=[1.0, 1.1], ci_low=[0.9, 1.05], ci_high=[1.1, 1.15], theory_rps=[1, 1]
    )
    ways = ["with_flush", "without_flush", "warm_up_removed"]
    finite = estimates(k=[2] * 3, counted=ways, throughput_rps=[0.9] * 3, ci_low=[0.8] * 3, ci_high=[1.0] * 3)
    costs = estimates(k=[2, 2], cost=["flush", "fill"], share=[0.01, 0.02], ci_low=[0.0, 0.01], ci_high=[0.02, 0.03])
    numbers = sentences.throughput_numbers(finite.assign(theory_rps=1.0), costs, long_run)
    assert numbers["long_run_met"] == "1 of 2"
    assert numbers["gap_all"] == "−10.00 % (−20.00 to +0.00 %)"
    assert numbers["gap_flush"] == "1.00 % (0.00 to 2.00 %)"


def test_the_latency_answer_compares_few_with_many_servers():
    rows = {"k": [1, 1, 2, 2], "rate_rps": [4.0] * 4, "gpus": [1, 16] * 2, "part": ["latency_s"] * 4}
    parts = estimates(**rows, mean_s=[10.0, 10.0, 12.0, 10.1], ci_low=[9.0] * 4, ci_high=[13.0] * 4, lemma_s=[10.0] * 4)
    text = sentences.latency_answer(parts)
    assert "With 16 servers" in text and "within 1.00 %" in text and "20 % to 20 % above" in text


def test_ratios_are_judged_to_the_tolerance():
    ratios = estimates(k=[1, 2, 32], ratio=[1.0, 1.3, 1.7], ci_low=[1.0, 1.2, 1.6], ci_high=[1.0, 1.4, 1.8])
    service = estimates(k=[1, 2, 32], throughput_rps=[4.0, 5.2, 6.8], paper_rps=[20.0, 25.0, 36.0])
    text = sentences.llm_like_answer(ratios, service)
    assert "agree with the paper's to 5 % up to 2 bins (largest difference 4.0 %)" in text
    assert "do not all agree" in sentences.llm_like_answer(ratios, service, tolerance=0.03)


def test_the_exponential_answer_compares_the_rules():
    rules = ["equal_mass", "lemma_a1", "optimal"]
    table = estimates(k=[2] * 3, rule=rules, throughput_rps=[0.7, 1.0, 1.0], ci_low=[0.6, 0.9, 1.01], ci_high=[2.0] * 3)
    text = sentences.exponential_answer(table.assign(theory_rps=[0.7, 0.99, 1.0]))
    assert "30 % to 30 % less" in text and "at most 1.000 % less" in text and "2 of 3 intervals" in text
