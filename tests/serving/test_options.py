"""gRPC's options have the intended effect."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import grpc
import pytest

from blindrelay.relay_node.replica import REFRESH_SECONDS
from blindrelay.serving import CLIENT_IDLE_SECONDS, STREAMS_PER_CLIENT, STREAMS_PER_RELAY, server_options
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.limits import DEADLINE_SECONDS, MAX_MESSAGE_SIZE
from tests.serving.echo_server import UNARY, echo, listening, serving, unary

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


@pytest.mark.parametrize("ours", [True, False], ids=["with our limits", "with gRPC's own"])
async def test_all_calls_of_a_burst_are_answered(ours: bool) -> None:
    """gRPC's own limits drop some, so the burst is really one."""
    sent = threading.Event()

    def ask(port: int) -> Counter[grpc.StatusCode]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=60)
            method: Any = channel.unary_unary(UNARY)
            calls = [method.future(b"") for _ in range(STREAMS_PER_RELAY)]
            sent.set()
            return Counter(call.code() for call in calls)

    options = [each for each in server_options(STREAMS_PER_RELAY) if ours or "max_pending" not in each[0]]
    async with serving(echo, options) as port:
        asking = asyncio.create_task(asyncio.to_thread(ask, port))
        while not sent.is_set():
            await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251 - the event loop is busy
        time.sleep(1)  # noqa: ASYNC251
        statuses = await asking
    assert (statuses == {grpc.StatusCode.OK: STREAMS_PER_RELAY}) is ours
