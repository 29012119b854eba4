"""A chapter's live figure as HTML of a cell: its question, a stage for its script, and what stands there without."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simlib.checks import InputError

MOVING = Path(__file__).resolve().parents[1] / "_static" / "moving"


def figure(name: str, question: str, why: str, still: str, about: Mapping[str, Any] | None = None) -> str:
    """The section of one live figure; `book/_static/moving/stage.js` says what its script gives.

    Parameters
    ----------
    name : str
        Of the figure's script in ``book/_static/moving``, without its ending; each figure stands once on a page.
    question : str
        What it answers: its heading.
    why : str
        *What is going on?* in two sentences, which the reader opens.
    still : str
        What is shown in print, without scripts and without WebAssembly: where the picture is that does not move.
    about : mapping, optional
        What the script is given, as JSON.

    Raises
    ------
    InputError
        If there is no such script.
    """
    if not (MOVING / f"{name}.js").is_file():
        raise InputError(f"figure: {name!r} (expected one of {', '.join(sorted(p.stem for p in MOVING.glob('*.js')))})")
    given = json.dumps(about or {}, separators=(",", ":")).replace("<", "\\u003c")
    scripts = "".join(f'<script src="../_static/moving/{script}.js"></script>' for script in ("stage", name))
    return (
        '<link rel="stylesheet" href="../_static/moving/moving.css">'
        f'<section class="moving" id="moving-{name}" data-figure="{name}" aria-labelledby="moving-{name}-question">'
        f'<h3 class="moving-question" id="moving-{name}-question">{html.escape(question)}</h3>'
        f'<div class="moving-stage"></div><p class="moving-still">{html.escape(still)}</p>'
        f'<details class="moving-why"><summary>What is going on?</summary><p>{html.escape(why)}</p></details>'
        f'<script type="application/json">{given}</script></section>{scripts}'
    )
