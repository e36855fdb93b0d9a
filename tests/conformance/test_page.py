"""docs/conformance.md: its first program passes, and it has every question and every check."""

from __future__ import annotations

import re
import sys

from blindrelay.testing.conformance.live_checks import LIVE_CHECKS
from blindrelay.testing.conformance.vectors import default_folder, vector_checks

from .conftest import ROOT, run_kit

PAGE = (ROOT / "docs" / "conformance.md").read_text("utf-8")


def test_first_program_gives_what_the_page_shows() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    ((arguments, shown),) = re.findall(r"conformance (--only [^\n]*) -- [^\n]*\n(.*?)```", PAGE, re.DOTALL)
    assert run_kit(*arguments.split(), command=[sys.executable, "-c", program]).stdout == shown


def test_page_has_every_question_with_its_fields() -> None:
    rows = {cells[0].strip("`* "): cells[1] for cells in _rows() if len(cells) == 4}
    for check in vector_checks(default_folder()):
        fields = set(check.question) - {"question"}
        assert fields <= set(re.findall(r"`(\w+)`", rows[check.kind])), check.kind


def test_page_has_every_live_check() -> None:
    named = {
        name
        for cells in _rows()
        if "`live/" in cells[0]
        for name in re.findall(r"`(?:live/)?(\w+)`", cells[0])
    }
    assert {f"live/{name}" for name in named} == set(LIVE_CHECKS)


def _rows() -> list[list[str]]:
    return [line.strip("|").split("|") for line in PAGE.splitlines() if line.startswith("|")]
