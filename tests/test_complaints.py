"""docs/complaints.md: every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FIRST_SCREENS = 110
"""Lines: four screens."""

ROWS = [
    line for line in (ROOT / "docs/complaints.md").read_text().splitlines() if re.match(r"\| [0-9]+ \|", line)
]


def test_no_complaint_is_skipped() -> None:
    assert [int(row.split("|")[1]) for row in ROWS] == list(range(1, len(ROWS) + 1))
    assert len(ROWS) >= 15


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_each_complaint_names_existing_tests(row: str) -> None:
    named = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", row)
    assert named
    for file, name in named:
        assert re.search(rf"def {name}\(", (ROOT / file).read_text()), f"{file} has no {name}"


def test_the_readme_says_early_how_to_set_the_base_url() -> None:
    beginning = (ROOT / "README.md").read_text().splitlines()[:FIRST_SCREENS]
    for variable in ("OPENAI_BASE_URL", "ANTHROPIC_BASE_URL"):
        assert any(variable in line for line in beginning)
