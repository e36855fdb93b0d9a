"""The honest parts of an attack: bridges and the provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from blindrelay.provider_bridge import AuditLog, Bridge, load_identity, read_bridge_config
from blindrelay.testbed.configuration import official_providers, write_bridge_config
from blindrelay.testbed.topology import Testbed
from blindrelay.trust import IdentityKey

_LOOK_SECONDS: Final = 0.05

MARK_HEADER: Final = "openai-beta"
"""A header that reaches the provider: by it the calls of one run are told from all others."""


class ProviderWatch:
    """Asks the scripted provider about its requests."""

    def __init__(self, origin: str, client: httpx.AsyncClient) -> None:
        self.origin = origin
        self._client = client

    async def outcomes(self, mark: str) -> list[str]:
        """How each call with the mark ended: answered, abandoned, broken off, or open."""
        received = (await self._client.get(f"{self.origin}/scripted/requests")).json()
        return [entry["outcome"] for entry in received if [MARK_HEADER, mark] in entry["headers"]]

    async def settled(self, marks: Sequence[str], patience: float) -> list[str]:
        """As outcomes, for several marks, when none is open any more; or after so many seconds."""
        loop = asyncio.get_running_loop()
        until = loop.time() + patience
        while True:
            ended = [outcome for mark in marks for outcome in await self.outcomes(mark)]
            if "open" not in ended or loop.time() > until:
                return ended
            await asyncio.sleep(_LOOK_SECONDS)

    async def release(self, gate: str) -> None:
        """Lets the responses that wait at the gate go on."""
        await self._client.post(f"{self.origin}/scripted/release", json={"gate": gate})

    async def truth(self, path: str, body: bytes) -> bytes:
        """What the provider answers when it is asked directly."""
        return (await self._client.post(f"{self.origin}{path}", content=body)).content


@dataclass(frozen=True)
class Parts:
    """Two replicas of one bridge, and their provider.

    Attributes:
        bridges: where the replicas listen.
        identity: what clients pin, as text.
        identity_key: the bridge's own; for attackers who have stolen it.
    """

    bridges: tuple[str, ...]
    identity: str
    identity_key: IdentityKey
    provider: ProviderWatch


@asynccontextmanager
async def real_parts(bed: Testbed) -> AsyncIterator[Parts]:
    """The processes of a testbed with the scripted provider."""
    async with _client() as client:
        listening = [part.listening for name, part in bed.parts.items() if name.startswith("bridge")]
        yield Parts(tuple(listening), bed.identity, _identity(bed), ProviderWatch(bed.provider, client))


@asynccontextmanager
async def doubled_parts(bed: Testbed, folder: Path) -> AsyncIterator[Parts]:
    """Two replicas in this process, which a double may have taken a check out of, and the same provider."""
    config_file = folder / "double.toml"
    write_bridge_config(config_file, "127.0.0.1:0", official_providers(bed.provider), {"drain_seconds": 2})
    identity, config = _identity(bed), read_bridge_config(config_file)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(_client())
        bridges: list[Any] = [
            await stack.enter_async_context(Bridge(config, identity, log=_unwritten()).running())
            for _ in range(2)
        ]
        watch = ProviderWatch(bed.provider, client)
        yield Parts(tuple(str(address) for address in bridges), bed.identity, identity, watch)


def _unwritten() -> AuditLog:
    """A log that writes nothing: its lines on stderr would disturb the report."""
    return AuditLog(lambda _: None)


def _identity(bed: Testbed) -> IdentityKey:
    return load_identity(bed.folder / "identity.key")


def _client() -> httpx.AsyncClient:
    # The provider is on loopback, without TLS: root certificates would be read for nothing. No connection is
    # kept: a request on one that the provider is about to close would fail.
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(trust_env=False, timeout=60, verify=False, limits=limits)
