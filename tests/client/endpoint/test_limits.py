"""The limits of the endpoint, in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from blindrelay.client import ConnectionConfig, SealedTransport
from blindrelay.client.endpoint import listen, read_providers, serve
from blindrelay.client.endpoint.access import Access
from blindrelay.client.endpoint.admission import MAX_REQUESTS, Admission
from blindrelay.client.endpoint.exchange_log import KEPT_EXCHANGES, ExchangeLog
from blindrelay.client.endpoint.pass_through import MAX_COMPLETED_BODY, PassThrough
from blindrelay.client.endpoint.routes import Routes
from blindrelay.client.relay_view import RelayView
from blindrelay.v1.envelope_pb2 import Envelope

from ..conftest import ScriptedBridge
from .conftest import Endpoint, never_answering, running, wait_for

TOKEN = "brl_test"


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


class Program:
    """One request as ASGI has it."""

    def __init__(self, path: str, pieces: int = 1) -> None:
        headers = [(b"host", b"127.0.0.1:80"), (b"x-api-key", TOKEN.encode()), (b"content-length", b"1")]
        self.scope: Any = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": headers,
        }
        self.sent: list[Any] = []
        self._pieces = pieces

    async def receive(self) -> Any:
        if self._pieces == 0:
            await asyncio.Event().wait()
        self._pieces -= 1
        return {"type": "http.request", "body": b"x" * 1_048_576, "more_body": self._pieces > 0}

    async def send(self, message: Any) -> None:
        self.sent.append(message)

    @property
    def kind(self) -> Any:
        return json.loads(self.sent[1]["body"])["error"]["code"]


def pass_through(transport: SealedTransport) -> PassThrough:
    admission = Admission(Routes(read_providers(None), "openai"), Access(TOKEN, 80))
    return PassThrough(transport, admission, ExchangeLog())


@pytest.fixture
async def silent() -> AsyncIterator[SilentTransport]:
    yield SilentTransport()  # noqa: PT022 (made where its event belongs)


async def test_too_many_requests_are_told_to_retry(silent: SilentTransport) -> None:
    app = pass_through(silent)
    programs = [Program("/v1/files", pieces=1) for _ in range(MAX_REQUESTS)]
    for program in programs:
        program.scope["headers"][2] = (b"transfer-encoding", b"chunked")
    running = [asyncio.create_task(app(each.scope, each.receive, each.send)) for each in programs]
    await silent.full.wait()
    last = Program("/v1/files")
    await app(last.scope, last.receive, last.send)
    assert last.sent[0]["status"] == 503
    assert b"x-should-retry" not in dict(last.sent[0]["headers"])
    assert last.kind == "blindrelay_busy"
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert silent.asked == MAX_REQUESTS


async def test_buffered_body_has_a_limit(silent: SilentTransport) -> None:
    program = Program("/v1/responses", pieces=MAX_COMPLETED_BODY // 1_048_576 + 1)
    await pass_through(silent)(program.scope, program.receive, program.send)
    assert (program.sent[0]["status"], program.kind) == (413, "blindrelay_too_large")
    assert not silent.asked


async def test_internal_failure_names_only_its_kind(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(SilentTransport):
        async def handle_async_request(self, request: Any) -> Any:
            raise RuntimeError("canary")

    program = Program("/v1/responses")
    await pass_through(Faulty())(program.scope, program.receive, program.send)
    assert (program.sent[0]["status"], program.kind) == (500, "blindrelay_failed")
    assert b"canary" not in program.sent[1]["body"]
    assert "RuntimeError" in caplog.text
    assert "canary" not in caplog.text


def test_first_outcome_of_an_exchange_counts() -> None:
    exchange_log = ExchangeLog()
    with exchange_log.request("POST", "https://provider.example/v1") as logged:
        exchange_log.observe(RelayView(Envelope(), 100))
        logged.ended("relay/overloaded")
        exchange_log.observe(RelayView(Envelope(), 100))
    assert [entry.outcome for entry in exchange_log.entries] == ["failed", "relay/overloaded"]


def test_exchange_log_keeps_the_last_exchanges() -> None:
    exchange_log = ExchangeLog()
    views = [RelayView(Envelope(), number) for number in range(KEPT_EXCHANGES + 1)]
    for view in views:
        exchange_log.observe(view)
    assert [entry.view for entry in exchange_log.entries] == views[:0:-1]


def test_buffered_body_is_sent_again_after_a_restart_of_the_bridge(tmp_path: Path) -> None:
    bridge = ScriptedBridge()
    try:
        with running(bridge.connection, tmp_path) as endpoint, endpoint.client() as client:
            assert client.post("/v1/embeddings", json={"n": 1}).status_code == 200
            bridge.restart_keys()
            assert client.post("/v1/embeddings", json={"n": 2}).status_code == 200
            assert bridge.calls == 3
            bridge.restart_keys()
            streamed = client.post("/v1/embeddings", content=iter([b"{}"]))
            assert streamed.headers["x-blindrelay-error"] == "relay/key_unknown"
            assert "x-should-retry" not in streamed.headers
    finally:
        bridge.close()


def test_endless_headers_are_refused(bridged: Endpoint) -> None:
    with bridged.client() as client:
        answer = client.get("/v1/models", headers={"accept": "x" * 100_000})
    assert answer.status_code == 400


async def test_cancelled_server_ends_running_requests(bridge: ScriptedBridge) -> None:
    asked, listening = never_answering(bridge), asyncio.Event()
    connection = ConnectionConfig.from_string(bridge.connection)
    listener = listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    served = asyncio.create_task(
        serve(listener, connection, TOKEN, read_providers(None), "openai", listening.set)
    )
    await listening.wait()
    async with httpx.AsyncClient(base_url=url, headers={"x-api-key": TOKEN}, trust_env=False) as client:
        program = asyncio.create_task(client.get("/v1/models", timeout=60))
        assert await asyncio.to_thread(asked.wait, 30)
        served.cancel()
        answers = await asyncio.gather(served, program, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert isinstance(answers[1], httpx.TransportError)
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
