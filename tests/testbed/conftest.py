"""Providers of a testbed, without the rest of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from blindrelay.testbed.processes import PartProcess
from blindrelay.testbed.providers import ProviderKind, llama_is_installed, provider_process


@contextmanager
def _provider(kind: ProviderKind, folder: Path) -> Iterator[httpx2.Client]:
    part = provider_process(kind, lambda: folder)
    assert part is not None
    part.start()
    try:
        with httpx2.Client(base_url=f"http://{part.listening}", timeout=30) as client:
            yield client
    finally:
        part.stop()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of llama.cpp with the random model."""
    if not llama_is_installed():
        pytest.skip("llama.cpp has no wheel for this platform")
    with _provider("random", tmp_path_factory.mktemp("llama")) as client:
        yield client


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of the scripted provider."""
    with _provider("scripted", tmp_path_factory.mktemp("scripted")) as client:
        yield client


@pytest.fixture
def sleeper() -> Iterator[PartProcess]:
    """A part that is up at once: the scripted provider."""
    part = provider_process("scripted", Path.cwd)
    assert part is not None
    part.start()
    yield part
    part.kill()
