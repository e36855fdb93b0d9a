"""The endpoint as a process, in front of a testbed or of a scripted bridge."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from blindrelay.testbed import Testbed
from blindrelay.testbed.processes import PartProcess

from ..conftest import Received, Responder, ScriptedBridge, answer_whole


@dataclass
class Endpoint:
    """A running `blindrelay proxy`."""

    part: PartProcess
    token: str

    @property
    def url(self) -> str:
        return self.part.announcement["url"]

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options: object) -> httpx.Client:
        """Without the token's header if `headers` are given."""
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(**{"base_url": self.url, "headers": headers, "trust_env": False, **options})  # type: ignore[arg-type]

    def request(self, line: str, headers: str = "", body: str = "") -> bytes:
        """The bytes of a request with Host and the token."""
        own = f"host: 127.0.0.1:{self.port}\r\nx-api-key: {self.token}\r\n"
        return f"{line} HTTP/1.1\r\n{own}{headers}\r\n{body}".encode()

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextmanager
def running(connection: str, state: Path, *arguments: str) -> Iterator[Endpoint]:
    """An endpoint that sends through this connection."""

    def command() -> list[str]:
        return ["proxy", "--port", "0", "--json", "--relay", connection, *arguments]

    part = PartProcess("endpoint", "blindrelay.client", command, {"BLINDRELAY_STATE": str(state)})
    part.start()
    try:
        yield Endpoint(part, (state / "endpoint-token").read_text().strip())
    finally:
        part.stop()


@pytest.fixture(scope="session")
def bed() -> Iterator[Testbed]:
    """With the scripted provider; do not harm it."""
    with Testbed("scripted") as bed:
        yield bed


@pytest.fixture(scope="session")
def endpoint(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    """In front of the testbed."""
    with running(bed.relay, tmp_path_factory.mktemp("endpoint")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def shared_bridge() -> Iterator[ScriptedBridge]:
    bridge = ScriptedBridge()
    yield bridge
    bridge.close()


@pytest.fixture(scope="session")
def shared_endpoint(
    shared_bridge: ScriptedBridge, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    with running(shared_bridge.connection, tmp_path_factory.mktemp("bridged")) as endpoint:
        yield endpoint


@pytest.fixture
def bridge(shared_bridge: ScriptedBridge) -> Iterator[ScriptedBridge]:
    """Responds with {} unless a test changes that; reset for each test."""
    shared_bridge.received.clear()
    shared_bridge.cancelled.clear()
    yield shared_bridge
    shared_bridge.answer = answer_whole
    shared_bridge.refuse = None
    shared_bridge.stop_reading_after = None


@pytest.fixture
def bridged(shared_endpoint: Endpoint, bridge: ScriptedBridge) -> Endpoint:
    """In front of the scripted bridge."""
    return shared_endpoint


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for a condition in another process, which sends no event."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def never_answering(bridge: ScriptedBridge) -> threading.Event:
    """Makes the bridge hold every request; the event is set when one has come."""
    asked = threading.Event()

    async def silent(_: Received, respond: Responder) -> None:
        asked.set()
        await bridge.stall(threading.Event())

    bridge.answer = silent
    return asked
