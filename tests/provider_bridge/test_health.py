"""The standard health service says whether the bridge can serve exchanges now."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.provider_bridge import Bridge, BridgeConfig, DelegatedIdentity, bridge
from blindrelay.provider_bridge.keys.delegation_file import make_delegation, write_delegation
from blindrelay.provider_bridge.keys.key_files import make_signing_key
from blindrelay.serving import issue_token
from blindrelay.trust import IdentityKey

from .fake_time import FakeTime
from .sealed_caller import SealedCaller

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
DAY = 86_400


def health(caller: SealedCaller, method: str = "Check") -> Any:
    kind: Any = caller.channel.unary_unary if method == "Check" else caller.channel.unary_stream
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )


@pytest.mark.parametrize("service", ["", "blindrelay.v1.ExchangeService"])
async def test_it_serves_until_it_drains(
    config: BridgeConfig, identity: IdentityKey, tmp_path: Path, service: str
) -> None:
    """Whoever asks needs no token."""
    issue_token(tmp_path / "tokens", "relay", datetime.now(UTC))
    served = Bridge(replace(config, tokens=tmp_path / "tokens"), identity)
    request = HealthCheckRequest(service=service)
    async with (
        served.running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        assert (await health(caller)(request)).status == SERVING
        watch = health(caller, "Watch")(request, timeout=60)
        assert (await watch.read()).status == SERVING
        await served.begin_to_drain()
        assert (await watch.read()).status == NOT_SERVING
        assert (await health(caller)(request)).status == NOT_SERVING
        watch.cancel()


async def test_it_does_not_serve_without_a_valid_delegation(
    config: BridgeConfig, identity: IdentityKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "HEALTH_SECONDS", 0.01)
    fake = FakeTime(time.time())
    public_key = make_signing_key(tmp_path / "signing.key").public_key

    def delegate() -> None:
        made = make_delegation(identity, public_key, 1, fake.clock.now())
        write_delegation(tmp_path / "delegation", made)

    delegate()
    delegated = DelegatedIdentity(tmp_path / "signing.key", tmp_path / "delegation", fake.clock)
    async with (
        Bridge(config, delegated, clock=fake.clock).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        watch = health(caller, "Watch")(HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == SERVING
        fake.advance(DAY + 1)
        assert (await watch.read()).status == NOT_SERVING
        delegate()
        assert (await watch.read()).status == SERVING
        watch.cancel()
