"""Who is let in: tokens, envelopes, and room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from blindrelay.serving import STREAMS_PER_CLIENT, issue_token, revoke_token
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus

Until = Callable[[Callable[[], bool]], Awaitable[None]]

if TYPE_CHECKING:
    from tests.relay_node.conftest import Client, FakeBridge, RunningRelay, Seen, StartRelay

UNKNOWN_TOKEN = "brt_" + "A" * 43


async def refusal(call: Any) -> tuple[grpc.StatusCode, str | None]:
    """The status with which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code(), failure.value.details()


TOKEN_UNKNOWN = (grpc.StatusCode.UNAUTHENTICATED, "token_unknown")
MALFORMED = (grpc.StatusCode.INVALID_ARGUMENT, "malformed")


@pytest.mark.parametrize("token", [UNKNOWN_TOKEN, "", "brt_", "x" * 47])
async def test_an_unknown_token_gets_neither_exchange_nor_directory(
    relay: RunningRelay, bridge: FakeBridge, token: str
) -> None:
    relay.client.token = token
    assert await refusal(relay.client.exchange(bridge.envelope())) == TOKEN_UNKNOWN
    assert await refusal(relay.client.directories()) == TOKEN_UNKNOWN
    assert bridge.seen == []


async def test_no_token_or_two_are_as_good_as_none(relay: RunningRelay, bridge: FakeBridge) -> None:
    exchange = relay.client._exchange
    envelope = (METADATA_KEY, bridge.envelope())
    shown = ("authorization", f"Bearer {relay.client.token}")
    for metadata in ([envelope], [envelope, shown, shown], [envelope, ("authorization", relay.client.token)]):
        call = exchange(metadata=metadata, timeout=30)
        assert await refusal(call.read()) == TOKEN_UNKNOWN


async def test_a_token_issued_or_revoked_while_running_counts_at_once(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    relay.client.token = issue_token(relay.tokens, "late", datetime.now(UTC))
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    revoke_token(relay.tokens, "late")
    assert await refusal(relay.client.exchange(bridge.envelope())) == TOKEN_UNKNOWN


async def test_a_tokens_file_that_goes_wrong_while_running_admits_nobody(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    relay.tokens.write_text("not a line of tokens\n")
    for _ in range(2):
        assert await refusal(relay.client.exchange(bridge.envelope())) == TOKEN_UNKNOWN
    assert relay.events().count("tokens_unreadable") == 1


async def test_a_missing_envelope_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    assert await refusal(relay.client.exchange()) == MALFORMED
    assert bridge.seen == []


async def test_a_doubled_envelope_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    assert await refusal(relay.client.exchange(bridge.envelope(), bridge.envelope())) == MALFORMED
    assert bridge.seen == []


async def test_an_envelope_in_any_other_encoding_is_malformed(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    good = bridge.envelope()
    parsed = Envelope.FromString(good)
    parsed.version = 2
    wrong = [
        b"",
        b"\xff",
        good[:-1],
        good + b"\x38\x00",  # a default value, written out
        good + good[:2],  # version, twice
        good + b"\xa0\x06\x01",  # an unknown field
        good + b"\x00" * 512,
        parsed.SerializeToString(deterministic=True),
    ]
    for envelope in wrong:
        assert await refusal(relay.client.exchange(envelope)) == MALFORMED
    assert bridge.seen == []
    assert await relay.client.exchange(good) == [b"hello"]


async def test_beyond_its_exchanges_a_token_is_overloaded(
    bridge: FakeBridge, start_relay: StartRelay, new_client: type[Client]
) -> None:
    relay = await start_relay(bridge.config, max_exchanges_per_token=2)
    calls = [relay.client.call(bridge.envelope()) for _ in range(2)]
    for call in calls:
        await call.write(b"x")
        await call.read()
    overloaded = (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
    assert await refusal(relay.client.exchange(bridge.envelope())) == overloaded
    await relay.client.directories()
    await calls[0].done_writing()
    assert await calls[0].read() is grpc.aio.EOF
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    calls[1].cancel()


async def test_beyond_max_exchanges_the_relay_is_overloaded(
    bridge: FakeBridge, start_relay: StartRelay, new_client: type[Client]
) -> None:
    relay = await start_relay(bridge.config, max_exchanges=2)
    call = relay.client.call(bridge.envelope())
    await call.write(b"x")
    await call.read()
    overloaded = (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
    assert await refusal(relay.client.exchange(bridge.envelope())) == overloaded
    other = new_client(str(relay.address), issue_token(relay.tokens, "other", datetime.now(UTC)))
    assert await other.exchange(bridge.envelope()) == [b"hello"]
    await other.channel.close()
    call.cancel()


async def test_beyond_max_exchanges_no_more_directories_are_asked_for_at_once(
    bridge: FakeBridge, start_relay: StartRelay
) -> None:
    """Half a request for one is held for ten seconds, too."""
    relay = await start_relay(bridge.config, max_exchanges=1)
    half: Any = relay.client.channel.stream_unary(KEY_DIRECTORY_METHOD)(
        metadata=[("authorization", f"Bearer {relay.client.token}")], timeout=30
    )
    await half.wait_for_connection()
    overloaded = (grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded")
    assert await refusal(relay.client.directories()) == overloaded
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    await half.write(b"")
    await half.done_writing()
    await half
    assert len(await relay.client.directories()) == 1


async def test_many_refused_calls_leave_no_room_taken(bridge: FakeBridge, start_relay: StartRelay) -> None:
    relay = await start_relay(bridge.config, max_exchanges=1)
    for _ in range(5):
        await refusal(relay.client.exchange(bridge.envelope(key_id=b"k" * 16)))
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


async def test_one_connection_cannot_have_more_than_its_streams(
    relay: RunningRelay, bridge: FakeBridge, until: Until
) -> None:
    """What is beyond the limit waits in the client, or HTTP/2 refuses it; the bridge never sees it."""
    release = asyncio.Event()

    async def script(context: Any, seen: Seen) -> None:
        await release.wait()
        await context.write(await context.read())

    bridge.script = script
    await relay.client.directories()  # It also brings the connection's limits.
    exchanges = [relay.client.exchange(bridge.envelope()) for _ in range(STREAMS_PER_CLIENT + 30)]
    results = asyncio.gather(*exchanges, return_exceptions=True)
    await until(lambda: len(bridge.seen) == STREAMS_PER_CLIENT)
    await asyncio.sleep(0.3)
    assert len(bridge.seen) == STREAMS_PER_CLIENT
    release.set()
    assert (await results).count([b"hello"]) >= STREAMS_PER_CLIENT
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]


@pytest.mark.parametrize("token", [None, "brt_" + "A" * 43])
async def test_a_directory_is_refused_before_its_request_is_read(
    relay: RunningRelay, token: str | None
) -> None:
    """Half a message from anybody would otherwise be held until the other half comes."""
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    async with grpc.aio.insecure_channel(str(relay.address)) as channel:
        method: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(KEY_DIRECTORY_METHOD)
        call = method(metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
    assert refused.value.details() == OuterStatus.UNAUTHENTICATED.details
