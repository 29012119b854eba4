"""A deadline, or several that must all be met."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from simlib.checks import InputError, check_choice, check_number, check_type

METRICS = ("latency", "ttft", "tpot")


@dataclass(frozen=True, slots=True)
class SLA:
    """A deadline, or several that must all be met: upper limits in seconds by metric.

    ``assumed`` says that nobody gave it: neither who called `simulate` nor the policy.

    Examples
    --------
    >>> SLA.of("ttft<=1,tpot<=0.05").limits_s
    {'ttft': 1.0, 'tpot': 0.05}
    >>> SLA.of(0.5).limits_s
    {'latency': 0.5}
    """

    limits_s: Mapping[str, float]
    assumed: bool = False

    def __post_init__(self) -> None:
        check_type("sla", self.limits_s, Mapping, "limits in seconds by metric")
        if not self.limits_s:
            raise InputError(f"sla: no limit (expected some of {', '.join(METRICS)})")
        for metric, limit_s in self.limits_s.items():
            check_choice("sla", metric, METRICS)
            check_number(f"sla {metric}", limit_s, 0.0, open_low=True)

    @classmethod
    def of(cls, sla: SLA | float | str) -> SLA:
        """Take a deadline for end-to-end latency in seconds, or text such as ``"ttft<=1,tpot<=0.05"``.

        Raises
        ------
        InputError
            If a metric is not one of latency, ttft, tpot, a limit is not a number > 0, or a metric comes twice.
        """
        if isinstance(sla, SLA):
            return sla
        if not isinstance(sla, str):
            return _deadline(check_number("sla", sla, 0.0, open_low=True))
        try:
            return cls({"latency": check_number("sla", float(sla), 0.0, open_low=True)})
        except ValueError as problem:
            if isinstance(problem, InputError):
                raise
        limits: dict[str, float] = {}
        for term in sla.split(","):
            match = re.fullmatch(r"\s*(\w+?)(?:_s)?\s*<=?\s*([^\s<=]+)\s*", term)
            if not match or match[1] not in METRICS or match[1] in limits:
                raise InputError(f"sla: {term!r} in {sla!r} (expected {'|'.join(METRICS)}<=SECONDS, each once)")
            try:
                limit = float(match[2])
            except ValueError:
                raise InputError(f"sla: {match[2]!r} in {sla!r} (expected seconds)") from None
            limits[match[1]] = check_number(f"sla {match[1]}", limit, 0.0, open_low=True)
        return cls(limits)


@functools.lru_cache(maxsize=64)
def _deadline(latency_s: float) -> SLA:
    return SLA({"latency": latency_s})


ASSUMED = SLA({"latency": 1.0}, assumed=True)
