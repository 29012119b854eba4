"""The verb ``fetch``: download a data set."""

from __future__ import annotations

import argparse
from typing import Any

from simlib.cli.outputs import add_json, answer, check_outputs


def add(verbs: Any) -> None:
    """Add the verb."""
    own = verbs.add_parser("fetch", help="download a data set and check it")
    own.set_defaults(verb=_fetch)
    own.add_argument("name", help="burstgpt")
    add_json(own, "where it is")


def _fetch(options: argparse.Namespace) -> None:
    from simlib import datasets

    check_outputs(options)
    found = str(datasets.fetch(options.name))
    answer(options.json, {"file": found}, found)
