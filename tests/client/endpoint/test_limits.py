"""The limits of the endpoint, in this process: requests, bodies, time; and what it keeps and logs."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import httpx
import pytest

from blindrelay.client import SealedTransport
from blindrelay.client.endpoint import admission, client_body, http_protocol, listen, pass_through
from blindrelay.client.endpoint.exchange_log import KEPT_EXCHANGES, ExchangeLog
from blindrelay.client.relay_view import RelayView
from blindrelay.v1.envelope_pb2 import Envelope
from tests.patience import PATIENCE, wait_for

from ..scripted_bridge import ScriptedBridge, never
from .conftest import HALF, code_in, serving


async def test_too_many_requests_are_put_off(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_REQUESTS", 2)
    bridge.answer = never
    async with serving(bridge) as endpoint, endpoint.asynchronous_client() as client:
        running = [asyncio.create_task(client.get("/v1/models")) for _ in range(2)]
        await asyncio.to_thread(wait_for, lambda: len(bridge.received) == 2)
        answer = await client.get("/v1/models")
        for task in running:
            task.cancel()
    assert (answer.status_code, code_in(answer)) == (503, "blindrelay_busy")
    assert "x-should-retry" not in answer.headers
    assert len(bridge.received) == 2


async def test_buffered_body_has_a_limit(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pass_through, "MAX_COMPLETED_BODY", 1_000)
    async with serving(bridge) as endpoint, endpoint.asynchronous_client() as client:
        passed = await client.post("/v1/responses", content=b"x" * 1_000)
        refused = await client.post("/v1/responses", content=b"x" * 1_001)
    assert (passed.status_code, refused.status_code) == (200, 413)
    assert code_in(refused) == "blindrelay_too_large"
    assert len(bridge.received) == 1


async def test_internal_failure_names_only_its_kind(
    bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: SealedTransport, request: Any) -> Any:
        raise RuntimeError("canary")

    monkeypatch.setattr(SealedTransport, "handle_async_request", fail)
    async with serving(bridge) as endpoint, endpoint.asynchronous_client() as client:
        answer = await client.get("/v1/models")
    assert (answer.status_code, code_in(answer)) == (500, "blindrelay_failed")
    assert "RuntimeError" in caplog.text
    assert "canary" not in answer.text + caplog.text


def test_exchange_log_keeps_the_last_exchanges_and_their_first_outcome() -> None:
    exchange_log = ExchangeLog()
    views = [RelayView(Envelope(), number) for number in range(KEPT_EXCHANGES + 1)]
    for view in views:
        exchange_log.observe(view)
    assert [entry.view for entry in exchange_log.entries] == views[:0:-1]
    with exchange_log.request("POST", "https://provider.example/v1") as logged:
        exchange_log.observe(views[0])
        logged.ended("relay/overloaded")
        exchange_log.observe(views[1])
    assert [entry.outcome for entry in exchange_log.entries][:2] == ["failed", "relay/overloaded"]


def test_buffered_body_is_sent_again_after_a_restart(client: httpx.Client, bridge: ScriptedBridge) -> None:
    for _ in range(2):
        assert client.post("/v1/embeddings", json={}).status_code == 200
        bridge.restart_keys()
    streamed = client.post("/v1/embeddings", content=iter([b"{}"]))
    assert streamed.headers["x-blindrelay-error"] == "relay/key_unknown"
    assert "x-should-retry" not in streamed.headers
    assert len(bridge.received) == 2


async def test_cancelled_server_ends_running_requests(bridge: ScriptedBridge) -> None:
    bridge.answer = never
    async with serving(bridge) as endpoint, endpoint.asynchronous_client() as client:
        program = asyncio.create_task(client.get("/v1/models"))
        await asyncio.to_thread(wait_for, lambda: len(bridge.received) == 1)
        endpoint.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endpoint.task
        with pytest.raises(httpx.TransportError):
            await program
    await asyncio.to_thread(wait_for, lambda: bridge.cancelled == [True])


@pytest.mark.parametrize(("sent", "status"), [(b"", b""), (HALF, b"HTTP/1.1 408 ")])
async def test_missing_head_ends_the_connection(
    bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch, sent: bytes, status: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    async with serving(bridge) as endpoint, endpoint.connected() as (reader, writer):
        writer.write(sent)
        came = await asyncio.wait_for(reader.read(), PATIENCE)
    assert came[:13] == status
    assert (b"x-blindrelay-error: endpoint/timeout" in came) == bool(status)


async def test_slow_head_gets_no_more_time(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.3)
    async with serving(bridge) as endpoint, endpoint.connected() as (reader, writer):
        ended = asyncio.create_task(reader.read())
        writer.write(HALF)
        while not ended.done():
            writer.write(b"x")
            await asyncio.sleep(0.05)
    with suppress(ConnectionResetError):  # a byte that comes after the response may reset the connection
        assert (await ended).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("path", ["/v1/responses", "/v1/files"])
async def test_body_has_a_timeout(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Whether it is buffered or streams."""
    monkeypatch.setattr(client_body, "IDLE_SECONDS", 0.2)
    async with serving(bridge) as endpoint, endpoint.connected() as (reader, writer):
        writer.write(endpoint.request(f"POST {path}", "content-length: 1000000\r\n", "half"))
        came = await asyncio.wait_for(reader.readuntil(b"}"), PATIENCE)
    assert came.startswith(b"HTTP/1.1 408 ")
    assert b"x-blindrelay-error: endpoint/timeout" in came


async def test_idle_connection_is_kept(bridge: ScriptedBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a head begins with its first byte; keep-alive has its own."""
    async with serving(bridge) as endpoint, endpoint.connected() as (reader, writer):
        for _ in range(2):
            writer.write(endpoint.request("GET /healthz"))
            assert (await reader.readuntil(b'ok"}')).startswith(b"HTTP/1.1 200 ")
            monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.1)  # the first head may be late
            await asyncio.sleep(0.3)


def test_nagles_algorithm_is_off() -> None:
    """RFC 896: asyncio turns it off for the connections of a socket that names TCP."""
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
