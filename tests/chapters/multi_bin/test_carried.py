"""What servers carry when requests never run out, against exact integrals and the numbers of the papers' notes.

Tolerances of simulated means are 5 standard errors of 10 replications (Student's t with 9 degrees of freedom: 0.07 %
false alarms each); seeds are fixed, so that a test that passes goes on passing.
"""

import numpy as np
import pytest

from book.chapters.multi_bin import carried, throughput
from simlib.checks import InputError


def met(table, errors=5.0):
    standard_error = (table["ci_high"] - table["throughput_rps"]) / 2.262  # t quantile, 95 %, 9 degrees of freedom
    return (np.abs(table["throughput_rps"] - table["theory_rps"]) <= errors * standard_error).all()


def test_prediction_errors_meet_the_exact_integral_and_figure_8():
    table = carried.prediction_errors(k_values=(2, 4), p_errors=(0.0, 0.05, 0.5), requests=32_000)
    assert list(table) == ["k", "p_e", "batch_size", "throughput_rps", "ci_low", "ci_high", "theory_rps"]
    assert met(table)
    read = throughput.paper("8", "throughput_rps").merge(table[table["batch_size"] == 128], on=["k", "p_e"])
    assert len(read) == 6
    assert (read["value"] - read["theory_rps"]).abs().max() < 0.001


def test_measured_errors_meet_the_exact_integral_and_leave_less_of_the_gain_to_large_batches():
    table = carried.measured_errors(k_values=(2,), requests=32_000).set_index("batch_size")
    assert met(table)
    assert table["accuracy_share"].tolist() == pytest.approx([0.8614, 0.8614], abs=1e-4)
    assert table.loc[8, "kept_ci_low"] > table.loc[128, "kept_ci_high"] > 0
    assert table["kept_theory_share"].tolist() == pytest.approx(table["kept_share"].tolist(), rel=0.1)


def test_exponential_bins_meet_the_tabulated_values():
    table = carried.exponential_bins(k_values=(1, 2, 3), requests=200_000)
    assert list(table) == ["k", "rule", "throughput_rps", "ci_low", "ci_high", "theory_rps"]
    assert met(table)
    exact = table.set_index(["k", "rule"])["theory_rps"]
    assert exact[2, "lemma_a1"] == pytest.approx(7.2686, abs=1e-4) and exact[3, "equal_mass"] == pytest.approx(
        7.0811, abs=1e-4
    )
    assert all(exact[k, "optimal"] >= exact[k, "lemma_a1"] for k in (1, 2, 3))


def test_ratios_of_the_llm_like_service_are_the_papers_to_5_per_cent():
    runs = carried.llm_like_runs(requests=16_000)
    service, ratios = carried.llm_like_service(runs), carried.llm_like_ratios(runs)
    assert list(ratios) == ["k", "ratio", "ci_low", "ci_high"]
    assert met(service)
    printed = throughput.paper("6", "threshold_rps")["value"]
    off = ratios["ratio"] / (printed / printed[0]) - 1
    assert off[:5].abs().max() < 0.05
    assert service["implied_s_per_token"].between(0.0065, 0.0072).all()


def test_latencies_at_the_printed_throughput_are_figure_6s():
    service = carried.llm_like_service(carried.llm_like_runs(k_values=(1, 8), requests=8_000, replications=2))
    table = carried.llm_like_latency(service, requests=16_000, replications=2)
    assert set(table["k"]) == {1, 8} and (table["paper_s"] > 0).all()
    assert table["latency_mean_s"].to_numpy() == pytest.approx(table["paper_s"].to_numpy(), rel=0.05)


def test_answer_lengths_have_the_percentiles_of_figure_5():
    drawn = carried.answer_lengths().sample(200_000, np.random.default_rng(1))
    assert (drawn.min(), drawn.max()) == (34, 579)
    # The standard error of a sample quartile is 0.2 to 0.4 tokens here; false alarms below one in a thousand.
    assert np.quantile(drawn, [0.25, 0.5, 0.75]).tolist() == pytest.approx([158, 212, 290], abs=1.5)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: carried.prediction_errors(k_values=(1,)), "k_bins"),
        (lambda: carried.prediction_errors(p_errors=(1.5,)), "p_e"),
        (lambda: carried.prediction_errors(p_errors=(0.6,)), "p_error"),
        (lambda: carried.prediction_errors(requests=500, replications=2), "full batches"),
        (lambda: carried.measured_errors(k_values=(3,)), "k_bins"),
        (lambda: carried.exponential_edges_s("best", 2, 8), "rule"),
        (lambda: carried.llm_like_runs(k_values=(0,)), "k_bins"),
    ],
)
def test_bad_input_is_named(call, word):
    with pytest.raises(InputError, match=word):
        call()
