"""A greedy token or bridge leaves room for the others. Revoking a token ends its calls.

Behind Envoy, exchanges alone are shared. Envoy counts no connections of a token (nftables does, by address),
and no bytes of a request: the bridge does, and ends a response that nobody reads. It forwards on after a
token is revoked what has begun.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from hyperframe.frame import WindowUpdateFrame

from blindrelay.serving import CallRefusedError, authorization, revoke_token
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.grpc_profile import EXCHANGE_METHOD, KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus
from tests.adversarial.h2_peer import Peer, header_block, message_start, opening, peers
from tests.patience import PATIENCE, until
from tests.relay_node.behind_envoy import eventually, outcome
from tests.relay_node.conftest import RunningRelay, StartRelay, both
from tests.relay_node.fake_bridge import FakeBridge, Seen, cancelled
from tests.relay_node.raw_client import Client, eventually_served, refusal

DEADLINE, UNAUTHENTICATED = "4", "16"
INITIAL_WINDOW_SIZE: Final = 4
PIECE: Final = bytes(65_536)
LIMITS: Final[dict[str, Any]] = {
    "max_exchanges": 8,
    "max_request_bytes": 4 * len(PIECE),
    "max_connections_per_token": 3,
}


@pytest.fixture
async def relay(bridge: FakeBridge, start_relay: StartRelay) -> RunningRelay:
    return await start_relay(bridge.config, **LIMITS)


@pytest.fixture
async def other(relay: RunningRelay) -> Client:
    """A customer with another token."""
    return relay.another_client()


@pytest.fixture
async def stalled(relay: RunningRelay) -> AsyncIterator[Peer]:
    """A connection of the greedy token on which no message can be sent back."""
    async with peers(str(relay.address), 1, settings={INITIAL_WINDOW_SIZE: 0}) as (peer,):
        yield peer


def headers(relay: RunningRelay, *envelopes: bytes) -> bytes:
    """Those of an exchange, or of a call for directories if there is no envelope."""
    carried = [(METADATA_KEY, base64.b64encode(envelope).decode()) for envelope in envelopes]
    path = EXCHANGE_METHOD if envelopes else KEY_DIRECTORY_METHOD
    return header_block([authorization(relay.client.token), *carried], path=path)


async def ask(peer: Peer, block: bytes, message: bytes = b"x") -> int:
    stream = peer.stream()
    await peer.send(opening(stream, block))
    await peer.pour(stream, message_start(len(message), message))
    return stream


async def hang(context: Any, _: Seen) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize(("limits", "share"), [({}, 4), ({"max_exchanges_per_token": 2}, 2)])
async def test_token_gets_half_of_the_calls_or_its_own_limit(
    bridge: FakeBridge, start_relay: StartRelay, limits: dict[str, int], share: int
) -> None:
    """Whether they are silent before the first message or idle after it. Half a request takes memory too."""
    relay = await start_relay(bridge.config, **LIMITS, **limits)
    other = relay.another_client()
    calls = [relay.client.call(bridge.envelope()) for _ in range(share // 2)]
    method: Any = relay.client.channel.stream_unary(KEY_DIRECTORY_METHOD)
    halves = [method(metadata=[authorization(relay.client.token)], timeout=PATIENCE) for _ in range(share)]
    for call in calls + halves:
        await call.wait_for_connection()
    calls += [await relay.client.open(bridge.envelope()) for _ in range(share // 2)]
    for one_more in (relay.client.exchange(bridge.envelope()), relay.client.directories()):
        assert await refusal(one_more) is OuterStatus.OVERLOADED
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    assert len(await other.directories()) == 1
    calls.pop().cancel()
    await eventually_served(relay.client, bridge.envelope)
    for call in calls + halves:
        call.cancel()


@both
@pytest.mark.parametrize(("limits", "share"), [({}, 4), ({"max_exchanges_per_token": 2}, 2)])
async def test_token_has_exchanges_while_as_many_are_free(
    bridge: FakeBridge, start_relay: StartRelay, limits: dict[str, int], share: int
) -> None:
    """Envoy learns of it a moment later."""
    relay = await start_relay(bridge.config, **LIMITS, **limits)
    other = await relay.another_admitted()
    calls = [await relay.client.open(bridge.envelope()) for _ in range(share)]

    async def refused() -> bool:
        return await outcome(relay.client, bridge) is OuterStatus.OVERLOADED

    await eventually(refused)
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    calls.pop().cancel()
    await eventually_served(relay.client, bridge.envelope)
    for call in calls:
        call.cancel()


async def test_bytes_that_a_bridge_has_to_keep_are_shared(
    relay: RunningRelay, bridge: FakeBridge, other: Client
) -> None:
    """The first message does not count, so small requests pass. Nor do those after a response has begun."""
    tunnel = await relay.client.open(bridge.envelope())
    for _ in range(20):
        await tunnel.write(PIECE)
        assert await tunnel.read() == PIECE
    tunnel.cancel()

    async def keep(context: Any, seen: Seen) -> None:
        while isinstance(message := await context.read(), bytes):
            seen.messages.append(message)
        await context.write(b"response")

    bridge.script = keep
    greedy = relay.client.call(bridge.envelope())
    for _ in range(3):
        await greedy.write(PIECE)
    await until(lambda: len(bridge.seen[-1].messages) == 3)  # the relay has counted them by then
    too_large = relay.client.exchange(bridge.envelope(), messages=[PIECE] * 4)
    assert await refusal(too_large) is OuterStatus.OVERLOADED
    assert await relay.client.exchange(bridge.envelope()) == [b"response"]
    assert await other.exchange(bridge.envelope(), messages=[PIECE, PIECE]) == [b"response"]
    await greedy.done_writing()
    assert await greedy.read() == b"response"
    assert await relay.client.exchange(bridge.envelope(), messages=[PIECE] * 3) == [b"response"]
    assert set(relay.outcomes()) <= {"ok", "overloaded", "cancelled"}


async def test_unread_response_ends_at_the_bridge(bridge: FakeBridge, start_relay: StartRelay) -> None:
    """The call still counts for its own token until the client reads or is gone."""
    relay = await start_relay(bridge.config, **LIMITS, unread_seconds=1)
    other = relay.another_client()
    async with peers(str(relay.address), 1, settings={INITIAL_WINDOW_SIZE: 0}) as (peer,):
        streams = [await ask(peer, headers(relay, bridge.envelope())) for _ in range(4)]
        await until(lambda: len(bridge.seen) == 4)
        await eventually_served(other, bridge.envelope)
        for seen in bridge.seen[:4]:
            await cancelled(seen)
        assert await refusal(relay.client.exchange(bridge.envelope())) is OuterStatus.OVERLOADED
        await peer.send(WindowUpdateFrame(streams[0], window_increment=1_000))
        await peer.ended(1)
        assert peer.statuses == {DEADLINE: 1}
    await until(lambda: relay.outcomes().get("cancelled") == 3)
    await eventually_served(relay.client, bridge.envelope)


async def test_unread_directories_count(relay: RunningRelay, other: Client, stalled: Peer) -> None:
    for _ in range(4):
        await ask(stalled, headers(relay), b"")
    await stalled.until(lambda: stalled.frames["HeadersFrame"] == 4)
    assert await refusal(relay.client.directories()) is OuterStatus.OVERLOADED
    assert len(await other.directories()) == 1


async def test_token_has_calls_on_few_connections(
    relay: RunningRelay, bridge: FakeBridge, other: Client
) -> None:
    clients = [Client(str(relay.address), relay.client.token) for _ in range(4)]
    calls = [await client.open(bridge.envelope()) for client in clients[:3]]
    assert await refusal(clients[3].exchange(bridge.envelope())) is OuterStatus.OVERLOADED
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    calls[0].cancel()
    await eventually_served(clients[3], bridge.envelope)
    for client in clients:
        await client.channel.close()


@both
async def test_bridge_that_hangs_leaves_room_for_its_neighbours(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay, data_plane: str
) -> None:
    """Even if it has many customers who hold little each. For Envoy, each bridge has room of its own."""
    relay = await start_relay(bridge.pinned, second_bridge.pinned, max_exchanges=8)
    second_bridge.script = hang
    room = 8 if data_plane == "envoy" else 4
    customers = [await relay.another_admitted(f"customer-{number}") for number in range(room + 1)]
    calls = [customer.call(second_bridge.envelope()) for customer in customers[:room]]
    for call in calls:
        await call.write(b"x")
    await until(lambda: len(second_bridge.seen) == room)
    assert await refusal(customers[room].exchange(second_bridge.envelope())) is OuterStatus.OVERLOADED
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    for call in calls:
        call.cancel()
    for customer in customers:
        await customer.channel.close()


def test_single_bridge_may_use_everything(relay: RunningRelay) -> None:
    forwarded = [relay.relay._service._sharing.forwarded(frozenset()) for _ in range(9)]
    for each in forwarded[:8]:
        each.__enter__()
    with pytest.raises(CallRefusedError):
        forwarded[8].__enter__()


async def test_revoked_token_ends_its_calls(
    relay: RunningRelay, bridge: FakeBridge, other: Client, stalled: Peer
) -> None:
    """Exchanges, unread streams, and calls before their first message. Calls of others continue."""
    idle, stays = await relay.client.open(bridge.envelope()), await other.open(bridge.envelope())
    await ask(stalled, headers(relay, bridge.envelope()))
    await stalled.send(opening(stalled.stream(), headers(relay)))
    await until(lambda: len(bridge.seen) == 3)
    revoke_token(relay.tokens, next(iter(relay.tokens.read_text().split())))
    assert await refusal(idle.read()) is OuterStatus.UNAUTHENTICATED
    await stalled.until(lambda: stalled.statuses[UNAUTHENTICATED] == 1)
    for seen in (bridge.seen[0], bridge.seen[2]):
        await cancelled(seen)
    await stays.write(b"still here")
    assert await stays.read() == b"still here"
    stays.cancel()


@both
async def test_unreadable_token_file_ends_no_call(relay: RunningRelay, bridge: FakeBridge) -> None:
    """New calls are refused until it can be read again."""
    call = await relay.client.open(bridge.envelope())
    good = relay.tokens.read_text()
    relay.tokens.write_text("not a line of tokens\n")
    await until(lambda: "tokens_unreadable" in relay.events())
    assert await refusal(relay.client.directories()) is OuterStatus.UNAUTHENTICATED
    relay.tokens.write_text(good)
    assert len(await relay.client.directories()) == 1
    await call.write(b"still here")
    assert await call.read() == b"still here"
    assert relay.events().count("tokens_unreadable") == 1
    call.cancel()
