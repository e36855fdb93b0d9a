"""Service during a flood: customers are served, newcomers get in, and memory stays bounded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from blindrelay.client import SealedTransport, UnreachableError
from blindrelay.testbed import Testbed
from tests.adversarial.target import Target

URL: Final = "https://api.openai.com/v1/chat/completions"
MIB: Final = 1_048_576
SERVED_SECONDS: Final = 60
"""For an exchange of somebody well-behaved, whatever goes on around it."""
HELD_SECONDS: Final = 300
"""For a whole flood on a busy machine."""


@contextlib.asynccontextmanager
async def held(target: Target, ceiling: int) -> AsyncIterator[None]:
    """Meanwhile a customer is served, and a newcomer in the end; the part grows by less than so many MiB."""
    await newcomer(target.bed)
    target.forget_peak()
    before = target.peak()
    async with customer(target.bed):
        yield
    await newcomer(target.bed)
    grown = (target.peak() - before) / MIB
    print(f"{target.part}: {grown:.1f} MiB")
    assert grown < ceiling


async def newcomer(bed: Testbed, seconds: float = SERVED_SECONDS) -> None:
    """Somebody without a connection has an exchange."""
    async with SealedTransport(bed.relay).async_httpx2_client(timeout=seconds) as client:
        await ask(client)


async def ask(client: httpx2.AsyncClient) -> None:
    """One exchange."""
    answer = await client.post(URL, json={"model": "m", "messages": []})
    assert answer.status_code == 200
    assert answer.json()["choices"]


@contextlib.asynccontextmanager
async def customer(bed: Testbed) -> AsyncIterator[None]:
    """Somebody with a connection has one exchange after the other, and none fails."""

    async def keep_asking() -> None:
        while True:
            await ask(client)
            await asyncio.sleep(0.05)

    async with SealedTransport(bed.relay).async_httpx2_client(timeout=SERVED_SECONDS) as client:
        await ask(client)  # connects
        asking = asyncio.create_task(keep_asking())
        try:
            yield
        finally:
            asking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asking


async def let_in(bed: Testbed) -> None:
    """A newcomer tries until there is room."""
    while True:
        with contextlib.suppress(UnreachableError):
            return await newcomer(bed)
        await asyncio.sleep(0.2)
