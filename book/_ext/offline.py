"""Pages that ask nothing of the network: scripts that Jupyter Book loads and this book does not use are left out.

sphinx-thebe would fetch its library to run cells on a remote server; its inline settings also clash on every page.
"""

from __future__ import annotations

from typing import Any


def drop_thebe(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Filter the page's scripts, just before it is written."""
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if "thebe" not in _text(file).lower()]


def _text(file: Any) -> str:
    """Address and body of a script or style sheet."""
    return f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', {}).get('body', '')}"


def setup(app: Any) -> dict[str, bool]:
    app.connect("html-page-context", drop_thebe, priority=900)  # after those that add scripts
    return {"parallel_read_safe": True, "parallel_write_safe": True}
