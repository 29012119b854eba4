"""Claims held against results: what kinds of evidence there are, and the verdict that follows from each.

Knows no document: a ledger of a chapter lists what was claimed and the
evidence, and this module judges. No verdict is typed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from book.kit.joint import Together
from simlib.checks import InputError, check_number, check_type
from simlib.stats import intervals
from simlib.stats.shares import wilson_interval
from simlib.text import p_value

if TYPE_CHECKING:
    import pandas as pd


REPRODUCED, ALONE, SIGN_ONLY = "reproduced", "reproduced alone", "reproduced in sign only"
NOT_REPRODUCED, CIRCULAR, ERRATUM = "not reproduced", "circular", "erratum"
UNDECIDED, UNTESTABLE = "undecided", "not testable here"
VERDICTS = (REPRODUCED, ALONE, SIGN_ONLY, NOT_REPRODUCED, CIRCULAR, ERRATUM, UNDECIDED, UNTESTABLE)  # ever worse
UNTESTED = (UNDECIDED, UNTESTABLE)
COLUMNS = (
    *("source", "section", "claim", "part_of", "kind", "claimed", "ours", "ci_low", "ci_high", "replications"),
    *("verdict", "rule", "chapter"),
)
MARGIN = 0.05  # of an equivalence test, relative: a figure of another simulator or drawing that is so near is the same
LEVEL = 0.05  # of a comparison, after Holm's correction


class Finding(NamedTuple):
    """Our figure with its interval (NaN where there is none), from how many runs, and the verdict by which rule."""

    verdict: str
    rule: str
    ours: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    replications: int = 0


@dataclass(frozen=True, slots=True)
class OneRun:
    """A figure of one run, against the same figure of many: reproduced inside the central 95 % of them.

    Attributes
    ----------
    runs : array_like of float, shape (replications,)
    same_seed : float
        The figure of the run with the claimed one's seed; NaN where there is none.
    of : str
        What the runs are.
    joint : Together, optional
        Of this and the other figures of that run: where they are improbable together, each is reproduced alone at best.
    """

    runs: Any
    same_seed: float = math.nan
    of: str = "runs"
    joint: Together | None = None
    kind: ClassVar[str] = "one run"

    def find(self, claimed: float, slack: float) -> Finding:
        """Mean of the runs; where the claimed figure, give or take its slack, lies among them."""
        mean = intervals.mean_interval(self.runs)
        low, high = np.quantile(self.runs, [0.025, 0.975])
        inside = low - slack <= claimed <= high + slack
        rule = f"percentile {intervals.percentile_of(claimed, self.runs):.3g} of {mean.replications} {self.of}"
        rule += "" if math.isnan(self.same_seed) else f"; its seed gives {self.same_seed:.4g}"
        verdict = REPRODUCED if inside else NOT_REPRODUCED
        if inside and self.joint and self.joint.p_value <= LEVEL:
            verdict = ALONE
            far = f"{self.joint.distance:.1f} standard deviations from the runs (p {p_value(self.joint.p_value)})"
            rule += f"; with the other figures of its run {far}"
        return Finding(verdict, rule, *_limits(mean), mean.replications)


@dataclass(frozen=True, slots=True)
class Change:
    """By what share a is more than b, both over the same runs; a claim of less is negative.

    Attributes
    ----------
    a, b : array_like of float, shape (replications,)
        One metric of two systems, by pairs.
    p_holm : float
        Of the hypothesis that they are alike, adjusted for all comparisons that were made.
    sign : int
        What is claimed where no size is: 1 for more, -1 for less. With a size, its sign.
    """

    a: Any
    b: Any
    p_holm: float
    sign: int = 0
    kind: ClassVar[str] = "comparison"

    def find(self, claimed: float, slack: float) -> Finding:
        """The sign by the paired difference; the size by the percentile of the claimed change among the runs'."""
        a, b = np.asarray(self.a, float), np.asarray(self.b, float)
        ours = relative_change(a, b)
        sign = self.sign if math.isnan(claimed) else math.copysign(1, claimed)
        which = "sign" if np.sign(np.mean(a - b)) == sign else "opposite sign"
        known = "established" if self.p_holm <= LEVEL else "not established"
        rule = f"paired difference: {which} {known} (p {p_value(self.p_holm)})"
        if (which, known) != ("sign", "established"):
            return Finding(NOT_REPRODUCED, rule, *ours)
        if math.isnan(claimed):
            return Finding(REPRODUCED, rule, *ours)
        sizes = a[b > 0] / b[b > 0] - 1
        low, high = np.quantile(sizes, [0.025, 0.975])
        place = f"size at percentile {intervals.percentile_of(claimed, sizes):.3g} of {len(sizes)} runs"
        inside = low - slack <= claimed <= high + slack
        return Finding(REPRODUCED if inside else SIGN_ONLY, f"{rule}; {place}", *ours)


