"""The browser that photographs and prints pages: a Chromium of this machine, without a window."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from book.make.execute import StudyError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium(purpose: str) -> Iterator[Any]:
    """A browser to open pages in.

    Raises
    ------
    StudyError
        If none is here, with what needs it.
    """
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        raise StudyError(f"{purpose}: needs a Chromium (none of {', '.join(BROWSERS)} is here)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
