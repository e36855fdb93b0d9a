"""One greedy token or bridge leaves room for the others; what a revoked token has begun is ended."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
from hyperframe.frame import WindowUpdateFrame

from blindrelay.relay_node.sharing import Sharing
from blindrelay.serving import CallRefusedError, authorization, issue_token, revoke_token
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from tests.adversarial.h2_peer import Peer, header_block, message_start, opening, peers

if TYPE_CHECKING:
    from tests.relay_node.conftest import Client, FakeBridge, RunningRelay, Seen, StartRelay

Until = Callable[[Callable[[], bool]], Awaitable[None]]

DEADLINE, UNAUTHENTICATED = "4", "16"
INITIAL_WINDOW_SIZE: Final = 4
PIECE: Final = bytes(65_536)


@pytest.fixture
async def other(relay: RunningRelay, new_client: type[Client]) -> Client:
    """A customer with another token."""
    return new_client(str(relay.address), issue_token(relay.tokens, "other", datetime.now(UTC)))


@pytest.fixture
async def relay(bridge: FakeBridge, start_relay: StartRelay) -> RunningRelay:
    return await start_relay(
        *[bridge.config],
        max_exchanges=8,
        max_request_bytes=4 * len(PIECE),
        max_connections_per_token=3,
        unread_seconds=1,
    )


@pytest.fixture
async def one(relay: RunningRelay) -> AsyncIterator[Peer]:
    """A connection that takes no byte of any message."""
    async with peers(str(relay.address), 1, settings={INITIAL_WINDOW_SIZE: 0}) as (peer,):
        yield peer


def block(relay: RunningRelay, *envelopes: bytes, path: str = KEY_DIRECTORY_METHOD) -> bytes:
    carried = [(METADATA_KEY, base64.b64encode(envelope).decode()) for envelope in envelopes]
    more = {"path": "/blindrelay.v1.ExchangeService/Exchange"} if envelopes else {"path": path}
    return header_block([authorization(relay.client.token), *carried], **more)


async def ask(one: Peer, headers: bytes, message: bytes = b"x") -> int:
    stream = one.stream()
    await one.send(opening(stream, headers))
    await one.pour(stream, message_start(len(message), message))
    return stream


async def details(call: Awaitable[object]) -> str | None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.details()


async def test_a_token_gets_half_of_the_exchanges_whatever_it_does_with_them(
    relay: RunningRelay, bridge: FakeBridge, other: Client
) -> None:
    """Silent before the first message, or idle after it."""
    silent = [relay.client.call(bridge.envelope()) for _ in range(2)]
    for call in silent:
        await call.wait_for_connection()
    idle = [relay.client.call(bridge.envelope()) for _ in range(2)]
    for call in idle:
        await call.write(b"x")
        await call.read()
    assert await details(relay.client.exchange(bridge.envelope())) == "overloaded"
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    for call in silent + idle:
        call.cancel()


async def test_bytes_that_a_bridge_has_to_keep_are_shared(
    relay: RunningRelay, bridge: FakeBridge, other: Client
) -> None:
    """The first message of a request does not count: small requests pass whatever their token holds."""

    async def keep(context: Any, seen: Seen) -> None:
        while isinstance(message := await context.read(), bytes):
            seen.messages.append(message)
        await context.write(b"response")

    bridge.script = keep
    greedy = relay.client.call(bridge.envelope())
    for _ in range(3):
        await greedy.write(PIECE)
    assert await details(relay.client.exchange(bridge.envelope(), messages=[PIECE] * 4)) == "overloaded"
    assert await relay.client.exchange(bridge.envelope()) == [b"response"]
    assert await other.exchange(bridge.envelope(), messages=[PIECE, PIECE]) == [b"response"]
    await greedy.done_writing()
    assert await greedy.read() == b"response"
    assert await relay.client.exchange(bridge.envelope(), messages=[PIECE] * 3) == [b"response"]
    assert set(relay.outcomes()) == {"ok", "overloaded"}


async def test_bytes_that_were_responded_to_do_not_count(relay: RunningRelay, bridge: FakeBridge) -> None:
    """A tunnel, which goes on for long."""
    call = relay.client.call(bridge.envelope())
    for _ in range(20):
        await call.write(PIECE)
        assert await call.read() == PIECE
    call.cancel()


async def test_a_response_that_nobody_takes_ends_at_the_bridge(
    relay: RunningRelay, bridge: FakeBridge, other: Client, until: Until
) -> None:
    """With a window of 0. It keeps its place in its own token's share for as long as the client stays."""
    no_window = peers(str(relay.address), 1, settings={INITIAL_WINDOW_SIZE: 0})
    async with no_window as (one,):
        for _ in range(4):
            await ask(one, block(relay, bridge.envelope()))
        await until(lambda: len(bridge.seen) == 4)
        assert await other.exchange(bridge.envelope()) == [b"hello"]
        for seen in bridge.seen[:4]:
            async with asyncio.timeout(20):
                await seen.cancelled.wait()
        assert await details(relay.client.exchange(bridge.envelope())) == "overloaded"
    await until(lambda: relay.outcomes().count("cancelled") == 4)
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_a_response_that_is_taken_late_ends_with_a_deadline(
    relay: RunningRelay, bridge: FakeBridge, one: Peer, until: Until
) -> None:
    stream = await ask(one, block(relay, bridge.envelope()))
    await until(lambda: len(bridge.seen) == 1)
    async with asyncio.timeout(20):
        await bridge.seen[0].cancelled.wait()
    await one.send(WindowUpdateFrame(stream, window_increment=1_000))
    await one.ended(1)
    assert one.statuses == {DEADLINE: 1}


