"""Headless Chromium with a fresh profile and no network except loopback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

_PATIENCE: Final = 100_000
"""Milliseconds for the browser to start, and for what a page must do."""

_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
_OURS = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:", "data:", "blob:", "file:")
_NO_ERRANDS = ("--disable-background-networking", "--disable-component-update", "--disable-default-apps")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module. Skips where there is none, except in continuous integration.

    Playwright holds the thread's event loop while it is open, so asynchronous tests belong in other modules.
    """
    from playwright.sync_api import sync_playwright

    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None and not os.environ.get("CI"):
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=[*_QUIET, *_NO_ERRANDS], timeout=_PATIENCE
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must have no console errors, uncaught exceptions, or requests to other hosts."""
    with checked_page(browser) as page:
        yield page


@contextmanager
def patient_page(browser: Browser, **options: Any) -> Iterator[Page]:
    """A page in a context of its own, with these options. It waits for as long as a busy machine needs."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(_PATIENCE)
        yield context.new_page()


@contextmanager
def checked_page(browser: Browser) -> Iterator[Page]:
    """Does the same for a test that needs several pages."""
    wrong: list[str] = []

    def hear(line: ConsoleMessage) -> None:
        if line.type == "error":
            wrong.append(f"console: {line.text}")

    def see(request: Request) -> None:
        if not request.url.startswith(_OURS):
            wrong.append(f"request: {request.url}")

    with patient_page(browser, viewport={"width": 1280, "height": 900}) as page:
        page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
        page.on("console", hear)
        page.on("request", see)
        yield page
    assert wrong == []
