"""With the bridge's credential, each message of a tunnel is held until it is whole and has been judged."""

from __future__ import annotations

from typing import Any

import pytest

from blindrelay.provider_bridge.errors import RequestError
from blindrelay.provider_bridge.frame_filter import MessageFilter
from blindrelay.provider_bridge.quota import Quota
from blindrelay.provider_bridge.request_budget import SMALL_REQUEST, RequestBudget
from blindrelay.sealing import BINARY, CONTINUATION, TEXT
from blindrelay.v1.inner_pb2 import ERROR_CODE_OVERLOADED, Frame

from .sealed_caller import SealedCaller
from .sealed_tunnel import HELLO, REALTIME, SealedTunnel, opened
from .websocket_provider import WebSocketProvider

RESPONSES = "https://api.openai.com/v1/responses"


@pytest.mark.parametrize(
    ("url", "message", "code"),
    [
        (RESPONSES, '{"type": "response.create", "store": true}', "STORED_OBJECT"),
        (REALTIME, '{"type": "session.update", "session": {"prompt": {"id": "p"}}}', "STORED_OBJECT"),
        (REALTIME, "not JSON", "NOT_ALLOWED"),
        (REALTIME, '{"a": "' + "x" * 262_144 + '"}', "TOO_LARGE"),
    ],
)
async def test_message_is_refused(
    tunnels_to: SealedCaller, websocket: WebSocketProvider, url: str, message: str, code: str
) -> None:
    tunnel = await opened(tunnels_to, url)
    hello = HELLO if url == REALTIME else '{"type": "response.create", "store": false}'
    await tunnel.say(hello)
    assert await tunnel.heard() == hello.encode()
    await tunnel.say(message)
    assert (await tunnel.response()).failure == (code, "STARTED")
    await tunnel.end()
    assert await tunnel.part() is None
    assert websocket.closes == [1009 if code == "TOO_LARGE" else 1008]


async def test_binary_message_is_refused(tunnels_to: SealedCaller) -> None:
    tunnel = await opened(tunnels_to)
    await tunnel.send(Frame(opcode=BINARY, data=b"{}", fin=True))
    assert (await tunnel.response()).failure == ("NOT_ALLOWED", "STARTED")


async def test_fragments_wait_until_the_message_is_judged(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await opened(tunnels_to)
    await tunnel.send(Frame(opcode=TEXT, data=b'{"store": '))
    await tunnel.send(Frame(opcode=CONTINUATION, data=b"true}", fin=True))
    assert (await tunnel.response()).code == "STORED_OBJECT"
    await tunnel.end()
    assert await tunnel.part() is None
    assert websocket.messages == []


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


async def allow(_: bytearray) -> None:
    """Judges nothing."""


async def test_message_keeps_its_room_until_the_provider_has_it() -> None:
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
