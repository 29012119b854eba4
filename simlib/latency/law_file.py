"""A law of steps as a file: its coefficients as a CSV, between lines ``# key: value`` that say how far to trust it.

What a client waits beside the steps is a row of the same table, `WAY_IN`; at the end of the file stands the law as it
may be in another run, a draw a line, from which whoever predicts takes intervals.
"""

from __future__ import annotations

import math
from typing import Any

from simlib import reading
from simlib.checks import InputError, number_in
from simlib.latency.measured import Measured, Range
from simlib.latency.phases import Phases
from simlib.latency.steps import StepLaw
from simlib.latency.trust import WORDS, Trust, say

TERMS = ("decodes", "prefill_tokens", "context_tokens")
NAMES = ("a_s", "b_s_per_decode", "c_s_per_prefill_token", "d_s_per_context_token")
WAY_IN = "way_in_s"  # a file may have it
DRAW, NOISES = "draw ", {"noise": "noise of one second's steps", "step_noise": "noise of a step"}
COLUMNS = ("coefficient", "value", "ci_low", "ci_high", "identified")
FORMULA = "tau = a + b decodes + c prefill tokens + d context tokens, seconds a step"
MEASURED = "measured "  # before the name of a term


def text_of(table: Any, trust: Trust) -> str:
    """A law as a file.

    Parameters
    ----------
    table : DataFrame
        One row a coefficient, of `NAMES` and possibly `WAY_IN`, with `COLUMNS`.
    trust : Trust
    """
    about = {"law": FORMULA, "source": trust.source, "mape": repr(trust.mape), "r2": repr(trust.r2)}
    about |= {MEASURED + name: f"{low!r} to {high!r}" for name, (low, high) in trust.ranges.items()}
    about |= {f"unlike {number}": text for number, text in enumerate(trust.unlike, 1)}
    about |= {f"assumed {number}": text for number, text in enumerate(trust.assumes, 1)}
    about |= {f"fitted {number}": mark for number, mark in enumerate(trust.fitted, 1)}
    about |= {key: repr(getattr(trust, name)) for name, key in NOISES.items()} if trust.draws else {}
    head = "".join(f"# {key}: {' '.join(value.split())}\n" for key, value in about.items())
    draws = (", ".join(f"{value:.6g}" for value in draw) for draw in trust.draws)
    tail = "".join(f"# {DRAW}{number}: {draw}\n" for number, draw in enumerate(draws, 1))
    return head + table.to_csv(index=False, columns=list(COLUMNS)) + tail


def is_law(text: str) -> bool:
    """Whether a file's first line behind its header is that of a law."""
    return any(line.startswith(COLUMNS[0]) for line in _rows(text)[:1])


def parse(text: str, source: str) -> StepLaw:
    """The law that a file holds.

    Parameters
    ----------
    text : str
        As `text_of` writes it.
    source : str
        The file's name, for messages.

    Raises
    ------
    InputError
        Naming the coefficient that is missing, there twice or no number >= 0, or the header's line that is broken.

    Examples
    --------
    >>> head = "# measured decodes: 0 to 3\\ncoefficient,value,ci_low,ci_high,identified\\n"
    >>> law = parse(head + "".join(f"{name},0.01,0,1,True\\n" for name in NAMES), "mine.csv")
    >>> law.a_s, law.trust.ranges
    (0.01, {'decodes': (0.0, 3.0)})
    """
    place = f"latency file {source}"
    rows = reading.delimited(source, "\n".join(_rows(text)).encode())
    if "value" not in rows:
        raise InputError(f"{place}: columns {', '.join(rows)} (expected {', '.join(COLUMNS)})")
    if sorted(rows["coefficient"]) not in (sorted(NAMES), sorted((*NAMES, WAY_IN))):
        found = ", ".join(rows["coefficient"])
        raise InputError(
            f"{place}, coefficient: {found} (expected {', '.join(NAMES)} and possibly {WAY_IN}, each once)"
        )
    values = dict(zip(rows["coefficient"], map(number_in, rows["value"]), strict=True))
    for name, given in zip(rows["coefficient"], rows["value"], strict=True):
        if not values[name] >= 0:
            raise InputError(f"{place}, {name}: {given} (expected seconds >= 0)")
    unidentified = rows["coefficient"][rows["identified"] == "False"] if "identified" in rows else ()
    about = _about(text)
    draws = tuple(_draw(place, key, value) for key, value in about.items() if key.startswith(DRAW))
    noise = {name: number_in(about.get(key, "")) if draws else 0.0 for name, key in NOISES.items()}
    if bad := next((key for name, key in NOISES.items() if not noise[name] >= 0), None):
        raise InputError(f"{place}, {bad}: {about.get(bad, 'none')} (expected a number >= 0 beside the draws)")
    trust = Trust(
        about.get("source", source),
        {key.removeprefix(MEASURED): _range(place, key, value) for key, value in about.items() if _is_range(key)},
        *(number_in(about.get(name, "")) for name in ("mape", "r2")),
        tuple(value for key, value in about.items() if key.startswith("assumed ")),
        tuple(unidentified),
        tuple(value for key, value in about.items() if key.startswith("unlike ")),
        draws,
        **noise,
        fitted=tuple(value for key, value in about.items() if key.startswith("fitted ")),
    )
    return StepLaw(*(values[name] for name in NAMES), way_in_s=values.get(WAY_IN, 0.0), trust=trust)


def static_batches(law: StepLaw) -> Measured:
    """A law of steps for batches that run to completion: a step that prefills all prompts, then one a token.

    Its way in is left out, which is said: what a law of batches tells is how long these take.

    Examples
    --------
    >>> law = StepLaw(0.01, 1e-3, 1e-5, trust=Trust("mine.csv", dict.fromkeys(TERMS, (0.0, 9.0))))
    >>> round(float(static_batches(law).batch_time_s(2, 100, 3)), 6)
    0.036
    """
    if law.way_in_s:
        say(law.trust.source, "way", [f"{WAY_IN} = {law.way_in_s:.3g} is added where requests join at each step only"])
    model = Phases(law.a_s, law.c_s, law.a_s, law.b_s, law.d_s)
    most = [law.trust.ranges.get(name, (0.0, math.inf))[1] for name in TERMS]
    return Measured(
        model, law.trust.source, Range(*((min(1.0, high), high) for high in most)), law.trust.mape, law.trust.r2
    )


def _rows(text: str) -> list[str]:
    """The lines that are no comments."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _about(text: str) -> dict[str, str]:
    """What the lines ``# key: value`` say."""
    lines = (line.lstrip("# ").partition(":") for line in text.splitlines() if line.startswith("#"))
    return {key.strip(): value.strip() for key, colon, value in lines if colon}


def _is_range(key: str) -> bool:
    return key.startswith(MEASURED) and key.removeprefix(MEASURED) in WORDS


def _range(place: str, key: str, value: str) -> tuple[float, float]:
    low, _, high = value.partition(" to ")
    ends = number_in(low), number_in(high)
    if math.isnan(sum(ends)) or ends[0] > ends[1]:
        raise InputError(f"{place}, {key}: {value} (expected LEAST to MOST)")
    return ends


def _draw(place: str, key: str, value: str) -> tuple[float, ...]:
    numbers = tuple(number_in(part.strip()) for part in value.split(","))
    if len(numbers) != len(NAMES) + 1 or not all(number >= 0 for number in numbers):
        raise InputError(f"{place}, {key}: {value} (expected {len(NAMES) + 1} numbers of seconds >= 0)")
    return numbers
