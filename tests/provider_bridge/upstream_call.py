"""Calls a provider as an exchange does, without an exchange."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from blindrelay.provider_bridge import Provider
from blindrelay.provider_bridge.policy.request_policy import plan_call
from blindrelay.provider_bridge.upstream.provider_call import ProviderResponse, ProviderTransport
from blindrelay.v1.limits import MAX_BODY_PIECE

from .sealed_caller import request_head


@dataclass
class Upstream:
    provider: Provider
    transport: ProviderTransport

    async def begin(self, body: bytes = b"{}") -> ProviderResponse:
        """Sends a request; returns when the response's head is there."""
        return await self.transport.call(plan_call(request_head(), [self.provider]), bytearray(body))

    async def call(self, body: bytes = b"{}") -> tuple[int, bytes]:
        async with aclosing(await self.begin(body)) as response:
            received = b""
            while not response.ended:
                await response.arrival(None)
                received += response.take(MAX_BODY_PIECE)
            return response.status, received


@asynccontextmanager
async def upstream(provider: Provider) -> AsyncIterator[Upstream]:
    async with aclosing(ProviderTransport([provider])) as transport:
        yield Upstream(provider, transport)


async def called(provider: Provider, body: bytes = b"{}") -> tuple[int, bytes]:
    """The status and the body of one call over a connection of its own."""
    async with upstream(provider) as here:
        return await here.call(body)
