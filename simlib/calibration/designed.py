"""The law of steps from an engine that was asked itself: fitted to the single steps that `engine_steps` wrote."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np

from simlib import reading
from simlib.calibration.engine_steps import COLUMNS, GROUP
from simlib.calibration.step_fit import EngineLaw, Steps, fit_steps, solve
from simlib.checks import InputError
from simlib.latency.law_file import NAMES, TERMS
from simlib.latency.steps import StepLaw
from simlib.latency.trust import DRAWS
from simlib.lazy import pd

ASSUMED = (
    "a step of a server takes as long as one of the engine alone, in a process of its own: the way from a client and "
    "back is not in it, nor how the machine drifts from one hour to the next",
    "the first chunk of a prompt stands for all: attention of later ones to those before them is not in c",
)

# Times the median of its like, beyond which a step was held up by something else; with two in flight the next one seems
# to take as much less.
STALL = 1.5


def is_steps(text: str) -> bool:
    """Whether a file's first line behind its header is that of single steps."""
    rows = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return next(rows, "").strip() == ",".join(COLUMNS)


def from_steps(path: str | os.PathLike[str]) -> EngineLaw:
    """Fit the step law to the steps of a designed experiment, as a file that `engine_steps` wrote has them.

    Raises
    ------
    InputError
        If it is another file, a row is no row of numbers, or the steps are too few.
    """
    source, text = reading.text(path, "steps that an engine was asked for, as CSV")
    return parse(text, source)


def parse(text: str, source: str) -> EngineLaw:
    """The same, of a file's text; `source` is its name in messages."""
    place = f"steps {source}"
    if not is_steps(text):
        raise InputError(f"{place}: no steps (expected the columns {', '.join(COLUMNS)})")
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    rows = reading.delimited(source, plain.encode())[list(COLUMNS)].apply(pd.to_numeric, errors="coerce")
    bad = ~(rows["step_s"] > 0) | rows.isna().any(axis=1) | (rows.min(axis=1) < 0)
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise InputError(f"{place}, row {row}: {rows.iloc[row].tolist()} (expected numbers >= 0, step_s above 0)")
    about = dict(line[1:].strip().split(": ", 1) for line in text.splitlines() if line.startswith("#") and ": " in line)
    asked = ", ".join(about[key] for key in ("engine", "model", "dtype", "device") if key in about)
    flight = "two steps in flight" if about.get("steps_in_flight") == "2" else "one step in flight"
    like_s = rows.groupby([*GROUP[1:], "chunk"])["step_s"].transform("median")
    stalled = ~rows["step_s"].between(like_s / STALL, STALL * like_s)
    kept = rows[~stalled].reset_index(drop=True)
    found = fit_steps(kept.assign(weight=1.0), source, f"asked of the engine ({asked}), {flight}")
    held_up = (
        f"{stalled.sum()} of {len(rows)} steps took over {STALL:g} times the median of their like, or so much less: "
        "something else held them up, or those before them, and they are left out"
    )
    draws, step_noise = _draws(kept, found.law)
    assumes = (*ASSUMED, held_up) if stalled.any() else ASSUMED
    trust = replace(found.law.trust, assumes=assumes, draws=draws, step_noise=step_noise)
    return replace(found, law=replace(found.law, trust=trust))


def _draws(rows: pd.DataFrame, law: StepLaw) -> tuple[tuple[tuple[float, ...], ...], float]:
    """Laws from groups drawn anew, as the steps of one resemble each other; the noise of a step beside them."""
    data = Steps(
        np.column_stack([np.ones(len(rows)), rows[list(TERMS)].to_numpy(float)]),
        rows["step_s"].to_numpy(float),
        np.ones(len(rows)),
    )
    of = rows.groupby(list(GROUP), sort=False).ngroup().to_numpy()
    groups, rng = of.max() + 1, np.random.default_rng(0)
    drawn = (
        solve(data._replace(weight=rng.multinomial(groups, np.full(groups, 1 / groups))[of])) for _ in range(DRAWS)
    )
    noise = float(np.std(np.log(data.step_s / (data.design @ law.params[: len(NAMES)]))))
    return tuple((*law.tolist(), 0.0) for law in drawn), noise
