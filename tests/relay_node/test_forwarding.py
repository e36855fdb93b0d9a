"""Bytes go through both ways as they are, live, and the ends of a call stay what they were."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from blindrelay.serving import authorization
from blindrelay.v1.envelope import METADATA_KEY
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE

if TYPE_CHECKING:
    from tests.relay_node.conftest import FakeBridge, RunningRelay, Seen, StartRelay


async def test_messages_pass_both_ways_byte_for_byte(relay: RunningRelay, bridge: FakeBridge) -> None:
    messages = [b"", b"\x00", b"not protobuf \xff\xfe", os.urandom(70_000), os.urandom(MAX_MESSAGE_SIZE)]
    envelope = bridge.envelope()
    answers = await relay.client.exchange(envelope, messages=messages)
    assert bridge.seen[0].messages == messages
    assert answers == messages
    assert bridge.seen[0].half_closed
    assert dict(bridge.seen[0].metadata)[METADATA_KEY] == envelope


async def test_pieces_arrive_while_the_bridge_holds_back_the_last(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    release = asyncio.Event()

    async def script(context: Any, seen: Seen) -> None:
        seen.messages.append(await context.read())
        await context.write(b"first")
        await release.wait()
        await context.write(b"last")

    bridge.script = script
    call = relay.client.call(bridge.envelope())
    await call.write(b"question")
    assert await call.read() == b"first"
    assert not release.is_set()
    release.set()
    assert await call.read() == b"last"
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_headers_come_before_a_provider_that_thinks_says_anything(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """Proxies wait no longer for a response's headers than for its next byte."""
    thought = asyncio.Event()

    async def script(context: Any, seen: Seen) -> None:
        await thought.wait()

    bridge.script = script
    call = relay.client.call(bridge.envelope())
    await call.write(b"question")
    async with asyncio.timeout(20):
        await call.initial_metadata()
    assert not thought.is_set()
    thought.set()
    assert await call.read() is grpc.aio.EOF


