"""Timeouts, cancellation, room, event loops: how exchanges and clients end."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from blindrelay.client import (
    ClosedError,
    ConnectionConfig,
    CutResponseError,
    SealedTransport,
    UnreachableError,
    relay_connection,
)
from blindrelay.client.relay_connection import RelayConnection
from blindrelay.v1.outer_status import OuterStatus
from tests.patience import PATIENCE, wait_for

from .conftest import URL
from .scripted_bridge import (
    TAIL,
    Received,
    Responder,
    ScriptedBridge,
    Step,
    answering,
    head,
    stalling,
    until,
    whole,
)


def test_read_timeout_is_an_idle_timer(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty seconds seem to pass before each piece."""
    passed, wanted = [0], threading.Event()

    async def slow_but_steady(_: Received, respond: Responder) -> None:
        await respond.send(head=head())
        for _piece in range(8):
            await until(wanted)
            wanted.clear()
            passed[0] += 50
            await respond.send(body=b"x")
        await respond.send(tail=TAIL)

    async def ask() -> list[bytes]:
        loop, pieces = asyncio.get_running_loop(), list[bytes]()
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() + passed[0])
        timeout = httpx2.Timeout(PATIENCE, read=100)
        async with (
            SealedTransport(bridge.connection).async_httpx2_client(timeout=timeout) as client,
            client.stream("GET", URL) as response,
        ):
            wanted.set()
            async for piece in response.aiter_raw():
                pieces.append(piece)
                wanted.set()
        return pieces

    bridge.answer = slow_but_steady
    assert asyncio.run(ask()) == [b"x"] * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("&first_byte=1h&idle=1s", "nothing more came back within 1 seconds"),
        ("&first_byte=1h", r"nothing more came back within 0\.3 seconds"),
        ("&idle=1h", r"the response did not begin within 0\.3 seconds"),
        ("", r"the response did not begin within 0\.3 seconds"),
    ],
)
async def test_first_byte_and_idle_are_separate_timeouts(
    options: str, message: str, bridge: ScriptedBridge
) -> None:
    begins: Step = 1.0 if "first_byte" in options else threading.Event()
    bridge.answer = answering(begins, {"head": head(), "body": b"x"}, threading.Event())
    sealed = SealedTransport(bridge.connection + options)
    async with sealed.async_httpx2_client(timeout=httpx2.Timeout(PATIENCE, read=0.3)) as client:
        with pytest.raises(httpx2.ReadTimeout, match=message):
            await client.get(URL)
    wait_for(lambda: bridge.cancelled == [True])


async def test_connecting_has_its_own_timeout(bridge: ScriptedBridge) -> None:
    """A host that accepts the connection and sends nothing. The time for a response is not used up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        sealed = SealedTransport(bridge.connection.replace(str(bridge.port), str(port)) + "&first_byte=1h")
        async with sealed.async_httpx2_client(timeout=httpx2.Timeout(None, connect=0.3)) as client:
            with pytest.raises(httpx2.ConnectTimeout, match=r"no connection to the relay within 0\.3"):
                await client.get(URL)


async def test_cancelling_ends_the_exchange_at_once(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.answer = stalling
    async with sealed.async_httpx2_client() as client:
        task = asyncio.create_task(client.get(URL))
        await asyncio.to_thread(wait_for, lambda: len(bridge.received) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(wait_for, lambda: bridge.cancelled == [True])


def test_complete_response_leaves_the_call_to_its_end(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    """A client that cancelled the call of a relay that is slow to end it would look like one that aborts."""
    may_end, ended = threading.Event(), list[bool]()

    async def slow_to_end(received: Received, respond: Responder) -> None:
        await whole(received, respond)
        await until(may_end)
        ended.append(True)

    bridge.answer = slow_to_end
    client.get(URL)
    bridge.answer = whole
    client.get(URL)  # on the same connection: what the client sent before has arrived
    may_end.set()
    wait_for(lambda: bool(ended or bridge.cancelled))
    assert bridge.cancelled == []


def test_closing_a_stream_early_ends_the_exchange(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    for _ in range(50):  # complete responses are not cancelled
        client.get(URL)
    assert bridge.cancelled == []
    bridge.answer = stalling
    with client.stream("GET", URL) as response:
        assert next(response.iter_raw()) == b"x"
    wait_for(lambda: bridge.cancelled == [True])


def test_failed_event_loops_log_nothing(
    bridge: ScriptedBridge, client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """gRPC watches a failed connection, and would report it to a loop that has ended."""
    nowhere = SealedTransport(bridge.connection.replace(f":{bridge.port}?", ":1?"))

    async def once() -> None:
        async with nowhere.async_httpx2_client(timeout=PATIENCE) as failing:
            for _attempt in range(2):  # the second waits for the channel to try again
                with pytest.raises(httpx2.ConnectError):
                    await failing.get(URL)

    for _loop in range(2):
        asyncio.run(once())
        assert client.get(URL).status_code == 200  # in a loop that continues
    assert caplog.records == []


async def test_failed_attempts_leave_one_watch(
    bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC goes on with each watch until the relay is back, which may be hours."""
    monkeypatch.setattr(relay_connection, "_NEXT_ATTEMPT_SECONDS", 0.05)
    nowhere = ConnectionConfig.from_string(bridge.connection.replace(f":{bridge.port}?", ":1?"))
    connection = RelayConnection(nowhere)
    before = asyncio.all_tasks()
    for _ in range(3):
        for failed in await asyncio.gather(
            *[connection.connect(PATIENCE) for _ in range(4)], return_exceptions=True
        ):
            assert isinstance(failed, UnreachableError)
    assert len(asyncio.all_tasks() - before) <= 1
    await connection.close()
    assert asyncio.all_tasks() == before


def test_closing_a_client_ends_what_it_does_and_nothing_else(
    bridge: ScriptedBridge, sealed: SealedTransport, client: httpx2.Client
) -> None:
    bridge.answer = stalling
    closed = sealed.httpx2_client()
    response = closed.send(closed.build_request("GET", URL), stream=True)
    pieces = response.iter_raw()
    assert next(pieces) == b"x"
    with client.stream("GET", URL) as another, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(closed.get, URL)
        wait_for(lambda: len(bridge.received) == 3)
        closed.close()
        with pytest.raises((ClosedError, CutResponseError)):
            waiting.result()
        with pytest.raises(httpx2.ReadError, match="the client was closed"):
            next(pieces)
        assert next(another.iter_raw()) == b"x"
        bridge.answer = whole
        assert client.get(URL).status_code == 200
    response.close()


def test_pool_timeout_limits_the_wait_for_room_which_failures_give_back(
    bridge: ScriptedBridge, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindrelay.client.relay_connection.MAX_EXCHANGES", 1)
    for refuse in (OuterStatus.REFUSED, None, OuterStatus.OVERLOADED, None):
        bridge.refuse = refuse
        client.get(URL, timeout=PATIENCE)
    assert client.get("https://api.openai.com/" + "x" * 40_000).status_code == 400
    assert client.get(URL, timeout=PATIENCE).status_code == 200
    bridge.answer = stalling
    with client.stream("GET", URL), pytest.raises(httpx2.PoolTimeout):
        client.get(URL, timeout=httpx2.Timeout(PATIENCE, pool=0.2))
