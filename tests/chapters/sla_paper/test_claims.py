"""The SLA paper's claims: slips from its own figures, and verdicts that follow from the chapters' tables."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from book.chapters.sla_paper import claims
from book.kit.evidence import by_claim, ledger

RESULTS = Path(__file__).resolve().parents[3] / "data" / "results"
GAIN, OVERFLOW = ("gain", "gain_ci_low", "gain_ci_high"), ("overflow_share", "ci_low", "ci_high")


@pytest.fixture(scope="module")
def table():
    return ledger(claims.claims_of(RESULTS)).set_index("claim")


def changed(folder, name, columns, values):
    """The verdicts from the committed tables, columns of one of them all the same."""
    for one in claims.TABLES:
        shutil.copy(RESULTS / f"{one}.csv", folder)
    pd.read_csv(folder / f"{name}.csv").assign(**dict(zip(columns, values, strict=True))).to_csv(
        folder / f"{name}.csv", index=False
    )
    return ledger(claims.claims_of(folder)).set_index("claim")["verdict"]


def test_every_result_of_the_paper_is_a_claim_once(table):
    settings = ("prompt_tokens", "output_tokens", "requests", "slope_ms", "intercept_ms")
    printed = claims.paper()
    # Beside what is printed as a figure: four promises of equations, and where the controller settles.
    assert len(table) == (~printed["quantity"].isin(settings)).sum() + 5
    assert not table.reset_index().duplicated(["section", "claim"]).any()


def test_a_quantity_of_a_figure_is_one_claim(table):
    found = by_claim(table.reset_index())
    assert found[found["section"] == "Figure 4"]["points"].tolist() == [8, 8]
    assert found[found["section"] == "Figure 3"][["points", "held", "verdict"]].to_numpy().tolist() == [
        [2, 1, "erratum"],
        [2, 0, "erratum"],
    ]


def test_a_gain_that_its_own_figures_contradict_is_an_erratum(table):
    found = table["verdict"]
    assert found["PanGu-38B: gain of throughput (2569/2215)"] == "erratum"
    assert found["the least gain of throughput when all requests are there at once"] == "erratum"
    assert found["tokens/s at a step of 80 ms, by the law printed beside it"] == "erratum"  # 2841, not 2700
    assert found["batch size at a step of 80 ms, by the law printed beside it"] == "reproduced"


def test_the_memory_rule_holds_per_request_and_not_as_printed(table):
    right = "probability of overflow at the bound, with mean and deviation of one request"
    slack = "probability of overflow with the slack L0 as printed, which is zero at the bound"
    assert table.loc[right, "verdict"] == "reproduced" and table.loc[right, "ours"] == pytest.approx(0.05)
    assert table.loc[slack, "verdict"] == "erratum" and table.loc[slack, "ours"] == pytest.approx(0.5)


@pytest.mark.parametrize(("gain", "verdict"), [(1.222, "reproduced"), (1.10, "reproduced in sign only")])
def test_the_gains_are_judged_by_their_tables(tmp_path, gain, verdict):
    found = changed(tmp_path, "sla_capacity", GAIN, (gain, gain - 0.003, gain + 0.003))
    assert found["LLaMA3-70B: gain of capacity (6.6/5.4)"] == verdict


def test_a_gain_is_read_at_the_papers_lengths(table):
    rows = pd.read_csv(RESULTS / "sla_throughput.csv").query("lengths == 'fixed' and prompt_tokens == 128")
    (gain,) = rows.loc[rows["engine"] == claims.STATIC, "gain"]
    assert table.loc["PanGu-7B: gain of throughput (2956/2305)", "ours"] == pytest.approx(gain - 1)


def test_the_promises_of_equations_are_judged_by_their_tables(tmp_path):
    settles = "batch size at which the controller settles for a step of 50 ms"
    overflow = "probability of overflow less epsilon, of each kind of lengths that was tried: at most zero"
    limits = ("running", "ci_low", "ci_high")
    assert changed(tmp_path, "batch_size_fixed_points", limits, (87.5, 87.0, 88.0))[settles] == "reproduced"
    assert changed(tmp_path, "batch_size_fixed_points", limits, (80.0, 79.0, 81.0))[settles] == "not reproduced"
    assert changed(tmp_path, "batch_size_overflow", OVERFLOW, (0.03, 0.02, 0.04))[overflow] == "reproduced"
    assert changed(tmp_path, "batch_size_overflow", OVERFLOW, (0.06, 0.05, 0.07))[overflow] == "not reproduced"
