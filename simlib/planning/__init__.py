"""What to deploy: from what has to be served and what can serve to the cheapest configuration that meets its limits."""

from __future__ import annotations

from simlib.lazy import getter

__getattr__ = getter(__name__)