async def test_directories_that_nobody_takes_count(relay: RunningRelay, other: Client, one: Peer) -> None:
    for _ in range(4):
        await ask(one, block(relay), b"")
    await one.until(lambda: one.frames["HeadersFrame"] == 4)
    assert await details(relay.client.directories()) == "overloaded"
    assert len(await other.directories()) == 1


async def test_a_token_has_calls_on_few_connections(
    relay: RunningRelay, bridge: FakeBridge, other: Client, new_client: type[Client]
) -> None:
    clients = [new_client(str(relay.address), relay.client.token) for _ in range(4)]
    calls = [client.call(bridge.envelope()) for client in clients[:3]]
    for call in calls:
        await call.write(b"x")
        await call.read()
    assert await details(clients[3].exchange(bridge.envelope())) == "overloaded"
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    calls[0].cancel()
    async with asyncio.timeout(20):
        while True:
            try:
                assert await clients[3].exchange(bridge.envelope()) == [b"hello"]
                break
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
    for client in clients:
        await client.channel.close()


async def test_directories_are_shared(relay: RunningRelay, other: Client) -> None:
    """Half a request for one is held for ten seconds."""
    method: Any = relay.client.channel.stream_unary(KEY_DIRECTORY_METHOD)
    halves = [method(metadata=[authorization(relay.client.token)], timeout=30) for _ in range(4)]
    for half in halves:
        await half.wait_for_connection()
    assert await details(relay.client.directories()) == "overloaded"
    assert len(await other.directories()) == 1
    for half in halves:
        half.cancel()


async def test_a_bridge_that_hangs_leaves_room_for_its_neighbours(
    bridge: FakeBridge, second_bridge: FakeBridge, start_relay: StartRelay, new_client: type[Client]
) -> None:
    """Its customers are many, and each holds little."""
    relay = await start_relay(
        *(replace(each.config, identities=frozenset({each.identity})) for each in (bridge, second_bridge)),
        max_exchanges=8,
    )

    async def hang(context: Any, _: Seen) -> None:
        await asyncio.Event().wait()

    second_bridge.script = hang
    names = [f"customer-{number}" for number in range(5)]
    tokens = [issue_token(relay.tokens, name, datetime.now(UTC)) for name in names]
    clients = [new_client(str(relay.address), token) for token in tokens]
    calls = [client.call(second_bridge.envelope()) for client in clients[:4]]
    for call in calls:
        await call.write(b"x")
        await call.initial_metadata()
    assert await details(clients[4].exchange(second_bridge.envelope())) == "overloaded"
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    for call in calls:
        call.cancel()
    for client in clients:
        await client.channel.close()


def test_a_bridge_without_neighbours_may_have_all(relay: RunningRelay) -> None:
    sharing: Sharing = relay.relay._sharing
    with_all = [sharing.forwarded(frozenset()) for _ in range(9)]
    for each in with_all[:8]:
        each.__enter__()
    with pytest.raises(CallRefusedError):
        with_all[8].__enter__()


async def test_a_revoked_token_ends_what_it_has_begun(
    relay: RunningRelay, bridge: FakeBridge, other: Client, one: Peer, until: Until
) -> None:
    """Exchanges, streams that nobody reads, calls before their first message; and no others' calls."""
    idle, stays = relay.client.call(bridge.envelope()), other.call(bridge.envelope())
    for call in (idle, stays):
        await call.write(b"x")
        await call.read()
    await ask(one, block(relay, bridge.envelope()))
    await one.send(opening(one.stream(), block(relay)))
    await until(lambda: len(bridge.seen) == 3)
    revoke_token(relay.tokens, next(iter(relay.tokens.read_text().split())))
    assert await details(idle.read()) == "token_unknown"
    await one.until(lambda: one.statuses[UNAUTHENTICATED] == 1)
    for seen in (bridge.seen[0], bridge.seen[2]):
        async with asyncio.timeout(20):
            await seen.cancelled.wait()
    await stays.write(b"still here")
    assert await stays.read() == b"still here"
    stays.cancel()


async def test_a_token_file_that_cannot_be_read_cuts_nobody_off(
    relay: RunningRelay, bridge: FakeBridge, until: Until
) -> None:
    call = relay.client.call(bridge.envelope())
    await call.write(b"x")
    await call.read()
    good = relay.tokens.read_text()
    relay.tokens.write_text("not a line of tokens\n")
    await until(lambda: "tokens_unreadable" in relay.events())
    assert await details(relay.client.directories()) == "token_unknown"
    await call.write(b"still here")
    assert await call.read() == b"still here"
    relay.tokens.write_text(good)
    assert len(await relay.client.directories()) == 1
    await call.write(b"still here")
    assert await call.read() == b"still here"
    call.cancel()
