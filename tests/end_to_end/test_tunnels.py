"""WebSockets through everything: endpoint, relay and bridge, between a program and a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from blindrelay.client import (
    AlteredResponseError,
    BlindRelayError,
    BridgeError,
    CutResponseError,
    SealedTransport,
)
from blindrelay.sealing import TEXT, data_frames
from blindrelay.testbed import Testbed
from blindrelay.testbed.attacks import alterations as alter
from blindrelay.testbed.attacks.relay import Hook, HostileRelay
from blindrelay.testbed.configuration import official_providers
from tests.patience import PATIENCE, until

from ..client.endpoint.conftest import Endpoint, running
from ..provider_bridge.websocket_provider import WebSocketProvider
from .conftest import websocket

SECRET = "a canary that nobody on the way may read"
HELLO = json.dumps({"type": "session.update", "session": {"instructions": SECRET}})


@pytest.fixture(scope="module")
async def shared_provider() -> AsyncIterator[WebSocketProvider]:
    async with WebSocketProvider().serving() as provider:
        yield provider


@pytest.fixture
async def provider(shared_provider: WebSocketProvider) -> WebSocketProvider:
    shared_provider.forget()
    return shared_provider


@pytest.fixture(scope="module")
async def bed(shared_provider: WebSocketProvider) -> AsyncIterator[Testbed]:
    bed = Testbed("scripted", tap=100_000, providers=official_providers(shared_provider.origin))
    await asyncio.to_thread(bed.up)
    yield bed
    await asyncio.to_thread(bed.down)


@pytest.fixture(scope="module")
def endpoint(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    with running(bed.relay, tmp_path_factory.mktemp("tunnels")) as endpoint:
        yield endpoint


def dialled(endpoint: Endpoint, path: str = "/v1/realtime?model=m", **options: Any) -> connect:
    headers = options.pop("headers", {"authorization": f"Bearer {endpoint.token}"})
    address = endpoint.url.replace("http:", "ws:") + path
    return websocket(address, additional_headers=headers, **options)


async def closed(connection: ClientConnection) -> tuple[int | None, str]:
    """The code of the close, and the cause at the beginning of its reason."""
    await connection.wait_closed()
    return connection.close_code, (connection.close_reason or "").partition(":")[0]


async def refusal(dialling: connect) -> Any:
    """The response to a handshake that opens no WebSocket."""
    with pytest.raises(InvalidStatus) as refused:
        await dialling
    return refused.value.response


async def test_messages_of_any_size_and_close_codes_pass(
    endpoint: Endpoint, provider: WebSocketProvider
) -> None:
    async with dialled(endpoint) as connection:
        for size in (0, 1, 125, 65_535, 65_536, 65_537, 1_000_000):
            message = json.dumps({"type": "input_audio_buffer.append", "audio": "y" * size})
            await connection.send(message)
            assert await connection.recv() == message
        await (await connection.ping())
    for code, reason in ((1001, ""), (4321, "no more")):
        async with dialled(endpoint) as connection:
            await connection.close(code, reason)
    assert set(await provider.ended(3)) == {1000, 1001, 4321}


async def test_binary_messages_with_ones_own_credential(
    bed: Testbed, provider: WebSocketProvider, tmp_path: Path
) -> None:
    with running(bed.relay + "&credentials=brought", tmp_path) as own:
        headers = {"x-blindrelay-token": own.token, "authorization": "Bearer sk-own"}
        async with dialled(own, "/openai/v1/live", headers=headers) as connection:
            for message in (b"", b"\x00\xff" * 500_000, "é" * 40_000):
                await connection.send(message)
                assert await connection.recv() == message
    assert provider.headers[0]["authorization"] == "Bearer sk-own"
    assert "x-blindrelay-token" not in provider.headers[0]


@pytest.mark.parametrize(("shape", "cell"), [("balanced", 512), ("strict", 1_536)])
async def test_relay_sees_cells_of_one_size_whoever_speaks(
    bed: Testbed, provider: WebSocketProvider, tmp_path: Path, shape: str, cell: int
) -> None:
    before = {each.exchange for each in bed.forwarded}

    def cells(direction: str) -> list[int]:
        """Sizes of the messages of this tunnel after the first."""
        seen = [each for each in bed.forwarded if each.exchange not in before and each.size]
        return [each.size for each in seen if each.direction == direction][1:]

    async def silence() -> None:
        """Nobody speaks while two cells pass in each direction."""
        passed = {direction: len(cells(direction)) for direction in ("up", "down")}
        await until(lambda: all(len(cells(each)) >= 2 + count for each, count in passed.items()))

    with running(f"{bed.relay}&shape={shape}", tmp_path) as endpoint:
        async with dialled(endpoint) as connection:
            for _ in range(3):
                await connection.send(HELLO)
                assert await connection.recv() == HELLO
                await silence()
    for direction in ("up", "down"):
        assert set(cells(direction)) == {cell + 3}


async def test_relay_sees_nothing(bed: Testbed, provider: WebSocketProvider, tmp_path: Path) -> None:
    """What passed is shown by the endpoint, if it was asked to."""
    with running(bed.relay, tmp_path, "--show-content") as endpoint:
        async with dialled(endpoint) as connection:
            await connection.send(HELLO)
            assert await connection.recv() == HELLO
        with endpoint.client(timeout=PATIENCE) as client:
            shown = client.get("/content").text
    assert "GET https://api.openai.com/v1/realtime → 101" in shown
    assert shown.count(SECRET) == 2
    assert provider.messages == [HELLO], "the provider does"
    forwarded = b"".join(bytes.fromhex(each.first) for each in bed.forwarded)
    assert len(forwarded) > len(HELLO)
    for word in (SECRET, "session.update", "/v1/realtime", endpoint.token):
        assert word.encode() not in forwarded


async def test_vanished_program_ends_the_tunnel(endpoint: Endpoint, provider: WebSocketProvider) -> None:
    gone = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await connection.send("hello")
        await connection.wait_closed()
        gone.set()

    provider.handler = wait
    async with dialled(endpoint) as connection:
        assert await connection.recv() == "hello"
        connection.transport.abort()
    await gone.wait()


async def leave(connection: ServerConnection) -> None:
    await connection.send("half of ")
    await connection.close(1000, "said all")


async def vanish(connection: ServerConnection) -> None:
    await connection.send("half of ")
    connection.transport.abort()


@pytest.mark.parametrize(
    ("handler", "expected"), [(leave, (1000, "said all")), (vanish, (1011, "bridge/provider_failed"))]
)
async def test_end_of_the_provider_arrives(
    endpoint: Endpoint,
    provider: WebSocketProvider,
    handler: Callable[[ServerConnection], Awaitable[None]],
    expected: tuple[int, str],
) -> None:
    provider.handler = handler
    async with dialled(endpoint) as connection:
        assert await connection.recv() == "half of "
        with pytest.raises(ConnectionClosed):
            await connection.recv()
        assert await closed(connection) == expected


async def test_message_that_stores_something_is_refused(
    endpoint: Endpoint, provider: WebSocketProvider
) -> None:
    async with dialled(endpoint) as connection:
        await connection.send(json.dumps({"session": {"prompt": {"id": "p"}}}))
        assert await closed(connection) == (1008, "bridge/stored_object")
    assert provider.messages == []


@pytest.mark.parametrize(
    ("path", "headers", "answer"),
    [
        ("/v1/realtime", {}, (401, "endpoint/local_token")),
        ("/v1/realtime", {"authorization": "Bearer brl_wrong"}, (401, "endpoint/local_token")),
        ("/v1/realtime", {"origin": "https://evil.example"}, (403, "endpoint/origin")),
        ("/v1/chat/completions", {"authorization": "Bearer {token}"}, (403, "bridge/not_allowed")),
    ],
)
async def test_refused_websocket_is_a_response(
    endpoint: Endpoint,
    provider: WebSocketProvider,
    path: str,
    headers: dict[str, str],
    answer: tuple[int, str],
) -> None:
    shown = {name: value.format(token=endpoint.token) for name, value in headers.items()}
    response = await refusal(dialled(endpoint, path, headers=shown))
    assert (response.status_code, response.headers["x-blindrelay-error"]) == answer
    assert "error" in json.loads(response.body)
    assert provider.paths == []


async def test_missing_relay_refuses_a_websocket(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.connection("127.0.0.1:1"), tmp_path) as endpoint:
        response = await refusal(dialled(endpoint))
    assert (response.status_code, response.headers["x-blindrelay-error"]) == (502, "relay/relay_unreachable")


async def test_ordinary_response_instead_of_a_tunnel_arrives(
    endpoint: Endpoint, provider: WebSocketProvider
) -> None:
    provider.refuse_with = (429, "slow down")
    response = await refusal(dialled(endpoint))
    assert (response.status_code, response.body) == (429, b"slow down")
    assert "x-blindrelay-error" not in response.headers


async def test_token_among_the_subprotocols_is_taken(endpoint: Endpoint, provider: WebSocketProvider) -> None:
    offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{endpoint.token}")]
    async with dialled(endpoint, headers={}, subprotocols=offered) as connection:
        assert connection.subprotocol == "realtime"
    assert provider.headers[0].get_all("sec-websocket-protocol") == ["realtime"]


async def conversation(bed: Testbed, hook: Hook, heard: list[str]) -> None:
    """A client says two words to a provider that echoes them, by a hostile relay."""
    relay = HostileRelay([bed.parts["bridge"].listening], hook)
    async with relay.running() as address, SealedTransport(bed.connection(str(address))) as transport:
        request = httpx.Request("GET", "https://api.openai.com/v1/realtime?model=m")
        tunnel: Any = await transport.open_tunnel(request)
        for word in ("one", "two"):
            said = json.dumps({"type": "input_audio_buffer.clear", "event_id": word}).encode()
            await tunnel.send(data_frames(TEXT, said)[0])
        for _ in range(2):
            heard.append(json.loads((await tunnel.receive()).data)["event_id"])
        await tunnel.aclose()


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ({}, None),
        ({"down": alter.flip(2, -1)}, AlteredResponseError),
        ({"down": alter.repeat(1)}, AlteredResponseError),
        ({"down": alter.swap(1)}, AlteredResponseError),
        ({"down": alter.cut_after(1)}, CutResponseError),
        ({"up": alter.flip(1, -1)}, BridgeError),
        ({"up": alter.drop(1)}, BridgeError),
        ({"up": alter.swap(1)}, BridgeError),
    ],
    ids=["honest", "flip down", "repeat down", "swap down", "cut down", "flip up", "drop up", "swap up"],
)
async def test_hostile_relay_is_noticed_and_nothing_of_its_doing_is_heard(
    bed: Testbed, provider: WebSocketProvider, hook: dict[str, Any], error: type[BlindRelayError] | None
) -> None:
    heard: list[str] = []
    with nullcontext() if error is None else pytest.raises(error) as failed:
        await conversation(bed, Hook(**hook), heard)
    assert heard in ([["one", "two"]] if error is None else [[], ["one"]])
    if "up" in hook:
        assert failed is not None
        assert failed.value.kind == "malformed"
        assert [json.loads(said)["event_id"] for said in provider.messages] in ([], ["one"])
