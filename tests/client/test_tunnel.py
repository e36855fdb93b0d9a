"""The client's side of a tunnel, with a scripted bridge."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ConnectionConfig, ProtocolError, RequestError, SealedTransport, TimedOutError
from blindrelay.client.request_head import tunnel_head
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.sealing import TEXT, TUNNEL_STATUS, close_frame
from blindrelay.v1.inner_pb2 import ExchangeKind, Frame, ResponseHead
from tests.patience import PATIENCE

from .conftest import BROUGHT, INJECTED, LIBRARIES
from .scripted_bridge import TAIL, ScriptedBridge, answering, responding

REALTIME = "wss://api.openai.com/v1/realtime?model=m&key=secret"
CLOSING = {"frame": close_frame(1000)}
ACCEPTED = {"head": ResponseHead(status=TUNNEL_STATUS)}


@pytest.fixture(autouse=True)
def accepting(bridge: ScriptedBridge) -> None:
    """The bridge accepts a tunnel, greets in it, and closes it."""
    hello = {"frame": Frame(opcode=TEXT, fin=True, data=b"hello")}
    bridge.answer = answering(ACCEPTED, hello, CLOSING, tail=TAIL)


@LIBRARIES
async def test_tunnel_of_either_library(
    bridge: ScriptedBridge, sealed: SealedTransport, library: Any
) -> None:
    """A base URL under .invalid leads to the provider's own address."""
    tunnel = await sealed.open_tunnel(library.Request("GET", REALTIME))
    assert isinstance(tunnel, SealedTunnel)
    assert [frame.data[:5] async for frame in _frames(tunnel)] == [b"hello", b"\x03\xe8"]
    address = sealed.base_url("wss://api.openai.com/v1")
    other = await sealed.open_tunnel(library.Request("GET", f"{address}/realtime?model=m"))
    await other.aclose()
    for received in bridge.received:
        assert received.head.kind == ExchangeKind.EXCHANGE_KIND_TUNNEL
        assert received.head.url == "https://api.openai.com/v1/realtime?model=m"
    assert len(bridge.received) == 2


async def _frames(tunnel: SealedTunnel) -> Any:
    while (frame := await tunnel.receive()) is not None:
        yield frame


async def test_response_instead_of_a_tunnel(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.answer = responding(404, b"not here")
    response = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    assert isinstance(response, httpx.Response)
    assert (response.status_code, await response.aread()) == (404, b"not here")


async def test_tunnel_opens_again_after_a_restart(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async with sealed.async_httpx_client():
        assert isinstance(await sealed.open_tunnel(httpx.Request("GET", REALTIME)), SealedTunnel)
        bridge.restart_keys()
        assert isinstance(await sealed.open_tunnel(httpx.Request("GET", REALTIME)), SealedTunnel)
    assert bridge.calls == 3


async def test_unrequested_tunnel_is_an_error(sealed: SealedTransport) -> None:
    with pytest.raises(httpx.RemoteProtocolError) as failed:
        await sealed.handle_async_request(httpx.Request("GET", "https://api.openai.com/v1/models"))
    assert isinstance(failed.value, ProtocolError)


async def test_frame_that_may_not_follow_is_refused(sealed: SealedTransport) -> None:
    tunnel = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    with pytest.raises(RequestError, match="continues no message"):
        await tunnel.send(Frame(opcode=0, fin=True))
    await tunnel.aclose()


async def test_unsent_end_of_a_tunnel_logs_nothing(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
    opened, reached = threading.Event(), asyncio.Event()

    async def end_in_vain() -> None:
        reached.set()
        raise TimedOutError("write", 1)

    bridge.answer = answering(ACCEPTED, opened, CLOSING, tail=TAIL)
    tunnel = await sealed.open_tunnel(httpx.Request("GET", REALTIME))
    tunnel.stream.at_response_end = end_in_vain
    opened.set()
    assert [frame.data async for frame in _frames(tunnel)] == [b"\x03\xe8"]
    await asyncio.wait_for(reached.wait(), PATIENCE)
    await asyncio.sleep(0.05)
    gc.collect()
    assert problems == []


async def test_too_long_head_is_refused(sealed: SealedTransport) -> None:
    response = await sealed.open_tunnel(httpx.Request("GET", REALTIME, headers={"openai-beta": "x" * 40_000}))
    assert isinstance(response, httpx.Response)
    assert (response.status_code, response.headers["x-blindrelay-error"]) == (400, "client/request")


@pytest.mark.parametrize(
    ("connection", "sealed"),
    [(INJECTED, b"realtime"), (BROUGHT, b"realtime, openai-insecure-api-key.sk-own")],
)
def test_subprotocols_with_keys_in_them(connection: ConnectionConfig, sealed: bytes) -> None:
    offered = "realtime,  openai-insecure-api-key.sk-own"
    request = httpx2.Request("GET", REALTIME, headers={"Sec-WebSocket-Protocol": offered})
    (header,) = tunnel_head(request, connection).headers
    assert (header.name, header.value) == (b"sec-websocket-protocol", sealed)
