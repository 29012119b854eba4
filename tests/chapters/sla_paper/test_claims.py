"""The SLA paper's claims: slips from its own figures, and verdicts that come with the tables that are awaited."""

import pandas as pd
import pytest

from book.chapters.sla_paper import claims
from book.kit.evidence import ledger


def verdicts(*folders):
    return ledger(claims.claims_of(*folders)).set_index("claim")


def test_every_result_of_the_paper_is_a_claim_once(tmp_path):
    table = ledger(claims.claims_of(tmp_path))
    settings = ("prompt_tokens", "output_tokens", "requests", "slope_ms", "intercept_ms")
    printed = claims.paper()
    # Beside what is printed as a figure: four promises of equations, and where the controller settles.
    assert len(table) == (~printed["quantity"].isin(settings)).sum() + 5
    assert not table.duplicated(["section", "claim"]).any()


def test_a_gain_that_its_own_figures_contradict_is_an_erratum(tmp_path):
    found = verdicts(tmp_path)["verdict"]
    assert found["PanGu-38B: gain of throughput (2569/2215)"] == "erratum"
    assert found["PanGu-7B: gain of throughput (2956/2305)"] == "not yet tested here"
    assert found["the least gain of throughput when all requests are there at once"] == "erratum"
    assert found["tokens/s at a step of 80 ms, by the law printed beside it"] == "erratum"  # 2841, not 2700
    assert found["batch size at a step of 80 ms, by the law printed beside it"] == "reproduced"


def test_the_memory_rule_holds_per_request_and_not_as_printed(tmp_path):
    found = verdicts(tmp_path)
    right = "probability of overflow at the bound, with mean and deviation of one request"
    slack = "probability of overflow with the slack L0 as printed, which is zero at the bound"
    assert found.loc[right, "verdict"] == "reproduced" and found.loc[right, "ours"] == pytest.approx(0.05)
    assert found.loc[slack, "verdict"] == "erratum" and found.loc[slack, "ours"] == pytest.approx(0.5)


@pytest.mark.parametrize(("gain", "verdict"), [(1.222, "reproduced"), (1.10, "reproduced in sign only")])
def test_the_gains_are_judged_once_their_tables_are_there(tmp_path, gain, verdict):
    capacity, throughput = "LLaMA3-70B: gain of capacity (6.6/5.4)", "PanGu-7B: gain of throughput (2956/2305)"
    before = verdicts(tmp_path)["verdict"]
    assert before[capacity] == before[throughput] == "not yet tested here"
    found = {"gain": gain, "gain_ci_low": gain - 0.003, "gain_ci_high": gain + 0.003, "replications": 5}
    over = {"engine": "static 256", **found}
    pd.DataFrame([{"outputs": "geometric", **over}]).to_csv(tmp_path / "sla_capacity.csv", index=False)
    rows = [
        {"prompt_tokens": 128.0, "output_tokens": 128.0, "lengths": kind, **over} for kind in ("fixed", "geometric")
    ]
    rows[1] |= {"gain": 0.5, "gain_ci_low": 0.4, "gain_ci_high": 0.6}  # not asked for: PanGu's lengths are all alike
    pd.DataFrame(rows).to_csv(tmp_path / "sla_throughput.csv", index=False)
    after = verdicts(tmp_path)
    assert after["verdict"][capacity] == verdict and after["chapter"][capacity] == "sla_capacity"
    assert after["ours"][throughput] == pytest.approx(gain - 1)


def test_the_promises_of_equations_are_judged_once_their_tables_are_there(tmp_path):
    settles = "batch size at which the controller settles for a step of 50 ms"
    overflow = "probability of overflow less epsilon, of each kind of lengths that was tried: at most zero"
    limits = {"ci_low": 87.0, "ci_high": 88.0, "replications": 5}
    rows = [{"sla_rule": "paper", "deadline_s": 0.05, "running": 87.5} | limits]
    pd.DataFrame(rows).to_csv(tmp_path / "batch_size_fixed_points.csv", index=False)
    shares = {"epsilon_m": 0.05, "requests_seen": 0, "replications": 5}
    rows = [
        shares | {"overflow_share": share, "ci_low": share - 0.01, "ci_high": share + 0.01} for share in (0.03, 0.06)
    ]
    pd.DataFrame(rows[:1]).to_csv(tmp_path / "batch_size_overflow.csv", index=False)
    found = verdicts(tmp_path)["verdict"]
    assert found[settles] == "reproduced" and found[overflow] == "reproduced"
    pd.DataFrame(rows).to_csv(tmp_path / "batch_size_overflow.csv", index=False)
    assert verdicts(tmp_path)["verdict"][overflow] == "not reproduced"


def test_a_table_of_other_columns_changes_nothing(tmp_path):
    pd.DataFrame({"outputs": ["geometric"], "gpus": [1]}).to_csv(tmp_path / "sla_capacity.csv", index=False)
    assert "not yet tested here" in set(verdicts(tmp_path)["verdict"])
