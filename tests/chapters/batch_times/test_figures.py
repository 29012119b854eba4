"""The figures of phases (a panel each, a line a prompt, medians of repetitions) and of a card's residuals."""

import numpy as np
import pytest

from book.chapters.batch_times import figures
from simlib import InputError
from simlib.calibration import cards
from simlib.latency import measurements


def test_phases_show_medians_of_the_longest_output_by_prompt():
    text = ",".join(measurements.COLUMNS) + "\n"
    for repetition, slow in enumerate((1, 2, 4)):
        for size in (1, 2):
            text += f"{size},16,1,{repetition},{0.01 * slow * size},0,{0.01 * slow * size},ok\n"
            text += (
                f"{size},16,9,{repetition},{0.01 * slow * size},{0.08 * slow},{0.01 * slow * size + 0.08 * slow},ok\n"
            )
    prefill, decode = figures.phases(measurements.parse(text, "text").frame).axes
    assert prefill.lines[0].get_ydata() == pytest.approx(np.array([0.02, 0.04]))
    assert decode.lines[0].get_ydata() == pytest.approx(np.array([0.02, 0.02]))  # 8 gaps between 9 tokens


def test_a_card_of_measurements_shows_its_residuals_and_one_of_what_was_assumed_has_none():
    assert len(figures.residuals(cards.preset("a100-vllm-llama3-8b").residuals).axes) == 3
    with pytest.raises(InputError, match="residuals: none"):
        figures.residuals(cards.preset("original-synthetic").residuals)
