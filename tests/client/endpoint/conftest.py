"""The endpoint as a process, in front of a testbed or of a scripted bridge."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from blindrelay.client import ConnectionConfig
from blindrelay.client.endpoint import listen, read_providers, serve
from blindrelay.testbed import Testbed
from blindrelay.testbed.processes import PartProcess
from tests.patience import PATIENCE

from ..scripted_bridge import ScriptedBridge, whole


@dataclass
class Endpoint:
    """A running `blindrelay proxy`."""

    url: str
    token: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, **options: object) -> httpx.Client:
        """Without the token's header if `headers` are given."""
        headers = {"authorization": f"Bearer {self.token}"}
        own = {"base_url": self.url, "headers": headers, "trust_env": False, "timeout": PATIENCE}
        return httpx.Client(**{**own, **options})  # type: ignore[arg-type]

    def request(self, line: str, headers: str = "", body: str = "") -> bytes:
        """The bytes of a request with Host and the token."""
        own = f"host: 127.0.0.1:{self.port}\r\nx-api-key: {self.token}\r\n"
        return f"{line} HTTP/1.1\r\n{own}{headers}\r\n{body}".encode()

    def connect(self) -> socket.socket:
        """A connection to it."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


@dataclass
class EndpointProcess(Endpoint):
    part: PartProcess


@contextmanager
def running(connection: str, state: Path, *arguments: str) -> Iterator[EndpointProcess]:
    """An endpoint that sends through this connection."""

    def command() -> list[str]:
        return ["proxy", "--port", "0", "--json", "--relay", connection, *arguments]

    part = PartProcess("endpoint", "blindrelay.client", command, {"BLINDRELAY_STATE": str(state)})
    part.start()
    try:
        yield EndpointProcess(part.announcement["url"], (state / "endpoint-token").read_text().strip(), part)
    finally:
        part.stop()


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
    shared_bridge.received, shared_bridge.cancelled = [], []
    yield shared_bridge
    shared_bridge.answer = whole
    shared_bridge.refuse = None
    shared_bridge.stop_reading_after = None


HALF = b"GET /healthz HTTP/1.1\r\nhost: 127"


def code_in(answer: httpx.Response) -> str:
    """What an error is called in the shape of OpenAI's."""
    return str(answer.json()["error"]["code"])


@dataclass
class EndpointTask(Endpoint):
    """One in this process, whose limits a test may change."""

    task: asyncio.Task[Any]

    def asynchronous_client(self) -> httpx.AsyncClient:
        headers = {"x-api-key": self.token}
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=PATIENCE)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()


@asynccontextmanager
async def serving(bridge: ScriptedBridge) -> AsyncIterator[EndpointTask]:
    """Ends it at the end of the block."""
    started, connection = asyncio.Event(), ConnectionConfig.from_string(bridge.connection)
    with listen("127.0.0.1", 0) as listener:
        served = serve(listener, connection, "brl_test", read_providers(None), "openai", started.set)
        task = asyncio.create_task(served)
        await started.wait()
        try:
            yield EndpointTask(f"http://127.0.0.1:{listener.getsockname()[1]}", "brl_test", task)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
def client(bridged: Endpoint) -> Iterator[httpx.Client]:
    """A program that has the endpoint's token, in front of the scripted bridge."""
    with bridged.client() as client:
        yield client


@pytest.fixture
def bridged(shared_endpoint: Endpoint, bridge: ScriptedBridge) -> Endpoint:
    """In front of the scripted bridge."""
    return shared_endpoint
