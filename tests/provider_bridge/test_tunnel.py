"""Tunnels: a WebSocket server of another make behind the bridge, and a client made of the core before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.utils import accept_key

from blindrelay.provider_bridge import Bridge, BridgeConfig
from blindrelay.provider_bridge.upstream import provider_tunnel as tunnels
from blindrelay.sealing import BINARY, CONTINUATION, TEXT, close_frame
from blindrelay.trust import IdentityKey
from blindrelay.v1.exchange_pb2 import ExchangeRequest
from blindrelay.v1.inner_pb2 import CREDENTIAL_BROUGHT, Frame

from .conftest import provider_at
from .fake_provider import Connection, FakeProvider, Received, Script, answer, raw
from .sealed_caller import SealedCaller
from .sealed_tunnel import REALTIME, SealedTunnel
from .websocket_provider import WebSocketProvider

RESPONSES = "https://api.openai.com/v1/responses"
BROUGHT = {"credential": CREDENTIAL_BROUGHT, "headers": {b"authorization": b"Bearer sk-own"}}
HELLO = json.dumps({"type": "session.update", "session": {"instructions": "Be brief."}})


@pytest.fixture
async def websocket() -> AsyncIterator[WebSocketProvider]:
    async with WebSocketProvider().serving() as provider:
        yield provider


@pytest.fixture
async def caller(
    config: BridgeConfig, identity: IdentityKey, websocket: WebSocketProvider
) -> AsyncIterator[SealedCaller]:
    """A caller of a bridge with little room, whose provider speaks WebSocket."""
    config = replace(
        config,
        providers=(provider_at(websocket.origin),),
        max_request=262_144,
        max_buffered=524_288,
    )
    async with (
        Bridge(config, identity).running() as address,
        SealedCaller(str(address), identity.public_key) as caller,
    ):
        yield caller


async def opened(caller: SealedCaller, url: str = REALTIME, **fields: object) -> SealedTunnel:
    tunnel = await SealedTunnel.opened(caller, url, **fields)
    assert (await tunnel.answer()).status == 101
    return tunnel


async def test_messages_both_ways_and_the_clients_close(
    caller: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await SealedTunnel.opened(caller, headers={b"sec-websocket-protocol": b"realtime"})
    head = await tunnel.answer()
    assert (head.status, head.headers.get("sec-websocket-protocol")) == (101, "realtime")
    for text in (HELLO, json.dumps({"type": "input_audio_buffer.append", "audio": "é" * 30_000})):
        await tunnel.say(text)
        assert await tunnel.heard() == text.encode()
    await tunnel.send(close_frame(1000, "done"))
    await tunnel.end()
    assert await tunnel.closed() == (1000, "done")
    assert await tunnel.part() is None
    assert await tunnel.call.code() is grpc.StatusCode.OK
    assert websocket.paths == ["/v1/realtime?model=gpt-realtime"]


async def test_what_the_provider_is_shown(caller: SealedCaller, websocket: WebSocketProvider) -> None:
    await opened(caller, headers={b"openai-beta": b"realtime=v1"})
    (headers,) = websocket.headers
    assert {name.lower() for name in headers} == {
        *("host", "accept-encoding", "user-agent", "authorization", "openai-beta"),
        *("connection", "upgrade", "sec-websocket-key", "sec-websocket-version"),
    }
    assert headers["authorization"] == "Bearer sk-bridge"
    assert headers["user-agent"] == "blindrelay"


async def test_a_brought_credential_and_binary_messages_in_fragments(
    caller: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await opened(caller, "https://api.openai.com/v1/anything", **BROUGHT)
    assert websocket.headers[0]["authorization"] == "Bearer sk-own"
    await tunnel.send(Frame(opcode=BINARY, data=b"\x00\xff"))
    await tunnel.send(Frame(opcode=CONTINUATION, data=b""))
    await tunnel.send(Frame(opcode=CONTINUATION, data=b"z" * 65_536, fin=True))
    assert await tunnel.heard() == b"\x00\xff" + b"z" * 65_536


async def test_the_providers_close(caller: SealedCaller, websocket: WebSocketProvider) -> None:
    async def leave(connection: ServerConnection) -> None:
        await connection.send("bye")
        await connection.close(4001, "the session is over")

    websocket.handler = leave
    tunnel = await opened(caller)
    assert await tunnel.heard() == b"bye"
    assert await tunnel.closed() == (4001, "the session is over")
    await tunnel.send(close_frame(4001))
    await tunnel.end()
    assert await tunnel.part() is None


async def test_frames_may_travel_with_the_head(caller: SealedCaller) -> None:
    """A part may carry a head and a frame; the tunnel's first message waits for no round trip."""
    tunnel = await SealedTunnel.opened(caller)
    await tunnel.say(HELLO)
    assert (await tunnel.answer()).status == 101
    assert await tunnel.heard() == HELLO.encode()


