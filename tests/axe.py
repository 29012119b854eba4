"""What axe-core finds wrong with a page, as one line a violation; only what is serious or worse."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

QUICK = "{ resultTypes: ['violations'], preload: false, selectors: false }"
RUN = f"async (where) => (await axe.run(where, {QUICK})).violations"
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
# Of words in the same kind of element, three levels deep, the first few stand for all: they have the same colours.
ALIKE = """() => {
    const seen = new Map(), words = (node) => node.nodeType === 3 && node.data.trim();
    for (const part of document.querySelectorAll('main *')) {
        if (!part.isConnected || ![...part.childNodes].some(words)) continue;
        const kind = [part, part.parentElement, part.parentElement.parentElement].map((e) => e.tagName + e.className);
        seen.set(kind.join(), (seen.get(kind.join()) ?? 0) + 1);
        if (seen.get(kind.join()) > 3) part.remove();
    }
}"""
# All of it on one page: everything but colours, then colours in light, then in the dark. Begun, and not waited for.
BEGIN = f"""(where) => {{
    const look = async (rules) => (await axe.run(where, {{ ...{QUICK}, ...rules }})).violations;
    const colours = {{ runOnly: {{ type: 'rule', values: ['color-contrast', 'link-in-text-block'] }} }};
    ({THIN})();
    window.found = (async () => {{
        const found = await look({{ rules: {{ 'color-contrast': {{ enabled: false }} }} }});
        ({ALIKE})();
        found.push(...await look(colours));
        document.documentElement.dataset.theme = 'dark';
        return [...found, ...(await look(colours)).map((one) => ({{ ...one, id: `dark, ${{one.id}}` }}))];
    }})();
}}"""
GRAVE = ("serious", "critical")
# docutils marks a bibliography as a list whose items are not list items.
KNOWN = frozenset({("aria-required-children", "citation-list")})
TABS = 4


def violations(tab: Any, where: str = "body") -> list[str]:
    """Serious and critical violations inside what a selector names."""
    tab.evaluate(AXE_SCRIPT)
    return _grave(tab.evaluate(RUN, where))


def of_site(browser: Any, paths: Iterable[Path]) -> dict[str, list[str]]:
    """Violations by page, without those that are known, in light and dark, several pages at a time.

    The first page is looked at as a whole, of the others what lies between the theme's bars, which are the same on
    all, without icons and mathematics.
    """
    first, *others = paths
    wrong = {}
    tabs = [_tab(browser) for _ in range(TABS)]
    for some in [[first], *(others[start : start + TABS] for start in range(0, len(others), TABS))]:
        for tab, path in zip(tabs, some, strict=False):
            tab.goto(path.as_uri(), wait_until="load")
            tab.add_style_tag(content="* { transition: none !important; }")  # or colours are seen on their way
            tab.evaluate(AXE_SCRIPT)
            tab.evaluate(BEGIN, "body" if path == first else "main")
        for tab, path in zip(tabs, some, strict=False):
            found = _grave(tab.evaluate("() => window.found"))
            if grave := [line for line in found if not any(rule in line and part in line for rule, part in KNOWN)]:
                wrong[str(path)] = grave
        if some == [first]:
            for tab in tabs:
                tab.route(re.compile("fontawesome|tex-chtml"), lambda route: route.abort())
    for tab in tabs:
        tab.context.close()
    return wrong


def _tab(browser: Any) -> Any:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light", offline=True)
    context.set_default_timeout(120_000)
    return context.new_page()


def _grave(found: list[dict]) -> list[str]:
    return [f"{one['id']}: {node['html'][:120]}" for one in found if one["impact"] in GRAVE for node in one["nodes"]]
