"""The whole book on paper: all chapters as one page, from the trees that the pages were built of, printed to PDF.

What only a screen can hold stays there: the reference of the library, as long as all chapters together, and whatever
is folded there (code, calibration cards, the claims' rules).
"""

from __future__ import annotations

import html
import shutil
from pathlib import Path

from book._ext.citation import citation
from book.make.browser import chromium
from book.make.execute import StudyError
from book.make.pages import jupyter_book
from book.make.studies import Project

MARGIN = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
LINE = '<div style="width: 100%; margin: 0 16mm; font: 8px sans-serif; display: flex; justify-content: {}">{}</div>'
PAGE = '<span><span class="pageNumber"></span> of <span class="totalPages"></span></span>'
WIDTH, HEIGHT = 673, 1000  # pixels between the margins
# The reference away; a table that is too wide made smaller, as a whole.
READY = """() => {
    document.documentElement.dataset.theme = 'light';
    document.getElementById('api-reference').remove();
    for (const table of document.querySelectorAll('.bd-article table')) {
        const room = table.parentElement.clientWidth / table.offsetWidth;
        if (room < 1) table.style.zoom = room;
    }
    return Promise.all([window.MathJax?.startup?.promise, document.fonts.ready].filter(Boolean)).then(() => 1);
}"""


def build(project: Project) -> Path:
    """Print the book; the pages must be built.

    Raises
    ------
    StudyError
        If they are not, or if no browser is here.
    """
    if not project.front_page.is_file():
        raise StudyError("pdf: needs the built book (`make book`)")
    # The same output folder as the pages': their trees are read, not made anew.
    jupyter_book(project, project.build.parent, project.build / "pdf.log", "--builder", "singlehtml")
    made, target = project.build / "singlehtml", project.build / "book.pdf"
    # Its style sheets and figures are named as seen from the folder above the one that it is written to.
    page = Path(shutil.copyfile(made / "book" / "index.html", made / "book.html"))
    told = {key: html.escape(text) for key, text in citation(project.root).items()}
    with chromium("pdf") as browser:
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.set_default_timeout(180_000)
        tab.emulate_media(media="print", color_scheme="light")
        tab.goto(page.absolute().as_uri(), wait_until="load")
        tab.evaluate(READY)
        tab.pdf(
            path=target,
            format="A4",
            margin=MARGIN,
            outline=True,
            tagged=True,
            display_header_footer=True,
            header_template=LINE.format("end", f"{told['title']}, version {told['version']}"),
            footer_template=LINE.format("center", PAGE),
        )
    return target
