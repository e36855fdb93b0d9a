"""The provider sends a piece once the program has the previous one, so a part that buffers blocks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from blindrelay.client import SealedTransport
from tests.patience import PATIENCE

from ..client.endpoint.conftest import running
from .wire_traces import EVENTS, FixedProvider, tapped

Way = Callable[[str, Path], AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def _library(relay: str, _: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        SealedTransport(relay) as sealed,
        sealed.async_httpx_client(base_url="https://api.openai.com", timeout=PATIENCE) as client,
    ):
        yield client


@asynccontextmanager
async def _endpoint(relay: str, state: Path) -> AsyncIterator[httpx.AsyncClient]:
    with running(relay, state) as endpoint:
        headers = {"authorization": f"Bearer {endpoint.token}"}
        async with httpx.AsyncClient(
            base_url=endpoint.url, headers=headers, timeout=PATIENCE, trust_env=False
        ) as client:
            yield client


@pytest.mark.parametrize("way", [_library, _endpoint], ids=["library", "endpoint"])
async def test_each_piece_arrives_before_the_next_is_sent(way: Way, tmp_path: Path) -> None:
    provider = FixedProvider()
    asked = {"model": "m", "stream": True}
    async with provider.serving() as origin, tapped(origin) as bed, way(bed.relay, tmp_path) as client:
        provider.received.release()
        async with client.stream("POST", "/v1/chat/completions", json=asked) as response:
            arrived = response.aiter_raw()
            for event in EVENTS:
                provider.received.release()
                assert await anext(arrived) == event
            provider.received.release()
            assert [piece async for piece in arrived] == []
