"""Silent calls survive, lost peers are noticed, bursts are answered: the options that gRPC is given."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import grpc
import pytest

from blindrelay.relay_node.replica import REFRESH_SECONDS
from blindrelay.serving import CLIENT_IDLE_SECONDS, STREAMS_PER_RELAY, server_options
from blindrelay.v1.grpc_profile import CHANNEL_OPTIONS
from blindrelay.v1.limits import DEADLINE_SECONDS
from tests.cable import cable_to
from tests.patience import PATIENCE
from tests.serving.echo_server import STREAM, UNARY, listening

HASTE: Final = 60
"""How many times faster."""

HOUR: Final = 6
"""Seconds that the provider thinks. Three pings too many end a connection, and this has six."""


def hastened(options: Iterable[tuple[str, int]], **others: int) -> list[tuple[str, int]]:
    """The options with faster pings, and all other times unchanged: a busy machine answers pings late."""
    of_pings = [each for each in options if "ping" in each[0] or "keepalive" in each[0]]
    pings = {name: value // HASTE for name, value in of_pings if "timeout" not in name}
    unlimited = {"grpc.http2.max_pings_without_data": 0, "grpc.http2.max_ping_strikes": 2}
    return list({**dict(options), **pings, **unlimited, **others}.items())


def test_settings_of_both_ends_match() -> None:
    """No server rejects a client's pings. Two pings of a server come within a proxy's 60 s of silence.

    Clients' idle connections close first, and the longest exchange can finish on one that is renewed.
    """
    client, server = dict(CHANNEL_OPTIONS), dict(server_options(100))
    assert client["grpc.keepalive_time_ms"] >= 2 * server["grpc.http2.min_ping_interval_without_data_ms"]
    assert client["grpc.http2.max_pings_without_data"] == 0
    assert server["grpc.http2.max_pings_without_data"] == 0
    assert 2 * server["grpc.keepalive_time_ms"] < 60_000
    assert dict(server_options(100, CLIENT_IDLE_SECONDS))["grpc.max_connection_idle_ms"] == 30_000
    assert server["grpc.max_connection_idle_ms"] > REFRESH_SECONDS * 1_000
    assert server["grpc.max_connection_age_grace_ms"] >= (DEADLINE_SECONDS[-1] + 60) * 1_000


def thinking(options: Any, hours: int = 1) -> AbstractAsyncContextManager[str]:
    """A server that is silent for so long before it responds."""

    async def think(_: Any, context: Any) -> None:
        await asyncio.sleep(hours * HOUR)
        await context.write(b"the response")

    return listening(handler=think, options=options)


async def ask(address: str, **others: int) -> Any:
    """The response that a client gets."""
    options = hastened(CHANNEL_OPTIONS, **others)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(STREAM)()
        await call.write(b"the question")
        return await call.read()


async def test_an_hour_of_silence_is_survived_where_pings_are_allowed() -> None:
    strict = hastened(server_options(100), **{"grpc.http2.min_ping_interval_without_data_ms": 300_000})
    # A busy machine sends pings late, so the call that must fail has plenty of time.
    async with thinking(hastened(server_options(100))) as ours, thinking(strict, hours=15) as grpcs_own:
        results: Any = await asyncio.gather(ask(ours), ask(grpcs_own), return_exceptions=True)
    answer, refusal = results
    assert answer == b"the response"
    # With gRPC's default limit for servers the call is cut, so these pings are really sent.
    assert isinstance(refusal, grpc.aio.AioRpcError)
    assert refusal.code() is grpc.StatusCode.UNAVAILABLE


async def test_lost_peer_is_noticed_during_a_silent_call() -> None:
    async with (
        thinking(hastened(server_options(100))) as address,
        cable_to(int(address.rpartition(":")[2])) as cable,
    ):
        soon = {"grpc.keepalive_timeout_ms": 200, "grpc.http2.ping_timeout_ms": 200}
        waiting = asyncio.create_task(ask(f"127.0.0.1:{cable.port}", **soon))
        await cable.carried.wait()
        cable.mute()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(waiting, PATIENCE)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("ours", [True, False], ids=["with our limits", "with gRPC's own"])
async def test_all_calls_of_a_burst_are_answered(ours: bool) -> None:
    """gRPC's own limits drop some, so the burst is really one."""
    sent = threading.Event()

    def ask(address: str) -> Counter[grpc.StatusCode]:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE)
            method: Any = channel.unary_unary(UNARY)
            calls = [method.future(b"") for _ in range(STREAMS_PER_RELAY)]
            sent.set()
            return Counter(call.code() for call in calls)

    options = [each for each in server_options(STREAMS_PER_RELAY) if ours or "max_pending" not in each[0]]
    async with listening(options=options) as address:
        asking = asyncio.create_task(asyncio.to_thread(ask, address))
        while not sent.is_set():
            await asyncio.sleep(0)
            time.sleep(0.5)  # noqa: ASYNC251 - the event loop is busy
        time.sleep(1)  # noqa: ASYNC251
        statuses = await asking
    assert (statuses == {grpc.StatusCode.OK: STREAMS_PER_RELAY}) is ours
