"""The verb ``fetch``: download a data set."""

from __future__ import annotations

import argparse
from typing import Any


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("fetch", help="download a data set and check it")
    own.set_defaults(verb=_fetch)
    own.add_argument("name", help="burstgpt")


def _fetch(options: argparse.Namespace) -> None:
    from simlib import datasets

    print(datasets.fetch(options.name))
