"""`blindrelay-relay drain`: it waits for exchanges that run, and says what is wrong."""

from __future__ import annotations

import json
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from blindrelay.relay_node.config import EnvoyConfig, RelayConfig
from blindrelay.relay_node.envoy.drain import LISTEN_SECONDS, drain_envoy
from blindrelay.serving import Address, StartError


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="drain-") as name:  # a short path, for a socket
        yield Path(name)


@contextmanager
def envoy(folder: Path, running: list[int], status: int = 200) -> Iterator[list[str]]:
    """Envoy's admin service, which says these numbers, the last one for ever. Yields what it was asked."""
    asked: list[str] = []

    class Admin(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            number = running.pop(0) if len(running) > 1 else running[0]
            stats = [{"name": "http.clients.downstream_rq_active", "value": number}]
            self.send_response(status)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(json.dumps({"stats": stats}).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with socketserver.ThreadingUnixStreamServer(str(folder / "admin.sock"), Admin) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield asked
        finally:
            server.shutdown()


class Clock:
    """Time that passes while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def drained(folder: Path, drain_seconds: int = 30) -> float:
    """Drains. Returns how long it took."""
    clock = Clock()
    config = RelayConfig(
        Address("127.0.0.1", 1), None, (), drain_seconds=drain_seconds, envoy=EnvoyConfig(folder)
    )
    drain_envoy(config, folder / "relay.toml", clock, clock.sleep)
    return clock.now - 100.0


def test_drain_lasts_while_envoy_listens(folder: Path) -> None:
    with envoy(folder, [0]) as asked:
        assert drained(folder) >= LISTEN_SECONDS
    assert asked[0] == "POST /drain_listeners"


def test_drain_waits_for_exchanges(folder: Path) -> None:
    with envoy(folder, [3] * 100 + [0]):
        assert LISTEN_SECONDS < drained(folder) < 30


def test_exchanges_that_do_not_end_are_an_error(folder: Path) -> None:
    with envoy(folder, [2]), pytest.raises(StartError, match="2 exchanges still run after 8 seconds"):
        drained(folder, drain_seconds=8)


def test_envoy_that_does_not_run_is_an_error(folder: Path) -> None:
    with pytest.raises(StartError, match="it is not running"):
        drained(folder)


def test_envoy_that_refuses_is_an_error(folder: Path) -> None:
    with envoy(folder, [0], status=404), pytest.raises(StartError, match="Envoy answered 404"):
        drained(folder)
