"""How far to trust a law of time: where it was measured, how well it fits there, and what of a run lies beyond.

A law carries its `Trust`; a run's times (`seen`) say where it was used.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from simlib.requests.table import RequestTable

DRAWS = 200  # of itself that a law keeps, and that are served
ENDS = 2.5, 97.5  # percentiles of an interval
GOOD_MAPE = 0.1  # held-out error of a law that is planned with
LEAST_R2 = 0.1  # below it a mean would do as well: steps differ, and the law does not say why
JUDGED_BY = {"ttft": "ttft c", "tpot": "tpot b d", "latency": "ttft tpot c b d"}  # what speaks of an objective's metric
MINOR = 0.01  # of requests or of time: what less than that share does moves no 99th percentile
WORDS = {
    "decodes": "decodes a step",
    "prefill_tokens": "prefill tokens a step",
    "context_tokens": "context tokens a step",
    "batch_size": "sequences that decode in a step",
    "prompt_tokens": "prompt tokens",
    "output_tokens": "output tokens",
}
_said: set[tuple[str, str]] = set()  # a study makes thousands of runs, and is told once


class Use(NamedTuple):
    """Where a law was used: values of one of its terms, how much each counts, and of what it is a share."""

    values: np.ndarray
    weights: np.ndarray
    of: str


class Beyond(NamedTuple):
    """A term's values in a run, least and most, where some lie outside those measured; and their share of what."""

    term: str
    measured: tuple[float, float]
    used: tuple[float, float]
    share: float
    of: str

    def __str__(self) -> str:
        share = f"{100 * self.share:.0f} %" if self.share >= MINOR else f"less than {100 * MINOR:.0f} %"
        low, high = self.measured
        return (
            f"{WORDS[self.term]} {self.used[0]:.0f} to {self.used[1]:.0f}, measured {low:.0f} to {high:.0f} "
            f"({share} of the {self.of} beyond)"
        )


