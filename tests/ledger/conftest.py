"""Books in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blindrelay.ledger.books import Books

from .trading import sound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def books(path: Path) -> Iterator[Books]:
    """Empty books. Whatever a test does, they balance in the end."""
    with Books(path) as opened:
        yield opened
        sound(opened)
