"""The client's side of a tunnel, with a scripted bridge."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import (
    ConnectionConfig,
    ProtocolError,
    RequestError,
    SealedTransport,
    TimedOutError,
)
from blindrelay.client.request_head import tunnel_head
from blindrelay.client.store_false import stateless_message
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.sealing import TEXT, close_frame
from blindrelay.v1.inner_pb2 import ExchangeKind, Frame, ResponseHead

from .conftest import TAIL, Received, Responder, ScriptedBridge

REALTIME = "wss://api.openai.com/v1/realtime?model=m&key=secret"
PIN = "br1gbcn6ozynvxrzthwwdnbp36kgpq67p5aohi3gpkhfidjg3iqjf3vxfuu"
INJECTED = ConnectionConfig.from_string(f"blindrelay://t@127.0.0.1:1?bridge={PIN}&tls=off")
BROUGHT = ConnectionConfig.from_string(f"blindrelay://t@127.0.0.1:1?bridge={PIN}&tls=off&credentials=brought")


async def accept_and_close(_: Received, respond: Responder) -> None:
    await respond.send(head=ResponseHead(status=101))
    await respond.send(frame=Frame(opcode=TEXT, fin=True, data=b"hello"))
    await respond.send(frame=close_frame(1000))
    await respond.send(tail=TAIL)


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_tunnel_opens_for_either_library(
    bridge: ScriptedBridge, sealed: SealedTransport, library: Any
) -> None:
    bridge.answer = accept_and_close
    tunnel = await sealed.open_tunnel(library.Request("GET", REALTIME))
    assert isinstance(tunnel, SealedTunnel)
    assert [frame.data[:5] async for frame in _frames(tunnel)] == [b"hello", b"\x03\xe8"]
    (received,) = bridge.received
    assert received.head.kind == ExchangeKind.EXCHANGE_KIND_TUNNEL
    assert received.head.url == "https://api.openai.com/v1/realtime?model=m"


async def _frames(tunnel: SealedTunnel) -> Any:
    while (frame := await tunnel.receive()) is not None:
        yield frame


async def test_ordinary_response_instead_of_a_tunnel_is_returned(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async def refuse(_: Received, respond: Responder) -> None:
        await respond.whole(b"not here", 404)

    bridge.answer = refuse
    response = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    assert isinstance(response, httpx.Response)
    assert response.status_code == 404
    assert await response.aread() == b"not here"


async def test_tunnel_is_opened_again_after_a_restart(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.answer = accept_and_close
    async with sealed.async_httpx_client():
        first = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
        bridge.restart_keys()
        second = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    assert isinstance(first, SealedTunnel)
    assert isinstance(second, SealedTunnel)
    assert bridge.calls == 3


async def test_unrequested_tunnel_is_an_error(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.answer = accept_and_close
    with pytest.raises(httpx.RemoteProtocolError) as failed:
        await sealed.handle_async_request(httpx.Request("GET", "https://api.openai.com/v1/models"))
    assert isinstance(failed.value, ProtocolError)


async def test_frame_that_may_not_follow_is_refused(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.answer = accept_and_close
    tunnel = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    with pytest.raises(RequestError, match="continues no message"):
        await tunnel.send(Frame(opcode=0, fin=True))
    await tunnel.aclose()


async def test_tunnel_whose_end_cannot_be_sent_logs_nothing(
    bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    reached = asyncio.Event()

    async def accept_and_close_later(_: Received, respond: Responder) -> None:
        await respond.send(head=ResponseHead(status=101))
        await asyncio.sleep(0.2)
        await respond.send(frame=close_frame(1000))
        await respond.send(tail=TAIL)

    async def end_in_vain() -> None:
        reached.set()
        raise TimedOutError("write", 1)

    bridge.answer = accept_and_close_later
    tunnel = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    tunnel.stream.at_response_end = end_in_vain
    assert [frame.data async for frame in _frames(tunnel)] == [b"\x03\xe8"]
    await asyncio.wait_for(reached.wait(), 5)
    await asyncio.sleep(0.05)
    gc.collect()
    assert problems == []


async def test_too_long_head_is_refused(sealed: SealedTransport) -> None:
    request = httpx.Request("GET", REALTIME, headers={"openai-beta": "x" * 40_000})
    response = await sealed.open_tunnel(request)
    assert isinstance(response, httpx.Response)
    assert response.status_code == 400
    assert response.headers["x-blindrelay-error"] == "client/request"


@pytest.mark.parametrize(
    ("connection", "sealed"),
    [(INJECTED, b"realtime"), (BROUGHT, b"realtime, openai-insecure-api-key.sk-own")],
)
def test_subprotocols_with_keys_in_them(connection: ConnectionConfig, sealed: bytes) -> None:
    offered = "realtime,  openai-insecure-api-key.sk-own"
    request = httpx2.Request("GET", REALTIME, headers={"Sec-WebSocket-Protocol": offered})
    (header,) = tunnel_head(request, connection).headers
    assert (header.name, header.value) == (b"sec-websocket-protocol", sealed)


@pytest.mark.parametrize(
    ("message", "sealed"),
    [
        (
            {"type": "response.create", "input": "x"},
            {"store": False, "type": "response.create", "input": "x"},
        ),
        ({"type": "response.create", "store": True}, {"type": "response.create", "store": True}),
        ({"type": "response.cancel"}, {"type": "response.cancel"}),
        ([1], [1]),
    ],
)
def test_store_is_set_to_false_where_the_api_would_store(message: Any, sealed: Any) -> None:
    request = httpx2.Request("GET", "wss://api.openai.com/v1/responses")
    assert json.loads(stateless_message(json.dumps(message).encode(), request, INJECTED)) == sealed
    assert json.loads(stateless_message(json.dumps(message).encode(), request, BROUGHT)) == message
