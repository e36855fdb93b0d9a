"""What a client hears of a bridge's status: the closed list, in the relay's own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from blindrelay.v1.outer_status import OuterStatus

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay

CAUSE = "10.1.2.3:8490 said <class 'DecodeError'>"


async def heard(
    relay: RunningRelay, bridge: FakeBridge, code: grpc.StatusCode, details: str
) -> OuterStatus | None:
    """The status that a client gets when the bridge ends a call with this one."""

    async def script(context: Any, _: object) -> None:
        await context.read()
        await context.write(b"piece")
        await context.abort(code, details, (("x-cause", "10.1.2.3"),))

    bridge.script = script
    call = relay.client.call(bridge.envelope())
    await call.write(b"x")
    assert await call.read() == b"piece"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert "10.1.2.3" not in repr((failure.value.details(), failure.value.trailing_metadata()))
    return OuterStatus.of(failure.value.code(), failure.value.details())


@pytest.mark.parametrize(
    "status", [status for status in OuterStatus if status is not OuterStatus.UNAUTHENTICATED]
)
async def test_a_status_of_the_list_passes(
    relay: RunningRelay, bridge: FakeBridge, status: OuterStatus
) -> None:
    assert await heard(relay, bridge, status.code, status.details) is status
    assert relay.outcomes() == [status.details]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, OuterStatus.BRIDGE_UNAVAILABLE),
        (grpc.StatusCode.CANCELLED, OuterStatus.BRIDGE_UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, OuterStatus.DEADLINE),
        (grpc.StatusCode.UNKNOWN, OuterStatus.INTERNAL),
        (grpc.StatusCode.INVALID_ARGUMENT, OuterStatus.INTERNAL),
        (grpc.StatusCode.UNAUTHENTICATED, OuterStatus.INTERNAL),
        (grpc.StatusCode.DATA_LOSS, OuterStatus.INTERNAL),
    ],
)
async def test_any_other_words_are_replaced(
    relay: RunningRelay, bridge: FakeBridge, code: grpc.StatusCode, expected: OuterStatus
) -> None:
    assert await heard(relay, bridge, code, CAUSE) is expected


async def test_a_bridge_that_refuses_our_token_does_not_blame_the_clients(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    status = OuterStatus.UNAUTHENTICATED
    assert await heard(relay, bridge, status.code, status.details) is OuterStatus.BRIDGE_UNAVAILABLE


async def test_an_exception_in_the_bridge_does_not_cross(relay: RunningRelay, bridge: FakeBridge) -> None:
    async def script(context: Any, _: object) -> None:
        await context.read()
        raise ValueError(CAUSE)

    bridge.script = script
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await relay.client.exchange(bridge.envelope())
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.INTERNAL, "internal")
