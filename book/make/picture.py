"""The explorer's picture for the README and the front page: its page, as built, photographed in a browser."""

from __future__ import annotations

from pathlib import Path

from book.make.browser import chromium
from book.make.execute import StudyError
from book.make.studies import Project

PICTURE = Path("book") / "_static" / "explorer" / "picture.png"
RESTS = "() => document.querySelector('.explorer-views')?.getAttribute('aria-busy') === 'false'"
ALONE = """() => {
    document.head.append(document.querySelector('link[href$="explorer.css"]'));
    document.body.replaceChildren(document.getElementById('explorer'));
}"""


def take(project: Project, address: str = "#d_sla=0.5&k_bins=4", width: int = 1060) -> Path:
    """Photograph controls, sentence and curves of the built page at a position.

    Raises
    ------
    StudyError
        If the page is not built, or no browser is here.
    """
    page = project.build / "html" / "notebooks" / "explorer_grid.html"
    if not page.is_file():
        raise StudyError("picture: needs the built book (`make book`)")
    path = project.root / PICTURE
    with chromium("picture") as browser:
        tab = browser.new_page(viewport={"width": width, "height": 1600}, color_scheme="light")
        tab.goto(page.absolute().as_uri() + address, wait_until="load")
        # The explorer alone on the page: nothing of the theme lies over it.
        tab.evaluate(ALONE)
        tab.add_style_tag(content="body { padding: 1rem; } .explorer-numbers, .explorer .note { display: none; }")
        tab.wait_for_function(RESTS, timeout=60_000)  # all is simulated, and drawn at its new width
        tab.locator("#explorer").screenshot(path=path)
    return path
