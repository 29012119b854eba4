"""The explorer on the book's page: controls, and beside the page's own thread the simulator that answers them."""

from __future__ import annotations

import html

from book.explorer.scripts import ON_A_PAGE, SCRIPTS

# What the worker is made of: from its text, as a page that is opened as a file may start no script of another file.
WORKER = ("engine", "simulator", "formats", "texts", "documents", "clocks", "reader", "worker")


def page(fallback: str = "") -> str:
    """The explorer as HTML for a page of the book; it asks nobody.

    Parameters
    ----------
    fallback : str
        What a browser without scripts shows.
    """
    worker = "\n".join((SCRIPTS / f"{name}.js").read_text(encoding="utf-8") for name in WORKER)
    worker = worker.replace("</script", "<\\/script")
    scripts = "".join(
        f'<script src="../_static/explorer/{name}.js"></script>' for name in (*ON_A_PAGE, "kernels", "live")
    )
    return (
        '<link rel="stylesheet" href="../_static/explorer/explorer.css">'
        '<div class="explorer" id="explorer"></div>'
        f"<noscript><p>{html.escape(fallback)}</p></noscript>"
        f'<script type="text/plain" id="explorer-worker">{worker}</script>{scripts}'
    )
