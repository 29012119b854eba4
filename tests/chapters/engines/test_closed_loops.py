"""Closed loops: what runs hold by hand, laws that come back, copies, and who is judged."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.engines import closed_loops, rows
from book.chapters.engines.closed_loops import Series, held
from book.chapters.engines.hardware import Placed

PLACED = Placed("Llama-3.1-8B-Instruct", "H100", 1)
OTHER = Placed("Unheard-of-7B", "H100", 1)


def made(placed, law, clients=(4, 8, 16, 32), prompt=512, output=65, experts=True):
    """The runs of an engine whose steps take what a law says."""
    one = Series(placed, prompt, output, pd.DataFrame(index=list(clients)))
    return Series(placed, prompt, output, pd.DataFrame({n: one.predicted_s(n, law) for n in clients}).T)


def test_two_clients_at_once_by_hand():
    """Both prompts in one step, then ten steps of two; contexts of 101 to 110 tokens each, and all that once more."""
    assert held(2, 100, 11, None).round(4).tolist() == [[1.0, 0.0, 200.0, 0.0], [1.0, 2.0, 0.0, 211.0]]


def test_without_room_clients_wait_and_fewer_decode():
    wide, narrow = held(8, 100, 101, None), held(8, 100, 101, 640)
    assert narrow[1, 1] < 0.6 * wide[1, 1] and narrow[0, 0] > 10 * wide[0, 0]


@pytest.mark.parametrize("placed", [PLACED, Placed("gpt-oss-120b", "H100", 2, "fp4")])
def test_a_law_of_the_cards_terms_comes_back_and_foretells_all(placed):
    law = np.array([0.006, 2e-5, placed.prefill_s, placed.context_s])
    one = made(placed, law)
    assert one.law == pytest.approx(law) and one.afterwards == ""
    longer = made(placed, law, prompt=2048, output=257)
    assert [longer.predicted_s(n, one.law)["tpot"] for n in (4, 32)] == pytest.approx(longer.times_s["tpot"][[4, 32]])


def test_of_an_unknown_network_the_law_is_the_line():
    one = made(OTHER, np.array([0.006, 2e-5, 3e-5, 4e-8]))
    for clients in (16, 32):
        assert one.predicted_s(clients, one.law)["tpot"] == pytest.approx(one.straight("tpot", clients), rel=0.01)


def test_the_fewest_clients_and_the_median_are_fitted():
    counts = {3: (1, 2), 4: (1, 2), 5: (1, 3), 6: (1, 3), 2: (1, 2)}
    for count, fitted in counts.items():
        assert Series(PLACED, 8, 8, pd.DataFrame(index=range(1, count + 1))).fitted == fitted


def test_what_shows_afterwards():
    law = np.array([0.006, 2e-5, PLACED.prefill_s, PLACED.context_s])
    falls = made(PLACED, law)
    falls.times_s.loc[16, "tpot"] *= 3
    assert falls.afterwards == rows.FALLS
    shorter = made(PLACED, law / 3, prompt=4096, output=33)
    assert shorter.afterwards == rows.UNMET


def raw(law, **change):
    """The source's table of one engine with two pairs of lengths."""
    about = {"backend": "vllm", "backend_version": "0.1", "model_path": "meta/Llama-3.1-8B-Instruct"}
    about |= {"system": "h100_sxm", "precision": np.nan, "tp_size": 1, "attention_dp_size": np.nan, "moe_tp_size": 1}
    about |= {"moe_ep_size": 1, "silicon_data_source": "source_file=a.csv"} | change
    found = []
    for prompt, output in ((512, 65), (2048, 257)):
        for clients, run in made(PLACED, law, prompt=prompt, output=output).times_s.iterrows():
            lengths = {"isl": prompt, "osl": output, "batch_size": clients}
            times = {"silicon_ttft_ms": 1e3 * run["ttft"], "silicon_tpot_ms": 1e3 * run["tpot"]}
            found.append(about | lengths | times)
    return pd.DataFrame(found)


def test_the_ledger_judges_what_was_not_fitted_and_other_lengths():
    law = np.array([0.006, 2e-5, PLACED.prefill_s, PLACED.context_s])
    found = pd.DataFrame(closed_loops.ledger(raw(law)))
    tpot = found[found["metric"] == "tpot"]
    assert tpot.groupby("kind").size().to_dict() == {rows.CLOSED: 4, rows.LENGTHS: 4}
    assert tpot["error_percent"].abs().max() < 1e-6 and found["null_error_percent"].abs().max() > 1
    own = tpot[tpot["kind"] == rows.CLOSED]
    assert set(own["load"].str.split(" ").str[0]) == {"16", "32"} and set(own["fitted_on"]) == {"4 and 8 clients"}
    assert not found["blind"].any()  # methods were chosen on this card


def test_runs_of_the_other_card_are_blind_unless_they_were_seen():
    law = np.array([0.006, 2e-5, PLACED.prefill_s, PLACED.context_s])
    (fresh, _), (seen, _) = (
        next(iter(closed_loops.engines(raw(law, system="h200_sxm", backend_version=version))))
        for version in ("0.1", "0.12.0")
    )
    assert fresh["blind"] and not seen["blind"]


def test_a_copy_under_another_name_and_more_cards_counts_once():
    law = np.array([0.006, 2e-5, PLACED.prefill_s, PLACED.context_s])
    one = raw(law)
    both = pd.concat([raw(law, tp_size=8, silicon_data_source="source_file=b.csv"), one], ignore_index=True)
    kept = closed_loops.once(both)
    assert len(kept) == len(one) and set(kept["tp_size"]) == {1}


def test_the_committed_rows_come_of_the_data(data_dir):
    source = pd.read_csv(data_dir / closed_loops.FILE)
    part = source[source["backend_version"] == "0.18.0"]
    found = pd.DataFrame(closed_loops.ledger(part[part["system"] == "h100_sxm"]))
    whole = pd.read_csv("data/results/engines.csv")
    same = ["model", "gpu", "parallel", "load", "metric", "kind", "measured"]
    both = found.merge(whole, on=same, suffixes=("", "_committed"))
    assert len(both) >= 0.9 * len(found) > 100
    assert both["predicted"].to_numpy() == pytest.approx(both["predicted_committed"].to_numpy(), rel=1e-6)
