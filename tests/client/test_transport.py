"""The transport under httpx and httpx2, synchronous and asynchronous: methods, statuses, sizes, streams."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ConfigurationError, ProtocolError, SealedTransport
from blindrelay.v1.envelope_pb2 import Envelope
from blindrelay.v1.inner_pb2 import ErrorCode

from .conftest import LIBRARIES, URL, client_of
from .scripted_bridge import TAIL, ScriptedBridge, answering, failing, head, responding

PIECE = 65_536


@LIBRARIES
async def test_exchange_of_either_library(
    library: Any, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    """Both synchronous and asynchronous."""
    with client_of(library, sealed) as client:
        responses = [client.post(URL, json={"a": 1})]
    async with client_of(library, sealed, "async_") as client:
        responses.append(await client.post(URL, json={"a": 2}))
    assert [(each.status_code, each.json()) for each in responses] == [(200, {})] * 2
    assert [each.head.url for each in bridge.received] == [URL] * 2
    assert [json.loads(each.body) for each in bridge.received] == [{"a": 1}, {"a": 2}]


@LIBRARIES
def test_options_that_bypass_the_relay_are_refused(library: Any, sealed: SealedTransport) -> None:
    other = httpx.HTTPTransport()
    for option in ({"proxy": "http://127.0.0.1:1"}, {"mounts": {"all://": other}}, {"transport": other}):
        for way in ("", "async_"):
            with pytest.raises(ConfigurationError, match="in clear"):
                client_of(library, sealed, way, **option)


@LIBRARIES
def test_pieces_arrive_as_they_come(library: Any, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    seen = threading.Event()
    bridge.answer = answering({"head": head()}, {"body": b"first"}, seen, body=b"last", tail=TAIL)
    with client_of(library, sealed) as client, client.stream("POST", URL, json={}) as response:
        pieces = response.iter_raw()
        assert next(pieces) == b"first"
        seen.set()
        assert list(pieces) == [b"last"]


@LIBRARIES
@pytest.mark.parametrize(
    ("method", "status"),
    [
        *[("GET", 200), ("HEAD", 200), ("POST", 201), ("PUT", 204), ("PATCH", 205), ("DELETE", 299)],
        *[("OPTIONS", 304), ("QUERY", 399), ("GET", 418), ("GET", 451), ("GET", 520), ("GET", 599)],
    ],
)
def test_every_method_and_status_passes_without_a_body(
    library: Any, method: str, status: int, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    """The length in a response to HEAD is of a body that does not come."""
    length = {"content_length": "12345"} if method == "HEAD" else {}
    bridge.answer = responding(status, **length)
    with client_of(library, sealed) as client:
        response = client.request(method, URL)
    assert (response.status_code, response.content) == (status, b"")
    assert method != "HEAD" or response.headers["content-length"] == "12345"
    assert (bridge.received[0].head.method, bridge.received[0].body) == (method, b"")


@pytest.mark.parametrize("status", [0, 100, 103, 199, 600, 999])
def test_invalid_status_is_an_error(status: int, bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.answer = responding(status)
    with pytest.raises(ProtocolError) as raised:
        client.get(URL)
    assert isinstance(raised.value, httpx2.RemoteProtocolError)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7, 40 * PIECE])
def test_every_size_passes_both_ways(size: int, bridge: ScriptedBridge, client: httpx2.Client) -> None:
    body = hashlib.shake_256(b"sound").digest(size)
    pieces = [{"body": body[start : start + PIECE]} for start in range(0, size, PIECE)]
    bridge.answer = answering({"head": head(b"audio/wav")}, *pieces, tail=TAIL)
    assert client.post(URL, content=body).content == body
    assert bridge.received[0].body == body


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
async def test_body_arrives_or_raises(fails: bool, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    def expected() -> AbstractContextManager[object]:
        return pytest.raises(BodyError) if fails else nullcontext()

    with sealed.httpx2_client() as client, expected():
        client.post(URL, content=body(fails=fails))
    async with sealed.async_httpx2_client() as asynchronous:
        with expected():
            await asynchronous.post(URL, content=asynchronous_body(fails=fails))
    assert [each.body for each in bridge.received] == ([] if fails else [b"".join(PIECES)] * 2)


def test_early_response_to_a_large_upload_arrives(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    bridge.answer = failing(ErrorCode.ERROR_CODE_TOO_LARGE, "too large")
    bridge.stop_reading_after = 2
    response = client.post(URL, content=b"x" * 8_000_000)
    assert (response.status_code, response.headers["x-blindrelay-error"]) == (413, "bridge/too_large")
    assert response.headers["x-should-retry"] == "false"


def test_relay_sees_only_known_metadata(bridge: ScriptedBridge, client: httpx2.Client) -> None:
    client.post(URL, json={}, headers={"x-stainless-os": "Linux"})
    metadata = bridge.received[0].metadata
    assert set(metadata) == {"authorization", "blindrelay-envelope-bin", "blindrelay-key", "user-agent"}
    assert metadata["user-agent"].startswith("grpc-python-asyncio/")


@pytest.mark.parametrize(("option", "units"), [("", 1_000_000), ("&max_units=20000", 20_000)])
def test_an_exchange_may_cost_what_the_user_allows(bridge: ScriptedBridge, option: str, units: int) -> None:
    with bridge.client(option) as client:
        client.post(URL, json={})
    envelope = bridge.received[0].metadata["blindrelay-envelope-bin"]
    assert isinstance(envelope, bytes)
    assert Envelope.FromString(envelope).max_units == units


@pytest.mark.parametrize(("library", "other"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_errors_name_the_method_for_the_other_library(
    library: str, other: str, sealed: SealedTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The TypeError of an SDK has the class: Expected an instance of httpx.Client but got …"""
    for prefix in ("", "async_"):
        client = getattr(sealed, f"{prefix}{library}_client")()
        assert f"takes SealedTransport.{prefix}{other}_client()" in str(type(client))
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"{library} is not installed: .* {other}_client\(\)"):
        getattr(sealed, f"{library}_client")()
