"""What Envoy decides by itself, and what it leaves to its control process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from blindrelay.relay_node.envoy.process import ControlProcess
from blindrelay.serving.tokens import revoke_token
from blindrelay.v1.envelope import routing_text
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import Billed, RunningRelay, StartBilled
from tests.relay_node.fake_bridge import FakeBridge, until
from tests.relay_node.raw_client import eventually_served, finish, refusal

pytestmark = pytest.mark.parametrize("data_plane", ["envoy"], indirect=True)


@pytest.fixture
def passed_on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The methods of the control process that are called for exchanges."""
    calls: list[str] = []
    from blindrelay.relay_node.service import RelayService

    forward = RelayService._forward

    async def noted(self: RelayService, context: Any, tally: Any) -> None:
        calls.append("exchange")
        await forward(self, context, tally)

    monkeypatch.setattr(RelayService, "_forward", noted)
    return calls


async def test_exchange_with_a_lease_and_a_known_key_never_reaches_the_control_process(
    relay: RunningRelay, bridge: FakeBridge, passed_on: list[str]
) -> None:
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert await relay.ended(1) == {"ok": 1}
    assert passed_on == []


async def test_key_that_envoy_does_not_know_yet_is_found_by_the_control_process(
    relay: RunningRelay, bridge: FakeBridge, passed_on: list[str]
) -> None:
    bridge.new_keys()
    await eventually_served(relay.client, bridge.envelope)
    assert passed_on
    key = routing_text(Envelope.FromString(bridge.envelope()).key_id)
    await until(lambda: key in published(relay, "routes"))

    async def alone() -> bool:
        passed_on.clear()
        await relay.client.exchange(bridge.envelope())
        return not passed_on

    await eventually(alone)


@pytest.mark.parametrize("change", ["forged", "of another process", "not a lease"])
async def test_lease_that_is_not_one_is_refused(relay: RunningRelay, bridge: FakeBridge, change: str) -> None:
    head, claims, signature = relay.client.token.split(".")
    relay.client.token = {
        "forged": f"{head}.{claims}.{signature[:-8]}AAAAAAAA",
        "of another process": f"{head}.{claims[:-8]}AAAAAAAA.{signature}",
        "not a lease": "brt_" + 43 * "A",
    }[change]
    assert await refusal(relay.client.exchange(bridge.envelope())) is OuterStatus.LEASE_UNKNOWN
    assert bridge.seen == []


async def test_revoked_token_is_refused_within_a_second(relay: RunningRelay, bridge: FakeBridge) -> None:
    name = relay.tokens.read_text().split()[0]
    revoke_token(relay.tokens, name)

    async def refused() -> bool:
        return await outcome(relay, bridge) is OuterStatus.LEASE_UNKNOWN

    await eventually(refused)


async def outcome(relay: RunningRelay, bridge: FakeBridge) -> OuterStatus | None:
    try:
        await relay.client.exchange(bridge.envelope())
    except grpc.aio.AioRpcError as error:
        return OuterStatus.of(error.code(), error.details())
    return None


async def test_bridge_that_is_gone_is_unavailable(relay: RunningRelay, bridge: FakeBridge) -> None:
    await bridge.stop()
    assert await refusal(relay.client.exchange(bridge.envelope())) in (
        OuterStatus.BRIDGE_UNAVAILABLE,
        OuterStatus.KEY_UNKNOWN,
    )


async def test_large_metadata_is_refused(relay: RunningRelay, bridge: FakeBridge) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await relay.client.open(bridge.envelope(), extra=(("x-large", 9_000 * "a"),))
    assert bridge.seen == []


async def test_unusual_max_units_are_compared_with_the_lease(
    start_billed: StartBilled, bridge: FakeBridge
) -> None:
    billed = await start_billed()
    envelope = Envelope.FromString(bridge.envelope())
    envelope.max_units = 2_000_000
    encoded = envelope.SerializeToString(deterministic=True)
    assert await refusal(billed.leased.exchange(encoded)) is OuterStatus.NOT_IN_SCOPE
    assert bridge.seen == []


async def test_ledger_learns_of_each_start_and_end(billed: Billed, bridge: FakeBridge) -> None:
    envelope = bridge.envelope()
    call = await billed.leased.open(envelope)
    await until(lambda: [line.start.envelope for line in billed.ledger.starts()] == [envelope])
    await finish(call)
    await until(lambda: [line.end.outcome for line in billed.ledger.ends()] == ["ok"])
    (end,) = billed.ledger.ends()
    assert end.end.response_bytes >= 4


async def test_rate_of_a_lease_is_enforced(start_billed: StartBilled, bridge: FakeBridge) -> None:
    billed = await start_billed(claims={"rate": "0.01/3"})
    await until(lambda: '"0.01/3"' in published(billed.relay, "rates"))

    async def limited() -> bool:
        return await outcome(replace(billed.relay, client=billed.leased), bridge) is OuterStatus.LIMIT_RATE

    await eventually(limited)
    assert len(bridge.seen) <= 10


async def test_account_without_an_allowance_is_left_to_the_control_process(
    start_billed: StartBilled, bridge: FakeBridge
) -> None:
    billed = await start_billed(free=1, settles=False)
    leased = replace(billed.relay, client=billed.leased)
    await until(lambda: billed.account.name in published(billed.relay, "routes"))

    async def limited() -> bool:
        return await outcome(leased, bridge) is OuterStatus.LIMIT_UNITS

    await eventually(limited)
    assert len(bridge.seen) == 1


def published(relay: RunningRelay, name: str) -> str:
    assert isinstance(relay.relay, ControlProcess)
    return (relay.relay.bootstrap.parent / f"{name}.json").read_text()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the conditions have no events
            await asyncio.sleep(0.05)
