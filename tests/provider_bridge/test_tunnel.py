"""Tunnels: a WebSocket server of another make behind the bridge, a client made of the core before it."""

from __future__ import annotations

import json
from typing import Any

import grpc
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.utils import accept_key

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.frame_filter import MessageFilter
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import SMALL_REQUEST, RequestBudget
from blindrelay.provider_bridge.upstream import provider_tunnel as tunnels
from blindrelay.sealing import BINARY, CONTINUATION, TEXT, close_frame, data_frames
from blindrelay.v1.inner_pb2 import DEADLINE_CLASS_HOUR, ERROR_CODE_OVERLOADED, Frame

from .replica import skip
from .scripted_provider import Connection, Script, ScriptedProvider, raw
from .sealed_caller import SealedCaller
from .sealed_tunnel import BROUGHT, HELLO, REALTIME, SealedTunnel, opened
from .websocket_provider import WebSocketProvider

RESPONSES = "https://api.openai.com/v1/responses"


async def test_messages_pass_both_ways_until_the_client_closes(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    fields = {b"sec-websocket-protocol": b"realtime", b"openai-beta": b"realtime=v1"}
    tunnel = await SealedTunnel.opened(tunnels_to, headers=fields)
    head = await tunnel.response()
    assert (head.status, head.headers.get("sec-websocket-protocol")) == (101, "realtime")
    (headers,) = websocket.headers
    assert {name.lower() for name in headers} == {
        *("host", "accept-encoding", "user-agent", "authorization", "openai-beta", "connection", "upgrade"),
        *("sec-websocket-key", "sec-websocket-version", "sec-websocket-protocol"),
    }
    assert (headers["authorization"], headers["user-agent"]) == ("Bearer sk-bridge", "blindrelay")
    for text in (HELLO, json.dumps({"type": "input_audio_buffer.append", "audio": "é" * 30_000})):
        await tunnel.say(text)
        assert await tunnel.heard() == text.encode()
    await tunnel.send(close_frame(1000, "done"))
    await tunnel.end()
    assert await tunnel.closed() == (1000, "done")
    assert await tunnel.part() is None
    assert await tunnel.call.code() is grpc.StatusCode.OK
    assert websocket.paths == ["/v1/realtime?model=gpt-realtime"]


async def test_lost_provider_is_a_failure(tunnels_to: SealedCaller, websocket: WebSocketProvider) -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.send("half of ")
        connection.transport.abort()

    websocket.handler = vanish
    tunnel = await opened(tunnels_to)
    assert await tunnel.heard() == b"half of "
    assert (await tunnel.response()).failure == ("PROVIDER_FAILED", "STARTED")
    await tunnel.over()


@pytest.mark.parametrize("fields", [{}, BROUGHT], ids=["injected", "brought"])
async def test_events_about_a_shared_accounts_limits_are_withheld(
    tunnels_to: SealedCaller, websocket: WebSocketProvider, fields: dict[str, Any]
) -> None:
    limits = json.dumps({"type": "rate_limits.updated", "rate_limits": [{"name": "tokens", "remaining": 7}]})
    content = [json.dumps({"type": "response.text.delta", "delta": '"rate_limits.updated"'}), "rate_limits"]

    async def speak(connection: ServerConnection) -> None:
        for message in (limits, *content):
            await connection.send(message)
        await connection.wait_closed()

    websocket.handler = speak
    tunnel = await opened(tunnels_to, **fields)
    for expected in [*([limits] if fields else []), *content]:
        assert await tunnel.heard() == expected.encode()


async def test_provider_learns_that_the_client_left(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    """It ends without a close, which is 1001, or it is cancelled."""
    tunnel = await opened(tunnels_to)
    await tunnel.end()
    assert await tunnel.closed() == (1001, "")
    assert await websocket.ended(1) == [1001]
    (await opened(tunnels_to)).call.cancel()
    await websocket.ended(2)


def accepting(*lines: bytes, key: bytes | None = None, then: Script = Connection.gone) -> Script:
    """Sends a handshake with these header lines besides the usual ones; `key` replaces the client's."""

    async def script(connection: Connection) -> None:
        accepted = accept_key((key or connection.request.named[b"sec-websocket-key"]).decode()).encode()
        usual = [b"upgrade: websocket", b"connection: Upgrade", b"sec-websocket-accept: " + accepted]
        head = [b"HTTP/1.1 101 Switching Protocols", *usual, *lines, b"", b""]
        await connection.send(b"\r\n".join(head))
        await then(connection)

    return script


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (accepting(key=b"another"), "key"),
        (accepting(b"sec-websocket-extensions: permessage-deflate"), "extension"),
        (accepting(b"sec-websocket-protocol: other"), "subprotocol"),
        (accepting(*[b"sec-websocket-protocol: realtime"] * 2), "subprotocol"),
        (accepting(b"x-request-id: a\x01b"), "control byte"),
        (raw(b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"), "WebSocket"),
    ],
)
async def test_wrong_handshake_is_refused(
    bridge: SealedCaller, provider: ScriptedProvider, script: Script, reason: str
) -> None:
    provider.script = script
    tunnel = await SealedTunnel.opened(bridge, headers={b"sec-websocket-protocol": b"realtime"})
    got = await tunnel.response()
    assert got.failure == ("PROVIDER_FAILED", "STARTED")
    assert reason in got.message
    assert provider.received[0].request_line == b"GET /v1/realtime?model=gpt-realtime HTTP/1.1"


INVALID = {
    "masked": b"\x81\x81\x00\x00\x00\x00x",
    "continues nothing": b"\x80\x01x",
    "an extension's bit": b"\xc1\x01x",
    "an unknown opcode": b"\x83\x01x",
    "a close code that nobody may send": b"\x88\x02\x03\xed",
}


@pytest.mark.parametrize("frame", INVALID.values(), ids=INVALID)
async def test_invalid_frame_ends_the_tunnel(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, frame: bytes
) -> None:
    monkeypatch.setattr(tunnels, "FAREWELL_SECONDS", 0.05)

    async def speak(connection: Connection) -> None:
        await connection.send(b"\x81\x02ok" + frame)
        await connection.gone()

    provider.script = accepting(then=speak)
    tunnel = await opened(bridge)
    assert await tunnel.heard() == b"ok"
    assert (await tunnel.response()).failure == ("PROVIDER_FAILED", "STARTED")


async def test_too_large_message_from_the_provider_closes_with_1009(
    tunnels_to: SealedCaller, websocket: WebSocketProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "MAX_MESSAGE", 100_000)
    tunnel = await opened(tunnels_to, **BROUGHT)
    await tunnel.say("x" * 100_001)
    got = await tunnel.response()
    assert got.failure == ("TOO_LARGE", "STARTED")
    assert "100000 bytes" in got.message
    assert await websocket.ended(1) == [1009]


async def test_bridge_answers_pings_and_gives_up_a_silent_provider(
    bridge: SealedCaller, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "PING_SECONDS", 0.2)
    seen = bytearray()

    async def listen(connection: Connection) -> None:
        await connection.send(b"\x89\x02hi")
        while data := await connection.reader.read(100):
            seen.extend(data)

    provider.script = accepting(then=listen)
    tunnel = await opened(bridge)
    assert (await tunnel.response()).failure == ("PROVIDER_FAILED", "STARTED")
    assert seen[:2] == b"\x8a\x82", "a pong as long as the ping"
    assert 0x89 in seen[8:], "a ping from the bridge"


async def test_draining_bridge_ends_its_tunnels(
    tunnels_to: SealedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    tunnel = await opened(tunnels_to, deadline_class=DEADLINE_CLASS_HOUR)
    await tunnels_to.written()
    await tunnels_to.served.begin_to_drain()
    skip(60, monkeypatch)
    assert (await tunnel.response()).failure == ("DRAINING", "STARTED")


CREATE = '{"type": "response.create", "store": false}'
STORED = b'{"type": "session.update", "session": {"prompt": {"id": "p"}}}'
FRAGMENTS = data_frames(TEXT, STORED[:30], fin=False) + data_frames(CONTINUATION, STORED[30:])


@pytest.mark.parametrize(
    ("url", "frames", "code"),
    [
        (RESPONSES, data_frames(TEXT, CREATE.replace("false", "true").encode()), "STORED_OBJECT"),
        (REALTIME, data_frames(TEXT, STORED), "STORED_OBJECT"),
        (REALTIME, FRAGMENTS, "STORED_OBJECT"),
        (REALTIME, data_frames(TEXT, b"not JSON"), "NOT_ALLOWED"),
        (REALTIME, data_frames(BINARY, b"{}"), "NOT_ALLOWED"),
        (REALTIME, data_frames(TEXT, b'{"a": "' + b"x" * 262_144 + b'"}'), "TOO_LARGE"),
    ],
)
async def test_message_is_refused(
    tunnels_to: SealedCaller, websocket: WebSocketProvider, url: str, frames: list[Frame], code: str
) -> None:
    """With the bridge's credential, each message is held until it is whole and has been judged."""
    tunnel = await opened(tunnels_to, url)
    hello = HELLO if url == REALTIME else CREATE
    await tunnel.say(hello)
    assert await tunnel.heard() == hello.encode()
    for frame in frames:
        await tunnel.send(frame)
    assert (await tunnel.response()).failure == (code, "STARTED")
    await tunnel.over()
    assert websocket.messages == [hello]
    assert await websocket.ended(1) == [1009 if code == "TOO_LARGE" else 1008]


async def test_message_that_does_not_end_is_late(
    tunnels_to: SealedCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.provider_bridge.request_body.GRACE_SECONDS", 0.1)
    tunnel = await opened(tunnels_to)
    await tunnel.send(Frame(opcode=TEXT, data=b"{"))
    got = await tunnel.response()
    assert got.failure == ("DEADLINE", "STARTED")
    assert "message" in got.message, "the exchange itself still has time"


@pytest.mark.parametrize(
    ("url", "fields", "reason"),
    [
        ("https://api.openai.com/v1/chat/completions", {}, "a WebSocket at"),
        ("https://api.openai.com/v1/live", {}, "your own credential"),
        (REALTIME, {"headers": {b"sec-websocket-protocol": b"realtime, sk-1"}}, "subprotocol"),
        (REALTIME, {"headers": {b"sec-websocket-protocol": b"real/time"}}, "token"),
        (REALTIME, {"headers": {b"sec-websocket-key": b"x"}}, "sec-websocket-key"),
    ],
)
async def test_tunnel_is_refused(
    tunnels_to: SealedCaller, websocket: WebSocketProvider, url: str, fields: dict[str, Any], reason: str
) -> None:
    got = await (await SealedTunnel.opened(tunnels_to, url, **fields)).response()
    assert got.failure == ("NOT_ALLOWED", "NOT_STARTED")
    assert reason in got.message
    assert websocket.paths == []


async def test_message_keeps_its_room_until_the_provider_has_it() -> None:
    async def allow(_: bytearray) -> None:
        """Judges nothing."""

    budget = RequestBudget(Quota(100))
    with budget.share(b"peer") as share, budget.share(b"peer") as other:
        gate = MessageFilter(allow, share, 2 * SMALL_REQUEST)
        for _ in range(3):
            assert await gate.passed(Frame(opcode=TEXT, data=bytes(SMALL_REQUEST))) == []
            gate.sent()
            assert await gate.passed(Frame(opcode=CONTINUATION, data=bytes(100), fin=True))
            assert budget.held == 100
            with pytest.raises(RequestError) as refused:
                other.add(SMALL_REQUEST + 1)
            assert refused.value.code == ERROR_CODE_OVERLOADED
            gate.sent()
            assert budget.held == 0
