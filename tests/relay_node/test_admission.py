"""Which calls a relay admits: tokens, envelopes, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from blindrelay.serving import STREAMS_PER_CLIENT, authorization
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.grpc_profile import KEY_DIRECTORY_METHOD
from blindrelay.v1.outer_status import OuterStatus
from tests.relay_node.conftest import RunningRelay
from tests.relay_node.fake_bridge import FakeBridge, Seen, until
from tests.relay_node.raw_client import refusal


@pytest.mark.parametrize("shown", ["none", "unknown", "two"])
async def test_call_without_one_known_token_is_refused(
    relay: RunningRelay, bridge: FakeBridge, shown: str
) -> None:
    """At once: anybody could send half a request, and the relay would keep it until the other half comes."""
    known, unknown = authorization(relay.client.token), authorization("brt_" + "A" * 43)
    metadata = {"none": [], "unknown": [unknown], "two": [known, known]}[shown]
    exchange = relay.client.call_with([*metadata, (METADATA_KEY, bridge.envelope())])
    directories: Any = relay.client.channel.stream_unary(KEY_DIRECTORY_METHOD)
    for call in (exchange.read(), directories(metadata=metadata)):
        assert await refusal(call) is OuterStatus.UNAUTHENTICATED
    assert bridge.seen == []


async def test_call_without_one_valid_envelope_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    good = bridge.envelope()
    another_version = Envelope.FromString(good)
    another_version.version = 2
    unknown_field = good + b"\xa0\x06\x01"
    for envelopes in (
        (),
        (good, good),
        (b"\xff",),
        (unknown_field,),
        (another_version.SerializeToString(deterministic=True),),
    ):
        assert await refusal(relay.client.exchange(*envelopes)) is OuterStatus.MALFORMED
    assert bridge.seen == []
    assert await relay.client.exchange(good) == [b"hello"]


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