@dataclass(frozen=True, slots=True)
class Foremost:
    """That one system has less of something than each of some others: all differences must be established.

    Attributes
    ----------
    pairs : sequence of (float, float, float, float)
        Difference to each other system, limits, adjusted p. Of one level, or of several that must all agree.
    replications : int
        Of each.
    """

    pairs: Sequence[tuple[float, float, float, float]]
    replications: int
    kind: ClassVar[str] = "ranking"

    def find(self, claimed: float, slack: float) -> Finding:
        """The least favourable difference; reproduced where every one is below zero and established."""
        beaten = [pair for pair in self.pairs if pair[0] < 0 and pair[3] <= LEVEL]
        worst = max(self.pairs, key=lambda pair: pair[0])
        verdict = REPRODUCED if len(beaten) == len(self.pairs) else NOT_REPRODUCED
        rule = f"paired differences: {len(beaten)} of {len(self.pairs)} established in its favour"
        return Finding(verdict, rule, *worst[:3], self.replications)


@dataclass(frozen=True, slots=True)
class Equal:
    """That two systems are alike: the interval of their difference must lie within a margin around zero."""

    difference: float
    ci_low: float
    ci_high: float
    margin: float
    replications: int
    kind: ClassVar[str] = "equality"

    def find(self, claimed: float, slack: float) -> Finding:
        """The difference with its interval."""
        within = -self.margin < self.ci_low and self.ci_high < self.margin
        found = (self.difference, self.ci_low, self.ci_high, self.replications)
        rule = f"equivalence: interval {'within' if within else 'not within'} ±{self.margin:g}"
        return Finding(REPRODUCED if within else NOT_REPRODUCED, rule, *found)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A figure that the source averaged or drew, against our estimate of the same quantity.

    Attributes
    ----------
    ours, ci_low, ci_high : float
        The estimate and its interval.
    replications : int
    base : float
        What the figure is more or less than, if it is a gain: 1 for a ratio. NaN: a plain figure.
    """

    ours: float
    ci_low: float
    ci_high: float
    replications: int = 0
    base: float = math.nan
    kind: ClassVar[str] = "estimate"

    def __post_init__(self) -> None:
        if not self.ci_low <= self.ours <= self.ci_high:
            raise InputError(f"ours: {self.ours} (expected in [{self.ci_low}, {self.ci_high}])")

    def find(self, claimed: float, slack: float) -> Finding:
        """Reproduced where the interval lies within the margin of equivalence around the claimed figure."""
        found = (self.ours, self.ci_low, self.ci_high, self.replications)
        margin = MARGIN * abs(claimed) + slack
        if self.ci_low - slack <= claimed <= self.ci_high + slack:
            if self.ci_high - self.ci_low <= 2 * margin:
                return Finding(REPRODUCED, "equivalence: interval reaches the figure", *found)
            return Finding(UNDECIDED, "equivalence: interval reaches the figure, but is wider than ±5 %", *found)
        away = 100 * abs(self.ours / claimed - 1) if claimed else math.inf
        apart = f"{away:.{0 if away >= 10 else 1}f} % apart"
        if claimed - margin <= self.ci_low and self.ci_high <= claimed + margin:
            return Finding(REPRODUCED, f"equivalence: interval within ±5 % ({apart})", *found)
        same_side = (self.ci_low > self.base < claimed) or (self.ci_high < self.base > claimed)
        return Finding(SIGN_ONLY if same_side else NOT_REPRODUCED, f"equivalence: not within ±5 % ({apart})", *found)


@dataclass(frozen=True, slots=True)
class Derived:
    """What follows from the source's own equations or figures, without chance: another result is a slip of the source.

    `strict` is False where the figure is an exact calculation of ours that the source's equations do not fix.
    """

    ours: float
    strict: bool = True
    kind: ClassVar[str] = "derived"

    def find(self, claimed: float, slack: float) -> Finding:
        """Reproduced where both are the same to the digits that are printed, or as near as these can be read."""
        near = abs(self.ours - claimed) <= slack
        verdict = REPRODUCED if near else ERRATUM if self.strict else NOT_REPRODUCED
        rule = f"within the figure's accuracy (±{slack:.2g})" if near else "another figure"
        if near and round(self.ours, _decimals(claimed)) == claimed:
            rule = "the same to the digits given"
        return Finding(verdict, f"equation: {rule}", *[self.ours] * 3)


@dataclass(frozen=True, slots=True)
class Counted:
    """Of how many independent runs something said to be always so was so, such as that a queue is stable."""

    hits: int
    runs: int
    kind: ClassVar[str] = "count of runs"

    def find(self, claimed: float, slack: float) -> Finding:
        """The share with Wilson's interval; reproduced in all runs, not where less than half of them can be meant."""
        found = wilson_interval(self.hits, self.runs)
        shares = found.value, found.ci_low, found.ci_high, self.runs
        verdict = NOT_REPRODUCED if found.ci_high < 0.5 else REPRODUCED if self.hits == self.runs else UNDECIDED
        return Finding(verdict, f"so in {self.hits} of {self.runs} runs", *shares)


