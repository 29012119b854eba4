"""What steps cost: break-even at its point, never dearer undisturbed, and the closed form's optimum."""

import math

import numpy as np
import pandas as pd
import pytest

from book.chapters.prefill_modes import kernels, steps
from book.chapters.prefill_modes.kernels import DENSE, SMALL, law_of, step_s
from book.chapters.prefill_modes.steps import Line
from simlib import InputError


@pytest.fixture(scope="module")
def measured() -> pd.DataFrame:
    return kernels.kernels("nowhere")[0]


def test_break_even_is_where_both_cost_the_same(measured):
    row = (
        steps.break_even(measured).query("system == @DENSE and chunk_tokens == 512 and context_tokens == 1024").iloc[0]
    )
    law, decodes = law_of(measured, DENSE), row["decodes"]
    parts = [step_s(law, n, 1024) + step_s(law, 0, 0, 512) for n in (decodes, decodes - 1)]
    assert step_s(law, decodes, 1024, 512) > parts[0] and step_s(law, decodes - 1, 1024, 512) <= parts[1]
    assert row["share"] == decodes / (decodes + 512) and row["held_tokens"] == decodes * 1024


def test_undisturbed_steps_are_never_dearer_than_their_parts(measured):
    assert (steps.step_ratios(measured)["apart"] < 1).all()


def test_the_closed_form_waits_for_as_many_as_serve_most(monkeypatch):
    """Against all numbers of gathered prompts; a dearer mixed token tells for steps of their own."""
    lines = {0.0: Line(0.02, 1e-4), 1.0: Line(0.03, 2e-4)}
    monkeypatch.setattr(steps, "line_of", lambda law, share, context: lines.get(share, Line(0.03, 1.5e-4)))
    seats, prompt, output = 200, 300, 100

    def exclusive_s(gathered):
        decoding_s = -0.03 * math.log1p(-gathered / seats) * output
        return (0.02 + decoding_s) / gathered + 1e-4 * prompt + 2e-4 * output

    mixed_s = 0.03 * (1 + output) / seats + 1.5e-4 * (prompt + output)
    best_s = min(exclusive_s(gathered) for gathered in np.arange(1.0, 150.0, 0.01))
    assert steps.told_ratio(None, seats, prompt, output) == pytest.approx(mixed_s / best_s, rel=1e-4)


def test_a_share_beyond_one_is_named(measured):
    with pytest.raises(InputError, match=r"share: 1\.5"):
        steps.line_of(law_of(measured, SMALL), 1.5, 512)
