"""What a card tells, by hand."""

import math

import pytest

from book.chapters.engines.hardware import CARDS, NETWORKS, Placed


def test_a_token_of_context_is_read_at_full_bandwidth_by_all_cards_together():
    """Llama 3.1 8B: 32 layers of 8 heads of 128, keys and values, two bytes: 131,072 bytes at 3.35 TB/s."""
    one, four = (Placed("Llama-3.1-8B-Instruct", "H100", gpus) for gpus in (1, 4))
    assert one.context_s == pytest.approx(131_072 / 3.35e12) and four.context_s == pytest.approx(one.context_s / 4)
    assert one.room_tokens == int((0.9 * 80e9 - 16e9) / 131_072)


def test_latent_attention_is_held_whole_by_each_card():
    one, eight = (Placed("DeepSeek-V3", "H200", gpus, "fp8") for gpus in (1, 8))
    assert one.context_s == eight.context_s
    assert eight.room_tokens == int((0.9 * 141e9 * 8 - 671e9) / (61 * 576 * 2 * 8)) and one.room_tokens == 0


def test_eight_bits_double_prefill_and_halve_the_weights():
    sixteen, eight = (Placed("Qwen3-32B", "H100", 2, precision) for precision in ("bf16", "fp8"))
    assert eight.prefill_s == pytest.approx(sixteen.prefill_s / 2)
    assert eight.room_tokens - sixteen.room_tokens == pytest.approx(32.8e9 / 262_144, abs=1)


def test_a_mixture_reads_what_its_tokens_meet():
    """Of 128 experts a token meets 4: all of them with very many, 4 with one; ranks share the reading."""
    mixture = Placed("gpt-oss-120b", "H100", 1, "fp4")
    whole = mixture.experts_s(math.inf)
    assert whole == pytest.approx(114e9 / 2 / 3.35e12)
    assert mixture.experts_s(1) == pytest.approx(whole * 4 / 128)
    assert mixture.experts_s(2) == pytest.approx(whole * (1 - (124 / 128) ** 2))
    assert Placed("gpt-oss-120b", "H100", 1, "fp4", ranks=2).experts_s(1) == pytest.approx(mixture.experts_s(2) / 2)
    assert Placed("Qwen3-32B", "H100", 1).experts_s(64) == 0.0


def test_of_an_unknown_network_nothing_is_said():
    other = Placed("Unheard-of-7B", "H100", 1)
    assert (other.known, other.room_tokens, other.context_s, other.prefill_s, other.experts_s(9)) == (
        False,
        None,
        0,
        0,
        0,
    )


def test_no_mixture_has_more_experts_weights_than_weights():
    for network in NETWORKS.values():
        assert network.expert_weights < network.weights and network.active <= network.weights
    assert set(CARDS) == {"H100", "H200"}
