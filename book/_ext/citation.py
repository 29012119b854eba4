"""How to cite the book, at the foot of each page: title, authors and version as CITATION.cff says them."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import yaml


def citation(source: Path) -> dict[str, str]:
    """Title, authors, version and licence of the CITATION.cff in a folder."""
    told = yaml.safe_load((source / "CITATION.cff").read_text())
    names = [
        one.get("name") or f"{one.get('given-names', '')} {one['family-names']}".strip() for one in told["authors"]
    ]
    return {
        "authors": ", ".join(names),
        "title": told["title"],
        "version": str(told["version"]),
        "license": told["license"],
    }


def say(app: Any, config: Any) -> None:
    """Hand it to the theme, and the version to Sphinx."""
    told = {key: html.escape(text) for key, text in citation(Path(app.srcdir)).items()}
    config.version = config.release = told["version"]
    config.html_theme_options["extra_footer"] = (
        f'<p class="citation">Cite as: {told["authors"]}. <cite>{told["title"]}</cite>. Version {told["version"]}. '
        f"{told['license']} licence.</p>"
    )


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", say)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
