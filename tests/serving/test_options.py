"""gRPC's options have the intended effect."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from blindrelay.relay_node.replica import REFRESH_SECONDS
from blindrelay.serving import CLIENT_IDLE_SECONDS, STREAMS_PER_CLIENT, server_options
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE
from tests.serving.echo_server import echo, listening

OPTIONS = dict(server_options(STREAMS_PER_CLIENT))


@contextlib.asynccontextmanager
async def call_over(*options: tuple[str, int]) -> AsyncIterator[Any]:
    """The method of an echo server, over a channel with these options."""
    async with listening() as address, grpc.aio.insecure_channel(address, options=options) as channel:
        yield echo(channel)


async def test_messages_up_to_the_limit_pass() -> None:
    async with call_over(*CHANNEL_OPTIONS) as call:
        assert await call(bytes(MAX_MESSAGE_SIZE)) == bytes(MAX_MESSAGE_SIZE)


@pytest.mark.parametrize(
    ("size", "metadata", "code"),
    [
        (MAX_MESSAGE_SIZE + 1, ("x", "y"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (1, ("x", "y" * 8_000), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (10_000, ("grpc-internal-encoding-request", "gzip"), grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["large message", "large metadata", "compressed message"],
)
async def test_call_over_a_limit_is_refused(
    size: int, metadata: tuple[str, str], code: grpc.StatusCode
) -> None:
    async with call_over() as call:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await call(bytes(size), metadata=(metadata,))
    assert failure.value.code() is code


async def test_envelope_and_token_fit_into_the_metadata() -> None:
    envelope = ("blindrelay-envelope-bin", bytes(range(256)) * 2)
    async with call_over(*CHANNEL_OPTIONS) as call:
        assert await call(b"x", metadata=(("authorization", "Bearer brt_" + "x" * 43), envelope)) == b"x"


def test_idle_connections_of_clients_close_sooner_than_those_of_relays() -> None:
    options = dict(server_options(STREAMS_PER_CLIENT, CLIENT_IDLE_SECONDS))
    assert options["grpc.max_connection_idle_ms"] == 30_000
    assert OPTIONS["grpc.max_connection_idle_ms"] > REFRESH_SECONDS * 1_000


def test_renewed_connection_lets_the_longest_exchange_finish() -> None:
    assert OPTIONS["grpc.max_connection_age_grace_ms"] >= (DEADLINE_SECONDS[-1] + 60) * 1_000
