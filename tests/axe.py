"""What axe-core finds wrong with a page, as one line a violation; only what is serious or worse."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

RUN = """async ([where, rules]) => {
    const only = rules.length ? { runOnly: { type: 'rule', values: rules } } : {};
    const quick = { resultTypes: ['violations'], preload: false, selectors: false, ...only };
    return (await axe.run(where, quick)).violations;
}"""
# What a page has many times over is looked at a few times: rows, items, entries of the reference, parts of drawings.
THIN = """() => {
    const most = {
        'tbody > tr': 6, 'ul > li': 6, 'details': 4, 'pre > span': 30, 'svg > *': 6, 'svg g > *': 6,
        '#api-reference > section': 3, '#api-reference section section': 2, 'section > dl.py': 2, '.genindextable': 3,
    };
    for (const [kind, count] of Object.entries(most)) {
        const seen = new Map();
        for (const part of document.querySelectorAll(kind)) {
            seen.set(part.parentElement, (seen.get(part.parentElement) ?? 0) + 1);
            if (seen.get(part.parentElement) > count) part.remove();
        }
    }
}"""
GRAVE = ("serious", "critical")
OF_COLOURS = ("color-contrast", "link-in-text-block")
# docutils marks a bibliography as a list whose items are not list items.
KNOWN = frozenset({("aria-required-children", "citation-list")})


def violations(tab: Any, where: str = "body", rules: Iterable[str] = ()) -> list[str]:
    """Serious and critical violations inside what a selector names, of some rules or of all."""
    if not tab.evaluate("() => 'axe' in window"):
        tab.evaluate(AXE_SCRIPT)
    found = tab.evaluate(RUN, [where, list(rules)])
    return [f"{one['id']}: {node['html'][:120]}" for one in found if one["impact"] in GRAVE for node in one["nodes"]]


def of_site(browser: Any, paths: Iterable[Path]) -> dict[str, list[str]]:
    """Violations by page, without those that are known, in light and dark.

    The first page is looked at as a whole, of the others what lies between the theme's bars, which are the same on
    all, without icons and mathematics. In the dark only colours are another matter.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light", offline=True)
    tab, wrong = context.new_page(), {}
    for number, path in enumerate(paths):
        if number == 1:
            tab.route(re.compile("fontawesome|tex-chtml"), lambda route: route.abort())
        tab.goto(path.as_uri(), wait_until="load")
        tab.add_style_tag(content="* { transition: none !important; }")  # or colours are seen on their way
        tab.evaluate(THIN)
        where = "main" if number else "body"
        found = [("", line) for line in violations(tab, where)]
        tab.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
        found += [("dark, ", line) for line in violations(tab, where, OF_COLOURS)]
        grave = [scheme + line for scheme, line in found if not any(r in line and c in line for r, c in KNOWN)]
        if grave:
            wrong[path.name] = grave
    context.close()
    return wrong