@pytest.mark.parametrize("fields", [{}, BROUGHT], ids=["injected", "brought"])
async def test_events_about_a_shared_accounts_limits_are_withheld(
    caller: SealedCaller, websocket: WebSocketProvider, fields: dict[str, Any]
) -> None:
    limits = json.dumps({"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "remaining": 7}]})
    content = [json.dumps({"type": "response.text.delta", "delta": '"rate_limits.updated"'}), "rate_limits"]

    async def speak(connection: ServerConnection) -> None:
        for message in (limits, *content):
            await connection.send(message)
        await connection.wait_closed()

    websocket.handler = speak
    tunnel = await opened(caller, **fields)
    for expected in [*([limits] if fields else []), *content]:
        assert await tunnel.heard() == expected.encode()


async def test_an_end_without_a_close(caller: SealedCaller, websocket: WebSocketProvider) -> None:
    tunnel = await opened(caller)
    await tunnel.end()
    assert await tunnel.closed() == (1001, "")
    assert await tunnel.part() is None
    assert websocket.closes == [1001]


async def test_a_client_that_goes_away(caller: SealedCaller, websocket: WebSocketProvider) -> None:
    gone = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        gone.set()

    websocket.handler = wait
    tunnel = await opened(caller)
    tunnel.call.cancel()
    await gone.wait()


async def test_a_provider_that_is_lost(caller: SealedCaller, websocket: WebSocketProvider) -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.send("half of ")
        connection.transport.abort()

    websocket.handler = vanish
    tunnel = await opened(caller)
    assert await tunnel.heard() == b"half of "
    lost = await tunnel.answer()
    assert (lost.code, lost.execution) == ("PROVIDER_FAILED", "STARTED")
    await tunnel.end()
    assert await tunnel.part() is None


async def test_an_answer_of_the_providers_that_is_no_tunnel(
    bridge: SealedCaller, provider: FakeProvider
) -> None:
    provider.script = answer(b'{"error": "no"}', status=b"403 Forbidden", headers=b"x-request-id: r1\r\n")
    tunnel = await SealedTunnel.opened(bridge)
    await tunnel.say(HELLO)
    head = await tunnel.answer()
    assert (head.status, head.headers["x-request-id"], head.body) == (403, "r1", b'{"error": "no"}')
    await tunnel.end()
    assert await tunnel.part() is None


def accepting(*lines: bytes, key: bytes | None = None) -> Script:
    """A handshake with these header lines besides the usual ones; `key` stands for the client's."""

    async def script(connection: Connection, received: Received) -> None:
        accept = accept_key((key or received.named[b"sec-websocket-key"]).decode()).encode()
        usual = [b"upgrade: websocket", b"connection: Upgrade", b"sec-websocket-accept: " + accept]
        await connection.send(b"\r\n".join([b"HTTP/1.1 101 Switching Protocols", *usual, *lines, b"", b""]))

    return script


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (accepting(key=b"another"), "key"),
        (accepting(b"sec-websocket-extensions: permessage-deflate"), "extension"),
        (accepting(b"sec-websocket-protocol: other"), "subprotocol"),
        (accepting(b"sec-websocket-protocol: realtime", b"sec-websocket-protocol: realtime"), "subprotocol"),
        (
            raw(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"),
            "WebSocket",
        ),
    ],
)
async def test_a_handshake_that_is_refused(
    bridge: SealedCaller, provider: FakeProvider, script: Script, reason: str
) -> None:
    provider.script = script
    tunnel = await SealedTunnel.opened(bridge, headers={b"sec-websocket-protocol": b"realtime"})
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("PROVIDER_FAILED", "STARTED")
    assert reason in got.message
    (received,) = provider.received
    assert received.request_line == b"GET /v1/realtime?model=gpt-realtime HTTP/1.1"


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(b"\x81\x81\x00\x00\x00\x00x", id="masked"),
        pytest.param(b"\x80\x01x", id="continues nothing"),
        pytest.param(b"\xc1\x01x", id="an extension's bit"),
        pytest.param(b"\x83\x01x", id="an unknown opcode"),
        pytest.param(b"\x88\x02\x03\xed", id="a close code that none may send"),
    ],
)
async def test_frames_that_are_against_the_rules(
    bridge: SealedCaller, provider: FakeProvider, frame: bytes
) -> None:
    handshake = accepting()

    async def script(connection: Connection, received: Received) -> None:
        await handshake(connection, received)
        await connection.send(b"\x81\x02ok" + frame)
        await connection.gone()

    provider.script = script
    tunnel = await opened(bridge)
    assert await tunnel.heard() == b"ok"
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("PROVIDER_FAILED", "STARTED")


