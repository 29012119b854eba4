"""The verb ``presets``: list the latency presets."""

from __future__ import annotations

import argparse
from typing import Any


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("presets", help="list the latency presets")
    own.set_defaults(verb=_presets)
    own.add_argument(
        "--all", action="store_true", help="every form, with coefficients, their intervals and measured ranges"
    )


def _presets(options: argparse.Namespace) -> None:
    from simlib.latency import presets

    shown = presets.table()
    if not options.all:
        shown = shown.drop_duplicates("name", keep="last")[presets.LISTED]  # the richest form
    print(shown.to_csv(index=False), end="")
