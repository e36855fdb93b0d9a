"""Which calls a relay admits: tokens, envelopes, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from blindrelay.serving import STREAMS_PER_CLIENT, authorization
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RunningRelay, StartRelay
from tests.relay_node.fake_bridge import FakeBridge, Seen, until
from tests.relay_node.raw_client import refusal


@pytest.mark.parametrize("token", ["brt_" + "A" * 43, ""])
async def test_unknown_token_gets_neither_exchange_nor_directory(
    relay: RunningRelay, bridge: FakeBridge, token: str
) -> None:
    relay.client.token = token
    assert await refusal(relay.client.exchange(bridge.envelope())) is OuterStatus.UNAUTHENTICATED
    assert await refusal(relay.client.directories()) is OuterStatus.UNAUTHENTICATED
    assert bridge.seen == []


async def test_call_without_a_token_or_with_two_is_refused(relay: RunningRelay, bridge: FakeBridge) -> None:
    envelope, shown = (METADATA_KEY, bridge.envelope()), authorization(relay.client.token)
    for metadata in ([envelope], [envelope, shown, shown]):
        call = relay.client.call_with(metadata)
        assert await refusal(call.read()) is OuterStatus.UNAUTHENTICATED


async def test_missing_or_doubled_envelope_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    for envelopes in ((), (bridge.envelope(), bridge.envelope())):
        assert await refusal(relay.client.exchange(*envelopes)) is OuterStatus.MALFORMED
    assert bridge.seen == []


async def test_invalid_envelope_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    good = bridge.envelope()
    another_version = Envelope.FromString(good)
    another_version.version = 2
    unknown_field = good + b"\xa0\x06\x01"
    for envelope in (b"\xff", unknown_field, another_version.SerializeToString(deterministic=True)):
        assert await refusal(relay.client.exchange(envelope)) is OuterStatus.MALFORMED
    assert bridge.seen == []
    assert await relay.client.exchange(good) == [b"hello"]


async def test_token_over_its_exchanges_is_overloaded(bridge: FakeBridge, start_relay: StartRelay) -> None:
    relay = await start_relay(bridge.config, max_exchanges_per_token=2)
    calls = [await relay.client.open(bridge.envelope()) for _ in range(2)]
    assert await refusal(relay.client.exchange(bridge.envelope())) is OuterStatus.OVERLOADED
    await relay.client.directories()
    await calls[0].done_writing()
    assert await calls[0].read() is grpc.aio.EOF
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    calls[1].cancel()


async def test_connection_has_a_limited_number_of_streams(relay: RunningRelay, bridge: FakeBridge) -> None:
    """More wait in the client, or HTTP/2 refuses them. The bridge never sees them."""
    release = asyncio.Event()

    async def script(context: Any, seen: Seen) -> None:
        await release.wait()
        await context.write(await context.read())

    bridge.script = script
    await relay.client.directories()  # it also brings the connection's limits
    exchanges = [relay.client.exchange(bridge.envelope()) for _ in range(STREAMS_PER_CLIENT + 30)]
    results = asyncio.gather(*exchanges, return_exceptions=True)
    await until(lambda: len(bridge.seen) == STREAMS_PER_CLIENT)
    await asyncio.sleep(0.3)
    assert len(bridge.seen) == STREAMS_PER_CLIENT
    release.set()
    assert (await results).count([b"hello"]) >= STREAMS_PER_CLIENT


@pytest.mark.parametrize("token", [None, "brt_" + "A" * 43])
async def test_directory_is_refused_before_its_request_is_read(
    relay: RunningRelay, token: str | None
) -> None:
    """Anybody could send half a message, and the relay would keep it until the other half comes."""
    metadata = () if token is None else (authorization(token),)
    async with grpc.aio.insecure_channel(str(relay.address)) as channel:
        method: Any = channel.stream_unary(KEY_DIRECTORY_METHOD)
        assert await refusal(method(metadata=metadata)) is OuterStatus.UNAUTHENTICATED
