"""Presets beside engines: an engine that is the preset is not off, a share that is known comes back."""

import pandas as pd
import pytest

from book.chapters.engines import closed_loops, preset_checks, saturated
from book.chapters.engines.closed_loops import Series
from book.chapters.engines.hardware import Placed
from simlib import InputError
from simlib.latency import presets

NAME = "h100-trtllm-llama3-8b"
PLACED = Placed("Llama-3.1-8B-Instruct", "H100", 1)


def series(law, lengths=((1024, 128), (1024, 512), (2048, 128), (2048, 512))):
    found = []
    for prompt, output in lengths:
        one = Series(PLACED, prompt, output, pd.DataFrame(index=[8, 16, 32]))
        times_s = pd.DataFrame({n: dict(zip(("ttft", "tpot"), one.holds(n) @ law, strict=True)) for n in (8, 16, 32)}).T
        found.append(Series(PLACED, prompt, output, times_s))
    return found


def test_the_prefill_of_an_engine_that_goes_on_as_it_began_comes_back():
    law = presets.load(NAME, split=0.6).step_law().params[:4].copy()
    both = law[1] + law[2]
    law[3] = PLACED.context_s
    low, high, prefill_s = preset_checks.shares(series(law), both)
    assert prefill_s == pytest.approx(0.6 * both, rel=1e-6) and low < 0.6 <= high + 1e-9


def test_a_share_needs_crossed_lengths():
    with pytest.raises(InputError, match="lengths: 2"):
        preset_checks.shares(series(presets.load(NAME).step_law().params[:4], ((1024, 128), (2048, 128))), 4e-5)


def test_the_committed_checks_come_of_the_data(data_dir):
    found = preset_checks.checks(*(pd.read_csv(data_dir / one.FILE) for one in (closed_loops, saturated)))
    pd.testing.assert_frame_equal(found, presets.checks(), rtol=1e-4)


def test_a_preset_that_is_far_off_says_so():
    said = {name: " ".join(presets.checked(name)) for name in (NAME, "h100x4-trtllm-llama3-8b", "a100-vllm-llama3-8b")}
    assert "off by more than" not in said[NAME] and "+8 %" in said[NAME]
    assert "+29 % against TensorRT-LLM 1.0.0rc3" in said["h100x4-trtllm-llama3-8b"]
    assert "off by more than 10 %" in said["h100x4-trtllm-llama3-8b"] and said["a100-vllm-llama3-8b"] == ""
    assert set(presets.off_percent()) == {
        "h100x2-trtllm-llama3-8b", "h100x4-trtllm-llama3-8b", "h100x4-vllm-llama3-70b", "h100-vllm-llama3-8b",
    }  # fmt: skip