async def test_requests_arrive_while_the_client_holds_back_the_last(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    call = relay.client.call(bridge.envelope())
    for message in (b"one", b"two"):
        await call.write(message)
        assert await call.read() == message
    assert not bridge.seen[0].half_closed
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_a_cancelled_call_is_cancelled_at_the_bridge_and_not_half_closed(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """gRPC shows the relay the same end of messages for both, and that of a cancelled call first.

    Without care a quarter look half-closed; with it, on a busy machine, one in hundreds.
    """
    rounds = 150

    async def cancel_after_first() -> None:
        call = relay.client.call(bridge.envelope())
        await call.write(b"half a request")
        assert await call.read() == b"half a request"
        call.cancel()

    for _ in range(rounds // 30):
        await asyncio.gather(*(cancel_after_first() for _ in range(30)))
    async with asyncio.timeout(20):
        for seen in bridge.seen:
            await seen.ended.wait()
    assert len(bridge.seen) == rounds
    assert sum(seen.half_closed for seen in bridge.seen) <= rounds // 30
    assert set(relay.outcomes()) == {"cancelled"}


async def test_a_client_that_vanishes_is_cancelled_at_the_bridge(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    call = relay.client.call(bridge.envelope())
    await call.write(b"x")
    await call.read()
    await relay.client.channel.close()
    async with asyncio.timeout(20):
        await bridge.seen[0].cancelled.wait()
    assert not bridge.seen[0].half_closed


def upload(address: str, metadata: Any) -> tuple[list[bytes], grpc.StatusCode, str]:
    """A synchronous client that never stops sending: what it heard. It has no trouble with failing writes."""
    with grpc.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),)) as channel:
        exchange: Any = channel.stream_stream("/blindrelay.v1.ExchangeService/Exchange")
        call: Any = exchange(itertools.repeat(bytes(60_000)), metadata=metadata, timeout=30)
        answers = []
        with contextlib.suppress(grpc.RpcError):
            for message in call:
                answers.append(message)
        return answers, call.code(), call.details()


async def heard_while_uploading(
    relay: RunningRelay, bridge: FakeBridge, rounds: int
) -> list[tuple[list[bytes], grpc.StatusCode, str]]:
    heard = []
    for _ in range(rounds):
        metadata = [authorization(relay.client.token), (METADATA_KEY, bridge.envelope())]
        heard.append(await asyncio.to_thread(upload, str(relay.address), metadata))
    return heard


async def test_a_refusal_in_mid_upload_is_heard_as_it_was_said(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    """A write that fails meanwhile must not put words into the bridge's mouth."""

    async def script(context: Any, seen: Seen) -> None:
        for _ in range(3):
            await context.read()
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")

    bridge.script = script
    heard = await heard_while_uploading(relay, bridge, 20)
    assert heard == [([], grpc.StatusCode.INVALID_ARGUMENT, "refused")] * 20
    assert relay.outcomes() == ["refused"] * 20


async def test_an_answer_in_mid_upload_arrives_whole(relay: RunningRelay, bridge: FakeBridge) -> None:
    answer = [bytes([index]) * 30_000 for index in range(40)]

    async def script(context: Any, seen: Seen) -> None:
        for _ in range(3):
            await context.read()
        for piece in answer:
            await context.write(piece)

    bridge.script = script
    heard = await heard_while_uploading(relay, bridge, 20)
    assert heard == [(answer, grpc.StatusCode.OK, "")] * 20
    assert relay.outcomes() == ["ok"] * 20


async def test_a_bridge_lost_in_mid_upload_is_unavailable(relay: RunningRelay, bridge: FakeBridge) -> None:
    begun = asyncio.Event()

    async def script(context: Any, seen: Seen) -> None:
        while True:
            await context.read()
            begun.set()

    bridge.script = script
    heard = asyncio.create_task(heard_while_uploading(relay, bridge, 1))
    await begun.wait()
    await bridge.stop()
    assert await heard == [([], grpc.StatusCode.UNAVAILABLE, "bridge_unavailable")]


async def test_only_the_envelope_goes_on(relay: RunningRelay, bridge: FakeBridge) -> None:
    extra: tuple[tuple[str, str | bytes], ...] = (
        ("x-forwarded-for", "203.0.113.9"),
        ("x-stainless-lang", "python"),
        ("blindrelay-trace", "1"),
        ("grpc-trace-bin", b"\x00\x01"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    )
    call = relay.client.call(bridge.envelope(), extra=extra)
    await call.write(b"x")
    assert await call.read() == b"x"
    call.cancel()
    (seen,) = bridge.seen
    assert {key for key, _ in seen.metadata} == {METADATA_KEY, "user-agent"}
    assert relay.client.token not in repr(seen.metadata)


async def test_the_bridges_metadata_does_not_come_back(relay: RunningRelay, bridge: FakeBridge) -> None:
    async def script(context: Any, seen: Seen) -> None:
        await context.send_initial_metadata((("x-served-by", "10.1.2.3"),))
        context.set_trailing_metadata((("x-cause", "10.1.2.3"),))
        await context.write(await context.read())

    bridge.script = script
    call = relay.client.call(bridge.envelope())
    await call.write(b"x")
    assert await call.read() == b"x"
    assert await call.read() is grpc.aio.EOF
    keys = {key for key, _ in await call.initial_metadata()} | {
        key for key, _ in await call.trailing_metadata()
    }
    assert not keys & {"x-served-by", "x-cause"}


@pytest.mark.parametrize(
    ("timeout", "limit"),
    [
        (17.3, DEADLINE_SECONDS[0]),
        (90, DEADLINE_SECONDS[0]),
        (630, DEADLINE_SECONDS[1]),
        (None, DEADLINE_SECONDS[-1]),
    ],
)
async def test_the_bridge_sees_a_deadline_class_and_not_the_clients_deadline(
    relay: RunningRelay, bridge: FakeBridge, timeout: float | None, limit: int
) -> None:
    call = relay.client.call(bridge.envelope(), timeout=timeout)
    await call.write(b"x")
    await call.read()
    call.cancel()
    remaining = bridge.seen[0].time_remaining
    assert remaining is not None
    # gRPC rounds what it sends to three digits.
    assert limit + 50 < remaining <= limit + 160


async def test_a_deadline_that_passes_cancels_at_the_bridge(relay: RunningRelay, bridge: FakeBridge) -> None:
    call = relay.client.call(bridge.envelope(), timeout=0.5)
    await call.write(b"x")
    assert await call.read() == b"x"
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(20):
        await bridge.seen[0].cancelled.wait()
    assert not bridge.seen[0].half_closed


async def test_an_oversize_message_ends_the_call_and_is_no_half_close(
    relay: RunningRelay, bridge: FakeBridge
) -> None:
    channel = grpc.aio.insecure_channel(str(relay.address), options=(("grpc.enable_retries", 0),))
    relay.client._exchange = channel.stream_stream("/blindrelay.v1.ExchangeService/Exchange")
    call = relay.client.call(bridge.envelope())
    await call.write(b"small")
    assert await call.read() == b"small"
    await call.write(os.urandom(MAX_MESSAGE_SIZE + 1))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    async with asyncio.timeout(20):
        await bridge.seen[0].cancelled.wait()
    assert bridge.seen[0].messages == [b"small"]
    assert not bridge.seen[0].half_closed
    await channel.close()


async def test_a_fault_of_ours_says_internal_and_no_more(
    relay: RunningRelay, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Any) -> bytes:
        raise ValueError("secret 10.1.2.3")

    monkeypatch.setattr("blindrelay.relay_node.relay.envelope_from_metadata", broken)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await relay.client.exchange(bridge.envelope())
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.INTERNAL, "internal")
    assert relay.outcomes() == ["internal"]
    assert "fault" in relay.events()


async def test_a_fault_on_the_way_up_ends_the_exchange(
    relay: RunningRelay, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: Any) -> None:
        raise ValueError("secret 10.1.2.3")

    monkeypatch.setattr("blindrelay.relay_node.forwarding.confirm_half_close", broken)
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await relay.client.exchange(bridge.envelope(), messages=[b"one", b"another"])
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.INTERNAL, "internal")
    async with asyncio.timeout(20):
        await bridge.seen[0].cancelled.wait()


async def test_a_call_that_says_nothing_is_ended(
    relay: RunningRelay, bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.relay_node.relay.RECORD_SECONDS", 0.2)
    call = relay.client.call(bridge.envelope())
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert (failure.value.code(), failure.value.details()) == (grpc.StatusCode.DEADLINE_EXCEEDED, "deadline")
    assert bridge.seen == []


async def test_an_exchange_without_a_message_is_malformed(relay: RunningRelay, bridge: FakeBridge) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await relay.client.exchange(bridge.envelope(), messages=[])
    assert failure.value.details() == "malformed"
    assert bridge.seen == []


async def test_a_tap_is_a_matter_of_the_channel(bridge: FakeBridge, start_relay: StartRelay) -> None:
    opened = []

    def open_channel(replica: Any) -> grpc.aio.Channel:
        opened.append(replica)
        return grpc.aio.insecure_channel(str(replica.address))

    relay = await start_relay(bridge.config, open_channel=open_channel)
    assert await relay.client.exchange(bridge.envelope()) == [b"hello"]
    assert opened == [bridge.config]
