"""Connections that are slow, or lost unnoticed: after sleep, a change of network, or a move of the relay."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import httpx2
import pytest

from blindrelay.client import SealedTransport, channel
from blindrelay.testbed import Testbed
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from tests.cable import Cable, cable_to

URL: Final = "https://api.openai.com/v1/chat/completions"
QUESTION: Final[dict[str, Any]] = {"model": "m", "messages": []}
NOTICED_SECONDS: Final = 60
"""Three times as long as it takes. With pings every minute it would take 80."""


def port_of_relay(bed: Testbed) -> int:
    return int(bed.parts["relay"].listening.rpartition(":")[2])


@pytest.fixture
async def cable(scripted_bed: Testbed) -> AsyncIterator[Cable]:
    async with cable_to(port_of_relay(scripted_bed)) as cable:
        yield cable


@pytest.fixture
async def client(scripted_bed: Testbed, cable: Cable) -> AsyncIterator[httpx2.AsyncClient]:
    connection = scripted_bed.connection(f"127.0.0.1:{cable.port}")
    async with (
        SealedTransport(connection) as sealed,
        sealed.async_httpx2_client(timeout=NOTICED_SECONDS) as client,
    ):
        yield client


async def ask(client: httpx2.AsyncClient) -> None:
    async with asyncio.timeout(NOTICED_SECONDS):
        assert (await client.post(URL, json=QUESTION)).status_code == 200


async def test_quiet_connection_is_replaced(
    client: httpx2.AsyncClient, cable: Cable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call after a long sleep does not wait for a connection that is gone."""
    others = channels()
    await ask(client)
    async with asyncio.timeout(NOTICED_SECONDS):
        while any(each._running for each in channels() - others):  # noqa: ASYNC110 - its status comes last
            await asyncio.sleep(0.01)
    cable.mute()
    monkeypatch.setattr(channel, "QUIET_SECONDS", 0.0)
    await ask(client)
    assert cable.connections == 2


def channels() -> set[channel.RelayChannel]:
    """The channels of all clients in this process."""
    return {each for each in gc.get_objects() if isinstance(each, channel.RelayChannel)}


async def test_connection_is_replaced_after_sleep(
    client: httpx2.AsyncClient, cable: Cable, scripted_bed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a call runs, which ends when its pings are not answered."""
    held = QUESTION | {"stream": True, "scripted": {"hold": "never"}}
    async with client.stream("POST", URL, json=held) as response:
        assert response.status_code == 200
        cable.mute()
        monkeypatch.setattr(channel, "clocks_apart", lambda: 0.0)
        await ask(client)
        monkeypatch.undo()
        with pytest.raises(httpx2.RemoteProtocolError, match="cut before its end"):
            async with asyncio.timeout(NOTICED_SECONDS):
                await response.aread()


async def test_slow_upload_arrives(scripted_bed: Testbed) -> None:
    """It has more than one record, and the first takes sixteen seconds."""
    async with (
        cable_to(port_of_relay(scripted_bed), bytes_per_second=4_096) as slow,
        SealedTransport(scripted_bed.connection(f"127.0.0.1:{slow.port}")) as sealed,
        sealed.async_httpx2_client(timeout=None) as client,
    ):
        answer = await client.post(URL, json=QUESTION | {"user": "x" * 72_000})
    assert answer.status_code == 200


class Names(asyncio.DatagramProtocol):
    """A name server with one IPv4 address for every name (RFC 1035)."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.given: list[tuple[str, float]] = []
        """The addresses that were given, and when, on the event loop's clock."""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, query: bytes, sender: Any) -> None:
        end = query.index(b"\0", 12) + 1
        question, kind = query[12 : end + 4], struct.unpack(">H", query[end : end + 2])[0]
        is_address = kind == 1
        if is_address:
            self.given.append((self.address, asyncio.get_running_loop().time()))
        record = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(self.address)
        header = query[:2] + struct.pack(">HHHHH", 0x8180, 1, int(is_address), 0, 0)
        self._transport.sendto(header + question + (record if is_address else b""), sender)


@asynccontextmanager
async def serving(address: str) -> AsyncIterator[int]:
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))

    async def name(_: bytes, context: Any) -> bytes:
        return address.encode()

    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"Name": grpc.unary_unary_rpc_method_handler(name)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Place", methods),))
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


async def test_moved_relay_is_looked_up_again() -> None:
    """By default, gRPC asks again after half a minute or more, on any machine."""
    names = Names("127.0.0.1")
    opened: Callable[[], Names] = lambda: names  # noqa: E731
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(opened, ("127.0.0.1", 0))
    server = f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    async with serving("127.0.0.1:0") as port:
        lookup = grpc.aio.insecure_channel(f"dns://{server}/relay.test:{port}", options=CHANNEL_OPTIONS)
        ask: Any = lookup.unary_unary("/a.Place/Name")
        assert await ask(b"", wait_for_ready=True, timeout=NOTICED_SECONDS) == b"127.0.0.1:0"
        names.address = "127.0.0.2"
    async with asyncio.timeout(NOTICED_SECONDS):  # until the end of the first server is noticed
        while lookup.get_state() is grpc.ChannelConnectivity.READY:
            await lookup.wait_for_state_change(grpc.ChannelConnectivity.READY)
    async with serving(f"127.0.0.2:{port}"):
        assert await ask(b"", wait_for_ready=True, timeout=NOTICED_SECONDS) == f"127.0.0.2:{port}".encode()
    await lookup.close()
    transport.close()
    before = max(when for address, when in names.given if address == "127.0.0.1")
    assert min(when for address, when in names.given if address == "127.0.0.2") - before < 29
