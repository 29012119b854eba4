"""What queueing theory makes of an engine that is measured: processor sharing with so many places, and three means.

Each of n requests in service gets its next token after a time that grows by as much with each of them (Cohen's
generalised processor sharing, Acta Informatica 12, 1979, 245-284); those beyond the places wait in line (limited
processor sharing, Avi-Itzhak and Halfin, 1988). It knows no prompt, no step and no memory, so that what the simulated
engine is nearer by is what these add.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from simlib.calibration.loads.load import MeasuredLoad

MOST = 4.0  # times as slow, or as fast, as a machine may have become


@dataclass(frozen=True, slots=True)
class Sharing:
    """A token's time among n requests, and how many tokens' work is done before the first one comes.

    Parameters
    ----------
    fixed_s, each_s : float
        Seconds of a token: fixed, and for each request in service, its own among them.
    first_tokens : float
        Work before the first token, which takes a prompt and the way in, as so many tokens.
    """

    fixed_s: float
    each_s: float
    first_tokens: float

    @classmethod
    def fit(cls, loads: Sequence[MeasuredLoad]) -> Sharing:
        """From mean times of light loads, and how many requests were there on average.

        In a steady state a token of one who comes takes as long as among those whom she finds and herself, so that
        mean times are a straight line in these, none of its numbers below zero.
        """
        ttft_s, token_s, present = np.array([_means(load) for load in loads]).T
        design = np.column_stack([np.ones(len(loads)), 1.0 + present])
        (fixed_s, each_s), _ = optimize.nnls(design, token_s)
        return cls(float(fixed_s), float(each_s), float(ttft_s @ token_s / (token_s @ token_s)))

    def slower(self, times: float) -> Sharing:
        """The same where everything takes so many times as long."""
        return replace(self, fixed_s=times * self.fixed_s, each_s=times * self.each_s)

    def served(self, load: MeasuredLoad, places: int) -> MeasuredLoad:
        """A load as its clients would have measured it; its own times are not looked at."""
        arrival_s = load.requests["start_s"].to_numpy(float)
        output = load.requests["output_tokens"].to_numpy(int)
        work, begun = self.first_tokens + output - 1.0, np.empty(len(output))
        now_s = done = 0.0  # tokens that whoever was always in service has got
        times_s, progress, ends, row = [now_s], [done], [], 0
        while row < len(output) or ends:
            token_s = self.fixed_s + self.each_s * max(len(ends), 1)
            joins_s = max(arrival_s[row], now_s) if row < len(output) and len(ends) < places else math.inf
            leaves_s = now_s + (ends[0] - done) * token_s if ends else math.inf
            if joins_s <= leaves_s:
                now_s, done = joins_s, done + (joins_s - now_s) / token_s
                begun[row] = done
                heapq.heappush(ends, done + work[row])
                row += 1
            else:
                now_s, done = leaves_s, heapq.heappop(ends)
            times_s.append(now_s)
            progress.append(done)
        place = np.concatenate([begun[k] + self.first_tokens + np.arange(count) for k, count in enumerate(output)])
        came_s = np.split(np.interp(place, progress, times_s), np.cumsum(output)[:-1])
        first_s = np.array([own[0] for own in came_s])
        frame = load.requests.assign(ttft_s=first_s - arrival_s, itl_s=[np.diff(own) for own in came_s])
        return MeasuredLoad(load.name, frame)

    def slowness(self, load: MeasuredLoad, places: int) -> float:
        """How many times as long everything took in a load, by its mean time of a token."""
        wanted_s = _means(load)[1]

        def late_s(log_times: float) -> float:
            return _means(self.slower(math.exp(log_times)).served(load, places))[1] - wanted_s

        most = math.log(MOST)
        return math.exp(optimize.brentq(late_s, -most, most, xtol=1e-3))


def _means(load: MeasuredLoad) -> tuple[float, float, float]:
    """To the first token, of a token after it, seconds; and requests present."""
    ttft_s, rest_s = load.ttft_s, load.rest_s
    token_s = rest_s.sum() / max((load.requests["output_tokens"] - 1).sum(), 1)
    span_s = np.max(load.requests["start_s"] + ttft_s + rest_s)
    return float(ttft_s.mean()), float(token_s), float((ttft_s + rest_s).sum() / span_s)
