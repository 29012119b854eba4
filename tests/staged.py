"""A chapter's live figure on a page of its own, laid out as in the book."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import axe
from browser import opened

STATIC = Path(__file__).resolve().parents[1] / "book" / "_static"
SHELL = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Figure</title></head>'
    "<body><main><h1>Page</h1><h2>Part</h2>{}</main>"
)
INSIDE = """() => document.documentElement.scrollWidth <= innerWidth
    && [...document.querySelectorAll('.moving svg text')].map((text) => text.getBoundingClientRect())
        .every((box) => box.right <= innerWidth + 1 && box.left >= -1)"""
DARK = """:root { --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af; --pst-color-background: #14181e; }
    body { background: #14181e; }"""


def page_of(folder: Path, figure: str) -> Path:
    """Write the page; scripts and styles lie beside it as they do in the book."""
    shutil.copytree(STATIC, folder / "_static")
    (folder / "notebooks").mkdir()
    path = folder / "notebooks" / "page.html"
    path.write_text(SHELL.format(figure))
    return path


def told(tab) -> str:
    """The live sentence, once there is one."""
    tab.wait_for_function("() => document.querySelector('.moving-said')?.textContent.length > 20")
    return tab.locator(".moving-said").inner_text()


def moved(tab, name: str, value: str | float) -> str:
    """Set a control, and what is said then."""
    before = told(tab)
    control = tab.locator(f'[data-name="{name}"] input')
    if control.count() > 1:
        tab.locator(f'[data-name="{name}"] input[value="{value}"]').check()
    else:
        control.fill(str(value))
    tab.wait_for_function("(old) => document.querySelector('.moving-said').textContent !== old", arg=before)
    return told(tab)


def numbers(text: str) -> list[float]:
    """All numbers of an attribute."""
    return [float(number) for number in re.split(",", text)]


@contextmanager
def readable(browser, page: Path, width: int, scheme: str) -> Iterator:
    """The figure at a width, light or dark, once it has nothing outside the window and nothing that axe finds."""
    with opened(browser, page, width, scheme) as (tab, complaints):
        if scheme == "dark":
            tab.evaluate("() => { document.documentElement.dataset.theme = 'dark'; }")
            tab.add_style_tag(content=DARK)
        told(tab)
        assert tab.evaluate(INSIDE) and axe.violations(tab, ".moving") == [] and complaints == []
        yield tab
