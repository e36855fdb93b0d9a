"""The scripted provider, without the rest of a testbed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.providers import provider_process
from tests.patience import PATIENCE


@pytest.fixture
def sleeper() -> Iterator[PartProcess]:
    """A part that is up at once."""
    part = provider_process("scripted", Path.cwd)
    assert part is not None
    part.start()
    yield part
    part.kill()


@pytest.fixture
def scripted(sleeper: PartProcess) -> Iterator[httpx2.Client]:
    """A client of it."""
    with httpx2.Client(base_url=f"http://{sleeper.listening}", timeout=PATIENCE) as client:
        yield client
