"""Shaped tunnels: cells of one size, both ways, whoever speaks (spec/protocol.md, section 9.6)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import grpc
import pytest
from websockets.asyncio.server import ServerConnection

from blindrelay.provider_bridge.policy import shaping
from blindrelay.sealing import BALANCED, TEXT, close_frame, data_frames
from blindrelay.v1.inner_pb2 import SHAPING_PROFILE_BALANCED, RequestEnd, RequestPart, Shaping

from .sealed_caller import SealedCaller
from .sealed_tunnel import HELLO, SealedTunnel, opened
from .websocket_provider import WebSocketProvider

FAST = replace(BALANCED, tick=5)
SHAPED: dict[str, Any] = {"shaping": Shaping(profile=SHAPING_PROFILE_BALANCED)}
OPENING = 1_024 + 32
"""Bytes of the record with the response's head, which is in no cell."""


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cell each five milliseconds: the other rules are the same."""
    monkeypatch.setitem(shaping._SHAPES, SHAPING_PROFILE_BALANCED, FAST)


def frames(text: str) -> list[RequestPart]:
    return [RequestPart(frame=frame) for frame in data_frames(TEXT, text.encode())]


async def test_messages_pass_in_cells_both_ways(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await opened(tunnels_to, **SHAPED)
    cells = tunnel.request.exchange.request.tunnel_in_cells(FAST)
    await tunnel.send_cell(cells)
    await tunnel.send_cell(cells, *frames(HELLO), *frames(HELLO))
    assert [await tunnel.heard() for _ in range(2)] == [HELLO.encode()] * 2
    close, end = RequestPart(frame=close_frame(1000, "done")), RequestPart(end=RequestEnd())
    await tunnel.send_cell(cells, close, end)
    assert await tunnel.closed() == (1000, "done")
    await tunnel.call.done_writing()
    assert await tunnel.part() is None
    assert await tunnel.call.code() is grpc.StatusCode.OK
    assert tunnel.sizes[0] == OPENING
    assert set(tunnel.sizes[1:]) == {512}


async def test_cells_come_while_nobody_speaks(tunnels_to: SealedCaller, websocket: WebSocketProvider) -> None:
    async def speak_at_last(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("{}")
        await connection.wait_closed()

    websocket.handler = speak_at_last
    tunnel = await opened(tunnels_to, **SHAPED)
    cells = tunnel.request.exchange.request.tunnel_in_cells(FAST)
    for _ in range(20):
        message = await tunnel.call.read()
        assert isinstance(message, bytes)
        tunnel.take(message)
    assert set(tunnel.sizes[1:]) == {512}
    await tunnel.send_cell(cells, *frames(HELLO))
    assert await tunnel.heard() == b"{}"


async def test_long_message_comes_whole(tunnels_to: SealedCaller, websocket: WebSocketProvider) -> None:
    text = json.dumps({"type": "input_audio_buffer.append", "audio": "é" * 30_000})

    async def speak(connection: ServerConnection) -> None:
        await connection.send(text)
        await connection.wait_closed()

    websocket.handler = speak
    tunnel = await opened(tunnels_to, **SHAPED)
    assert await tunnel.heard() == text.encode()


async def test_lost_provider_is_an_error_in_a_cell(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    async def vanish(connection: ServerConnection) -> None:
        await connection.send("half of ")
        connection.transport.abort()

    websocket.handler = vanish
    tunnel = await opened(tunnels_to, **SHAPED)
    assert await tunnel.heard() == b"half of "
    assert (await tunnel.response()).failure == ("PROVIDER_FAILED", "STARTED")
    assert set(tunnel.sizes[1:]) == {512}


async def test_refused_message_ends_the_tunnel_in_a_cell(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel = await opened(tunnels_to, **SHAPED)
    cells = tunnel.request.exchange.request.tunnel_in_cells(FAST)
    await tunnel.send_cell(cells, *frames("not JSON"))
    assert (await tunnel.response()).failure == ("NOT_ALLOWED", "STARTED")
    assert set(tunnel.sizes[1:]) == {512}


async def test_provider_learns_that_the_client_left(
    tunnels_to: SealedCaller, websocket: WebSocketProvider
) -> None:
    tunnel: SealedTunnel = await opened(tunnels_to, **SHAPED)
    tunnel.call.cancel()
    assert await websocket.ended(1)
