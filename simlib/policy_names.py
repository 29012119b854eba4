"""Every policy that has a name, by it: what a sweep, a terminal or `simulate` may be given as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simlib.early_rejection import EarlyRejection
from simlib.fair import FairShare
from simlib.schedulers import POLICIES
from simlib.shortest_first import ShortestPredictedFirst

__all__ = ["NAMED"]

NAMED: Mapping[str, Any] = POLICIES | {
    policy.name: policy for policy in (ShortestPredictedFirst, EarlyRejection, FairShare)
}
