"""The pytest fixture `blindrelay`. It imports nothing else until a test uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from blindrelay.testing.local import LocalBlindRelay


@pytest.fixture
def blindrelay() -> Iterator[LocalBlindRelay]:
    """A running LocalBlindRelay, started for this test and stopped after it."""
    from blindrelay.testing import LocalBlindRelay

    with LocalBlindRelay() as local:
        yield local
