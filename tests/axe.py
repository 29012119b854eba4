"""What axe-core finds wrong with a page, as one line a violation; only what is serious or worse."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

RUN = "async ([where]) => (await axe.run(where, {resultTypes: ['violations'], preload: false})).violations"
GRAVE = ("serious", "critical")


def violations(tab: Any, where: str = "body") -> list[str]:
    """Serious and critical violations inside what a selector names."""
    tab.evaluate(AXE_SCRIPT)
    found = tab.evaluate(RUN, [where])
    return [f"{one['id']}: {node['html'][:120]}" for one in found if one["impact"] in GRAVE for node in one["nodes"]]
