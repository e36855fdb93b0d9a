"""What every test may use."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("blindrelay", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("blindrelay")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """grpc.aio runs on asyncio alone."""
    return "asyncio"
