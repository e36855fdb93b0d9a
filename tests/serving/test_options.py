"""gRPC's options have the intended effect."""

from __future__ import annotations

import grpc
import pytest

from blindrelay.relay_node.replica import REFRESH_SECONDS
from blindrelay.serving import CLIENT_IDLE_SECONDS, STREAMS_PER_CLIENT, server_options
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE
from tests.serving.echo_server import listening, unary

OPTIONS = dict(server_options(STREAMS_PER_CLIENT))
TOKEN = ("authorization", "Bearer brt_" + "x" * 43)
ENVELOPE = ("blindrelay-envelope-bin", bytes(range(256)) * 2)


@pytest.mark.parametrize(
    ("size", "metadata", "code"),
    [
        (MAX_MESSAGE_SIZE + 1, ("x", "y"), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (1, ("x", "y" * 8_000), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (10_000, ("grpc-internal-encoding-request", "gzip"), grpc.StatusCode.UNIMPLEMENTED),
    ],
    ids=["large message", "large metadata", "compressed message"],
)
async def test_only_a_call_over_a_limit_is_refused(
    size: int, metadata: tuple[str, str], code: grpc.StatusCode
) -> None:
    async with listening() as address:
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            full = bytes(MAX_MESSAGE_SIZE)
            assert await unary(channel)(full, metadata=(TOKEN, ENVELOPE)) == full
        async with grpc.aio.insecure_channel(address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await unary(channel)(bytes(size), metadata=(metadata,))
    assert failure.value.code() is code


def test_connections_last_as_long_as_they_are_needed() -> None:
    """Those of a client close first, and the longest exchange can finish on a connection that is renewed."""
    options = dict(server_options(STREAMS_PER_CLIENT, CLIENT_IDLE_SECONDS))
    assert options["grpc.max_connection_idle_ms"] == 30_000
    assert OPTIONS["grpc.max_connection_idle_ms"] > REFRESH_SECONDS * 1_000
    assert OPTIONS["grpc.max_connection_age_grace_ms"] >= (DEADLINE_SECONDS[-1] + 60) * 1_000