LENGTHS = ("prompt_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of a law beside its coefficients.

    Attributes
    ----------
    source : str
        The file or preset that it is from.
    ranges : mapping of str to (float, float)
        Least and most that was measured of each term, by `WORDS`.
    mape, r2 : float
        Of what the law was not fitted to; NaN where nobody knows.
    assumes : tuple of str
        What holds only if the engine is as assumed.
    unidentified : tuple of str
        Coefficients that the measurements cannot tell.
    unlike : tuple of str
        Times of its own benchmark that the law does not give back, each a sentence that begins with ``ttft`` or
        ``tpot``.
    draws : tuple of tuples of float
        The law as it may be in another run, equally likely: coefficients as in `law_file.NAMES`, and the way in.
    noise : float
        Standard deviation of the logarithm of what one second's steps take over what the law says, beyond what
        comes of `step_noise`; of a run of n seconds, less by the root of n.
    step_noise : float
        That of a single step, whose neighbours do not tell of it.
    fitted : tuple of str
        Marks of the times that it was fitted to, where they are known (`calibration.loads.load.MeasuredLoad`).
    """

    source: str
    ranges: Mapping[str, tuple[float, float]]
    mape: float = math.nan
    r2: float = math.nan
    assumes: tuple[str, ...] = ()
    unidentified: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    draws: tuple[tuple[float, ...], ...] = ()
    noise: float = 0.0
    step_noise: float = 0.0
    fitted: tuple[str, ...] = ()

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Trust:
        """The same again, from what JSON keeps of it."""
        tuples = {name: tuple(about.get(name, ())) for name in ("assumes", "unidentified", "unlike", "fitted")}
        tuples["draws"] = tuple(map(tuple, about.get("draws", ())))
        return cls(**{**about, **tuples, "ranges": {name: tuple(ends) for name, ends in about["ranges"].items()}})

    def __str__(self) -> str:
        span = ", ".join(f"{WORDS[name]} {low:g} to {high:g}" for name, (low, high) in self.ranges.items())
        fit = "" if math.isnan(self.mape) else f"; held-out error {100 * self.mape:.1f} %, R² {self.r2:.2f}"
        told = f"; not identified: {', '.join(self.unidentified)}" if self.unidentified else ""
        return f"{self.source}, measured for {span}{fit}{told}"

    @property
    def misfit(self) -> str:
        """A sentence where the fit is bad, else nothing; what is not known is not bad."""
        fit, bad = f"held-out error {100 * self.mape:.0f} %, R² {self.r2:.2f}", []
        bad += [f"at most {100 * GOOD_MAPE:.0f} %"] if self.mape > GOOD_MAPE else []
        bad += [f"R² of at least {LEAST_R2:g}"] if self.r2 < LEAST_R2 else []
        return f"{fit} (expected {', '.join(bad)})" if bad else ""

    def doubts(self, metrics: Iterable[str]) -> list[str]:
        """Why the law may not hold where these times are asked for, of ``ttft, tpot, latency``.

        A first token needs the time of a prompt's token, a next one that of what decodes, told by either of two.

        Examples
        --------
        >>> Trust("bench.json", {}, unidentified=("c_s_per_prefill_token",)).doubts(["tpot", "ttft"])
        ['c_s_per_prefill_token is not identified']
        """
        asked = {word for metric in metrics for word in JUDGED_BY[metric].split()}
        unknown = [name for name in self.unidentified if name[0] in asked]
        if not {"b", "d"} <= {name[0] for name in unknown}:
            unknown = [name for name in unknown if name[0] not in "bd"]
        told = [f"{', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not identified"] if unknown else []
        return [*filter(None, [self.misfit]), *told, *(one for one in self.unlike if one.split()[0] in asked)]

    def beyond(self, uses: Mapping[str, Use]) -> list[Beyond]:
        """The terms of a run that leave their ranges: a shorter prompt or output than any measured does not.

        The step of a short prompt lies between one without a prompt and the shortest measured; the steps of a short
        output are the first ones of a long output.

        Examples
        --------
        >>> use = Use(np.array([2.0, 40.0]), np.array([1.0, 3.0]), "time")
        >>> str(Trust("bench.json", {"decodes": (0, 3)}).beyond({"decodes": use})[0])
        'decodes a step 2 to 40, measured 0 to 3 (75 % of the time beyond)'
        """
        found = []
        for term, (low, high) in self.ranges.items():
            values, weights, of = uses[term]
            outside = values > high if term in LENGTHS else (values < low) | (values > high)
            if outside.any():
                share = float(weights[outside].sum() / max(weights.sum(), 1e-300))
                found.append(Beyond(term, (low, high), (float(values.min()), float(values.max())), share, of))
        return found


def seen(
    table: RequestTable, first_token_s: np.ndarray, completion_s: np.ndarray, gpu: np.ndarray, token_budget: int
) -> dict[str, Use]:
    """Where a run of continuous batching uses its law.

    Parameters
    ----------
    table : RequestTable
    first_token_s, completion_s, gpu : ndarray
        Of each request; NaN where it was not served.
    token_budget : int
        Tokens of a step: of a longer prompt, a step prefills so many.

    Returns
    -------
    dict of str to Use
        Decodes and context are those between any two first tokens and ends of a GPU, weighted by time; the rest is of
        each request that was served.

    Examples
    --------
    >>> table = RequestTable([0, 0], [100, 50], [11, 3])
    >>> uses = seen(table, np.array([1.0, 2.0]), np.array([11.0, 4.0]), np.array([0, 0]), 64)
    >>> uses["decodes"].values.tolist(), uses["decodes"].weights.tolist()
    ([1.0, 2.0, 1.0], [1.0, 2.0, 7.0])
    >>> uses["context_tokens"].values.tolist(), uses["prefill_tokens"].values.tolist()
    ([102.0, 157.0, 111.0], [64.0, 50.0])
    """
    served = ~np.isnan(completion_s)
    prompt, output = (getattr(table, name)[served].astype(float) for name in ("prompt_tokens", "output_tokens"))
    cached = 0.0 if table.cached_prompt_tokens is None else table.cached_prompt_tokens[served]
    once = np.ones(len(prompt))
    decodes, context, span_s = _decoding(prompt, output, first_token_s[served], completion_s[served], gpu[served])
    return {
        "prompt_tokens": Use(prompt, once, "requests"),
        "output_tokens": Use(output, once, "requests"),
        "prefill_tokens": Use(np.minimum(prompt - cached, token_budget), once, "requests"),
        "decodes": Use(decodes, span_s, "time"),
        "batch_size": Use(decodes, span_s, "time"),
        "context_tokens": Use(context, span_s, "time"),
    }


def _decoding(
    prompt: np.ndarray, output: np.ndarray, first_s: np.ndarray, last_s: np.ndarray, gpu: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequences that decode, their contexts' tokens at its end, and the length in seconds of each span of time."""
    time_s, joins = np.concatenate([first_s, last_s]), np.repeat([1.0, -1.0], len(first_s))
    order = np.lexsort((joins, time_s, np.concatenate([gpu, gpu])))  # who ends at an instant leaves before who begins
    per_s = (output - 1) / np.maximum(last_s - first_s, 1e-12)
    running = joins[order].cumsum()
    growing = np.concatenate([per_s, -per_s])[order].cumsum()
    held = np.concatenate([prompt + 1, -(prompt + output)])[order].cumsum()
    span_s = np.diff(time_s[order], append=0.0)
    span_s[running < 0.5] = 0.0  # nobody decodes, or the next GPU begins
    inside = span_s > 0
    return running[inside], (held + (growing * span_s).cumsum())[inside], span_s[inside]


def say(source: str, kind: str, told: Iterable[str]) -> None:
    """Warn, once a process for each law and kind, if there is something to say."""
    text = "; ".join(filter(None, told))
    if text and (source, kind) not in _said:
        _said.add((source, kind))
        warnings.warn(f"latency {source}: {text} (said once)", stacklevel=4)


def was_said(source: str, *kinds: str) -> bool:
    """Whether all of that was said."""
    return all((source, kind) in _said for kind in kinds)
