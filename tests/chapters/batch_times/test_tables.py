"""The sentence of the page that measures."""

import pandas as pd
import pytest

import simlib
from book.chapters.batch_times import sentences
from simlib.calibration import cards
from simlib.latency import measurements

FORMS = pd.DataFrame({"form": ["affine", "phase5"], "cv_mape": [0.2, 0.05]})
CARD = cards.Card("mine", {"form": "phase5"}, FORMS, pd.DataFrame(), pd.DataFrame())
HEADER = ",".join(measurements.COLUMNS)


def test_the_answer_has_both_phases_and_every_forms_error():
    text = f"{HEADER}\n1,16,8,0,0.02,0.08,0.1,ok\n4,16,8,0,0.06,0.12,0.18,ok\n"
    said = sentences.calibration_answer(measurements.parse(text, "mine.csv"), CARD)
    assert "4 sequences take 1.8 times as long as 1 (0.180 s and 0.100 s, medians)" in said
    assert "prefill 3.0 times, decode 1.5 times" in said
    assert said.endswith("phase5 is off by 5.0 % in the mean (affine by 20.0 %).")


def test_totals_alone_give_no_answer():
    text = "batch_size,prompt_tokens,output_tokens,total_s\n1,16,8,0.1\n2,16,8,0.2\n"
    with pytest.raises(simlib.InputError, match=r"mine\.csv, prefill_s: none"):
        sentences.calibration_answer(measurements.parse(text, "mine.csv"), CARD)
