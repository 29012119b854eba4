"""Claims held against results: the rule by which a figure holds, holds roughly, does not, or is a slip.

Knows no paper: a ledger (such as `multi_bin_claims`) lists what was claimed and what was found, and this module judges.
No verdict is typed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Literal

from simlib.checks import InputError, check_choice, check_number

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Claim", "judge", "ledger"]

KINDS = ("estimate", "equation", "untestable")
WITHIN = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class Claim:
    """One figure that a paper gives, and ours.

    Attributes
    ----------
    section, claim : str
        Where it stands, and what it says.
    kind : {"estimate", "equation", "untestable"}
        Estimated here, with an interval; what the paper's own equation gives, exactly; or not to be had here.
    claimed, slack : float
        The figure, and how far it may lie from what was meant: half a unit of the last digit printed, or the accuracy
        to which it was read off a drawing.
    ours, ci_low, ci_high : float
        Our figure and its interval; NaN where there is none, both limits equal to it for an equation.
    reason : str
        Why it cannot be tested.
    """

    section: str
    claim: str
    kind: Literal["estimate", "equation", "untestable"]
    claimed: float
    slack: float
    ours: float = math.nan
    ci_low: float = math.nan
    ci_high: float = math.nan
    reason: str = ""

    def __post_init__(self) -> None:
        check_choice(f"kind of {self.claim!r}", self.kind, KINDS)
        check_number(f"slack of {self.claim!r}", self.slack, 0.0)
        if self.kind != "untestable" and not self.ci_low <= self.ours <= self.ci_high:
            raise InputError(f"ours of {self.claim!r}: {self.ours} (expected in [{self.ci_low}, {self.ci_high}])")
        if (self.kind == "untestable") != bool(self.reason):
            raise InputError(f"reason of {self.claim!r}: {self.reason!r} (expected one where it is untestable)")


def judge(claim: Claim) -> str:
    """The verdict on one claim.

    Parameters
    ----------
    claim : Claim

    Returns
    -------
    str
        ``holds``: the claimed figure, give or take its slack, reaches the interval. ``erratum``: it does not, and it is
        the paper's own equation that gives another. ``holds within x %``: our figure differs by no more than that, the
        least x of 0.1, 0.2, 0.5, 1, 2, 5, 10. ``does not hold``: by more. ``cannot be checked``, for the reason given.

    Examples
    --------
    >>> judge(Claim("4", "c_max = 12.3", "equation", 12.3, 0.05, 12.1905, 12.1905, 12.1905))
    'erratum'
    >>> judge(Claim("4", "plateau", "estimate", 6.444, 0.001, 6.4434, 6.4425, 6.4442))
    'holds'
    """
    if claim.kind == "untestable":
        return "cannot be checked"
    if claim.ci_low - claim.slack <= claim.claimed <= claim.ci_high + claim.slack:
        return "holds"
    if claim.kind == "equation":
        return "erratum"
    apart = abs(claim.ours - claim.claimed)
    for share in WITHIN:
        if apart <= share * abs(claim.claimed):
            return f"holds within {100 * share:g} %"
    return "does not hold"


def ledger(claims: Iterable[Claim]) -> pd.DataFrame:
    """All claims with their verdicts, one row each: the fields of `Claim`, ``difference`` and ``verdict``."""
    import pandas as pd

    claims = list(claims)
    table = pd.DataFrame([astuple(claim) for claim in claims], columns=[field.name for field in fields(Claim)])
    return table.assign(difference=table["ours"] - table["claimed"], verdict=[judge(claim) for claim in claims])
