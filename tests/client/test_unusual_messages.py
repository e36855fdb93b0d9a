"""Unusual requests and responses through the transport: methods, statuses, empty bodies, every size."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx
import httpx2
import pytest

from blindrelay.client import ProtocolError, SealedTransport
from blindrelay.v1.inner_pb2 import BodyEnd, Header, ResponseHead, ResponseTail

from .conftest import TAIL, Received, Responder, ScriptedBridge, client_of, head

URL = "https://api.openai.com/v1/files/file-1"
LIBRARIES = [httpx, httpx2]
PIECE = 65_536


def answer_with(bridge: ScriptedBridge, status: int, **headers: str) -> None:
    fields = [
        Header(name=name.replace("_", "-").encode(), value=each.encode()) for name, each in headers.items()
    ]
    tail = ResponseTail(body_end=BodyEnd.BODY_END_NONE)

    async def answer(_: Received, respond: Responder) -> None:
        await respond.send(head=ResponseHead(status=status, headers=fields), tail=tail)

    bridge.answer = answer


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
def test_every_method_passes_without_a_body(
    library: Any, method: str, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    answer_with(bridge, 200, content_length="0")
    with client_of(library, sealed) as client:
        response = client.request(method, URL)
    assert (response.status_code, response.content) == (200, b"")
    assert (bridge.received[0].head.method, bridge.received[0].body) == (method, b"")


def test_response_to_head_keeps_content_length(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    answer_with(bridge, 200, content_length="12345")
    with sealed.httpx2_client() as client:
        response = client.head(URL)
    assert (response.headers["content-length"], response.content) == ("12345", b"")


@pytest.mark.parametrize(
    "status", [201, 204, 205, 207, 226, 299, 304, 399, 418, 421, 451, 499, 520, 529, 599]
)
def test_every_status_passes(status: int, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    answer_with(bridge, status)
    with sealed.httpx2_client() as client:
        response = client.delete(URL)
    assert (response.status_code, response.content) == (status, b"")


@pytest.mark.parametrize("status", [0, 100, 103, 199, 600, 999])
def test_invalid_status_is_an_error_of_the_bridge(
    status: int, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    answer_with(bridge, status)
    with sealed.httpx2_client() as client, pytest.raises(ProtocolError) as raised:
        client.get(URL)
    assert isinstance(raised.value, httpx2.RemoteProtocolError)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7, 40 * PIECE])
def test_every_size_passes_both_ways(size: int, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    async def echo(received: Received, respond: Responder) -> None:
        await respond.send(head=head(content_type=b"audio/wav"))
        for start in range(0, len(received.body), PIECE):
            await respond.send(body=received.body[start : start + PIECE])
        await respond.send(tail=TAIL)

    bridge.answer = echo
    body = hashlib.shake_256(b"sound").digest(size)
    with sealed.httpx2_client() as client:
        assert client.post(URL, content=body).content == body


def test_form_with_files_is_sent(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    files = {"image": ("a.png", b"\x89PNG\r\n" * 30_000, "image/png"), "mask": ("b.png", b"", "image/png")}
    with sealed.httpx2_client() as client:
        request = client.build_request("POST", URL, data={"prompt": "a cat"}, files=files)
        sent = request.read()
        client.send(request)
    assert bridge.received[0].body == sent
    assert bridge.received[0].headers[b"content-type"].startswith(b"multipart/form-data; boundary=")