@dataclass(frozen=True, slots=True)
class Circular:
    """A finding that only gives back what was put in: so if the data it rests on are shown to be computed.

    `ours` is the figure found on those data; `computed` is the test's result.
    """

    ours: float
    computed: bool
    kind: ClassVar[str] = "rests on a measurement"

    def find(self, claimed: float, slack: float) -> Finding:
        """Circular where the data were computed; else reproduced where both figures are the same."""
        if self.computed:
            return Finding(CIRCULAR, "computed data: the grid follows the formula to the last digit", *[self.ours] * 3)
        same = math.isnan(claimed) or abs(self.ours - claimed) <= slack
        return Finding(REPRODUCED if same else NOT_REPRODUCED, "measured data: the same figure", *[self.ours] * 3)


@dataclass(frozen=True, slots=True)
class Unfounded:
    """A claim that nothing here can test, and why."""

    reason: str
    kind: ClassVar[str] = "untestable"

    def __post_init__(self) -> None:
        if not check_type("reason", self.reason, str, "a text"):
            raise InputError("reason: '' (expected why it cannot be tested)")

    def find(self, claimed: float, slack: float) -> Finding:
        """No figure, only the reason."""
        return Finding(UNTESTABLE, self.reason)


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim of a document, and the evidence on it.

    Attributes
    ----------
    source, section, claim : str
        Whose it is, where it stands, what it says.
    claimed, slack : float
        The figure (NaN where a word claims, not a number), and how far it may lie from what was meant: half a unit of
        the last digit printed, or the accuracy to which it was read off a drawing.
    evidence : OneRun, Change, Foremost, Equal, Repeated, Derived, Counted, Circular or Unfounded
    chapter : str
        The study whose page has the evidence.
    contradiction : str
        What the source's own printed figures give instead (as `contradiction` computes it); empty where they agree or
        say nothing. If not, the claim is an erratum, whatever we find.
    part_of : str
        The claim that this is one point of, as a formula has many; empty for a claim by itself.
    """

    source: str
    section: str
    claim: str
    claimed: float
    slack: float
    evidence: Any
    chapter: str = ""
    contradiction: str = ""
    part_of: str = ""

    def __post_init__(self) -> None:
        check_number(f"slack of {self.claim!r}", self.slack, 0.0)
        if not hasattr(self.evidence, "kind"):
            raise InputError(f"evidence of {self.claim!r}: {self.evidence!r:.80} (expected a kind of evidence)")


def judge(claim: Claim) -> Finding:
    """The verdict on one claim, with our figure and the rule.

    Examples
    --------
    >>> judge(Claim("paper", "4", "c_max = 12.3", 12.3, 0.05, Derived(12.1905))).verdict
    'erratum'
    >>> judge(Claim("paper", "4", "plateau", 6.444, 0.001, Repeated(6.4434, 6.4425, 6.4442, 10))).verdict
    'reproduced'
    """
    found = claim.evidence.find(claim.claimed, claim.slack)
    if claim.contradiction:
        return found._replace(verdict=ERRATUM, rule=f"own figures: {claim.contradiction}; {found.rule}")
    return found


def contradiction(own: float, claimed: float, slack: float) -> str:
    """What a source's own figures give where that is not what it claims, give or take the slack; else nothing.

    Examples
    --------
    >>> contradiction(2569 / 2215 - 1, 0.26, 0.0005), contradiction(2956 / 2305 - 1, 0.282, 0.0005)
    ('they give 0.16', '')
    """
    if abs(own - claimed) <= slack:
        return ""
    return f"they give {own:.3g}" if math.isfinite(own) else "they rise from zero"


def ledger(claims: Iterable[Claim]) -> pd.DataFrame:
    """All claims with their verdicts, one row a claim or a point of one: `COLUMNS`."""
    import pandas as pd

    rows = []
    for claim in claims:
        found = judge(claim)
        rows.append(
            {"source": claim.source, "section": claim.section, "claim": claim.claim, "part_of": claim.part_of}
            | {"kind": claim.evidence.kind, "claimed": claim.claimed, **found._asdict()}
            | {"chapter": "" if found.verdict in UNTESTED else claim.chapter}
        )
    return pd.DataFrame(rows)[list(COLUMNS)]


def by_claim(table: pd.DataFrame) -> pd.DataFrame:
    """One row a claim, however many points it has: ``source, section, claim, points, held, verdict``.

    A claim has the worst verdict of its points that could be tested; `held` of them are reproduced.

    Parameters
    ----------
    table : pandas.DataFrame
        Of `ledger`, or as it reads.

    Examples
    --------
    >>> two = [Claim("paper", "4", f"c_{k}", float(k), 0.1, Derived(1.0), part_of="all c_k") for k in (1, 2)]
    >>> by_claim(ledger(two))[["claim", "points", "held", "verdict"]].to_dict("list")
    {'claim': ['all c_k'], 'points': [2], 'held': [1], 'verdict': ['erratum']}
    """
    import pandas as pd

    rows = table.assign(part_of=table["part_of"].fillna(""))
    rows = rows.assign(claim=rows["part_of"].where(rows["part_of"] != "", rows["claim"]))
    found = []
    for (source, section, claim), points in rows.groupby(["source", "section", "claim"], sort=False):
        tested = points.loc[~points["verdict"].isin(UNTESTED), "verdict"]
        worst = max(tested if len(tested) else points["verdict"], key=VERDICTS.index)
        found.append((source, section, claim, len(points), int((points["verdict"] == REPRODUCED).sum()), worst))
    return pd.DataFrame(found, columns=["source", "section", "claim", "points", "held", "verdict"])


def _decimals(claimed: float) -> int:
    """How many decimals a figure is given to, at least.

    Examples
    --------
    >>> [_decimals(figure) for figure in (5.323, 100.0, 0.05)]
    [3, 0, 2]
    """
    return len(f"{claimed:.12f}".rstrip("0").partition(".")[2])


def _limits(mean: intervals.Interval) -> tuple[float, float, float]:
    if mean.ci_low is None or mean.ci_high is None:
        return mean.mean, math.nan, math.nan
    return mean.mean, mean.ci_low, mean.ci_high


def relative_change(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float, int]:
    """Mean of a over mean of b, minus 1, with its limits (of a ratio of means, by pairs), and the number of pairs.

    Infinite, without limits, where b is zero and a is not.

    Examples
    --------
    >>> relative_change(np.array([1.0, 3.0]), np.array([2.0, 6.0]))
    (-0.5, -0.5, -0.5, 2)
    """
    if b.mean() == 0:
        return (0.0, 0.0, 0.0, len(a)) if a.mean() == 0 else (math.inf, math.nan, math.nan, len(a))
    ratio = a.mean() / b.mean()
    interval = intervals.mean_interval((a - ratio * b) / b.mean())
    _, low, high = _limits(interval)
    return float(ratio - 1), float(ratio - 1 + low), float(ratio - 1 + high), len(a)
