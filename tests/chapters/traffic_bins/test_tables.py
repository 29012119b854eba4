"""Sentences about bins for real lengths say what the tables say."""

import pandas as pd
from bin_tables import joint, rules

from book.chapters.traffic_bins import sentences, tables


def test_the_rules_answer_counts_what_is_established_and_says_what_is_refused():
    text = sentences.rules_answer(rules())
    assert "oracle: 1.10 to 1.20 times, better in 1, worse in 0 of 2" in text and "support" not in text
    few = pd.concat([rules(), rules(source="burstgpt_sample", batch_size=128, refused="few")])
    assert "400 BurstGPT, real rows do not support B = 128 with K = 2 or 4." in sentences.rules_answer(few)


def test_the_joint_answer_tells_tails_from_flat_plans():
    text = sentences.joint_answer(joint())
    assert "oracle: more in 2 of 2 settings, up to 3.00 (2.80 to 3.40) times" in text
    assert "rank 0.7: more in 0 of 1" in text
    assert "isolates a tail (1 of 2" in text and "median gain is 3.00 times, elsewhere 1.50" in text


def test_a_ratio_that_is_not_established_is_marked():
    rows = {"source": "log_normal", "predictor": "oracle", "deadline_s": 0.3, "gpus": [1, 8], "choice": "joint"}
    rows |= {"kind": ["greedy", "greedy"], "ratio": [1.1, 2.0], "ratio_low": [0.9, 1.8], "ratio_high": [1.3, 2.2]}
    table = pd.DataFrame(rows | {"p_holm": [0.3, 0.001], "capacity_rps": 5.0, "ci_low": 4.0, "ci_high": 6.0})
    full = table.assign(kind="fixed", ratio=float("nan"), refused="late").assign(choice="joint")
    text = sentences.waiting_answer(pd.concat([table.assign(refused=""), full]))
    assert "1.10 (0.90 to 1.30) on 1 (not established), 2.00 (1.80 to 2.20) on 8" in text
    assert "at no rate in 2 of 2 cases" in text
    assert "none: late at any rate" in tables.show_capacities(full).to_html()


def test_bins_pay_from_a_rate_on():
    rows = {"rate_rps": [1.0, 10.0] * 2, "deadline_s": 0.3, "rule": ["equal_mass"] * 2 + ["optimal"] * 2}
    table = pd.DataFrame(rows | {"k_star": [1, 1, 1, 2], "ci_low": [1.0, 1.0, 1.0, 1.1]})
    text = sentences.rate_answer(table)
    assert "equal-mass bins at 0.3 s at none of these rates; the joint optimum at 0.3 s from 10/s on" in text


def test_tables_show_bands_and_dashes():
    practice = tables.show_practice(joint()).to_html()
    assert "128 1" in practice and "3.00 (2.80 to 3.40)" in practice and "1.10 (0.90 to 1.20)" in practice
    assert "–" in practice  # nothing of rank 0.7 at 2.4 s
    assert "–" in tables.show_rules(rules(refused="few")).to_html()
    condition = pd.DataFrame({"law": ["uniform", "beta"], "batch_size": 8, "largest_gap": 0.1})
    html = tables.show_condition(condition.assign(special_case_gap=[1e-16, None])).to_html()
    assert "10.00 %" in html and "1e-16" in html


def test_absent_data_is_said():
    assert sentences.absent_text([]) == ""
    assert "Not re-executed: data absent (Azure 2023)" in sentences.absent_text(["azure_2023"])
