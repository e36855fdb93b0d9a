"""The transport under httpx and httpx2, synchronous and asynchronous, against a scripted bridge."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpx
import pytest

from blindrelay.client import ConfigurationError, SealedTransport
from blindrelay.v1.inner_pb2 import ErrorCode

from .conftest import (
    LIBRARIES,
    TAIL,
    URL,
    ScriptedBridge,
    answering,
    async_client_of,
    client_of,
    failing,
    head,
)


@LIBRARIES
async def test_exchange_of_either_library(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    """Both synchronous and asynchronous."""
    with client_of(library, sealed) as client:
        responses = [client.post(URL, json={"a": 1})]
    async with async_client_of(library, sealed) as client:
        responses.append(await client.post(URL, json={"a": 2}))
    assert [(each.status_code, each.json()) for each in responses] == [(200, {})] * 2
    assert [each.head.url for each in bridge.received] == [URL] * 2
    assert [json.loads(each.body) for each in bridge.received] == [{"a": 1}, {"a": 2}]


@LIBRARIES
def test_options_that_bypass_the_relay_are_refused(library: Any, sealed: SealedTransport) -> None:
    other = httpx.HTTPTransport()
    for option in ({"proxy": "http://127.0.0.1:1"}, {"mounts": {"all://": other}}, {"transport": other}):
        for client in (client_of, async_client_of):
            with pytest.raises(ConfigurationError, match="in clear"):
                client(library, sealed, **option)


@LIBRARIES
def test_pieces_arrive_as_they_are_sent(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    seen = threading.Event()
    bridge.answer = answering({"head": head()}, {"body": b"first"}, seen, body=b"last", tail=TAIL)
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
async def test_streamed_body_arrives_or_raises(
    fails: bool, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    def expected() -> AbstractContextManager[object]:
        return pytest.raises(BodyError) if fails else nullcontext()

    with sealed.httpx2_client() as client, expected():
        client.post(URL, content=body(fails=fails))
    async with sealed.async_httpx2_client() as asynchronous:
        with expected():
            await asynchronous.post(URL, content=asynchronous_body(fails=fails))
    assert [each.body for each in bridge.received] == ([] if fails else [b"".join(PIECES)] * 2)


def test_early_response_to_a_large_upload_arrives(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.answer = failing(ErrorCode.ERROR_CODE_TOO_LARGE, "too large")
    bridge.stop_reading_after = 2
    with sealed.httpx2_client() as client:
        response = client.post(URL, content=b"x" * 8_000_000)
    assert (response.status_code, response.headers["x-blindrelay-error"]) == (413, "bridge/too_large")
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
