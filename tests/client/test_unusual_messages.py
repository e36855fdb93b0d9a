"""Unusual requests and responses through the transport: methods, statuses, empty bodies, every size."""

from __future__ import annotations

import hashlib
from typing import Any

import httpx2
import pytest

from blindrelay.client import ProtocolError, SealedTransport

from .conftest import LIBRARIES, TAIL, ScriptedBridge, answering, client_of, head, responding

FILE = "https://api.openai.com/v1/files/file-1"
PIECE = 65_536


@LIBRARIES
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
def test_every_method_passes_without_a_body(
    library: Any, method: str, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    """The length in a response to HEAD is of a body that does not come."""
    length = "12345" if method == "HEAD" else "0"
    bridge.answer = responding(200, content_length=length)
    with client_of(library, sealed) as client:
        response = client.request(method, FILE)
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["content-length"] == length
    assert (bridge.received[0].head.method, bridge.received[0].body) == (method, b"")


@pytest.mark.parametrize("status", [201, 204, 205, 299, 304, 399, 418, 451, 499, 520, 599])
def test_every_status_passes(status: int, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    bridge.answer = responding(status)
    with sealed.httpx2_client() as client:
        response = client.delete(FILE)
    assert (response.status_code, response.content) == (status, b"")


@pytest.mark.parametrize("status", [0, 100, 103, 199, 600, 999])
def test_invalid_status_is_an_error_of_the_bridge(
    status: int, bridge: ScriptedBridge, sealed: SealedTransport
) -> None:
    bridge.answer = responding(status)
    with sealed.httpx2_client() as client, pytest.raises(ProtocolError) as raised:
        client.get(FILE)
    assert isinstance(raised.value, httpx2.RemoteProtocolError)


@pytest.mark.parametrize("size", [0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 7, 40 * PIECE])
def test_every_size_passes_both_ways(size: int, bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    body = hashlib.shake_256(b"sound").digest(size)
    pieces = [{"body": body[start : start + PIECE]} for start in range(0, size, PIECE)]
    bridge.answer = answering({"head": head(content_type=b"audio/wav")}, *pieces, tail=TAIL)
    with sealed.httpx2_client() as client:
        assert client.post(FILE, content=body).content == body
    assert bridge.received[0].body == body


def test_form_with_files_is_sent(bridge: ScriptedBridge, sealed: SealedTransport) -> None:
    files = {"image": ("a.png", b"\x89PNG\r\n" * 30_000, "image/png"), "mask": ("b.png", b"", "image/png")}
    with sealed.httpx2_client() as client:
        request = client.build_request("POST", FILE, data={"prompt": "a cat"}, files=files)
        sent = request.read()
        client.send(request)
    assert bridge.received[0].body == sent
    assert bridge.received[0].headers[b"content-type"].startswith(b"multipart/form-data; boundary=")
