"""Shaped responses at the client: the text is there at once, the rest is read later (spec, section 9.6)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import httpx2
import pytest

from blindrelay.client import ConfigurationError, ConnectionConfig, SealedTransport, relay_connection
from blindrelay.client.relay_view import RelayView
from blindrelay.client.request_head import request_head
from blindrelay.provider_bridge.pacer import Pacer
from blindrelay.testing import LocalBlindRelay
from blindrelay.v1.inner_pb2 import ShapingProfile
from tests.patience import PATIENCE, wait_for

from .conftest import URL
from .scripted_bridge import until

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
CELL = 512 + 3
"""Bytes of a message that carries a cell of the first size."""


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBlindRelay]:
    with LocalBlindRelay() as relay:
        yield relay


@pytest.fixture
def views(local: LocalBlindRelay) -> Iterator[tuple[SealedTransport, list[RelayView]]]:
    """A transport, and what its relay sees of each exchange."""
    seen: list[RelayView] = []
    transport = SealedTransport(local.connection_string, observer=seen.append)
    yield transport, seen
    transport.close()


@pytest.fixture
def rest(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The bridge sends the cells after a response's end when this is set."""
    wanted, finish = threading.Event(), Pacer.finish

    async def finish_when_wanted(self: Pacer) -> None:
        await self.send_end()
        await until(wanted)
        await finish(self)

    monkeypatch.setattr(Pacer, "finish", finish_when_wanted)
    return wanted


Views = tuple[SealedTransport, list[RelayView]]


def down(view: RelayView) -> list[int]:
    return [passing.size for passing in view.passings if passing.direction == "down"]


@pytest.mark.parametrize(
    ("option", "profile"),
    [("", "BALANCED"), ("&shape=balanced", "BALANCED"), ("&shape=strict", "STRICT"), ("&shape=off", "OFF")],
)
def test_profile_is_in_the_head(local: LocalBlindRelay, option: str, profile: str) -> None:
    config = ConnectionConfig.from_string(local.connection_string + option)
    head = request_head(httpx2.Request("POST", URL), config)
    assert ShapingProfile.Name(head.shaping.profile) == f"SHAPING_PROFILE_{profile}"


def test_other_profile_is_refused(local: LocalBlindRelay) -> None:
    with pytest.raises(ConfigurationError, match="shape is one of off, balanced, strict"):
        ConnectionConfig.from_string(local.connection_string + "&shape=fast")


def test_rest_is_read_after_the_response_and_after_close(views: Views, rest: threading.Event) -> None:
    transport, seen = views
    with transport.httpx2_client() as client:
        response = client.post(URL, json=ASKED)
        assert "Hello" in response.text
        assert response.text.endswith("data: [DONE]\n\n")
    rest.set()
    wait_for(lambda: len(down(seen[0])) == 40)
    assert set(down(seen[0])) == {CELL}


async def test_rest_is_read_after_an_asynchronous_close(views: Views, rest: threading.Event) -> None:
    transport, seen = views
    async with transport.async_httpx2_client() as client:
        assert "Hello" in (await client.post(URL, json=ASKED)).text
    rest.set()
    await asyncio.to_thread(wait_for, lambda: len(down(seen[0])) == 40)


def test_transport_can_be_used_again_while_the_rest_is_read(views: Views, rest: threading.Event) -> None:
    transport, seen = views
    for _ in range(2):
        with transport.httpx2_client() as client:
            assert "Hello" in client.post(URL, json=ASKED).text
    rest.set()
    wait_for(lambda: [len(down(view)) for view in seen] == [40, 40])


def test_of_too_many_the_oldest_is_dropped(
    views: Views, rest: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_connection, "MAX_TRAILING", 1)
    transport, seen = views
    with transport.httpx2_client() as client:
        for _ in range(2):
            assert "Hello" in client.post(URL, json=ASKED).text
        rest.set()
        wait_for(lambda: len(down(seen[1])) == 40)
    assert len(down(seen[0])) < 40


def test_cells_of_nothing_do_not_hide_a_silent_provider(local: LocalBlindRelay) -> None:
    local.provider.reply("late", delay=30)
    transport = SealedTransport(f"{local.connection_string}&first_byte=1h")
    client = transport.httpx2_client(timeout=httpx2.Timeout(PATIENCE, read=0.5))
    with client, pytest.raises(httpx2.ReadTimeout, match="nothing more came back within"):
        client.post(URL, json=ASKED)
