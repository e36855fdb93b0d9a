"""The options that gRPC is given do what they say."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from blindrelay.relay_node.replica import REFRESH_SECONDS
from blindrelay.serving import (
    CLIENT_IDLE_SECONDS,
    STREAMS_PER_CLIENT,
    STREAMS_PER_RELAY,
    Address,
    listen,
    server_options,
)
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE

OPTIONS = dict(server_options(STREAMS_PER_CLIENT))


@contextlib.asynccontextmanager
async def channel(*options: tuple[str, int]) -> AsyncIterator[Any]:
    """An echo server with our options, and a unary call to it over a channel with these."""

    async def echo(message: bytes, context: Any) -> bytes:
        return message

    server = grpc.aio.server(options=server_options(STREAMS_PER_CLIENT))
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {"C": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", methods),))
    address = listen(server, Address("127.0.0.1", 0), None)
    await server.start()
    async with grpc.aio.insecure_channel(str(address), options=options) as opened:
        yield opened.unary_unary("/a.B/C")
    await server.stop(0)


async def test_messages_up_to_the_limit_pass() -> None:
    async with channel(*CHANNEL_OPTIONS) as call:
        assert await call(bytes(MAX_MESSAGE_SIZE)) == bytes(MAX_MESSAGE_SIZE)


async def test_messages_beyond_the_limit_are_refused() -> None:
    async with channel() as call:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(bytes(MAX_MESSAGE_SIZE + 1))
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_compressed_messages_are_refused() -> None:
    async with channel() as call:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(bytes(10_000), metadata=(("grpc-internal-encoding-request", "gzip"),))
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_an_envelope_and_a_token_fit_and_a_flood_of_metadata_does_not() -> None:
    async with channel(*CHANNEL_OPTIONS) as call:
        envelope = ("blindrelay-envelope-bin", bytes(range(256)) * 2)
        assert await call(b"x", metadata=(("authorization", "Bearer brt_" + "x" * 43), envelope)) == b"x"
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(b"x", metadata=(("x", "y" * 8_000),))
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_clients_that_say_nothing_are_let_go_sooner_than_relays() -> None:
    options = dict(server_options(STREAMS_PER_CLIENT, CLIENT_IDLE_SECONDS))
    assert options["grpc.max_connection_idle_ms"] == 30_000
    assert OPTIONS["grpc.max_connection_idle_ms"] > REFRESH_SECONDS * 1_000


def test_our_channels_do_not_ping_more_often_than_our_servers_allow() -> None:
    channel_options = dict(CHANNEL_OPTIONS)
    assert channel_options["grpc.http2.max_pings_without_data"] == 0
    assert (
        OPTIONS["grpc.http2.min_ping_interval_without_data_ms"]
        <= channel_options["grpc.keepalive_time_ms"] / 2
    )


def test_a_renewed_connection_lets_the_longest_exchange_finish() -> None:
    assert OPTIONS["grpc.max_connection_age_grace_ms"] >= (DEADLINE_SECONDS[-1] + 60) * 1_000


def test_a_relays_one_connection_carries_more_than_a_clients() -> None:
    assert dict(server_options(STREAMS_PER_RELAY))["grpc.max_concurrent_streams"] > STREAMS_PER_CLIENT
