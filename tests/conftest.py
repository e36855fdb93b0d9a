"""What every test may use."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio alone."""
    return "asyncio"
