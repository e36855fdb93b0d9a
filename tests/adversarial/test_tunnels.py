"""A hostile relay and a tunnel: what it does to the frames is noticed, and nothing of it is heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from websockets.asyncio.server import ServerConnection

from blindrelay.client import AlteredResponseError, BridgeError, CutResponseError, SealedTransport
from blindrelay.client.tunnel import SealedTunnel
from blindrelay.sealing import TEXT, data_frames
from blindrelay.testbed import Testbed
from blindrelay.testbed.attacks import alterations as alter
from blindrelay.testbed.attacks.relay import Hook, HostileRelay
from blindrelay.testbed.configuration import official_providers

from ..provider_bridge.websocket_provider import WebSocketProvider

WORDS = ["one", "two", "three"]


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[WebSocketProvider]:
    counting = WebSocketProvider()

    async def count(connection: ServerConnection) -> None:
        for word in WORDS:
            await connection.send(word)
        async for message in connection:
            counting.messages.append(message)
            await connection.send(message)
            if json.loads(message)["event_id"] == "last":
                await connection.close(1000)

    counting.handler = count
    async with counting.serving():
        yield counting


@pytest.fixture(scope="module")
async def bed(provider: WebSocketProvider) -> AsyncIterator[Testbed]:
    bed = Testbed("scripted", providers=official_providers(provider.origin))
    await asyncio.to_thread(bed.up)
    yield bed
    await asyncio.to_thread(bed.down)


async def conversation(bed: Testbed, hook: Hook, heard: list[str]) -> None:
    """Hears the provider's words, says two of its own, and hears the close."""
    relay = HostileRelay([bed.parts["bridge"].listening], hook)
    async with relay.running() as address, SealedTransport(bed.connection(str(address))) as transport:
        request = httpx.Request("GET", "https://api.openai.com/v1/realtime?model=m")
        tunnel = await transport.open_tunnel(request)
        assert isinstance(tunnel, SealedTunnel)
        for event_id in ("first", "last"):
            said = {"type": "input_audio_buffer.clear", "event_id": event_id}
            await tunnel.send(data_frames(TEXT, json.dumps(said).encode())[0])
        while (frame := await tunnel.receive()) is not None:
            heard.append(frame.data.decode("latin-1"))
        await tunnel.aclose()


async def test_an_honest_relay(bed: Testbed) -> None:
    heard: list[str] = []
    await conversation(bed, Hook(), heard)
    assert heard[:3] == WORDS
    assert len(heard) == 6, "three words, two echoes and the close"


@pytest.mark.parametrize(
    ("alteration", "error", "most"),
    [
        (alter.flip(2, -1), AlteredResponseError, 1),
        (alter.repeat(2), AlteredResponseError, 2),
        (alter.swap(2), AlteredResponseError, 1),
        (alter.cut_after(3), CutResponseError, 2),
        (alter.all_but_the_last, CutResponseError, 6),
    ],
    ids=["flipped", "repeated", "in another order", "cut", "without its tail"],
)
async def test_altered_response_is_an_error(
    bed: Testbed, alteration: alter.Alteration, error: type[Exception], most: int
) -> None:
    heard: list[str] = []
    with pytest.raises(error):
        await conversation(bed, Hook(down=alteration), heard)
    assert heard[:3] == WORDS[: len(heard[:3])]
    assert len(heard) <= most


@pytest.mark.parametrize(
    "alteration", [alter.flip(1, -1), alter.drop(1), alter.swap(1)], ids=["flipped", "dropped", "swapped"]
)
async def test_altered_request_is_refused(
    bed: Testbed, provider: WebSocketProvider, alteration: alter.Alteration
) -> None:
    provider.messages.clear()
    with pytest.raises(BridgeError) as failed:
        await conversation(bed, Hook(up=alteration), [])
    assert failed.value.kind == "malformed"
    assert [json.loads(said)["event_id"] for said in provider.messages] in ([], ["first"])
