"""A client gets a status of the closed list for any status of the bridge."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RunningRelay
from tests.relay_node.fake_bridge import FakeBridge

CAUSE = "10.1.2.3:8490 said <class 'DecodeError'>"
REPLACED = {
    # The bridge refuses the relay's token, not the client's.
    OuterStatus.UNAUTHENTICATED.value: OuterStatus.BRIDGE_UNAVAILABLE,
    (grpc.StatusCode.UNAVAILABLE, CAUSE): OuterStatus.BRIDGE_UNAVAILABLE,
    (grpc.StatusCode.CANCELLED, CAUSE): OuterStatus.BRIDGE_UNAVAILABLE,
    (grpc.StatusCode.DEADLINE_EXCEEDED, CAUSE): OuterStatus.DEADLINE,
    (grpc.StatusCode.UNKNOWN, CAUSE): OuterStatus.INTERNAL,
    (grpc.StatusCode.INVALID_ARGUMENT, CAUSE): OuterStatus.INTERNAL,
    (grpc.StatusCode.UNAUTHENTICATED, CAUSE): OuterStatus.INTERNAL,
}


@pytest.mark.parametrize(
    ("status", "expected"), ({status.value: status for status in OuterStatus} | REPLACED).items()
)
async def test_status_is_passed_if_it_is_on_the_list_and_replaced_otherwise(
    relay: RunningRelay, bridge: FakeBridge, status: tuple[grpc.StatusCode, str], expected: OuterStatus
) -> None:
    async def script(context: Any, _: object) -> None:
        await context.write(await context.read())
        await context.abort(*status, (("x-cause", "10.1.2.3"),))

    bridge.script = script
    call = await relay.client.open(bridge.envelope())
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert (failure.value.code(), failure.value.details()) == expected.value
    assert "10.1.2.3" not in repr((failure.value.details(), failure.value.trailing_metadata()))
    assert relay.outcomes() == {expected.details: 1}
