"""The limits of the endpoint, in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from blindrelay.client import ConnectionConfig, SealedTransport
from blindrelay.client.endpoint import listen, read_providers
from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.admission import MAX_REQUESTS, Admission
from blindrelay.client.endpoint.exchange_log import KEPT_EXCHANGES, ExchangeLog
from blindrelay.client.endpoint.pass_through import MAX_COMPLETED_BODY, PassThrough
from blindrelay.client.endpoint.routes import Routes
from blindrelay.client.relay_view import RelayView
from blindrelay.v1.envelope_pb2 import Envelope

from ..conftest import ScriptedBridge, never, wait_for
from .conftest import running, serving


class SilentTransport(SealedTransport):
    """Counts what is asked, and never answers."""

    def __init__(self) -> None:
        self.connection = ConnectionConfig("127.0.0.1", 443, bytes(32))
        self.asked = 0
        self.full = asyncio.Event()

    async def handle_async_request(self, request: Any) -> Any:
        self.asked += 1
        if self.asked == MAX_REQUESTS:
            self.full.set()
        await asyncio.Event().wait()


class FaultyTransport(SilentTransport):
    async def handle_async_request(self, request: Any) -> Any:
        raise RuntimeError("canary")


async def asked(app: PassThrough, path: str, pieces: int = 1) -> list[Any]:
    """What it sends to a request as ASGI has it, with a body of so many mebibytes."""
    sent: list[Any] = []
    left = iter(range(pieces - 1, -1, -1))

    async def receive() -> Any:
        if (more := next(left, None)) is None:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": b"x" * 1_048_576, "more_body": bool(more)}

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:80"), (b"x-api-key", b"brl_test"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b""}
    await app({**scope, "headers": headers}, receive, send)
    return sent


def code_in(message: Any) -> Any:
    return json.loads(message["body"])["error"]["code"]


def pass_through(transport: SealedTransport) -> PassThrough:
    admission = Admission(Routes(read_providers(None), "openai"), Access("brl_test", 80))
    return PassThrough(transport, admission, ExchangeLog())


@pytest.fixture
async def silent() -> AsyncIterator[SilentTransport]:
    yield SilentTransport()  # noqa: PT022 (made where its event belongs)


async def test_too_many_requests_are_told_to_retry(silent: SilentTransport) -> None:
    app = pass_through(silent)
    running = [asyncio.create_task(asked(app, "/v1/files")) for _ in range(MAX_REQUESTS)]
    await silent.full.wait()
    start, body = await asked(app, "/v1/files")
    assert (start["status"], code_in(body)) == (503, "blindrelay_busy")
    assert b"x-should-retry" not in dict(start["headers"])
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert silent.asked == MAX_REQUESTS


async def test_buffered_body_has_a_limit(silent: SilentTransport) -> None:
    pieces = MAX_COMPLETED_BODY // 1_048_576 + 1
    start, body = await asked(pass_through(silent), "/v1/responses", pieces)
    assert (start["status"], code_in(body)) == (413, "blindrelay_too_large")
    assert not silent.asked


async def test_internal_failure_names_only_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    start, body = await asked(pass_through(FaultyTransport()), "/v1/responses")
    assert (start["status"], code_in(body)) == (500, "blindrelay_failed")
    assert b"canary" not in body["body"]
    assert "RuntimeError" in caplog.text
    assert "canary" not in caplog.text


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


def test_buffered_body_is_sent_again_after_a_restart_of_the_bridge(tmp_path: Path) -> None:
    with (
        closing(ScriptedBridge()) as bridge,
        running(bridge.connection, tmp_path) as endpoint,
        endpoint.client() as client,
    ):
        for number in range(2):
            assert client.post("/v1/embeddings", json={"n": number}).status_code == 200
            bridge.restart_keys()
        assert bridge.calls == 3
        streamed = client.post("/v1/embeddings", content=iter([b"{}"]))
    assert streamed.headers["x-blindrelay-error"] == "relay/key_unknown"
    assert "x-should-retry" not in streamed.headers


async def test_cancelled_server_ends_running_requests(bridge: ScriptedBridge) -> None:
    bridge.answer = never
    async with serving(bridge) as endpoint:
        reader, writer = await asyncio.open_connection(*endpoint.address)
        writer.write(f"GET /v1/models HTTP/1.1\r\n{endpoint.own}\r\n".encode())
        await asyncio.to_thread(wait_for, lambda: len(bridge.received) == 1)
        endpoint.task.cancel()
        ended, came = await asyncio.gather(endpoint.task, reader.read(), return_exceptions=True)
        writer.close()
    assert isinstance(ended, asyncio.CancelledError)
    assert came == b""
    await asyncio.to_thread(wait_for, lambda: bridge.cancelled == [True])


async def test_nagles_algorithm_is_off() -> None:
    """Without Nagle's algorithm (RFC 896) on the connections that are accepted."""
    accepted: asyncio.Future[asyncio.StreamWriter] = asyncio.get_running_loop().create_future()
    listener = listen("127.0.0.1", 0)
    server = await asyncio.start_server(lambda _, writer: accepted.set_result(writer), sock=listener)
    async with server:
        _, program = await asyncio.open_connection(*listener.getsockname())
        writer = await accepted
        assert writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for each in (program, writer):
            each.close()
            await each.wait_closed()
