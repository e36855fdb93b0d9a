"""What every test may use."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import settings

settings.register_profile("blindrelay", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("blindrelay")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
async def one_event_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps one event loop for all asynchronous tests: gRPC may still have news for one just closed."""
    yield  # noqa: PT022 (the loop lives as long as a fixture of this scope does)
