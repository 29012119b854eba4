"""Figures of phases (a line a prompt, medians of repetitions), of errors by batch size, and by form."""

import numpy as np
import pandas as pd
import pytest

from book.chapters.batch_times import figures, study
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


def test_error_bands_reach_over_the_middle_half_and_nine_in_ten():
    table = pd.DataFrame({"batch_size": 8, "residual": np.linspace(-1.0, 1.0, 101)})
    nine, half = figures.error_bands(table).axes[0].collections[:2]
    assert nine.get_segments()[0][:, 1].tolist() == pytest.approx([-0.9, 0.9])
    assert half.get_segments()[0][:, 1].tolist() == pytest.approx([-0.5, 0.5])
    with pytest.raises(InputError, match="residuals: none"):
        figures.error_bands(table[:0])


def test_a_card_of_measurements_shows_its_errors_by_form_and_one_of_what_was_assumed_has_none():
    axis = figures.errors_by_form(cards.preset("a100-vllm-llama3-8b").forms).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == list(study.FORM_NAMES.values())
    with pytest.raises(InputError, match="forms: none"):
        figures.errors_by_form(pd.DataFrame(columns=["form", "cv_mape", "cv_worst"]))
