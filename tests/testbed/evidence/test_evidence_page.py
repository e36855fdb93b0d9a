"""The evidence page in a browser: nothing is fetched, nothing complains, and it says what was found."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from blindrelay.testbed.evidence.canaries import KINDS
from blindrelay.testbed.evidence.page import page as evidence_page
from blindrelay.testbed.evidence.result import Evidence

from .test_verdict import as_it_should_be

if TYPE_CHECKING:
    from playwright.sync_api import Page


def show(page: Page, evidence: Evidence, folder: Path) -> None:
    file = folder / "evidence.html"
    file.write_text(evidence_page(evidence), encoding="utf-8")
    page.goto(file.as_uri())


@pytest.mark.parametrize("width", [380, 1_200])
def test_page_shows_the_counts(page: Page, tmp_path: Path, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    show(page, as_it_should_be(), tmp_path)
    assert page.inner_text(".verdict").startswith("Nothing of any exchange was found")
    assert page.locator("td.nothing").filter(has_text="0").count() == len(KINDS)
    assert page.locator("td.lit").count() >= 3 * len(KINDS)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_page_marks_a_leak(page: Page, tmp_path: Path) -> None:
    evidence = as_it_should_be()
    evidence.looks[0].found["body"] = 3
    show(page, evidence, tmp_path)
    assert page.inner_text(".verdict.bad") == "The relay holds what it must not."
    assert page.inner_text("td.leak >> nth=0") == "3"
