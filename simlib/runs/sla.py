"""A deadline, or several that must all be met."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

from simlib.checks import InputError, check_choice, check_type, shown
from simlib.durations import limit_s

METRICS = ("latency", "ttft", "tpot")


@dataclass(frozen=True, slots=True)
class SLA:
    """A deadline, or several that must all be met: upper limits in seconds by metric.

    ``assumed`` says that nobody gave it: neither who called `simulate` nor the policy.

    Examples
    --------
    >>> SLA.of("ttft<=1,tpot<=50ms").limits_s
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
        limits = {
            check_choice("sla", metric, METRICS): limit_s(f"sla: {metric}", limit, metric)
            for metric, limit in self.limits_s.items()
        }
        object.__setattr__(self, "limits_s", limits)

    @classmethod
    def of(cls, sla: SLA | float | str) -> SLA:
        """Take a deadline for end-to-end latency, or text such as ``"ttft<=500ms,tpot<=0.05"``; bare: seconds.

        Raises
        ------
        InputError
            If a metric is not one of latency, ttft, tpot or comes twice, or a limit is no time > 0 or, without a unit,
            more seconds than can be meant (`durations.limit_s`).
        """
        if isinstance(sla, SLA):
            return sla
        if not isinstance(sla, str) or not re.search("[<=>,]", sla):
            return _deadline(limit_s("sla", sla))
        limits: dict[str, str] = {}
        for term in sla.split(","):
            match = re.fullmatch(r"\s*(\w+?)(?:_s)?\s*<=?\s*([^\s<=][^<=]*)", term)
            if not match or match[1] not in METRICS or match[1] in limits:
                raise InputError(f"sla: {shown(term)} in {shown(sla)} (expected {'|'.join(METRICS)}<=TIME, each once)")
            limits[match[1]] = match[2]
        return cls(limits)


@functools.lru_cache(maxsize=64)
def _deadline(latency_s: float) -> SLA:
    return SLA({"latency": latency_s})


ASSUMED = SLA({"latency": 1.0}, assumed=True)
