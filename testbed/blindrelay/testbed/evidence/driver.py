"""The application of an evidence run, in a process of its own, directed by lines of JSON.

    python -m blindrelay.testbed.evidence.driver

Each line on stdin is {"to": CONNECTION or base URL, "requests": […]}. Each is answered with one line when all
have ended, or have begun where they are held: how many in which way. The line {} ends what is held.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any, Final
from unittest.mock import patch

import httpx

from blindrelay.client import BlindRelayError, SealedTransport, channel
from blindrelay.testbed.evidence.asker import LIBRARY_VARIABLE
from blindrelay.testbed.evidence.plan import MODELS, ORIGIN

_AT_ONCE: Final = 8

_PATIENCE: Final = 60.0
"""Seconds for a sign of life. No exchange of a run ends by it."""


class Driver:
    """Sends requests through one relay."""

    def __init__(self) -> None:
        self._held = AsyncExitStack()
        self._streams: list[Any] = []
        self._ends: Counter[str] = Counter()

    async def obey(self, order: dict[str, Any]) -> dict[str, int]:
        """Does what a line says."""
        if not order:
            return await self._end_what_is_held()
        self._ends = Counter()
        client = await self._held.enter_async_context(_client(order["to"]))
        waiting = iter(order["requests"])

        async def worker() -> None:
            for request in waiting:
                await self._send(client, request)

        await asyncio.gather(*(worker() for _ in range(_AT_ONCE)))
        return dict(self._ends)

    async def _end_what_is_held(self) -> dict[str, int]:
        ended = len(self._streams)
        for stream in self._streams:
            async for _piece in stream:
                pass
        self._streams.clear()
        await self._held.aclose()
        return {"ended": ended}

    async def _send(self, client: httpx.AsyncClient, request: dict[str, Any]) -> None:
        how = request.pop("how")
        try:
            response = await client.send(client.build_request(**request), stream=True)
            if how == "held":
                await self._hold(response)
            elif how == "left":
                await anext(response.aiter_raw())
                await response.aclose()
            else:
                await response.aread()
            end = response.headers.get("x-blindrelay-error", str(response.status_code))
        except (httpx.HTTPError, BlindRelayError) as error:
            end = type(error).__name__
        self._ends[end] += 1

    async def _hold(self, response: httpx.Response) -> None:
        stream = response.aiter_raw()
        await anext(stream)
        self._streams.append(stream)
        self._held.push_async_callback(response.aclose)


def _client(to: str) -> httpx.AsyncClient:
    if to.startswith("blindrelay:"):
        return SealedTransport(to).async_httpx_client(timeout=_PATIENCE)
    return httpx.AsyncClient(transport=_Towards(to), trust_env=False, timeout=_PATIENCE)


class _Towards(httpx.AsyncHTTPTransport):
    """Sends requests to a plaintext relay instead of the provider."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = base

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = str(request.url).replace(MODELS, ORIGIN)
        request.url = httpx.URL(url.replace(ORIGIN, self._base))
        return await super().handle_async_request(request)


async def main() -> None:
    """Until stdin ends."""
    named = ("grpc.primary_user_agent", os.environ[LIBRARY_VARIABLE])
    with patch.object(channel, "OPTIONS", (*channel.OPTIONS, named)):
        driver = Driver()
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            done = await driver.obey(json.loads(line))
            sys.stdout.write(json.dumps(done) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
