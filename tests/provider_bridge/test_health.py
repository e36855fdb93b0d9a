"""The standard health service says whether the bridge can serve exchanges now."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from blindrelay.provider_bridge import Bridge, BridgeConfig, bridge
from blindrelay.serving import issue_token
from blindrelay.trust import IdentityKey

from .replica import DAY, DelegatedReplica
from .sealed_caller import SealedCaller, calling

SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING


def health(caller: SealedCaller, method: str = "Check") -> Any:
    kind: Any = caller.channel.unary_unary if method == "Check" else caller.channel.unary_stream
    return kind(
        f"/grpc.health.v1.Health/{method}",
        request_serializer=HealthCheckRequest.SerializeToString,
        response_deserializer=HealthCheckResponse.FromString,
    )


@pytest.mark.parametrize("service", ["", "blindrelay.v1.ExchangeService"])
async def test_bridge_serves_until_it_drains(
    config: BridgeConfig, identity: IdentityKey, tmp_path: Path, service: str
) -> None:
    """The health service needs no token."""
    issue_token(tmp_path / "tokens", "relay", datetime.now(UTC))
    served = Bridge(replace(config, tokens=tmp_path / "tokens"), identity)
    request = HealthCheckRequest(service=service)
    async with calling(served, identity) as caller:
        assert (await health(caller)(request)).status == SERVING
        watch = health(caller, "Watch")(request, timeout=60)
        assert (await watch.read()).status == SERVING
        await served.begin_to_drain()
        assert (await watch.read()).status == NOT_SERVING
        assert (await health(caller)(request)).status == NOT_SERVING
        watch.cancel()


async def test_bridge_does_not_serve_without_a_valid_delegation(
    config: BridgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "HEALTH_SECONDS", 0.01)
    replica = DelegatedReplica(tmp_path, days=1, now=time.time())
    async with calling(Bridge(config, replica.start(), clock=replica.time.clock), replica.identity) as caller:
        watch = health(caller, "Watch")(HealthCheckRequest(), timeout=60)
        assert (await watch.read()).status == SERVING
        replica.time.advance(DAY + 1)
        assert (await watch.read()).status == NOT_SERVING
        replica.delegate(1)
        assert (await watch.read()).status == SERVING
        watch.cancel()
