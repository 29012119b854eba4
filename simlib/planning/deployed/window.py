"""What was measured in one window after deployment: objectives, each between bounds, and what a plan assumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simlib.requests.table import RequestTable

SHORT = 0.05  # of a window that may be missing: a load of ten minutes ends with its last request, a little earlier


@dataclass(frozen=True)
class Observed:
    """A stretch of time, and what is known of it.

    Attributes
    ----------
    name : str
        The file, and which window of it.
    span_s : float
    requests : int
        That are counted.
    values_s : mapping of str to (float, float)
        By an objective's name: between which bounds it lies, seconds; equal where it is known exactly. A request that
        failed is one that never ended.
    known : mapping of str to float
        Of `promise.NAMES` what is measured (not the pace, which takes a simulation), and `ITL`, `TTFT` (means, seconds)
        and `KV`, the tokens of a replica's cache.
    table : RequestTable, optional
        Its requests, where they are known one by one.
    engine, model : str
        As the result says it; empty where it does not.
    about : mapping of str to float
        What else is said of it, such as preemptions.
    """

    name: str
    span_s: float
    requests: int
    values_s: Mapping[str, tuple[float, float]]
    known: Mapping[str, float]
    table: RequestTable | None = None
    engine: str = ""
    model: str = ""
    about: Mapping[str, float] = field(default_factory=dict)


ITL, TTFT, KV = "itl_s", "ttft_s", "kv_tokens"
