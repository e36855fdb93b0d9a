"""The provider sends a piece once the program has the previous one, so a part that buffers blocks."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from blindrelay.client import SealedTransport
from blindrelay.testbed import Testbed
from blindrelay.testbed.configuration import official_providers
from blindrelay.testbed.processes import PartProcess

PIECES = [b"data: %d\n\n" % number for number in range(8)]
PATIENCE = 60
"""Seconds that the provider waits for a program, before it breaks off."""


class PatientProvider(ThreadingHTTPServer):
    """`confirmed` gets each piece that has arrived."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.confirmed: queue.SimpleQueue[bytes] = queue.SimpleQueue()


class _Handler(BaseHTTPRequestHandler):
    server: PatientProvider
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in PIECES:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert self.server.confirmed.get(timeout=PATIENCE) == piece
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture(scope="module")
def provider() -> Iterator[PatientProvider]:
    with PatientProvider() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def relay(provider: PatientProvider) -> Iterator[str]:
    with Testbed("scripted", providers=official_providers(f"http://127.0.0.1:{provider.server_port}")) as bed:
        yield bed.relay


Way = Callable[[str, Path], AbstractContextManager[httpx.Client]]


@contextmanager
def _library(relay: str, _: Path) -> Iterator[httpx.Client]:
    with (
        SealedTransport(relay) as sealed,
        sealed.httpx_client(base_url="https://api.openai.com", timeout=PATIENCE) as client,
    ):
        yield client


@contextmanager
def _endpoint(relay: str, state: Path) -> Iterator[httpx.Client]:
    arguments = ["proxy", "--port", "0", "--json", "--relay", relay]
    part = PartProcess("endpoint", "blindrelay.client", lambda: arguments, {"BLINDRELAY_STATE": str(state)})
    part.start()
    token = (state / "endpoint-token").read_text().strip()
    try:
        with httpx.Client(
            base_url=part.announcement["url"],
            headers={"authorization": f"Bearer {token}"},
            timeout=PATIENCE,
            trust_env=False,
        ) as client:
            yield client
    finally:
        part.stop()


@pytest.mark.parametrize("way", [_library, _endpoint], ids=["library", "endpoint"])
def test_each_piece_arrives_before_the_next_is_sent(
    way: Way, relay: str, provider: PatientProvider, tmp_path: Path
) -> None:
    with (
        way(relay, tmp_path) as client,
        client.stream("POST", "/v1/chat/completions", json={"model": "m", "stream": True}) as answer,
    ):
        arrived = answer.iter_raw()
        for piece in PIECES:
            assert next(arrived) == piece
            provider.confirmed.put(piece)
        assert list(arrived) == []
