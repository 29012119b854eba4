"""What a page says of a measurement that it made: the sentence of the live calibration.

Beside `reading`; reads what `calibration` measured and the card of its fit.
"""

from __future__ import annotations

from simlib.cards import Card
from simlib.checks import InputError
from simlib.measurements import Measurements
from simlib.notebook import percent, seconds

__all__ = ["calibration_answer"]


def calibration_answer(measured: Measurements, card: Card) -> str:
    """The answer of the page of the live measurement: what company costs here, and how far each form is off.

    Parameters
    ----------
    measured : Measurements
        With phases apart.
    card : Card
        Of the form that is used.

    Raises
    ------
    InputError
        If phases were not timed apart.

    Examples
    --------
    >>> import pandas as pd
    >>> from simlib import measurements
    >>> forms = pd.DataFrame({"form": ["affine", "phase5"], "cv_mape": [0.2, 0.05]})
    >>> card = Card("mine", {"form": "phase5"}, forms, pd.DataFrame(), pd.DataFrame())
    >>> said = calibration_answer(measurements.parse(measurements.template(), "template"), card)
    >>> "8 sequences take 1.4 times as long as 1" in said and "phase5 is off by 5.0 %" in said
    True
    """
    if not measured.has_phases:
        raise InputError(f"latency file {measured.source}, prefill_s: none (expected prefill and decode timed apart)")
    points = measured.summary()
    longest = points[points["output_tokens"] == points["output_tokens"].max()]
    longest = longest[longest["prompt_tokens"] == longest["prompt_tokens"].max()].sort_values("batch_size")
    small, large = longest.iloc[0], longest.iloc[-1]
    errors = card.forms.set_index("form")["cv_mape"]
    others = [f"{form} by {percent(error)}" for form, error in errors.items() if form != card.facts["form"]]
    beside = f" ({', '.join(others)})" if others else ""
    return (
        f"At {small['prompt_tokens']:.0f} prompt and {small['output_tokens']:.0f} output tokens, "
        f"{large['batch_size']:.0f} sequences take {large['total_s'] / small['total_s']:.1f} times as long as "
        f"{small['batch_size']:.0f} ({seconds(large['total_s'])} and {seconds(small['total_s'])}, medians): prefill "
        f"{large['prefill_s'] / small['prefill_s']:.1f} times, decode {large['decode_s'] / small['decode_s']:.1f} "
        f"times. Of grid points left out, {card.facts['form']} is off by {percent(errors[card.facts['form']])} in the "
        f"mean{beside}."
    )
