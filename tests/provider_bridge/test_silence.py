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
from .scripted_provider import ScriptedProvider, chunk, stepwise
from .upstream_call import Upstream, upstream

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
SECONDS = 30.0


@asynccontextmanager
async def answering(idle_seconds: float, *steps: bytes) -> AsyncIterator[tuple[Upstream, asyncio.Semaphore]]:
    """A provider that sends the first step, and one more each time the semaphore is released."""
    release = asyncio.Semaphore(0)
    async with asyncio.timeout(SECONDS), ScriptedProvider(stepwise(release, *steps)).serving() as provider:
        configured = replace(provider_at(provider.origin), idle_seconds=idle_seconds)
        async with upstream(configured) as here:
            yield here, release


async def all_taken(response: ProviderResponse) -> bytes:
    """What take() gives until the body has ended, without waiting for an arrival."""
    taken = b""
    while not response.ended:
        taken += response.take(MAX_BODY_PIECE)
        await asyncio.sleep(0.01)
    return taken


@pytest.mark.parametrize(
    ("sent", "execution"),
    [(b"", EXECUTION_UNKNOWN), (HEAD[:20], EXECUTION_UNKNOWN), (HEAD + chunk(b"x"), EXECUTION_STARTED)],
    ids=["nothing", "half a head", "half a body"],
)
async def test_silent_provider_is_given_up(sent: bytes, execution: int) -> None:
    async with answering(0.2, sent, b"never") as (here, _):
        with pytest.raises(ProviderError, match="sent nothing for") as failed:
            await here.call()
        assert failed.value.failure is Failure.SILENT
        assert failed.value.execution == execution


async def test_silence_is_noticed_where_a_clock_reads() -> None:
    """A shaped response is taken at each tick, and nothing waits for it."""
    steps = (HEAD + chunk(b"x"), b"never")
    async with answering(0.2, *steps) as (here, _), aclosing(await here.begin()) as response:
        with pytest.raises(ProviderError, match="sent nothing for"):
            await all_taken(response)


async def test_each_byte_ends_the_silence() -> None:
    """Three waits that are longer than the limit together."""
    steps = (HEAD, *[chunk(b"x")] * 3, chunk(b""))
    async with answering(2.0, *steps) as (here, release), aclosing(await here.begin()) as response:
        for _ in range(3):
            assert not await response.arrival(0.8)
            release.release()
            while not response.take(MAX_BODY_PIECE):
                assert await response.arrival(SECONDS)
        release.release()
        assert not await all_taken(response)


async def test_slow_reader_is_no_silence() -> None:
    steps = (HEAD + chunk(b"x"), chunk(b"y") + chunk(b""))
    async with answering(1.0, *steps) as (here, release), aclosing(await here.begin()) as response:
        release.release()
        await asyncio.sleep(1.2)
        assert await all_taken(response) == b"xy"
