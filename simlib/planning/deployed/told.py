"""The answer to a check: in words for a terminal, and as a document for machines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from simlib.lazy import pd
from simlib.planning.deployed.causes import BURSTS, SLOWEST, Cause, Causes
from simlib.planning.deployed.promise import CACHED, FAILED, OUTPUTS, PACE, PROMPTS, RATE, Assumed, Promise, Promised
from simlib.planning.deployed.verdict import Checked, Count
from simlib.planning.deployed.window import KV
from simlib.text import many, span, three


class Called(NamedTuple):
    """What an assumption is called, how its number is written, and what stands behind it."""

    name: str
    number: Callable[[float], str]
    unit: str

    def said(self, value: float) -> str:
        """A number with its unit."""
        return f"{self.number(value)}{self.unit}"

    def between(self, one: Assumed) -> str:
        """A range with its unit."""
        if math.isnan(one.mean):
            return "–"
        if one.low is None or one.high is None:
            return f"{self.said(one.mean)}, no range"
        if one.low == one.high:
            return self.said(one.mean)
        low = self.number(one.low)
        return f"at least {low}{self.unit}" if math.isinf(one.high) else f"{low} to {self.said(one.high)}"


CALLED = {
    RATE: Called("rate", three, "/s"),
    PROMPTS: Called("prompt lengths", three, " tokens"),
    OUTPUTS: Called("output lengths", three, " tokens"),
    CACHED: Called("cache hits", lambda share: f"{100 * share:.1f}", " %"),
    FAILED: Called("failures", lambda share: f"{100 * share:.2g}", " %"),
    PACE: Called("step times", "{:.2f}".format, " of the law's"),
    KV: Called("KV cache", three, " tokens"),
    BURSTS: Called("bursts", "{:.2f}".format, " of a mean gap"),
}
TIME = Called("", span, "")
SHARE = Called("", "{:.1%}".format, "")
NEAR = 1.25  # ratio of what was simulated with all numbers to what was measured, up to which they explain it


def called(name: str) -> Called:
    """What an assumption is called; that of a class is its share."""
    return CALLED.get(name) or SHARE._replace(name=f"share of {name}")


def answer(verdict: Checked) -> str:
    """Inside or outside, by which objective, in one sentence."""
    promise, missed = verdict.promise, verdict.missed
    window, one = verdict.worst
    where = f" in {window.name}" if len(verdict.windows) > 1 else ""
    case = f"{one.objective.name} {_bounds(window.values_s[one.objective.name])}{where}, {_against(one)}"
    length = f"{many(len(verdict.windows), 'window')} of {span(promise.window_s)}"
    share = "all" if promise.confidence is None else f"{100 * promise.confidence:g} of 100"
    if missed.too_many:
        odds = f"; so many or more by chance: {100 * missed.chance:.2g} %" if promise.confidence is not None else ""
        return (
            f"Outside what {promise.source} promised, that {share} windows meet every objective: {missed.beyond} of "
            f"{length} {'does' if missed.beyond == 1 else 'do'} not{odds}. It was {case}."
        )
    high = [name for name, count in verdict.above.items() if count.too_many]
    if high:
        held = (
            "no limit was missed"
            if not missed.beyond
            else f"only {missed.beyond} of {length} {'misses' if missed.beyond == 1 else 'miss'} a limit"
        )
        return f"Outside what {promise.source} predicted, though {held}: it was {case}."
    if not missed.told or promise.necessary:
        why = f"not measured: {', '.join(verdict.unmeasured)}" if verdict.unmeasured else "a limit lies within a bucket"
        why = "nothing tells classes apart" if missed.told else why
        return f"Not told apart from what {promise.source} promised ({why}): {case}."
    met, every = missed.told - missed.beyond, len(verdict.windows)
    said = f"the one window of {span(promise.window_s)} meets" if met == every == 1 else f"{met} of {length} meet"
    untold = f" ({every - missed.told} could not be told)" if every > missed.told else ""
    return f"Inside what {promise.source} promised: {said} every objective{untold}; nearest to its limit is {case}."


def text(verdict: Checked, causes: Causes, aligned: Callable[[Any], str]) -> str:
    """For a terminal: the answer; what broke, if anything did; every objective and every assumption.

    Parameters
    ----------
    verdict : Checked
    causes : Causes
        Of the worst window.
    aligned : callable
        Makes a table's text of a data frame.
    """
    lines = [answer(verdict)]
    if verdict.inside is False or causes.broken:
        lines += ["", broken(causes)]
    window = causes.window
    rows = [
        {"objective": str(one.objective), "measured": _bounds(window.values_s.get(one.objective.name)),
         "predicted": TIME.between(one.range_s), "windows above": _above(verdict.above.get(one.objective.name))}
        for one in verdict.promise.promised
    ]  # fmt: skip
    lines += ["", aligned(pd.DataFrame(rows)), ""]
    lines += [f"In {window.name}:"] if len(verdict.windows) > 1 else []
    lines += [aligned(pd.DataFrame([_row(each, causes) for each in causes.rows]))]
    if causes.together_s is not None:
        lines += ["", _together(causes)]
    lines += [f"{what}: {three(value)}" for what, value in window.about.items()]
    return "\n".join(lines)


def unsimulated(promise: Promise) -> str:
    """Why causes are not told by what each makes of the objectives, in a sentence; empty where they are."""
    why = "its law is no sum of parts" if promise.setup.law is None else ""
    why = "when clients come who wait for answers hangs on the engine" if promise.typical is None else why
    return f"{promise.source}: nothing is simulated again, as {why}; causes stand by their ranges" if why else ""


def broken(causes: Causes) -> str:
    """Which assumption broke, the one that explains most first."""
    found = [called(one.name).name for one in causes.broken]
    simulated = causes.planned_s is not None
    if not found:
        rest = (
            [one for one in causes.rows if one.value_s is not None and one.value_s > NEAR * causes.planned_s]
            if simulated
            else []
        )
        most = f"; what does most is {called(rest[0].name).name}" if rest else ""
        open_ = [one.name for one in causes.rows if one.measured is not None and one.inside is None]
        unknown = ", ".join(called(name).name for name in open_ if name != BURSTS)
        return f"No assumption was measured outside its range{f' (none is known of {unknown})' * bool(unknown)}{most}."
    how = (
        f"by what each alone makes of {causes.objective.name}"
        if simulated
        else "by how far each lies outside its range"
    )
    if len(found) == 1:
        return f"One assumption broke: {found[0]}."
    return f"What broke is first of all: {found[0]}; then {', '.join(found[1:])} ({how})."


def document(verdict: Checked, causes: Causes) -> dict[str, Any]:
    """For a machine."""
    return {
        "inside": verdict.inside,
        "answer": answer(verdict),
        "broken": [one.name for one in causes.broken],
        "windows": [
            {"window": window.name, "span_s": window.span_s, "requests": window.requests,
             "objectives": {name: {"low": ends[0], "high": ends[1]} for name, ends in window.values_s.items()},
             "measured": dict(window.known), "about": dict(window.about)}
            for window in verdict.windows
        ],
        "missed": {"windows": verdict.missed.told, "beyond": verdict.missed.beyond, "chance": verdict.missed.chance},
        "explained": {
            "window": causes.window.name, "objective": causes.objective.name, "planned_s": causes.planned_s,
            "together_s": causes.together_s,
            "assumptions": [
                {"assumption": one.name, "measured": one.measured, **one.promised.document(), "inside": one.inside,
                 "alone_s": one.value_s} for one in causes.rows
            ],
        },
    }  # fmt: skip


def _row(one: Cause, causes: Causes) -> dict[str, str]:
    its = called(one.name)
    inside = {True: "inside", False: "outside", None: "–"}[one.inside]
    row = {"assumption": its.name, "measured": "–" if one.measured is None else its.said(one.measured),
           "promised": its.between(one.promised), "is": inside}  # fmt: skip
    if one.name == PACE and one.measured is not None and one.measured in (SLOWEST, 1 / SLOWEST):
        row["measured"] += " or beyond"
    if causes.planned_s is not None:
        row[f"{causes.objective.name} with it"] = "–" if one.value_s is None else span(one.value_s)
    return row


def _together(causes: Causes) -> str:
    """What all measured numbers explain, and what they leave."""
    low, high = causes.window.values_s[causes.objective.name]
    said = (
        f"{causes.objective.name} is {span(causes.planned_s)} in the plan's own window, {span(causes.together_s)} with "
        f"all that was measured in place of what was assumed, and was {_bounds((low, high))}"
    )
    if causes.together_s * NEAR >= low and causes.together_s <= NEAR * high:
        return f"{said}."
    return f"{said}: the rest is in none of these (the router, the way in, the form of the law)."


def _against(one: Promised) -> str:
    predicted = f"predicted {TIME.between(one.range_s)}, " if one.range_s.low is not None else ""
    return f"{predicted}limit {span(one.objective.limit_s)}"


def _bounds(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return "–"
    low, high = ends
    if low == high:
        return span(low) if math.isfinite(low) else "never (requests failed)"
    return f"{span(low)} to {span(high)}" if math.isfinite(high) else f"above {span(low)}"


def _above(count: Count | None) -> str:
    return "–" if count is None else f"{count.beyond} of {count.told}"
