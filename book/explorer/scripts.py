"""The explorer's scripts: where they lie, and which of them a page loads, in which order."""

from __future__ import annotations

from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1] / "_static" / "explorer"
DRAWING = ("views", "words", "controls")  # wherever there is an explorer
ON_A_PAGE = (*DRAWING, "address")  # where its address holds the position, too
