"""Testbeds of real processes, shared by tests that do not harm them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from websockets.asyncio.client import connect

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from tests.patience import PATIENCE


def websocket(address: str, **options: Any) -> connect:
    """A WebSocket to an endpoint, with long timeouts and without pings."""
    patient: Any = {"open_timeout": PATIENCE, "close_timeout": PATIENCE, "ping_interval": None}
    return connect(address, proxy=None, max_size=None, **patient, **options)


@pytest.fixture(scope="session")
def scripted_bed() -> Iterator[Testbed]:
    """With the scripted provider, and two models at one address; do not harm it."""
    models = {"gpt-5.5": "openai/gpt-5.5", "claude": ["anthropic/claude-opus-5", "openai/gpt-5.5"]}
    with Testbed("scripted", models=models) as bed:
        yield bed


@pytest.fixture
def scripted(scripted_bed: Testbed) -> SealedTransport:
    """A transport to the scripted provider."""
    return SealedTransport(scripted_bed.relay)
