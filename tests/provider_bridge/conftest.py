"""A bridge with the real core and the real gRPC server, between a bare client and a scripted provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindrelay.provider_bridge import AuditLog, Bridge, BridgeConfig, Provider, presets, request_body, tunnel
from blindrelay.provider_bridge.clock import Clock
from blindrelay.provider_bridge.credentials import Credential, Secret
from blindrelay.provider_bridge.policy.urls import parse_origin
from blindrelay.provider_bridge.upstream import pool, provider_tunnel, route
from blindrelay.serving import Address
from blindrelay.trust import IdentityKey
from tests.patience import PATIENCE

from .scripted_provider import ScriptedProvider
from .sealed_caller import SealedCaller, calling
from .websocket_provider import WebSocketProvider

Serve = Callable[..., AbstractAsyncContextManager[SealedCaller]]
"""Starts a bridge: (*, log, clock, and fields of BridgeConfig) -> a caller of it."""


@pytest.fixture(autouse=True)
def patient_bridges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bridges in this process wait for peers on a busy machine. The tests of a limit set their own."""
    monkeypatch.setattr(request_body, "LINGER_SECONDS", PATIENCE)
    monkeypatch.setattr(tunnel, "LINGER_SECONDS", PATIENCE)
    monkeypatch.setattr(provider_tunnel, "FAREWELL_SECONDS", PATIENCE)
    monkeypatch.setattr(route, "CONNECT_SECONDS", PATIENCE)
    monkeypatch.setattr(pool, "WAIT_SECONDS", PATIENCE)


@pytest.fixture
async def provider() -> AsyncIterator[ScriptedProvider]:
    async with ScriptedProvider().serving() as provider:
        yield provider


@pytest.fixture
def identity() -> IdentityKey:
    return IdentityKey.generate()


def provider_at(target: str, preset: str = "openai") -> Provider:
    known = presets()[preset]
    return Provider(
        name=preset,
        origin=known.origin or parse_origin(f"https://{preset}.example"),
        target=parse_origin(target),
        credential=Credential(known.credential, Secret(lambda: b"sk-bridge")),
        injected=known.injected,
        brought=known.brought,
        stateless=known.stateless,
    )


@pytest.fixture
def config(provider: ScriptedProvider, tmp_path: Path) -> BridgeConfig:
    return BridgeConfig(
        listen=Address("127.0.0.1", 0),
        identity_key=tmp_path / "identity.key",
        epoch=3_600,
        drain=60,
        max_request=33_554_432,
        max_buffered=67_108_864,
        max_exchanges=100,
        tokens=None,
        tls=None,
        providers=tuple(provider_at(provider.origin, preset) for preset in presets()),
    )


@pytest.fixture
def serve(config: BridgeConfig, identity: IdentityKey) -> Serve:
    @asynccontextmanager
    async def started(
        *, log: AuditLog | None = None, clock: Clock | None = None, **fields: Any
    ) -> AsyncIterator[SealedCaller]:
        async with calling(Bridge(replace(config, **fields), identity, log, clock), identity) as caller:
            yield caller

    return started


@pytest.fixture
async def bridge(serve: Serve) -> AsyncIterator[SealedCaller]:
    async with serve() as caller:
        yield caller


@pytest.fixture
async def websocket() -> AsyncIterator[WebSocketProvider]:
    async with WebSocketProvider().serving() as provider:
        yield provider


@pytest.fixture
async def tunnels_to(serve: Serve, websocket: WebSocketProvider) -> AsyncIterator[SealedCaller]:
    """A caller of a bridge with little room, whose provider speaks WebSocket."""
    providers = (provider_at(websocket.origin),)
    async with serve(providers=providers, max_request=262_144, max_buffered=524_288) as caller:
        yield caller
