"""What the page's reader of files is told of the formats: their marks, names and units, from simlib's own definitions.

``reader.js`` has the rules and no names; ``python -m book.explorer.formats`` writes ``formats.js`` beside it.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from simlib.reading import FOREIGN
from simlib.requests.account import KEYS, STAMPS
from simlib.requests.formats import known
from simlib.requests.formats.aggregates.serving_means import MEANT, TIMES
from simlib.requests.formats.document import WINDOWS
from simlib.requests.formats.layout import Rows
from simlib.requests.formats.results.contents import COLUMNS
from simlib.requests.formats.results.serving_benchmark import ARRAYS
from simlib.requests.formats.traces import burstgpt, plain

SCRIPT = Path(__file__).resolve().parents[1] / "_static" / "explorer" / "formats.js"
SCRIPTS = ("formats", "texts", "documents", "clocks", "reader")  # in the order in which a page or a worker loads them
# What the page does not simulate.
BEYOND = {
    "previous": "requests that wait for the answers of others",
    "prefix_group": "prompts that begin alike",
    "prefix_tokens": "prompts that begin alike",
    "block_ids": "what prompts contain",
}


def definitions() -> dict[str, Any]:
    """The names that ``reader.js`` reads by, in the order in which simlib looks for them."""
    return {
        "keys": KEYS,
        "stamps": STAMPS,
        "foreign": {mark.decode("latin-1"): name for mark, name in FOREIGN.items()},
        "windows": WINDOWS,
        "formats": [[kind.name, kind.about, kind.marks] for kind in known.FORMATS.values()],
        "texts": sorted(known.TEXTS),
        "layouts": {layout.format: _said(layout) for layout in (plain.LAYOUT, burstgpt.LAYOUT)},
        "beyond": BEYOND,
        "priority": plain.TAKEN["priority"],
        "arrays": ARRAYS,
        "contents": COLUMNS,
        "meant": MEANT,
        "times": TIMES,
    }


def _said(layout: Rows) -> dict[str, Any]:
    return {field.name: value for field in fields(layout) if (value := getattr(layout, field.name)) is not None}


def script() -> str:
    """The file that the page loads before ``reader.js``."""
    rows = (f"  {json.dumps(name)}: {json.dumps(value)}," for name, value in definitions().items())
    head = "/* Written by `python -m book.explorer.formats` from simlib's definitions. */\nconst readerFormats = {"
    return "\n".join([head, *rows, "};", ""])


if __name__ == "__main__":
    SCRIPT.write_text(script())
