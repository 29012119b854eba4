"""Full engines: steps by hand, a law that comes back, what is fitted."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.engines import rows, saturated
from book.chapters.engines.hardware import Placed
from book.chapters.engines.saturated import Series, Steps

LAW = np.array([0.01, 1e-4, 0.02])


def test_the_slowest_step_and_the_median_one_by_hand():
    """Nine steps of two decodes, and one of one decode beside a prompt: 19 tokens, one of them behind a prompt."""
    one = Steps(np.array([[1.0, 2.0, 0.0], [1.0, 1.0, 1.0]]), np.array([9.0, 1.0]))
    assert one.at(0.5, LAW).tolist() == [1.0, 2.0, 0.0] and one.at(0.99, LAW).tolist() == [1.0, 1.0, 1.0]
    assert one.of_a_token == pytest.approx([10 / 20, 19 / 20, 1 / 20])


def test_a_full_engine_keeps_its_places_and_prefills_each_request_once():
    one = saturated.steps(8, 50.0, 25.0)
    tokens, requests = one.count @ one.held[:, 1:].sum(axis=1), one.count @ one.held[:, 2]
    assert (one.held[:, 1] + one.held[:, 2] == 8).all()
    assert tokens / requests == pytest.approx(50, rel=0.1)


def test_with_little_memory_places_stay_empty():
    one = saturated.steps(32, 400.0, 10.0, 32 * 400)
    assert one.count @ one.held[:, 1] / one.count.sum() < 30


def made(places=(8, 16, 32, 64), model="Unheard-of"):
    found = []
    for count in places:
        one = saturated.steps(count, 300.0, 150.0)
        times_ms = {f"itl_{name}_ms": 1e3 * one.at(share, LAW) @ LAW for name, share in saturated.QUANTILES.items()}
        found.append(
            {"max_num_seqs": count, "output_tokens_mean": 300.0, "output_tokens_sd_of_histogram": 150.0}
            | {"output_tokens_per_s": 1.0 / (one.of_a_token @ LAW)} | times_ms
            | {"model": f"a/{model}", "task": "chat", "weight_precision": "bfloat16", "gpu": "H100", "gpus": 1}
            | {"architecture": "Dense Transformer"}
        )  # fmt: skip
    return pd.DataFrame(found)


def test_a_law_comes_back_and_foretells_medians_tails_and_throughput():
    one = Series(Placed("Unheard-of", "H100", 1), made().set_index("max_num_seqs"))
    assert one.fitted == (8, 16) and one.law() == pytest.approx(LAW, rel=1e-6)
    found = pd.DataFrame(saturated.ledger(made()))
    assert found["error_percent"].abs().max() < 1e-3 and set(found["load"]) == {"32 places, chat", "64 places, chat"}
    assert found.groupby(["metric", "statistic"]).size().to_dict() == {
        ("itl", "p50"): 2, ("itl", "p90"): 2, ("itl", "p99"): 2, ("throughput", "mean"): 2,
    }  # fmt: skip


def test_mixtures_and_short_series_are_left_out_and_seen_models_are_not_blind():
    assert saturated.ledger(made().assign(architecture="MoE")) == []
    assert saturated.ledger(made((8, 16))) == []
    blind = {model: saturated.series(made(model=model))[0][0]["blind"] for model in ("Unheard-of", "Qwen3-8B")}
    assert blind == {"Unheard-of": True, "Qwen3-8B": False}


def test_the_line_for_throughput_is_one_in_time(monkeypatch):
    """Sequences over a line of their cycle: exact where a cycle is a line."""
    table = made()
    table["output_tokens_per_s"] = table["max_num_seqs"] / (0.01 + 1e-4 * table["max_num_seqs"])
    found = pd.DataFrame(saturated.ledger(table)).query("metric == 'throughput'")
    assert found["null_error_percent"].abs().max() < 1e-3
    assert set(found["kind"]) == {rows.FULL}
