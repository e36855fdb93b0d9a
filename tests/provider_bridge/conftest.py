"""A bridge with the real core and the real gRPC server, between a bare client and a scripted provider."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blindrelay.provider_bridge import Bridge, BridgeConfig, Provider, presets
from blindrelay.provider_bridge.credentials import Credential
from blindrelay.provider_bridge.policy.urls import parse_origin
from blindrelay.serving import Address
from blindrelay.trust import IdentityKey

from .fake_provider import FakeProvider
from .sealed_caller import SealedCaller


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider().serving() as provider:
        yield provider


@pytest.fixture
def identity() -> IdentityKey:
    return IdentityKey.generate()


def provider_at(target: str, preset: str = "openai", credential: bytes | None = b"sk-bridge") -> Provider:
    known = presets()[preset]
    return Provider(
        name=preset,
        origin=known.origin or parse_origin(f"https://{preset}.example"),
        target=parse_origin(target),
        credential=None
        if credential is None
        else Credential(known.credential.header, lambda: known.credential.value(credential)),
        injected=known.injected,
        brought=known.brought,
        stateless=known.stateless,
    )


@pytest.fixture
def config(provider: FakeProvider, tmp_path: Path) -> BridgeConfig:
    """Tests replace what they are about."""
    return BridgeConfig(
        listen=Address("127.0.0.1", 0),
        identity_key=tmp_path / "identity.key",
        epoch=3_600,
        drain=5,
        max_request=33_554_432,
        max_buffered=67_108_864,
        max_exchanges=100,
        tokens=None,
        tls=None,
        providers=tuple(provider_at(provider.origin, preset) for preset in presets()),
    )


@pytest.fixture
async def bridge(config: BridgeConfig, identity: IdentityKey) -> AsyncIterator[SealedCaller]:
    """A caller of a running bridge."""
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        yield caller
