"""Connections, unusual request targets, and the mark on every response."""

from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from blindrelay.client.endpoint import Unsealed

from ..scripted_bridge import ScriptedBridge
from .conftest import HALF, Endpoint


def exchanged(endpoint: Endpoint, request: str, *, half_closes: bool = False) -> bytes:
    """Everything that comes back. HOST and KEY are filled in."""
    text = request.replace("HOST", f"127.0.0.1:{endpoint.port}").replace(
        "KEY", f"x-api-key: {endpoint.token}"
    )
    with endpoint.connect() as program:
        program.sendall(text.replace("\n", "\r\n").encode())
        if half_closes:
            program.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: program.recv(65_536), b""))


WEBSOCKET = "upgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg=="


@pytest.mark.parametrize(
    ("line", "headers", "status", "error"),
    [
        ("GET http://HOST/healthz", "host: else.example", 200, ""),
        ("GET http://HOST/v1/models", "host: HOST\nKEY", 200, ""),
        ("GET http://HOST", "host: HOST", 200, ""),
        ("OPTIONS *", "host: HOST", 204, ""),
        ("OPTIONS *", "host: evil.example", 403, "host"),
        ("GET *", "host: HOST", 400, "request"),
        ("GET healthz", "host: HOST", 400, "request"),
        ("GET http://[", "host: HOST", 400, "request"),
        ("GET http://api.openai.com/v1/models", "host: HOST\nKEY", 403, "not_sealed"),
        ("GET https://HOST/v1/models", "host: HOST\nKEY", 403, "not_sealed"),
        ("GET http://x@HOST/v1/models", "host: HOST\nKEY", 403, "not_sealed"),
        ("CONNECT api.openai.com:443", "host: api.openai.com:443", 403, "not_sealed"),
        ("CONNECT 127.0.0.1:1", "host: HOST", 403, "not_sealed"),
        ("nonsense", "", 400, "request"),
        ("GET /", "", 400, "request"),
        ("POST /v1/models", "host: HOST\nKEY\ncontent-length: x", 400, "request"),
        ("POST /v1/models", "host: HOST\nKEY\ncontent-length: 5\ntransfer-encoding: chunked", 400, "request"),
        ("POST /healthz", "host: HOST\nKEY", 404, "unknown_path"),
        ("POST /", "host: HOST\nKEY", 404, "unknown_path"),
        ("GET /v1/realtime", "host: HOST\nKEY\nupgrade: websocket", 400, "request"),
        ("GET /nobody", f"host: HOST\nKEY\n{WEBSOCKET}", 404, "unknown_path"),
    ],
)
def test_each_response_is_marked(bridged: Endpoint, line: str, headers: str, status: int, error: str) -> None:
    first = line if line == "nonsense" else f"{line} HTTP/1.1"
    connection = "upgrade" if "upgrade" in headers else "close"
    came = exchanged(bridged, f"{first}\n{headers}\nconnection: {connection}\n\n")
    head, _, body = came.partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0].split()[1] == str(status)
    assert lines.count("x-blindrelay-endpoint: 1") == 1
    assert (f"x-blindrelay-error: endpoint/{error}" in lines) == bool(error)
    assert (b"blindrelay" in body) or not error


def test_connect_to_the_endpoint_itself_is_accepted_once(bridged: Endpoint) -> None:
    """Also where what follows comes in the same packet. A thousand of them would exhaust the stack."""
    connect = "CONNECT HOST HTTP/1.1\nhost: HOST\n\n"
    asking = "GET /healthz HTTP/1.1\nhost: HOST\nconnection: close\n\n"
    for following, status in [(asking, 200), (connect * 999, 400)]:
        first, _, rest = exchanged(bridged, connect + following).partition(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 200 ")
        assert rest.startswith(b"HTTP/1.1 %d " % status)
        assert rest.count(b"HTTP/1.1 ") == 1


def test_refusals_are_counted_by_host() -> None:
    unsealed = Unsealed()
    for authority in ("a.example:443", "a.example", "u@a.example:80", "a.example:8443", "[2001:db8::1]:443"):
        assert unsealed.refusal(authority).kind == "not_sealed"
    assert unsealed.counts == {"a.example": 3, "a.example:8443": 1, "[2001:db8::1]": 1}
    for number in range(1_000):
        unsealed.refusal(f"{number}.example")
    assert len(unsealed.counts) == 101
    assert unsealed.counts["others"] == 903


@pytest.mark.parametrize("path", ["/healthz", "/v1/models"])
def test_program_that_ends_its_side_gets_its_response(bridged: Endpoint, path: str) -> None:
    came = exchanged(bridged, f"GET {path} HTTP/1.1\nhost: HOST\nKEY\n\n", half_closes=True)
    final = came[came.index(b"HTTP/1.1 200") :]
    assert b"ok" in final or b"{}" in final
    assert b"x-blindrelay-endpoint: 1" in final


def test_program_that_ends_its_side_too_early_is_gone(bridged: Endpoint) -> None:
    request = "POST /v1/responses HTTP/1.1\nhost: HOST\nKEY\ncontent-length: 9\n\nhalf"
    assert exchanged(bridged, request, half_closes=True) == b""


def test_unfinished_requests_keep_nobody_out(bridged: Endpoint, bridge: ScriptedBridge) -> None:
    """There are more than the endpoint has connections: the oldest of them are closed."""
    with ExitStack() as stack:
        for _ in range(1_100):
            each = stack.enter_context(bridged.connect())
            each.sendall(HALF)
        with bridged.client() as client:
            for _ in range(3):
                assert client.get("/v1/models").status_code == 200
    assert len(bridge.received) == 3
