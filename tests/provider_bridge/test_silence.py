"""A provider that sends nothing while a response is awaited is given up. A slow client is no reason."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import pytest

from blindrelay.provider_bridge import ProviderError
from blindrelay.provider_bridge.upstream.failures import Failure
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse
from blindrelay.v1.inner_pb2 import EXECUTION_STARTED, EXECUTION_UNKNOWN
from blindrelay.v1.limits import MAX_BODY_PIECE

from .conftest import provider_at
from .replica import skip
from .scripted_provider import ScriptedProvider, chunk, stepwise
from .upstream_call import Upstream, upstream

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LIMIT = 300.0
"""Seconds of silence after which a provider is given up. Only skip() lets them pass."""


@asynccontextmanager
async def answering(
    *steps: bytes, idle_seconds: float = LIMIT
) -> AsyncIterator[tuple[Upstream, asyncio.Semaphore]]:
    """A provider that sends the first step, and one more each time the semaphore is released."""
    release = asyncio.Semaphore(0)
    async with ScriptedProvider(stepwise(release, *steps)).serving() as provider:
        configured = replace(provider_at(provider.origin), idle_seconds=idle_seconds)
        async with upstream(configured) as here:
            yield here, release


async def next_taken(response: ProviderResponse) -> bytes:
    """What take() gives next, without waiting for an arrival."""
    while not (taken := response.take(MAX_BODY_PIECE)) and not response.ended:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    return taken


@pytest.mark.parametrize("sent", [b"", HEAD[:20]], ids=["nothing", "half a head"])
async def test_provider_that_does_not_respond_is_given_up(sent: bytes) -> None:
    async with answering(sent, b"never", idle_seconds=0.2) as (here, _):
        with pytest.raises(ProviderError, match="sent nothing for") as failed:
            await here.call()
    assert (failed.value.failure, failed.value.execution) == (Failure.SILENT, EXECUTION_UNKNOWN)


@pytest.mark.parametrize("waits", [True, False], ids=["awaited", "read by a clock"])
async def test_provider_that_falls_silent_is_given_up(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shaped response is taken at each tick, and nothing waits for it."""
    steps = (HEAD + chunk(b"x"), b"never")
    async with answering(*steps) as (here, _), aclosing(await here.begin()) as response:
        assert await next_taken(response) == b"x"
        assert not response.take(MAX_BODY_PIECE)
        waiting = asyncio.create_task(response.arrival(None if waits else 0))
        await asyncio.sleep(0)
        skip(LIMIT, monkeypatch)
        assert not await waiting
        with pytest.raises(ProviderError, match="sent nothing for") as failed:
            response.take(MAX_BODY_PIECE)
    assert (failed.value.failure, failed.value.execution) == (Failure.SILENT, EXECUTION_STARTED)


async def test_each_byte_ends_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three waits that are longer than the limit together."""
    steps = (HEAD, *[chunk(b"x")] * 3, chunk(b""))
    async with answering(*steps) as (here, release), aclosing(await here.begin()) as response:
        for _ in range(3):
            assert not response.take(MAX_BODY_PIECE)
            skip(LIMIT / 2, monkeypatch)
            assert not await response.arrival(0)
            release.release()
            assert await next_taken(response) == b"x"
        release.release()
        assert not await next_taken(response)


async def test_slow_reader_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (HEAD + chunk(b"x"), chunk(b"y") + chunk(b""))
    async with answering(*steps) as (here, release), aclosing(await here.begin()) as response:
        release.release()
        skip(LIMIT, monkeypatch)
        taken = b""
        while not response.ended:
            taken += await next_taken(response)
        assert taken == b"xy"