async def test_too_large_message_from_the_provider_closes_with_1009(
    caller: SealedCaller, websocket: WebSocketProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def flood(connection: ServerConnection) -> None:
        await connection.send("x" * 8_000_000)

    monkeypatch.setattr(tunnels, "MAX_MESSAGE", 100_000)
    websocket.handler = flood
    tunnel = await opened(caller)
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("TOO_LARGE", "STARTED")
    assert "100000 bytes" in got.message
    assert await websocket.ended(1) == [1009]


async def test_pings_are_answered_here_and_a_silent_provider_is_lost(
    bridge: SealedCaller, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "PING_SECONDS", 0.2)
    handshake = accepting()
    seen = bytearray()

    async def script(connection: Connection, received: Received) -> None:
        await handshake(connection, received)
        await connection.send(b"\x89\x02hi")
        while data := await connection.reader.read(100):
            seen.extend(data)

    provider.script = script
    tunnel = await opened(bridge)
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("PROVIDER_FAILED", "STARTED")
    assert seen[0] == 0x8A, "a pong, as long as the ping"
    assert seen[1] == 0x80 | 2
    assert 0x89 in seen[8:], "a ping of the bridge's own"


@pytest.mark.parametrize(
    ("url", "message", "code"),
    [
        (RESPONSES, '{"type": "response.create", "input": "x"}', "STORED_OBJECT"),
        (RESPONSES, '{"type": "response.create", "store": true}', "STORED_OBJECT"),
        (RESPONSES, '{"type": "response.create", "store": false, "response": {}}', "STORED_OBJECT"),
        (RESPONSES, '{"type": "response.steer", "previous_response_id": "r"}', "STORED_OBJECT"),
        (RESPONSES, '{"type": "session.update", "store": false}', "STORED_OBJECT"),
        (RESPONSES, '{"input": "x", "store": false}', "STORED_OBJECT"),
        (RESPONSES, '{"type":"response.create","store":false,"previous_response_id":"r"}', "STORED_OBJECT"),
        (REALTIME, '{"type": "session.update", "session": {"prompt": {"id": "p"}}}', "STORED_OBJECT"),
        (REALTIME, '{"type": "session.update", "session": {"tracing": "auto"}}', "STORED_OBJECT"),
        (REALTIME, '{"type": "response.create", "response": {"conversation": "c"}}', "STORED_OBJECT"),
        (REALTIME, '{"session": {"audio": {"output": {"voice": {"id": "v"}}}}}', "STORED_OBJECT"),
        (REALTIME, '{"item": {"content": [{"file_id": "f"}]}}', "STORED_OBJECT"),
        (REALTIME, "[]", "STORED_OBJECT"),
        (REALTIME, "not JSON", "NOT_ALLOWED"),
        (REALTIME, '{"a": 1, "a": 2}', "NOT_ALLOWED"),
        (REALTIME, '{"a": "' + "x" * 262_144 + '"}', "TOO_LARGE"),
    ],
)
async def test_a_message_that_is_refused(
    caller: SealedCaller, websocket: WebSocketProvider, url: str, message: str, code: str
) -> None:
    tunnel = await opened(caller, url)
    hello = HELLO if url == REALTIME else '{"type": "response.create", "store": false}'
    await tunnel.say(hello)
    assert await tunnel.heard() == hello.encode()
    await tunnel.say(message)
    got = await tunnel.answer()
    assert (got.code, got.execution) == (code, "STARTED")
    await tunnel.end()
    assert await tunnel.part() is None
    assert websocket.closes == [1009 if code == "TOO_LARGE" else 1008]


async def test_a_binary_message_cannot_be_judged(caller: SealedCaller) -> None:
    tunnel = await opened(caller)
    await tunnel.send(Frame(opcode=BINARY, data=b"{}", fin=True))
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("NOT_ALLOWED", "STARTED")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (RESPONSES, '{"type": "response.create", "store": false, "input": "x"}'),
        (REALTIME, '{"type": "response.cancel"}'),
        (REALTIME, '{"type": "response.create", "response": {"conversation": "none"}}'),
        (REALTIME, '{"type": "session.update", "session": {"tracing": null}}'),
    ],
)
async def test_a_message_that_passes(caller: SealedCaller, url: str, message: str) -> None:
    tunnel = await opened(caller, url)
    await tunnel.say(message)
    assert await tunnel.heard() == message.encode()


