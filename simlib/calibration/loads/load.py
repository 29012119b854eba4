"""A load that a benchmark put on an engine, with the times that its clients measured; and the same, simulated."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from simlib.calibration import engine_benchmarks
from simlib.continuous.serve import Served, serve
from simlib.continuous.settings import Continuous
from simlib.lazy import pd
from simlib.requests.formats.layout import Log
from simlib.requests.formats.results.contents import repeated
from simlib.requests.table import TOKEN_COLUMNS, RequestTable

REPEATED = 0.05  # share of the prompts' tokens from which on it is said


@dataclass(frozen=True, slots=True)
class MeasuredLoad:
    """The served requests of one load of a benchmark, in order of their starts.

    Attributes
    ----------
    name : str
        The file's, with the load's number where it has several.
    requests : DataFrame
        ``start_s, prompt_tokens, output_tokens, ttft_s, itl_s`` and, where they are known, ``cached_prompt_tokens``
        and the ``pieces`` of prompts.
    """

    name: str
    requests: pd.DataFrame

    @classmethod
    def of(cls, log: Log) -> list[MeasuredLoad]:
        """The loads of a file; `InputError` where it lacks starts or the times of tokens."""
        frames = [frame.sort_values("start_s", kind="stable") for frame in engine_benchmarks.loads_of(log)]
        names = [log.source] if len(frames) == 1 else [f"{log.source}, run {run}" for run in range(len(frames))]
        return [cls(name, frame.reset_index(drop=True)) for name, frame in zip(names, frames, strict=True)]

    @property
    def mark(self) -> str:
        """A name for what was measured, the same for the same times in whatever file."""
        return hashlib.sha256(np.ascontiguousarray(self.ttft_s).tobytes()).hexdigest()[:16]

    @property
    def table(self) -> RequestTable:
        """The requests as they came."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the lengths, which the file's own account tells
            columns = {name: self.requests[name].to_numpy() for name in TOKEN_COLUMNS if name in self.requests}
            return RequestTable(self.requests["start_s"].to_numpy(), **columns)

    @property
    def ttft_s(self) -> np.ndarray:
        """To each request's first token, seconds."""
        return self.requests["ttft_s"].to_numpy(float)

    @property
    def rest_s(self) -> np.ndarray:
        """From its first token to its last."""
        return np.array([float(np.sum(gaps)) for gaps in self.requests["itl_s"]])

    @property
    def most_at_once(self) -> int:
        """Of requests that had a token and were to have another."""
        first_s, last_s = (
            np.sort(self.requests["start_s"] + times) for times in (self.ttft_s, self.ttft_s + self.rest_s)
        )
        return int(max(1, np.max(np.arange(1, len(first_s) + 1) - np.searchsorted(last_s, first_s, "left"))))

    @property
    def repeats(self) -> str:
        """A sentence, where prompts share much with those before them, and nobody says what was cached."""
        if "pieces" not in self.requests or "cached_prompt_tokens" in self.requests:
            return ""
        share = float(np.average(repeated(self.requests["pieces"]), weights=self.requests["prompt_tokens"] + 1))
        if share <= REPEATED:
            return ""
        return (
            f"{share:.0%} of the prompts' tokens are what prompts before them began with: had the engine its prefix "
            "cache on, it did not compute them, which is not replayed (expected --no-enable-prefix-caching, or prompts "
            "that share nothing)"
        )

    def served(self, law: Any, settings: Continuous, table: RequestTable | None = None) -> Served:
        """The same requests, served by a law."""
        table = self.table if table is None else table
        return serve(table, law, settings, backend="auto")

    def beyond_s(self, law: Any, settings: Continuous) -> np.ndarray:
        """How much longer first tokens took than they do by a law without a way in, seconds."""
        table = self.table
        return self.ttft_s - (self.served(law, settings, table).first_token_s - table.arrival_s)
