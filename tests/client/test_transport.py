"""The transport under httpx and httpx2, synchronous and asynchronous, against a scripted bridge."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ConfigurationError, SealedTransport
from blindrelay.v1.inner_pb2 import ErrorCode, ExchangeError

from .conftest import TAIL, Received, Responder, ScriptedBridge, async_client_of, client_of, head

URL = "https://api.openai.com/v1/chat/completions"

LIBRARIES = [httpx, httpx2]


@pytest.mark.parametrize("library", LIBRARIES)
def test_synchronous_exchange(library: Any, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with client_of(library, sealed) as client:
        response = client.post(URL, json={"a": 1})
    assert (response.status_code, response.json()) == (200, {})
    assert bridge.received[0].head.url == URL
    assert json.loads(bridge.received[0].body) == {"a": 1}


@pytest.mark.parametrize("library", LIBRARIES)
async def test_asynchronous_exchange(library: Any, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async with async_client_of(library, sealed) as client:
        response = await client.post(URL, json={"a": 1})
    assert response.json() == {}
    assert json.loads(bridge.received[0].body) == {"a": 1}


@pytest.mark.parametrize(
    "option",
    [
        {"proxy": "http://127.0.0.1:1"},
        {"mounts": {"all://": httpx.HTTPTransport()}},
        {"transport": httpx.HTTPTransport()},
    ],
    ids=lambda option: next(iter(option)),
)
def test_options_that_bypass_the_relay_are_refused(option: dict[str, Any], sealed: SealedTransport) -> None:
    makers = (
        sealed.httpx_client,
        sealed.httpx2_client,
        sealed.async_httpx_client,
        sealed.async_httpx2_client,
    )
    for make in makers:
        with pytest.raises(ConfigurationError, match="in clear"):
            make(**option)


@pytest.mark.parametrize("library", LIBRARIES)
def test_pieces_arrive_as_they_are_sent(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    seen = threading.Event()

    async def hold_back(_: Received, respond: Responder) -> None:
        await respond.send(head=head(content_type=b"text/event-stream"))
        await respond.send(body=b"first")
        await asyncio.to_thread(seen.wait, 30)
        await respond.send(body=b"last", tail=TAIL)

    bridge.answer = hold_back
    with client_of(library, sealed) as client, client.stream("POST", URL, json={}) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        seen.set()
        assert list(pieces) == [b"last"]


class BodyError(Exception):
    """Raised by an application's body."""


PIECES = [bytes([number]) * 50_000 for number in range(40)]


def body(*, fails: bool) -> Iterator[bytes]:
    yield from PIECES
    if fails:
        raise BodyError


async def asynchronous_body(*, fails: bool) -> AsyncIterator[bytes]:
    for piece in body(fails=fails):
        yield piece


@pytest.mark.parametrize("fails", [False, True])
def test_streamed_body_arrives_or_raises(
    fails: bool, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    with sealed.httpx2_client() as client, pytest.raises(BodyError) if fails else nullcontext():
        client.post(URL, content=body(fails=fails))
    assert [each.body for each in bridge.received] == ([] if fails else [b"".join(PIECES)])


@pytest.mark.parametrize("fails", [False, True])
async def test_asynchronous_body_arrives_or_raises(
    fails: bool, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    async with sealed.async_httpx2_client() as client:
        with pytest.raises(BodyError) if fails else nullcontext():
            await client.post(URL, content=asynchronous_body(fails=fails))
    assert [each.body for each in bridge.received] == ([] if fails else [b"".join(PIECES)])


def test_early_response_to_a_large_upload_arrives(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def refuse(_: Received, respond: Responder) -> None:
        await respond.send(error=ExchangeError(code=ErrorCode.ERROR_CODE_TOO_LARGE, message="too large"))

    bridge.answer, bridge.stop_reading_after = refuse, 2
    with sealed.httpx2_client() as client:
        response = client.post(URL, content=b"x" * 8_000_000)
    assert response.status_code == 413
    assert response.headers["x-blindrelay-error"] == "bridge/too_large"
    assert response.headers["x-should-retry"] == "false"


def test_relay_sees_only_known_metadata(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    with sealed.httpx2_client() as client:
        client.post(URL, json={}, headers={"x-stainless-os": "Linux"})
    metadata = bridge.received[0].metadata
    assert set(metadata) == {"authorization", "blindrelay-envelope-bin", "user-agent"}
    assert metadata["user-agent"].startswith("grpc-python-asyncio/")


@pytest.mark.parametrize(
    ("method", "other"),
    [("httpx_client", "httpx2_client"), ("async_httpx2_client", "async_httpx_client")],
)
def test_class_name_shows_the_method_for_the_other_library(
    method: str, other: str, sealed: SealedTransport
) -> None:
    """The TypeError of the SDK has the class: Expected an instance of httpx.Client but got …"""
    assert f"takes SealedTransport.{other}()" in str(type(getattr(sealed, method)()))


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_missing_library_error_names_the_other_method(
    library: str, sealed: SealedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    other = {"httpx": "httpx2", "httpx2": "httpx"}[library]
    with pytest.raises(ImportError, match=rf"{library} is not installed: .* {other}_client\(\)"):
        getattr(sealed, f"{library}_client")()