async def test_nothing_of_a_message_goes_on_before_it_is_judged(
    caller: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await opened(caller)
    await tunnel.send(Frame(opcode=TEXT, data=b'{"store": '))
    await tunnel.send(Frame(opcode=CONTINUATION, data=b"true}", fin=True))
    assert (await tunnel.answer()).code == "STORED_OBJECT"
    await tunnel.end()
    assert await tunnel.part() is None
    assert websocket.messages == []


async def test_a_held_message_has_its_time(caller: SealedCaller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blindrelay.provider_bridge.request_body.GRACE_SECONDS", 0.1)
    tunnel = await opened(caller)
    await tunnel.send(Frame(opcode=TEXT, data=b"{"))
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("DEADLINE", "STARTED")


@pytest.mark.parametrize(
    ("url", "fields", "code", "reason"),
    [
        ("https://api.openai.com/v1/chat/completions", {}, "NOT_ALLOWED", "a WebSocket at"),
        ("https://api.openai.com/v1/live", {}, "NOT_ALLOWED", "your own credential"),
        (REALTIME + "&key=x", {}, "NOT_ALLOWED", "query parameter"),
        (REALTIME, {"headers": {b"sec-websocket-protocol": b"realtime, sk-1"}}, "NOT_ALLOWED", "subprotocol"),
        (REALTIME, {"headers": {b"sec-websocket-key": b"x"}}, "NOT_ALLOWED", "sec-websocket-key"),
    ],
)
async def test_a_tunnel_that_is_refused(
    caller: SealedCaller,
    websocket: WebSocketProvider,
    url: str,
    fields: dict[str, object],
    code: str,
    reason: str,
) -> None:
    tunnel = await SealedTunnel.opened(caller, url, **fields)
    got = await tunnel.answer()
    assert (got.code, got.execution) == (code, "NOT_STARTED")
    assert reason in got.message
    assert websocket.paths == []


async def test_a_frame_that_was_altered_ends_the_tunnel(
    caller: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await opened(caller)
    (record,) = tunnel.request.exchange.request.frame(Frame(opcode=TEXT, data=HELLO.encode(), fin=True))
    altered = record[:-1] + bytes([record[-1] ^ 1])
    await tunnel.call.write(ExchangeRequest(sealed=altered).SerializeToString())
    got = await tunnel.answer()
    assert (got.code, got.execution) == ("MALFORMED", "STARTED")
    assert websocket.messages == []


async def test_a_bridge_that_drains_says_so(
    config: BridgeConfig, identity: IdentityKey, websocket: WebSocketProvider
) -> None:
    config = replace(config, providers=(provider_at(websocket.origin),), drain=0)
    bridge = Bridge(config, identity)
    async with bridge.running() as address, SealedCaller(str(address), identity.public_key) as caller:
        tunnel = await opened(caller)
        await bridge.begin_to_drain()
        got = await tunnel.answer()
        assert (got.code, got.execution) == ("DRAINING", "STARTED")
