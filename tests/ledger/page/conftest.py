"""The pages on loopback, in front of an admin service that answers as a test says."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
import httpx
import pytest

from blindrelay.ledger.page import PageConfig, PageListener, Pages
from blindrelay.serving import Address
from tests.ledger.page.samples import ANSWERS, NOW
from tests.ledger.page.scripted_admin import ScriptedAdmin
from tests.patience import PATIENCE

LOOPBACK = PageListener(Address("127.0.0.1", 0))
AUTHORIZATION = (("authorization", "Bearer brt_of_the_admin"),)


@dataclass
class RunningPages:
    """Pages in a thread of their own, so that a browser's test may use this one."""

    pages: Pages
    admin: ScriptedAdmin
    clock: list[float] = field(default_factory=lambda: [NOW])

    def client(self, url: str | None = None) -> httpx.Client:
        """A browser without a page: it keeps cookies, and follows redirects."""
        address = url or self.pages.url
        return httpx.Client(base_url=address, trust_env=False, follow_redirects=True, timeout=PATIENCE)

    @contextlib.contextmanager
    def operator(self) -> Iterator[httpx.Client]:
        """One that is signed in as the operator."""
        with self.client() as client:
            answer = client.post("/sign-in", data={"code": self.pages.new_link().rpartition("=")[2]})
            assert answer.status_code == 200
            yield client


@contextlib.contextmanager
def running_pages(config: PageConfig) -> Iterator[RunningPages]:
    """Serves the pages while the block runs."""
    clock = [NOW]
    running = RunningPages(Pages(config, lambda: clock[0]), ScriptedAdmin(), clock)
    ready, loops = threading.Event(), []

    async def serve() -> None:
        server, port = await running.admin.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            serving = asyncio.create_task(running.pages.serve(channel, AUTHORIZATION))
            loops.append((asyncio.get_running_loop(), serving))
            ready.set()
            with contextlib.suppress(asyncio.CancelledError):
                await serving
        await server.stop(None)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(PATIENCE)
    try:
        yield running
    finally:
        loop, task = loops[0]
        loop.call_soon_threadsafe(task.cancel)
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.fixture
def running() -> Iterator[RunningPages]:
    with running_pages(PageConfig(LOOPBACK, LOOPBACK)) as running:
        yield running


def form_token(text: str) -> str:
    """The token that the page's forms carry."""
    found = re.search(r'name="form_token" value="([A-Za-z0-9_-]{43})"', text)
    assert found is not None
    return found[1]


@pytest.fixture
def operator(running: RunningPages) -> Iterator[httpx.Client]:
    running.admin.answers.update(ANSWERS)
    with running.operator() as client:
        running.admin.asked.clear()
        yield client


def send(client: httpx.Client, path: str, fields: dict[str, str], page: str = "/accounts") -> str:
    """Sends a form as the page does, and returns the text of the page that follows."""
    data = {**fields, "form_token": form_token(client.get(page).text)}
    answer = client.post(path, data=data)
    assert answer.status_code == 200
    return answer.text
